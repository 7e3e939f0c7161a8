//! Bytes that are named: which object they are of, as source and sink of one realm understand it.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Result};
use towpath_files::FileEntry;

use crate::extras::CopySource;

/// An object as it was planned, in a bucket of the same realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    pub(crate) bucket: String,
    pub(crate) file: FileEntry,
}

impl Reference {
    /// Names an object. `None` for one that nothing tells from the next under its name, so that contents could be mixed.
    pub(crate) fn to(bucket: &str, file: &FileEntry) -> Option<String> {
        let is_pinned = file.tag.as_ref().is_some_and(|tag| !tag.starts_with("W/"));
        let reference = Self { bucket: bucket.to_owned(), file: file.clone() };
        is_pinned.then(|| serde_json::to_string(&reference).ok()).flatten()
    }

    pub(crate) fn of(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::unexpected("what a chunk names cannot be read").source(error))
    }

    /// Whether a part says by its own `ETag` that it is this content. Not every server puts tags in quotes everywhere.
    pub(crate) fn is_tagged(&self, part: &str) -> bool {
        let bare = |tag: &str| tag.trim_matches('"').to_owned();
        self.file.tag.as_deref().is_some_and(|tag| bare(tag) == bare(part))
    }

    /// Some of its bytes.
    pub(crate) fn source(&self, range: &Range<u64>) -> CopySource {
        let is_whole = *range == (0..self.file.size);
        CopySource {
            bucket: Some(self.bucket.clone()),
            key: self.file.path.clone(),
            tag: self.file.tag.clone(),
            version: self.file.version.clone(),
            range: (!is_whole).then(|| range.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_with_what_tells_its_content_or_not_at_all() {
        let file = |tag: Option<&str>| FileEntry {
            path: "a/b".to_owned(),
            size: 10,
            tag: tag.map(str::to_owned),
            ..FileEntry::default()
        };
        let named = Reference::of(&Reference::to("landing", &file(Some("\"x\""))).unwrap()).unwrap();
        let source = named.source(&(0..10));
        assert_eq!((source.bucket.as_deref(), source.tag.as_deref()), (Some("landing"), Some("\"x\"")));
        assert_eq!((source.range, named.source(&(0..9)).range), (None, Some(0..9)));
        assert_eq!(Reference::to("landing", &file(None)), None);
        assert_eq!(Reference::to("landing", &file(Some("W/\"x\""))), None);
    }
}
