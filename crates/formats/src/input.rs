//! Where bytes come from.

use std::fmt;
use std::fs::File;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use towpath_core::{Error, Result};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// Opens a file. It blocks.
pub type OpenFile = Box<dyn FnOnce() -> Result<File> + Send>;

/// A file, an object or a body: named bytes that can be read from any offset.
#[async_trait]
pub trait Input: Send + Sync + fmt::Debug + 'static {
    /// What a person calls it: a path or a URL, without secrets.
    fn name(&self) -> &str;

    /// Its length in bytes, if it is known. Formats that are read from the end (Parquet) need it.
    fn size(&self) -> Option<u64>;

    /// What its chunks say of it when it is read as it is. By default its name is the last part of what a person calls it.
    #[cfg(feature = "bytes")]
    fn file(&self) -> crate::chunks::File {
        let name = self.name().rsplit(['/', '\\']).next().unwrap_or_default();
        crate::chunks::File { name: name.to_owned(), size: self.size(), ..Default::default() }
    }

    /// Where its bytes lie, for a sink that has them copied by the service, as [`reference_schema`] has it. `None`, as by
    /// default, where they are to be read.
    ///
    /// [`reference_schema`]: towpath_core::reference_schema
    #[cfg(feature = "bytes")]
    fn reference(&self) -> Option<&str> {
        None
    }

    /// The bytes from an offset to the end, in chunks of some hundred KiB.
    ///
    /// # Errors
    /// As the connector classifies them. A retryable one makes the retry layer open the stream anew at the position of
    /// the last batch.
    async fn stream(&self, from: u64) -> Result<ByteStream>;

    /// The same, for somebody who wants the bytes before `end`, and those of the row that goes on behind it. Who fetches
    /// ahead over a network need not fetch the rest.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    async fn stream_to(&self, from: u64, _end: Option<u64>) -> Result<ByteStream> {
        self.stream(from).await
    }

    /// Opens the file that holds its bytes at an offset, for an output that has the system copy them. `None`, as by default,
    /// where there is no file on this machine.
    fn local_file(&self, _from: u64) -> Option<OpenFile> {
        None
    }

    /// Exactly these bytes.
    ///
    /// # Errors
    /// `DataInvalid` when it ends earlier.
    async fn range(&self, range: Range<u64>) -> Result<Bytes>;
}

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct MemoryInput {
    name: String,
    bytes: Bytes,
}

impl MemoryInput {
    /// These bytes under this name.
    pub fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

#[async_trait]
impl Input for MemoryInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.bytes.len());
        let bytes = self.bytes.slice(from..);
        let chunks: Vec<_> = (0..bytes.len())
            .step_by(CHUNK)
            .map(|at| Ok(bytes.slice(at..bytes.len().min(at + CHUNK))))
            .collect();
        Ok(futures::stream::iter(chunks).boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match bounds {
            Some((start, end)) if start <= end && end <= self.bytes.len() => Ok(self.bytes.slice(start..end)),
            _ => Err(Error::data(format!("it has {} bytes, {range:?} was asked for", self.bytes.len()))
                .detail("input", &self.name)),
        }
    }
}

const CHUNK: usize = 256 << 10;
