//! Decompression: which codec, and bytes out of compressed bytes.

mod unpacker;

use async_compression::codecs::DecodeV2;
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use towpath_core::{ByteSize, Error, Result};

use crate::Compression;
use crate::feature::lacks;

pub use unpacker::Unpacker;

impl Compression {
    /// The codec of a file name's last extension.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (_, extension) = name.rsplit_once('.')?;
        Some(match extension.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Self::Gzip,
            "zz" | "zlib" => Self::Zlib,
            "zst" | "zstd" => Self::Zstd,
            "bz2" => Self::Bzip2,
            "xz" => Self::Xz,
            "br" => Self::Brotli,
            "lz4" => Self::Lz4,
            _ => return None,
        })
    }

    /// The codec of a `Content-Encoding`.
    ///
    /// # Errors
    /// `Unsupported` for an encoding that is not known, or several.
    pub(crate) fn of_content_encoding(encoding: &str) -> Result<Option<Self>> {
        Ok(match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Zlib),
            "zstd" => Some(Self::Zstd),
            "br" => Some(Self::Brotli),
            "bzip2" => Some(Self::Bzip2),
            "xz" => Some(Self::Xz),
            other => return Err(Error::unsupported(format!("the content encoding `{other}` is not known"))),
        })
    }

    /// Its name in a pipeline, which is its cargo feature as well.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Brotli => "brotli",
            Self::Lz4 => "lz4",
        }
    }
}

/// A codec at work.
type Codec = Box<dyn DecodeV2 + Send>;

/// # Errors
/// `Config` when this binary lacks the codec, names the cargo feature.
fn codec(compression: Compression) -> Result<Codec> {
    #[cfg(feature = "brotli")]
    use async_compression::codecs::BrotliDecoder;
    #[cfg(feature = "bzip2")]
    use async_compression::codecs::BzDecoder;
    #[cfg(feature = "gzip")]
    use async_compression::codecs::GzipDecoder;
    #[cfg(feature = "lz4")]
    use async_compression::codecs::Lz4Decoder;
    #[cfg(feature = "xz")]
    use async_compression::codecs::XzDecoder;
    #[cfg(feature = "zlib")]
    use async_compression::codecs::ZlibDecoder;
    #[cfg(feature = "zstd")]
    use async_compression::codecs::ZstdDecoder;

    match compression {
        #[cfg(feature = "gzip")]
        Compression::Gzip => Ok(Box::new(GzipDecoder::new())),
        #[cfg(feature = "zlib")]
        Compression::Zlib => Ok(Box::new(ZlibDecoder::new())),
        #[cfg(feature = "zstd")]
        Compression::Zstd => Ok(Box::new(ZstdDecoder::new())),
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => Ok(Box::new(BzDecoder::new())),
        #[cfg(feature = "xz")]
        Compression::Xz => Ok(Box::new(XzDecoder::new())),
        #[cfg(feature = "brotli")]
        Compression::Brotli => Ok(Box::new(BrotliDecoder::new())),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Ok(Box::new(Lz4Decoder::new())),
        #[allow(unreachable_patterns, reason = "only where a codec is lacking")]
        other => Err(lacks("codec", other.name())),
    }
}

/// Whether this binary has a codec.
///
/// # Errors
/// As [`codec`].
pub(crate) fn check(compression: Compression) -> Result<()> {
    if compression == Compression::None { Ok(()) } else { codec(compression).map(drop) }
}

/// How much comes out of one call at most.
const OUTPUT: usize = 1 << 20;

/// Decompresses a stream of any number of members, a bounded amount at a time.
pub struct Decompressor {
    compression: Compression,
    codec: Codec,
    /// Whether a member has begun and not ended.
    within: bool,
    read: u64,
    written: u64,
    limit: Option<ByteSize>,
}

/// The least limit that follows from a size.
const LEAST_LIMIT: u64 = 64 << 30;
/// How many times its size something may become without a setting.
const RATIO: u64 = 1_000;

/// How many bytes so many compressed ones may become: `max_decompressed`, if it is set, else 1,000 times as many and at
/// least 64 GiB.
pub fn decompressed_limit(max_decompressed: Option<ByteSize>, compressed: u64) -> u64 {
    max_decompressed.map_or(LEAST_LIMIT.max(compressed.saturating_mul(RATIO)), ByteSize::bytes)
}

impl Decompressor {
    /// Of this codec. The limit is that of [`decompressed_limit`].
    ///
    /// # Errors
    /// `Config` when this binary lacks the codec, names the cargo feature.
    pub fn new(compression: Compression, limit: Option<ByteSize>) -> Result<Self> {
        Ok(Self { compression, codec: codec(compression)?, within: false, read: 0, written: 0, limit })
    }

    /// Appends what becomes of some of the input, at most some MiB, and gives how much of it was taken.
    ///
    /// # Errors
    /// `DataInvalid` for broken data, or too much of it.
    pub fn push(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize> {
        let begin = output.len();
        output.resize(begin + OUTPUT, 0);
        let mut buffer = WriteBuffer::new_initialized(&mut output[begin..]);
        let mut source = PartialBuffer::new(input);
        let outcome = self.run(&mut source, &mut buffer);
        let (taken, written) = (source.written_len(), buffer.written_len());
        output.truncate(begin + written);
        self.read += taken as u64;
        self.written += written as u64;
        outcome?;
        self.check_limit()?;
        Ok(taken)
    }

    fn run(&mut self, source: &mut PartialBuffer<&[u8]>, buffer: &mut WriteBuffer<'_>) -> Result<()> {
        while !source.unwritten().is_empty() && !buffer.has_no_spare_space() {
            if !self.within {
                // Zeros behind a member are padding, as tapes and some tools leave it.
                let padding = source.unwritten().iter().take_while(|byte| **byte == 0).count();
                if self.read > 0 || source.written_len() > 0 {
                    source.advance(padding);
                    if source.unwritten().is_empty() {
                        break;
                    }
                    self.codec.reinit().map_err(|error| self.broken(&error))?;
                }
                self.within = true;
            }
            let before = (source.written_len(), buffer.written_len());
            let ended = self.codec.decode(source, buffer).map_err(|error| self.broken(&error))?;
            if ended {
                self.within = false;
            } else if before == (source.written_len(), buffer.written_len()) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the input may end here. Appends what was still held back.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(&mut self, output: &mut Vec<u8>) -> Result<bool> {
        while self.within {
            let begin = output.len();
            output.resize(begin + OUTPUT, 0);
            let mut buffer = WriteBuffer::new_initialized(&mut output[begin..]);
            let ended = self.codec.decode(&mut PartialBuffer::new(&[][..]), &mut buffer);
            let written = buffer.written_len();
            output.truncate(begin + written);
            self.written += written as u64;
            self.check_limit()?;
            match ended {
                Ok(true) => self.within = false,
                Ok(false) if written > 0 => {}
                // Codecs also complain that there is nothing left to read.
                Ok(false) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// What ends too early, for messages.
    pub fn what(&self) -> String {
        format!("the {} stream", self.compression.name())
    }

    fn check_limit(&self) -> Result<()> {
        let limit = decompressed_limit(self.limit, self.read);
        if self.written <= limit {
            return Ok(());
        }
        Err(Error::data(format!("it becomes more than {} when it is decompressed", ByteSize::new(limit)))
            .help("set `max_decompressed` higher if it is meant to be so large"))
    }

    fn broken(&self, error: &std::io::Error) -> Error {
        Error::data(format!("{} is broken: {error}", self.what()))
            .detail("byte", self.read)
            .help("is `compression` right?")
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("compression", &self.compression).finish_non_exhaustive()
    }
}

#[cfg(all(
    test,
    feature = "csv",
    feature = "json",
    feature = "gzip",
    feature = "zlib",
    feature = "zstd",
    feature = "bzip2",
    feature = "xz",
    feature = "brotli",
    feature = "lz4"
))]
mod tests;
