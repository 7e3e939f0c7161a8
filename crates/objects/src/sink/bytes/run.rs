//! Bytes of an object as they come, cut into parts.

use bytes::{Bytes, BytesMut};

/// Bytes that touch each other.
#[derive(Debug, Default)]
pub(super) struct Run {
    from: u64,
    bytes: BytesMut,
}

/// What became of bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole part, with its number.
    Part(usize, Bytes),
    /// Bytes that are no whole part, with their place.
    Fragment(u64, Bytes),
}

impl Run {
    /// Where the next bytes must begin to touch these.
    pub(super) fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// Adds bytes, and gives what is complete with them. Bytes that do not touch those before begin anew.
    pub(super) fn push(&mut self, offset: u64, data: &[u8], part_size: u64, size: Option<u64>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if offset != self.end() {
            pieces.extend(self.rest());
            self.from = offset;
        }
        self.bytes.extend_from_slice(data);
        while let Some(piece) = self.next(part_size, size) {
            pieces.push(piece);
        }
        pieces
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        let (from, bytes) = (self.from, self.bytes.split().freeze());
        self.from += bytes.len() as u64;
        (!bytes.is_empty()).then_some(Piece::Fragment(from, bytes))
    }

    fn next(&mut self, part_size: u64, size: Option<u64>) -> Option<Piece> {
        let index = self.from / part_size;
        let begins = self.from == index * part_size;
        let end = ((index + 1) * part_size).min(size.unwrap_or(u64::MAX));
        if self.end() < end || self.bytes.is_empty() {
            return None;
        }
        let length = usize::try_from(end - self.from).ok()?;
        let bytes = self.bytes.split_to(length).freeze();
        let from = std::mem::replace(&mut self.from, end);
        Some(if begins {
            Piece::Part(usize::try_from(index).ok()?, bytes)
        } else {
            Piece::Fragment(from, bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: &[(u64, &[u8])], size: Option<u64>) -> Vec<Piece> {
        let mut run = Run::default();
        let mut pieces: Vec<_> =
            chunks.iter().flat_map(|(offset, data)| run.push(*offset, data, 4, size)).collect();
        pieces.extend(run.rest());
        pieces
    }

    fn part(index: usize, bytes: &'static [u8]) -> Piece {
        Piece::Part(index, Bytes::from_static(bytes))
    }

    fn fragment(from: u64, bytes: &'static [u8]) -> Piece {
        Piece::Fragment(from, Bytes::from_static(bytes))
    }

    #[test]
    fn bytes_in_order_become_parts_and_the_last_one_is_shorter() {
        assert_eq!(
            pieces(&[(0, b"abc"), (3, b"defghi")], Some(9)),
            [part(0, b"abcd"), part(1, b"efgh"), part(2, b"i")]
        );
        assert_eq!(pieces(&[(0, b"abcde")], None), [part(0, b"abcd"), fragment(4, b"e")]);
        assert_eq!(pieces(&[(0, b"")], Some(0)), []);
    }

    #[test]
    fn bytes_that_begin_or_end_within_a_part_are_fragments() {
        assert_eq!(
            pieces(&[(2, b"cdefgh"), (12, b"mn")], Some(20)),
            [fragment(2, b"cd"), part(1, b"efgh"), fragment(12, b"mn")]
        );
        assert_eq!(pieces(&[(8, b"i"), (0, b"abcd")], Some(9)), [part(2, b"i"), part(0, b"abcd")]);
    }
}
