//! Bytes that are named: the service copies them, part by part, and they never come here.
//!
//! What it will not copy is read and written as if it had been held, which the report says.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use towpath_core::{Error, ErrorKind, Result};
use towpath_files::changed;

use super::place::Place;
use crate::extras::Upload;
use crate::reference::Reference;
use crate::sink::home::Site;

/// How much is read at once where the service does not copy.
const READ: u64 = 8 << 20;

/// What named bytes become.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// A whole part, with its number.
    Part(usize, Range<u64>),
    /// Bytes that are no whole part.
    Fragment(Range<u64>),
}

/// Cuts named bytes where parts of the upload begin.
pub(super) fn cut(bytes: Range<u64>, part_size: u64, size: Option<u64>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    let mut from = bytes.start;
    while from < bytes.end {
        let index = from / part_size;
        let end = ((index + 1) * part_size).min(size.unwrap_or(u64::MAX));
        let to = end.min(bytes.end);
        stretches.push(match usize::try_from(index) {
            Ok(number) if from == index * part_size && to == end => Stretch::Part(number, from..to),
            _ => Stretch::Fragment(from..to),
        });
        from = to;
    }
    stretches
}

/// A part that has arrived.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) part: String,
    /// How long the service has to have made it, where nothing has shown yet that it did.
    pub(super) unverified: Option<u64>,
}

/// Makes a part of named bytes.
pub(super) async fn part(
    place: &Place,
    site: &Site,
    upload: &Upload,
    index: usize,
    range: Range<u64>,
    named: &Reference,
) -> Result<Copied> {
    let length = range.end - range.start;
    if place.copies.load(Relaxed) {
        let source = named.source(&range);
        match site.bucket.copy_part(upload, index, &source).await {
            Ok(Some(part)) => {
                site.bucket.cx().metrics().add_bytes_copied(length);
                // Of bytes that came in one piece the tag is their digest, and the same there as here.
                let is_same = source.range.is_none() && named.is_tagged(&part);
                return Ok(Copied { part, unverified: (!is_same).then_some(length) });
            }
            Ok(None) => read_instead(place, site, named, "the service does not copy out of it"),
            Err(error) if is_refusal(&error) => read_instead(place, site, named, &error.to_string()),
            Err(error) => return Err(told(place, site, named, error).await),
        }
    }
    let bytes = read(place, site, range, named).await?;
    let part = site.bucket.put_part(&upload.key, &upload.id, index, bytes).await?;
    Ok(Copied { part, unverified: None })
}

/// Whether a service says that it does not do such things, or not for us. Then we may still read the bytes.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Config)
}

/// From now on bytes are read.
fn read_instead(place: &Place, site: &Site, named: &Reference, why: &str) {
    if place.copies.swap(false, Relaxed) {
        let from = place.outlet.opener.other(&named.bucket).display("");
        site.bucket.cx().metrics().warn(format!(
            "the service did not copy from {}, so the bytes were read and written: {why}",
            from.trim_end_matches('/')
        ));
    }
}

/// Named bytes, read.
pub(super) async fn read(place: &Place, site: &Site, range: Range<u64>, named: &Reference) -> Result<Bytes> {
    let bucket = place.source(site, named).await?;
    let mut bytes = BytesMut::new();
    let mut from = range.start;
    while from < range.end {
        let to = (from + READ).min(range.end);
        bytes.extend_from_slice(&bucket.range(&named.file, from..to).await?);
        from = to;
    }
    site.bucket.cx().metrics().add_bytes_read(bytes.len() as u64);
    Ok(bytes.freeze())
}

/// What an error of a copy means: the object that was to be copied may be another one by now, or gone.
async fn told(place: &Place, site: &Site, named: &Reference, error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) {
        return error;
    }
    let now = async {
        let bucket = place.source(site, named).await?;
        bucket.head(&named.file.path, named.file.version.as_deref()).await
    };
    match now.await {
        Ok(now) if now.tag == named.file.tag => error,
        Ok(now) => changed(&named.file, &now).source(error),
        Err(gone) => gone,
    }
}

/// Holds the lengths of copied parts against those that the service tells.
pub(super) async fn verify(site: &Site, upload: Upload, wanted: BTreeMap<usize, u64>) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let found = match site.bucket.part_sizes(&upload).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            site.bucket.cx().metrics().warn(format!("what the service copied was not verified: {error}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let wrong = wanted.iter().find(|(index, length)| found.get(index) != Some(length));
    let Some((index, length)) = wrong else { return Ok(()) };
    let has = found.get(index).map_or_else(|| "is gone".to_owned(), |size| format!("has {size} bytes"));
    Err(Error::data(format!("a part that the service copied {has}, and must have {length}"))
        .operation("write")
        .detail("object", site.bucket.display(&upload.key))
        .detail("part", (index + 1).to_string())
        .help("run again"))
}

/// What is shared by the tasks that send the pieces of a chunk.
pub(super) type Source = Arc<Reference>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_bytes_are_cut_where_parts_begin_and_the_last_part_is_shorter() {
        use Stretch::{Fragment, Part};
        assert_eq!(cut(0..9, 4, Some(9)), [Part(0, 0..4), Part(1, 4..8), Part(2, 8..9)]);
        assert_eq!(cut(4..8, 4, Some(9)), [Part(1, 4..8)]);
        assert_eq!(cut(2..9, 4, Some(20)), [Fragment(2..4), Part(1, 4..8), Fragment(8..9)]);
        assert_eq!(cut(0..3, 4, Some(3)), [Part(0, 0..3)]);
        assert_eq!(cut(0..0, 4, Some(0)), []);
    }
}
