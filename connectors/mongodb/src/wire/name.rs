//! Names of fields as they stand in documents.

/// The name of a field that is looked for, in the form in which documents have it.
///
/// Names are compared once for each value of each document. Most are short, and one comparison of eight bytes tells whether it
/// is the name, and where it ends.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    text: Box<str>,
    /// How long it is; without end if it has a zero, with which no document has it.
    length: usize,
    /// The first eight bytes, of which those behind the zero at the end do not count.
    front: u64,
    counts: u64,
}

const FRONT: usize = size_of::<u64>();

impl Name {
    pub(crate) fn new(text: &str) -> Self {
        let (mut front, mut counts) = ([0; FRONT], [0; FRONT]);
        for (place, byte) in text.bytes().chain([0]).take(FRONT).enumerate() {
            (front[place], counts[place]) = (byte, u8::MAX);
        }
        let length = if text.contains('\0') { usize::MAX } else { text.len() };
        Self {
            text: text.into(),
            length,
            front: u64::from_le_bytes(front),
            counts: u64::from_le_bytes(counts),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The name and what comes behind it, if bytes begin with this name and no longer one.
    #[inline]
    pub(super) fn split<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let length = self.length;
        let is_it = match bytes.first_chunk::<FRONT>() {
            Some(front) if length < FRONT => u64::from_le_bytes(*front) & self.counts == self.front,
            _ => bytes.get(length) == Some(&0) && &bytes[..length] == self.text.as_bytes(),
        };
        is_it.then(|| (&bytes[..length], &bytes[length + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_by_all_of_its_bytes_and_by_its_end() {
        for text in ["", "a", "sevenby", "eightbyt", "a name of many bytes", "\u{fc}ber"] {
            let name = Name::new(text);
            for rest in [&b""[..], b"rest", b"a rest that is long enough"] {
                let bytes = [text.as_bytes(), b"\0", rest].concat();
                assert_eq!(name.split(&bytes), Some((text.as_bytes(), rest)), "{text}");
                let longer = [text.as_bytes(), b"x\0", rest].concat();
                assert_eq!(name.split(&longer), None, "{text}");
                if let Some(shorter) = text.as_bytes().split_last().map(|(_, shorter)| shorter) {
                    assert_eq!(name.split(&[shorter, b"\0", rest].concat()), None, "{text}");
                    assert_eq!(name.split(&[shorter, b"\xff\0", rest].concat()), None, "{text}");
                }
            }
            assert_eq!(name.split(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_name_with_a_zero_is_no_field_and_its_value() {
        let bytes = b"a\0b\0 and what follows";
        assert_eq!(Name::new("a").split(bytes), Some((&b"a"[..], &b"b\0 and what follows"[..])));
        assert_eq!(Name::new("a\0b").split(bytes), None);
    }
}
