//! What tests of archives share.

use std::sync::Arc;

use futures::TryStreamExt;
use towpath_core::Result;
use towpath_formats::{Input, MemoryInput};
use towpath_testkit::context;

use super::wanted::Wanted;
use super::{Entry, EntryInput, Kind, Limits, entries};
use crate::Paths;

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
