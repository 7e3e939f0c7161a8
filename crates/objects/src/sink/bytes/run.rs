//! Bytes of an object as they come, cut into parts.

use bytes::Bytes;

use crate::sink::stretches::Stretches;

/// Bytes that touch each other.
#[derive(Debug, Default)]
pub(super) struct Run {
    from: u64,
    waiting: Stretches,
}

/// What became of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole part, with its number.
    Part(usize, Vec<Bytes>),
    /// Bytes that are no whole part, with their place.
    Fragment(u64, Vec<Bytes>),
}

impl Run {
    /// Where the next bytes must begin to touch these.
    pub(super) fn end(&self) -> u64 {
        self.from + self.waiting.length()
    }

    /// Adds bytes, and gives what is complete with them. Bytes that do not touch those before begin anew.
    pub(super) fn push(&mut self, offset: u64, data: Bytes, part_size: u64, size: Option<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if offset != self.end() {
            pieces.extend(self.rest());
            self.from = offset;
        }
        self.waiting.push(data);
        while let Some(piece) = self.next(part_size, size) {
            pieces.push(piece);
        }
        pieces
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        let end = self.end();
        let from = std::mem::replace(&mut self.from, end);
        let stretches = self.waiting.take(u64::MAX);
        (!stretches.is_empty()).then_some(Piece::Fragment(from, stretches))
    }

    fn next(&mut self, part_size: u64, size: Option<u64>) -> Option<Piece> {
        let index = self.from / part_size;
        let begins = self.from == index * part_size;
        let end = ((index + 1) * part_size).min(size.unwrap_or(u64::MAX));
        if self.end() < end || self.waiting.length() == 0 {
            return None;
        }
        let from = std::mem::replace(&mut self.from, end);
        let stretches = self.waiting.take(end - from);
        Some(if begins {
            Piece::Part(usize::try_from(index).ok()?, stretches)
        } else {
            Piece::Fragment(from, stretches)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: &[(u64, &'static [u8])], size: Option<u64>) -> Vec<Piece> {
        let mut run = Run::default();
        let push =
            |(offset, data): &(u64, &'static [u8])| run.push(*offset, Bytes::from_static(data), 4, size);
        let mut pieces: Vec<_> = chunks.iter().flat_map(push).collect();
        pieces.extend(run.rest());
        pieces
    }

    fn stretches(bytes: &[&'static [u8]]) -> Vec<Bytes> {
        bytes.iter().map(|bytes| Bytes::from_static(bytes)).collect()
    }

    fn part(index: usize, bytes: &[&'static [u8]]) -> Piece {
        Piece::Part(index, stretches(bytes))
    }

    fn fragment(from: u64, bytes: &[&'static [u8]]) -> Piece {
        Piece::Fragment(from, stretches(bytes))
    }

    #[test]
    fn bytes_in_order_become_parts_and_the_last_one_is_shorter() {
        assert_eq!(
            pieces(&[(0, b"abc"), (3, b"defghi")], Some(9)),
            [part(0, &[b"abc", b"d"]), part(1, &[b"efgh"]), part(2, &[b"i"])]
        );
        assert_eq!(pieces(&[(0, b"abcde")], None), [part(0, &[b"abcd"]), fragment(4, &[b"e"])]);
        assert_eq!(pieces(&[(0, b"")], Some(0)), []);
    }

    #[test]
    fn bytes_that_begin_or_end_within_a_part_are_fragments() {
        assert_eq!(
            pieces(&[(2, b"cdefgh"), (12, b"mn")], Some(20)),
            [fragment(2, &[b"cd"]), part(1, &[b"efgh"]), fragment(12, &[b"mn"])]
        );
        assert_eq!(pieces(&[(8, b"i"), (0, b"abcd")], Some(9)), [part(2, &[b"i"]), part(0, &[b"abcd"])]);
    }
}
