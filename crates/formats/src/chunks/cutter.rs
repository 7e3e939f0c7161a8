//! Bytes as they arrive, cut at multiples of the size of a chunk.

use bytes::{Bytes, BytesMut};
use towpath_core::CHUNK_BYTES;

/// Gathers bytes into chunks. Where they are cut depends on the file and on nothing else.
#[derive(Debug)]
pub struct Cutter {
    /// Bytes that came as whole chunks, and go on as they came.
    whole: Bytes,
    /// Those that came in smaller pieces, behind them.
    gathered: BytesMut,
    /// Where in the file the next chunk begins.
    offset: u64,
}

impl Cutter {
    /// For the bytes of a file from here on.
    pub fn new(offset: u64) -> Self {
        Self { whole: Bytes::new(), gathered: BytesMut::new(), offset }
    }

    /// Where in the file the next chunk begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where in the file the next byte goes that arrives.
    pub fn end(&self) -> u64 {
        self.offset + self.length() as u64
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &Bytes) {
        if self.length() == 0 && bytes.len() >= self.room() {
            self.whole = bytes.clone();
            return;
        }
        if self.gathered.is_empty() {
            self.gathered.reserve(self.room().max(self.whole.len() + bytes.len()));
            self.gathered.extend_from_slice(&std::mem::take(&mut self.whole));
        }
        self.gathered.extend_from_slice(bytes);
    }

    /// The next chunk that is full, with its place in the file.
    pub fn full(&mut self) -> Option<(u64, Bytes)> {
        let room = self.room();
        (self.length() >= room).then(|| self.take(room))
    }

    /// What is left behind the last full chunk, with its place in the file; it may be nothing.
    pub fn rest(&mut self) -> (u64, Bytes) {
        self.take(self.length())
    }

    /// How many bytes wait. They are either whole or gathered.
    fn length(&self) -> usize {
        self.whole.len() + self.gathered.len()
    }

    /// The bytes up to where the file is cut next.
    fn room(&self) -> usize {
        let chunk = CHUNK_BYTES as u64;
        usize::try_from(chunk - self.offset % chunk).unwrap_or(CHUNK_BYTES)
    }

    fn take(&mut self, length: usize) -> (u64, Bytes) {
        let bytes = if self.whole.is_empty() {
            self.gathered.split_to(length).freeze()
        } else {
            self.whole.split_to(length)
        };
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        (offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(from: u64, end: u64, step: usize) -> Vec<(u64, usize)> {
        let mut cutter = Cutter::new(from);
        let mut found = Vec::new();
        while cutter.end() < end {
            let length = step.min(usize::try_from(end - cutter.end()).unwrap());
            cutter.push(&Bytes::from(vec![0; length]));
            while let Some((offset, bytes)) = cutter.full() {
                found.push((offset, bytes.len()));
            }
        }
        let (offset, rest) = cutter.rest();
        found.push((offset, rest.len()));
        found
    }

    #[test]
    fn whole_chunks_are_not_copied() {
        let bytes = Bytes::from(vec![1; 2 * CHUNK_BYTES + 3]);
        let mut cutter = Cutter::new(0);
        cutter.push(&bytes);
        for chunk in 0..2 {
            let (_, full) = cutter.full().unwrap();
            assert_eq!(full.as_ptr(), bytes[chunk * CHUNK_BYTES..].as_ptr());
        }
        assert!(cutter.full().is_none());
        cutter.push(&Bytes::from(vec![2; 4]));
        assert_eq!(cutter.end(), 2 * CHUNK_BYTES as u64 + 7);
        assert_eq!(cutter.rest().1, [1, 1, 1, 2, 2, 2, 2][..]);
    }

    #[test]
    fn a_file_is_cut_alike_however_its_bytes_arrive_and_wherever_reading_begins() {
        let chunk = CHUNK_BYTES as u64;
        let whole = cut(0, 2 * chunk + 5, 1000);
        assert_eq!(whole, [(0, CHUNK_BYTES), (chunk, CHUNK_BYTES), (2 * chunk, 5)]);
        assert_eq!(cut(0, 2 * chunk + 5, 3 << 20), whole);
        assert_eq!(cut(chunk, 2 * chunk + 5, 70_000), whole[1..]);
        assert_eq!(cut(chunk - 3, chunk + 1, 10), [(chunk - 3, 3), (chunk, 1)]);
    }
}
