//! Exactly one compressed stream, as an entry of an archive holds it.

use std::fmt;

use async_compression::core::util::{PartialBuffer, WriteBuffer};
use towpath_core::{Error, Result};

use super::{Codec, OUTPUT};

/// Decompresses one stream, a bounded amount at a time. What follows it is not taken.
pub struct Unpacker {
    codec: Codec,
    has_ended: bool,
}

impl Unpacker {
    /// Of deflate without any header.
    ///
    /// # Errors
    /// `Config` when this binary lacks it.
    pub fn deflate() -> Result<Self> {
        #[cfg(feature = "deflate")]
        return Ok(Self::of(async_compression::codecs::DeflateDecoder::new()));
        #[cfg(not(feature = "deflate"))]
        return Err(crate::feature::lacks("archive format", "zip"));
    }

    /// Of zstd.
    ///
    /// # Errors
    /// `Config` when this binary lacks it.
    pub fn zstd() -> Result<Self> {
        #[cfg(feature = "zstd")]
        return Ok(Self::of(async_compression::codecs::ZstdDecoder::new()));
        #[cfg(not(feature = "zstd"))]
        return Err(crate::feature::lacks("codec", "zstd"));
    }

    #[cfg(any(feature = "deflate", feature = "zstd"))]
    fn of(codec: impl async_compression::codecs::DecodeV2 + Send + 'static) -> Self {
        Self { codec: Box::new(codec), has_ended: false }
    }

    /// Whether the stream is over.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends what becomes of some of the input, at most a MiB, and gives how much of it was taken. Without input it appends
    /// what was held back.
    ///
    /// # Errors
    /// `DataInvalid` for broken data.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize> {
        let begin = output.len();
        output.resize(begin + OUTPUT, 0);
        let mut buffer = WriteBuffer::new_initialized(&mut output[begin..]);
        let mut source = PartialBuffer::new(input);
        let mut outcome = Ok(());
        while !self.has_ended && !buffer.has_no_spare_space() {
            let before = (source.written_len(), buffer.written_len());
            match self.codec.decode(&mut source, &mut buffer) {
                Ok(ended) => self.has_ended = ended,
                // Codecs also complain that there is nothing to read.
                Err(_) if source.unwritten().is_empty() => {}
                Err(error) => outcome = Err(Error::data(format!("the compressed data is broken: {error}"))),
            }
            if outcome.is_err() || before == (source.written_len(), buffer.written_len()) {
                break;
            }
        }
        let (taken, written) = (source.written_len(), buffer.written_len());
        output.truncate(begin + written);
        outcome.map(|()| taken)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use super::*;
    use async_compression::tokio::bufread::DeflateEncoder;
    use tokio::io::AsyncReadExt;

    async fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        DeflateEncoder::new(bytes).read_to_end(&mut out).await.unwrap();
        out
    }

    #[tokio::test]
    async fn one_stream_is_taken_and_nothing_behind_it() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7 % 251) as u8).collect();
        let mut packed = deflated(&content).await;
        let length = packed.len();
        packed.extend_from_slice(b"behind");
        for step in [1_000, usize::MAX] {
            let (mut unpacker, mut found, mut at) = (Unpacker::deflate().unwrap(), Vec::new(), 0_usize);
            while !unpacker.has_ended() {
                let input = &packed[at..packed.len().min(at.saturating_add(step))];
                at += unpacker.push(input, &mut found).unwrap();
            }
            assert!(at == length && found == content);
        }
    }

    #[tokio::test]
    async fn what_is_cut_never_ends_and_what_is_broken_says_so() {
        let packed = deflated(&vec![7; 100_000]).await;
        let (mut unpacker, mut found) = (Unpacker::deflate().unwrap(), Vec::new());
        unpacker.push(&packed[..packed.len() - 2], &mut found).unwrap();
        assert_eq!(unpacker.push(&[], &mut found).unwrap(), 0);
        assert!(!unpacker.has_ended());
        let error = Unpacker::deflate().unwrap().push(&[0xff; 99], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().starts_with("the compressed data is broken"), "{error}");
    }
}
