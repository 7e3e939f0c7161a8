//! An entry of an archive as the formats read it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Context, Error, Result};
use towpath_formats::{ByteStream, Input, chunks};

use super::{Body, Entry, joined};

/// An entry: a part of an archive, unpacked if need be. What holds for the archive holds for it: it must be what was planned.
pub(crate) struct EntryInput {
    archive: Arc<dyn Input>,
    entry: Entry,
    cx: Context,
    name: String,
    #[cfg(feature = "zip")]
    head: std::sync::OnceLock<Arc<super::zip::Head>>,
}

impl EntryInput {
    pub(crate) fn new(cx: &Context, archive: Arc<dyn Input>, entry: Entry) -> Self {
        let name = joined(archive.name(), &entry.name);
        Self {
            archive,
            entry,
            cx: cx.clone(),
            name,
            #[cfg(feature = "zip")]
            head: std::sync::OnceLock::new(),
        }
    }

    /// Where the bytes lie in the archive as they are; `None` for what has to be unpacked.
    async fn plain(&self) -> Result<Option<u64>> {
        match self.entry.body {
            Body::Plain { start } => Ok(Some(start)),
            #[cfg(feature = "zip")]
            Body::Zip { method: super::zip::STORED, .. } => Ok(Some(self.head().await?.data)),
            Body::Zip { .. } => Ok(None),
        }
    }

    /// Whether any range of it can be had without those before.
    fn is_plain(&self) -> bool {
        self.archive.size().is_some()
            && match self.entry.body {
                Body::Plain { .. } => true,
                Body::Zip { method, .. } => method == 0,
            }
    }

    /// Some bytes of the archive, one after the other.
    async fn stretch(&self, range: Range<u64>) -> Result<ByteStream> {
        stretch(&*self.archive, range).await
    }

    #[cfg(feature = "zip")]
    async fn head(&self) -> Result<Arc<super::zip::Head>> {
        if let Some(head) = self.head.get() {
            return Ok(head.clone());
        }
        let Body::Zip { header, compressed, method, .. } = self.entry.body else {
            return Err(Error::unexpected("the entry is of no zip"));
        };
        let head = super::zip::Head::fetch(&*self.archive, header, &self.entry.name, compressed, method);
        let head = Arc::new(head.await?);
        Ok(self.head.get_or_init(|| head).clone())
    }

    /// The bytes of an entry of a zip from its beginning, as they lie there.
    #[cfg(feature = "zip")]
    async fn raw(&self, compressed: u64) -> Result<ByteStream> {
        let head = self.head().await?;
        let first = stream::iter((!head.first.is_empty()).then(|| Ok(head.first.clone())));
        let rest = head.data + head.first.len() as u64..head.data + compressed;
        if rest.is_empty() {
            return Ok(first.boxed());
        }
        Ok(first.chain(self.stretch(rest).await?).boxed())
    }

    async fn read(&self, from: u64, end: Option<u64>) -> Result<ByteStream> {
        #[cfg(feature = "zip")]
        if let Body::Zip { compressed, method, crc, .. } = self.entry.body
            && (from == 0 || method != super::zip::STORED)
        {
            use super::zip::{Claim, DEFLATE, STORED, checked, unpacked};
            let claim = Claim { size: self.entry.size, crc, compressed };
            let raw = self.raw(compressed).await?;
            return match method {
                STORED => Ok(checked(raw, claim)),
                DEFLATE => Ok(unpacked(&self.cx, raw, towpath_formats::Unpacker::deflate()?, claim, from)),
                _ => Ok(unpacked(&self.cx, raw, towpath_formats::Unpacker::zstd()?, claim, from)),
            };
        }
        let start = self.plain().await?.ok_or_else(|| super::lacks("zip"))?;
        let all = self.entry.size;
        // What is behind the wanted end is fetched only when somebody asks for it.
        let end = end.map_or(all, |end| end.min(all)).max(from.min(all));
        let wanted = self.stretch(start + from.min(all)..start + end).await?;
        if end == all {
            return Ok(wanted);
        }
        let (archive, rest) = (self.archive.clone(), start + end..start + all);
        let rest = stream::once(async move { stretch(&*archive, rest).await }).try_flatten();
        Ok(wanted.chain(rest).boxed())
    }
}

/// Exactly these bytes of an input, one after the other.
async fn stretch(input: &dyn Input, range: Range<u64>) -> Result<ByteStream> {
    let raw = input.stream_to(range.start, Some(range.end)).await?;
    let left = range.end - range.start;
    let cut = stream::try_unfold((raw, left), |(mut raw, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(mut bytes) = raw.try_next().await? else {
            return Err(Error::data(format!("the archive ends {left} bytes before its entry does")));
        };
        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - bytes.len() as u64;
        Ok(Some((bytes, (raw, left))))
    });
    Ok(cut.boxed())
}

impl fmt::Debug for EntryInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryInput")
            .field("archive", &self.archive)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Input for EntryInput {
    fn name(&self) -> &str {
        &self.name
    }

    /// Only where any part of it can be read: what has to be unpacked is read from its beginning.
    fn size(&self) -> Option<u64> {
        self.is_plain().then_some(self.entry.size)
    }

    fn file(&self) -> chunks::File {
        let archive = self.archive.file();
        let version = archive.version.map(|version| format!("{version}-{}", self.entry.index));
        chunks::File {
            name: joined(&archive.name, &self.entry.name),
            size: Some(self.entry.size),
            version,
            digest: None,
        }
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.stream_to(from, None).await
    }

    async fn stream_to(&self, from: u64, end: Option<u64>) -> Result<ByteStream> {
        self.read(from, end).await
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.entry.size {
            return Err(Error::data(format!("it has {} bytes, {range:?} was asked for", self.entry.size)));
        }
        if let Some(start) = self.plain().await? {
            return self.archive.range(start + range.start..start + range.end).await;
        }
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut stream = self.read(range.start, None).await?;
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let Some(more) = stream.try_next().await? else { break };
            bytes.extend_from_slice(&more);
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }
}
