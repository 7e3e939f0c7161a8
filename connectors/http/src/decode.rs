//! The bytes of an answer behind its `Content-Encoding`.
//!
//! The HTTP library could do it, but stops silently behind the first member of a gzip that has several.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use tokio::io::{AsyncBufRead, BufReader};
use tokio_util::io::{ReaderStream, StreamReader};
use towpath_core::{Error, Metrics, Result};

use crate::errors::{broken_body, undecodable_body};

/// What we can decode.
pub(crate) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, br, zstd, deflate");

/// How many decoded bytes are given at once.
const CHUNK: usize = 64 << 10;

/// The chunks of a body, decoded.
pub(crate) enum Chunks {
    /// As they came.
    Plain(Response, Arc<Metrics>),
    /// Out of decoders.
    Decoded(BoxStream<'static, io::Result<Bytes>>),
}

impl Chunks {
    /// The chunks of an answer that came with these headers. What comes over the wire is counted.
    ///
    /// # Errors
    /// `Unsupported` for an encoding that we do not know.
    pub(crate) fn new(response: Response, headers: &HeaderMap, metrics: Arc<Metrics>) -> Result<Self> {
        let encodings = encodings(headers)?;
        if encodings.is_empty() || response.content_length() == Some(0) {
            return Ok(Self::Plain(response, metrics));
        }
        let raw = response.bytes_stream().map_err(io::Error::other).inspect_ok(move |chunk| {
            metrics.add_bytes_read(chunk.len() as u64);
        });
        let mut reader: Pin<Box<dyn AsyncBufRead + Send>> = Box::pin(StreamReader::new(raw.boxed()));
        // The last one was applied last.
        for encoding in encodings.into_iter().rev() {
            reader = encoding.decoder(reader);
        }
        Ok(Self::Decoded(ReaderStream::with_capacity(reader, CHUNK).boxed()))
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` when it broke off, `DataInvalid` when it is not what its encoding says.
    pub(crate) async fn next(&mut self, received: u64) -> Result<Option<Bytes>> {
        match self {
            Self::Plain(response, metrics) => {
                let chunk = response.chunk().await.map_err(|error| broken_body(error, received))?;
                metrics.add_bytes_read(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
                Ok(chunk)
            }
            Self::Decoded(chunks) => chunks.try_next().await.map_err(|error| {
                // An error of the transport went through the decoders as it was.
                match error.downcast::<reqwest::Error>() {
                    Ok(transport) => broken_body(transport, received),
                    Err(decoder) => undecodable_body(decoder, received),
                }
            }),
        }
    }
}

/// Whether a body came in some encoding.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    encodings(headers).is_ok_and(|encodings| !encodings.is_empty())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Zlib,
    Zstd,
    Brotli,
}

impl Encoding {
    fn decoder(self, reader: Pin<Box<dyn AsyncBufRead + Send>>) -> Pin<Box<dyn AsyncBufRead + Send>> {
        match self {
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(BufReader::new(decoder))
            }
            Self::Zstd => {
                let mut decoder = ZstdDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(BufReader::new(decoder))
            }
            Self::Zlib => Box::pin(BufReader::new(ZlibDecoder::new(reader))),
            Self::Brotli => Box::pin(BufReader::new(BrotliDecoder::new(reader))),
        }
    }
}

/// The encodings in the order in which they were applied.
fn encodings(headers: &HeaderMap) -> Result<Vec<Encoding>> {
    let mut encodings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().unwrap_or_default().split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => encodings.push(Encoding::Gzip),
                "deflate" => encodings.push(Encoding::Zlib),
                "zstd" => encodings.push(Encoding::Zstd),
                "br" => encodings.push(Encoding::Brotli),
                other => {
                    return Err(Error::unsupported(format!(
                        "the server answered with the `Content-Encoding` `{other}`"
                    ))
                    .help("set `headers: { accept-encoding: identity }`"));
                }
            }
        }
    }
    Ok(encodings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Result<Vec<Encoding>> {
        encodings(&[(CONTENT_ENCODING, HeaderValue::from_static(value))].into_iter().collect())
    }

    #[test]
    fn encodings_are_read_in_their_order() {
        assert_eq!(of("gzip, BR").unwrap(), [Encoding::Gzip, Encoding::Brotli]);
        assert_eq!(of("identity").unwrap(), []);
        assert_eq!(
            of("sdch").unwrap_err().message(),
            "the server answered with the `Content-Encoding` `sdch`"
        );
    }
}
