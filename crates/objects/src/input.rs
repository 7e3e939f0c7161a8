//! An object as the formats read it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::{OnceCell, mpsc};
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

/// How many chunks of one long range may wait for a reader: as much as of ranges on their way.
const LEAD: usize = (AHEAD as u64 * PART / CHUNK) as usize;

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

    /// Gets a range by a single request as long as the reader keeps up: a store may have less work with it than with many. The
    /// request is given up once so much waits that it would have to wait itself; then the rest comes by smaller ranges.
    fn follow(&self, range: Range<u64>) -> ByteStream {
        let (sender, receiver) = mpsc::channel(LEAD);
        let (input, end) = (self.0.clone(), range.end);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let bucket = input.bucket.get_or_try_init(|| input.opener.open(&input.cx)).await?;
            let mut reached = range.start;
            let mut pass_on = |chunk: Bytes| {
                let length = chunk.len() as u64;
                let is_taken = sender.try_send(chunk).is_ok();
                if is_taken {
                    input.cx.metrics().add_bytes_read(length);
                    reached += length;
                }
                is_taken
            };
            bucket.hand_on(&input.file, range, CHUNK, &mut pass_on).await?;
            Ok(reached)
        }));
        let coming = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
        });
        let input = self.clone();
        let rest = async move { Ok::<_, Error>(input.ahead(parts(joined(task).await?, end))) };
        coming.chain(stream::once(rest).try_flatten()).boxed()
    }

    /// Ranges that follow each other, of which some are on their way before they are asked for.
    fn ahead(&self, ranges: impl Iterator<Item = Range<u64>> + Send + 'static) -> ByteStream {
        let input = self.clone();
        let ranges = stream::iter(ranges).map(move |range| joined(input.get(range, CHUNK))).buffered(AHEAD);
        ranges.map_ok(each).try_flatten().boxed()
    }

    /// Ranges of which none is fetched until somebody asks for it.
    fn behind(&self, ranges: impl Iterator<Item = Range<u64>> + Send + 'static) -> ByteStream {
        let input = self.clone();
        let ranges = stream::iter(ranges).then(move |range| joined(input.get(range, CHUNK)));
        ranges.map_ok(each).try_flatten().boxed()
    }
}

fn each(chunks: Vec<Bytes>) -> impl Stream<Item = Result<Bytes>> {
    stream::iter(chunks.into_iter().map(Ok))
}

async fn joined<T>(task: AbortOnDropHandle<Result<T>>) -> Result<T> {
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
        let Some(end) = end else { return Ok(self.ahead(ranges(from, size))) };
        let end = end.saturating_add(MARGIN).max(from).min(size);
        Ok(self.follow(from..end).chain(self.behind(ranges(end, size))).boxed())
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

/// The ranges that a stream is read in of which nobody knows how far it will be read.
fn ranges(from: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let first = end_of(from.saturating_add(FIRST), size);
    (from < first).then_some(from..first).into_iter().chain(parts(first, size))
}

/// The ranges of what is read to its end.
fn parts(from: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let mut start = from;
    std::iter::from_fn(move || {
        let range = start..end_of((start / PART + 1) * PART, size);
        start = range.end;
        (!range.is_empty()).then_some(range)
    })
}

/// Where a range ends that would end here: what is left over is no request of its own.
fn end_of(end: u64, size: u64) -> u64 {
    if size.saturating_sub(end) <= MARGIN { size } else { end }
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
        assert_eq!(parts(5, mib(20)).collect::<Vec<_>>(), [5..mib(8), mib(8)..mib(16), mib(16)..mib(20)]);
        assert_eq!(parts(7, 7).count(), 0);
    }

    #[test]
    fn the_rest_of_a_last_row_is_no_request_of_its_own() {
        assert_eq!(of(0, PART + MARGIN), [0..FIRST, FIRST..PART + MARGIN]);
        assert_eq!(of(0, PART + MARGIN + 1).len(), 3);
    }
}
