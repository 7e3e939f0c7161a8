//! What tests of archives share.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use towpath_core::Result;
use towpath_formats::{ByteStream, Input, MemoryInput};
use towpath_testkit::context;

use super::wanted::Wanted;
use super::{Entry, EntryInput, Kind, Limits, entries};
use crate::Paths;

/// An input that notes how it is read.
#[derive(Debug)]
pub(super) struct Counted {
    input: MemoryInput,
    /// How often it was begun to be read through.
    streams: AtomicU64,
    /// How many ranges were asked for, and how many bytes.
    ranges: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    pub(super) fn new(input: MemoryInput) -> Arc<Self> {
        let zero = AtomicU64::default;
        Arc::new(Self { input, streams: zero(), ranges: zero(), bytes: zero() })
    }

    /// Streams, ranges and their bytes so far.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.streams, &self.ranges, &self.bytes].map(|count| count.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Input for Counted {
    fn name(&self) -> &str {
        self.input.name()
    }

    fn size(&self) -> Option<u64> {
        self.input.size()
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.input.stream(from).await
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        self.ranges.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.input.range(range).await
    }
}

pub(super) fn limits(wanted: &str) -> Limits {
    let wanted = Wanted::new(&Paths(vec![wanted.to_owned()])).unwrap();
    Limits { wanted, max_entries: 100_000, max_decompressed: None }
}

/// The entries of an archive.
pub(super) async fn listed(archive: &[u8], kind: Kind, limits: Limits) -> Result<Vec<Entry>> {
    entries(&context(), input(archive), kind, Arc::new(limits)).try_collect().await
}

pub(super) fn input(archive: &[u8]) -> Arc<dyn Input> {
    Arc::new(MemoryInput::new("in/a.zip", archive.to_vec()))
}

pub(super) fn entry_input(archive: &[u8], entry: &Entry) -> EntryInput {
    EntryInput::new(&context(), input(archive), entry.clone())
}

/// The bytes of an entry from an offset on.
pub(super) async fn content(archive: &[u8], entry: &Entry, from: u64) -> Result<Vec<u8>> {
    let stream = entry_input(archive, entry).stream(from).await?;
    Ok(stream.try_collect::<Vec<_>>().await?.concat())
}

/// The error of listing all entries and reading them.
pub(super) async fn error(archive: &[u8], kind: Kind, limits: Limits) -> String {
    let found = async {
        for entry in listed(archive, kind, limits).await? {
            content(archive, &entry, 0).await?;
        }
        Ok(())
    };
    let found: Result<()> = found.await;
    found.expect_err("it must fail").to_string()
}
