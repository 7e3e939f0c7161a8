//! An object as the formats read it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;
use towpath_core::{Context, Error, Realm, Result};
use towpath_files::FileEntry;
use towpath_formats::{ByteStream, Input, chunks};

use crate::Bucket;
use crate::reference::Reference;

/// The first range of a stream: a reader that only looks at the beginning wastes little.
const FIRST: u64 = 1 << 20;

/// Where ranges end, all but the first and the last: at multiples of this. Large objects mostly come in parts of that size, and
/// stores read parts as a whole; a range across two of them would cost both.
/// <https://docs.aws.amazon.com/whitepapers/latest/s3-optimizing-performance-best-practices/use-byte-range-fetches.html>
const PART: u64 = 8 << 20;

/// How much behind the end of a piece is fetched with it: the rest of its last row, as a rule.
const MARGIN: u64 = 64 << 10;

/// What a reader gets at a time.
const CHUNK: u64 = 512 << 10;

/// How many ranges are on their way at once.
const AHEAD: usize = 2;

/// Opens a bucket on behalf of a stream.
#[async_trait]
pub trait Opener: fmt::Debug + Send + Sync + 'static {
    /// The bucket.
    ///
    /// # Errors
    /// As for its first request: without credentials, or when nobody answers.
    async fn open(&self, cx: &Context) -> Result<Bucket>;

    /// Another bucket of the same server, with the same credentials.
    fn other(&self, bucket: &str) -> Arc<dyn Opener>;

    /// What people call a key.
    fn display(&self, key: &str) -> String;
}

/// An object that must not change while it is read.
#[derive(Clone)]
pub struct ObjectInput(Arc<Inner>);

struct Inner {
    opener: Arc<dyn Opener>,
    bucket: OnceCell<Bucket>,
    cx: Context,
    file: FileEntry,
    shown: String,
    below: String,
    reference: Option<String>,
}

impl ObjectInput {
    /// An object that is called `below` where it is read as it is.
    pub fn new(opener: Arc<dyn Opener>, cx: &Context, file: FileEntry, below: String) -> Self {
        Self::known(opener, cx, file, below, None)
    }

    /// The same, of a bucket in a realm: it need not be read where the sink has bytes copied out of that.
    pub fn in_realm(
        opener: Arc<dyn Opener>,
        cx: &Context,
        file: FileEntry,
        below: String,
        realm: &Realm,
        bucket: &str,
    ) -> Self {
        let is_copied = cx.copier() == Some(realm);
        let reference = is_copied.then(|| Reference::to(bucket, &file)).flatten();
        Self::known(opener, cx, file, below, reference)
    }

    fn known(
        opener: Arc<dyn Opener>,
        cx: &Context,
        file: FileEntry,
        below: String,
        reference: Option<String>,
    ) -> Self {
        let shown = opener.display(&file.path);
        Self(Arc::new(Inner {
            opener,
            bucket: OnceCell::new(),
            cx: cx.clone(),
            file,
            shown,
            below,
            reference,
        }))
    }

    /// Gets a range in a task of its own: a request under way must not wait, with its permit in hand, until a reader asks for
    /// its bytes.
    fn get(&self, range: Range<u64>, chunk: u64) -> AbortOnDropHandle<Result<Vec<Bytes>>> {
        let input = self.0.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let bucket = input.bucket.get_or_try_init(|| input.opener.open(&input.cx)).await?;
            let length = range.end - range.start;
            let chunks = bucket.chunks(&input.file, range, chunk).await?;
            input.cx.metrics().add_bytes_read(length);
            Ok(chunks)
        }))
    }
}

async fn joined(task: AbortOnDropHandle<Result<Vec<Bytes>>>) -> Result<Vec<Bytes>> {
    task.await.map_err(|error| Error::unexpected("a read ended in the middle").source(error))?
}

impl fmt::Debug for ObjectInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObjectInput").field(&self.0.file).finish()
    }
}

#[async_trait]
impl Input for ObjectInput {
    fn name(&self) -> &str {
        &self.0.shown
    }

    fn size(&self) -> Option<u64> {
        Some(self.0.file.size)
    }

    fn file(&self) -> chunks::File {
        let FileEntry { size, modified, tag, version, .. } = &self.0.file;
        let pinned = version.clone().or_else(|| tag.clone());
        chunks::File {
            name: self.0.below.clone(),
            size: Some(*size),
            version: Some(pinned.unwrap_or_else(|| format!("{size}-{modified}"))),
            digest: None,
        }
    }

    fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.stream_to(from, None).await
    }

    async fn stream_to(&self, from: u64, end: Option<u64>) -> Result<ByteStream> {
        let size = self.0.file.size;
        let end = end.map_or(size, |end| end.saturating_add(MARGIN).min(size));
        let (input, rest) = (self.clone(), self.clone());
        let wanted =
            stream::iter(ranges(from, end)).map(move |range| joined(input.get(range, CHUNK))).buffered(AHEAD);
        // Nothing more is fetched until somebody asks for it.
        let more =
            stream::iter(ranges(end.max(from), size)).then(move |range| joined(rest.get(range, CHUNK)));
        let pieces = wanted.chain(more).map_ok(|chunks| stream::iter(chunks.into_iter().map(Ok)));
        Ok(pieces.try_flatten().boxed())
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.0.file.size {
            return Err(Error::data(format!("it has {} bytes, {range:?} was asked for", self.0.file.size))
                .operation("read")
                .detail("object", &self.0.shown));
        }
        let mut whole = joined(self.get(range, u64::MAX)).await?;
        Ok(whole.pop().unwrap_or_default())
    }
}

/// The ranges that a stream is read in.
fn ranges(from: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut start = from;
    std::iter::from_fn(move || {
        let end = if start == from { start.saturating_add(FIRST) } else { (start / PART + 1) * PART };
        // What is left over is no request of its own.
        let end = if size.saturating_sub(end) <= MARGIN { size } else { end };
        let range = start..end;
        start = end;
        (!range.is_empty()).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(from: u64, size: u64) -> Vec<Range<u64>> {
        ranges(from, size).collect()
    }

    #[test]
    fn ranges_end_where_parts_do_and_cover_everything_once() {
        let mib = |count: u64| count << 20;
        assert_eq!(of(5, mib(20)), [5..mib(1) + 5, mib(1) + 5..mib(8), mib(8)..mib(16), mib(16)..mib(20)]);
        assert_eq!(of(7, 7), []);
        assert_eq!(of(0, 7).first(), Some(&(0..7)));
        assert_eq!(of(0, 7).len(), 1);
    }

    #[test]
    fn the_rest_of_a_last_row_is_no_request_of_its_own() {
        assert_eq!(of(0, PART + MARGIN), [0..FIRST, FIRST..PART + MARGIN]);
        assert_eq!(of(0, PART + MARGIN + 1).len(), 3);
    }
}
