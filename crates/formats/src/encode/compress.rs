//! Codecs of text formats, over blocks in memory.

#[cfg(any(
    feature = "gzip",
    feature = "zstd",
    feature = "bzip2",
    feature = "xz",
    feature = "lz4",
    feature = "zlib",
    feature = "brotli"
))]
use futures::FutureExt;
use towpath_core::{Error, Result};

use crate::Compression;

/// Compresses a block to a member of its own. The members of one file stand one behind the other.
pub(super) fn member(compression: Compression, block: Vec<u8>) -> Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(block),
        #[cfg(feature = "gzip")]
        Compression::Gzip => whole(async_compression::tokio::bufread::GzipEncoder::new(&block[..])),
        #[cfg(feature = "zstd")]
        Compression::Zstd => whole(async_compression::tokio::bufread::ZstdEncoder::new(&block[..])),
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => whole(async_compression::tokio::bufread::BzEncoder::new(&block[..])),
        #[cfg(feature = "xz")]
        Compression::Xz => {
            // Higher levels look back further than a block is long.
            let level = async_compression::Level::Precise(2);
            whole(async_compression::tokio::bufread::XzEncoder::with_quality(&block[..], level))
        }
        #[cfg(feature = "lz4")]
        Compression::Lz4 => whole(async_compression::tokio::bufread::Lz4Encoder::new(&block[..])),
        other => Err(Error::unexpected(format!("{other:?} has no members"))),
    }
}

/// Everything that an encoder gives. Its input is in memory, so that it never waits.
#[cfg(any(feature = "gzip", feature = "zstd", feature = "bzip2", feature = "xz", feature = "lz4"))]
fn whole(mut encoder: impl tokio::io::AsyncRead + Unpin) -> Result<Vec<u8>> {
    use tokio::io::AsyncReadExt;

    let mut out = Vec::new();
    encoder.read_to_end(&mut out).now_or_never().expect("memory is always ready")?;
    Ok(out)
}

/// A codec that compresses a file as one, block by block.
pub(super) trait Compressor: Send {
    /// Takes in a block, and gives what is ready.
    fn compress(&mut self, block: &[u8]) -> Result<Vec<u8>>;

    /// Gives what is left.
    fn finish(self: Box<Self>) -> Result<Vec<u8>>;
}

/// The compressor of a codec whose members cannot stand one behind the other; `None` for the others.
pub(super) fn sequential(compression: Compression) -> Option<Box<dyn Compressor>> {
    match compression {
        #[cfg(feature = "zlib")]
        Compression::Zlib => {
            use async_compression::tokio::write::ZlibEncoder;
            Some(Box::new(Sequential { encoder: ZlibEncoder::new(Vec::new()), ready: ZlibEncoder::get_mut }))
        }
        #[cfg(feature = "brotli")]
        Compression::Brotli => {
            use async_compression::Level;
            use async_compression::tokio::write::BrotliEncoder;
            // The codec's own default is its slowest level, a hundred times slower for a tenth less.
            let encoder = BrotliEncoder::with_quality(Vec::new(), Level::Precise(5));
            Some(Box::new(Sequential { encoder, ready: BrotliEncoder::get_mut }))
        }
        _ => None,
    }
}

/// An encoder that writes into memory.
#[cfg(any(feature = "zlib", feature = "brotli"))]
struct Sequential<E> {
    encoder: E,
    ready: fn(&mut E) -> &mut Vec<u8>,
}

#[cfg(any(feature = "zlib", feature = "brotli"))]
impl<E: tokio::io::AsyncWrite + Unpin + Send> Compressor for Sequential<E> {
    fn compress(&mut self, block: &[u8]) -> Result<Vec<u8>> {
        use tokio::io::AsyncWriteExt;

        self.encoder.write_all(block).now_or_never().expect("memory is always ready")?;
        Ok(std::mem::take((self.ready)(&mut self.encoder)))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>> {
        use tokio::io::AsyncWriteExt;

        self.encoder.shutdown().now_or_never().expect("memory is always ready")?;
        Ok(std::mem::take((self.ready)(&mut self.encoder)))
    }
}
