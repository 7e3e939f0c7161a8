//! Bytes that wait to be sent.

use std::collections::VecDeque;

use bytes::Bytes;

/// Bytes one behind the other. They stay where they came: what is sent of them is a list of stretches.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    waiting: VecDeque<Bytes>,
    length: u64,
}

impl Stretches {
    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len() as u64;
            self.waiting.push_back(bytes);
        }
    }

    /// Takes so many bytes, or all where there are fewer.
    pub(super) fn take(&mut self, length: u64) -> Vec<Bytes> {
        let mut left = length.min(self.length);
        self.length -= left;
        let mut taken = Vec::new();
        while left > 0 {
            let Some(mut next) = self.waiting.pop_front() else { break };
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(next.len());
            let stretch = next.split_to(wanted);
            left -= stretch.len() as u64;
            taken.push(stretch);
            if !next.is_empty() {
                self.waiting.push_front(next);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_in_order_wherever_they_were_cut() {
        let mut stretches = Stretches::default();
        for bytes in [&b"abc"[..], b"", b"defg", b"h"] {
            stretches.push(Bytes::from_static(bytes));
        }
        assert_eq!(stretches.length(), 8);
        assert!(stretches.take(0).is_empty());
        assert_eq!(stretches.take(5), [&b"abc"[..], b"de"]);
        assert_eq!(stretches.take(2), [&b"fg"[..]]);
        assert_eq!((stretches.take(9), stretches.length()), (vec![Bytes::from_static(b"h")], 0));
    }
}
