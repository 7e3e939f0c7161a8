//! An entry of an archive, and the files that are read: those of the store, or entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use towpath_formats::Compression;

use crate::FileEntry;

/// What stands between an archive and its entry.
const BETWEEN: &str = "!/";

/// An entry of an archive, as its table or header tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Which entry of the archive it is.
    pub(crate) index: u64,
    /// Its name in the archive, without what could lead out of it.
    pub(crate) name: String,
    /// How many bytes it has when it is read.
    pub(crate) size: u64,
    pub(crate) body: Body,
}

/// Where the bytes of an entry are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    /// In a zip.
    Zip {
        /// Where its local header begins.
        header: u64,
        /// How many bytes it has there.
        compressed: u64,
        method: u16,
        crc: u32,
    },
    /// They lie in the archive as they are, from here on.
    Plain { start: u64 },
}

/// What is read as one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// A file of the store.
    #[serde(flatten)]
    pub(crate) file: FileEntry,
    /// By what it is compressed, if it is an archive that can be read only from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Compression>,
    /// What of it, if it is an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<Entry>,
}

impl Item {
    /// A file that is no archive.
    pub(crate) fn file(file: FileEntry) -> Self {
        Self { file, packed: None, entry: None }
    }

    /// Whether it is a compressed archive with all of its entries.
    pub(crate) fn is_packed(&self) -> bool {
        self.packed.is_some() && self.entry.is_none()
    }

    /// Its path: `in/a.zip!/dir/b.csv` for an entry.
    pub(crate) fn path(&self) -> Cow<'_, str> {
        self.called(&self.file.path)
    }

    /// What it is called where the file of the store is called this.
    pub(crate) fn called<'a>(&self, file: &'a str) -> Cow<'a, str> {
        match &self.entry {
            None => Cow::Borrowed(file),
            Some(entry) => Cow::Owned(joined(file, &entry.name)),
        }
    }

    /// The path whose folders tell partitions. The archive's own name is no folder.
    pub(crate) fn folders(&self) -> Cow<'_, str> {
        let path = &self.file.path;
        match &self.entry {
            None => Cow::Borrowed(path),
            Some(entry) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Cow::Owned(format!("{folder}/{}", entry.name))
            }
        }
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.entry.as_ref().map_or(self.file.size, |entry| entry.size)
    }
}

/// An entry as people read it.
pub(crate) fn joined(archive: &str, entry: &str) -> String {
    format!("{archive}{BETWEEN}{entry}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_called_by_its_archive_and_its_name() {
        let file = FileEntry { path: "in/day=1/x=1.zip".to_owned(), size: 9, ..FileEntry::default() };
        let entry =
            Entry { index: 0, name: "y=2/a.csv".to_owned(), size: 5, body: Body::Plain { start: 512 } };
        let item = Item { entry: Some(entry), ..Item::file(file.clone()) };
        assert_eq!(item.path(), "in/day=1/x=1.zip!/y=2/a.csv");
        assert_eq!(item.called("s3://b/x.zip"), "s3://b/x.zip!/y=2/a.csv");
        assert_eq!((item.folders(), item.size()), ("in/day=1/y=2/a.csv".into(), 5));
        let plain = Item::file(file);
        assert_eq!((plain.path(), plain.size()), ("in/day=1/x=1.zip".into(), 9));
        let json = serde_json::to_value(&item).unwrap();
        assert_eq!(serde_json::from_value::<Item>(json).unwrap(), item);
    }
}
