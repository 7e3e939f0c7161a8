//! Where a load is remembered, as keys of a bucket.

use towpath_core::{Error, LoadSpec, Result};
use towpath_files::names::encode;
use towpath_files::sink::Target;

use crate::Bucket;

/// The folder of all that Towpath remembers below the base.
const FOLDER: &str = ".towpath";

/// Where a load is remembered.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// The folder that all files of the stream lie in; empty for the whole bucket.
    base: String,
    /// The stream's folder, below the base.
    folder: String,
}

impl Home {
    pub(super) fn new(target: &Target, load: &LoadSpec) -> Self {
        Self::of_folder(target.template().base(), load)
    }

    /// The home of a load whose files lie in this folder.
    pub(super) fn of_folder(base: &str, load: &LoadSpec) -> Self {
        let folder = format!("{FOLDER}/{}/{}", encode(&load.pipeline), encode(&load.stream));
        let base = if base == "." { "" } else { base };
        Self { base: base.to_owned(), folder }
    }

    /// The prefix of all files and of all that is remembered.
    pub(super) fn prefix(&self) -> String {
        if self.base.is_empty() { String::new() } else { format!("{}/", self.base) }
    }

    /// The key of a path below the base. What receipts and manifests hold never leads out of it.
    ///
    /// # Errors
    /// `Unexpected` for one that would.
    pub(super) fn key(&self, path: &str) -> Result<String> {
        if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(Error::unexpected(
                "a path of the manifest or of a receipt leads out of the target's folder",
            )
            .detail("path", path));
        }
        Ok(format!("{}{path}", self.prefix()))
    }

    /// The path of a key below the base.
    pub(super) fn path<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix())
    }

    pub(super) fn manifest(&self) -> String {
        format!("{}{}/manifest.json", self.prefix(), self.folder)
    }

    /// The key of a list of committed files.
    pub(super) fn commit(&self, name: &str) -> String {
        format!("{}{}", self.commits(), encode(name))
    }

    /// The prefix of the lists of committed files.
    pub(super) fn commits(&self) -> String {
        format!("{}{}/commits/", self.prefix(), self.folder)
    }

    /// The prefix of all staged objects.
    pub(super) fn staged(&self) -> String {
        format!("{}{}/staged/", self.prefix(), self.folder)
    }

    /// The path, below the base, of a staged object of a run.
    pub(super) fn staged_path(&self, run: &str, name: &str) -> String {
        format!("{}/staged/{}/{name}", self.folder, encode(run))
    }

    /// The prefix of the staged objects of a run.
    pub(super) fn staged_by(&self, run: &str) -> String {
        format!("{}{}/", self.staged(), encode(run))
    }

    /// The path, below the base, of a hidden object that belongs to one that is not complete.
    pub(super) fn partial_path(&self, name: &str) -> String {
        format!("{}/partial/{name}", self.folder)
    }

    /// The prefix of such objects.
    pub(super) fn partials(&self) -> String {
        format!("{}{}/partial/", self.prefix(), self.folder)
    }

    /// A path, below the base, for a note of uploads that a run is about to begin.
    pub(super) fn note_path(&self, run: &str) -> String {
        self.staged_path(run, &format!("{:016x}.json", fastrand::u64(..)))
    }

    /// A key that nobody else uses.
    pub(super) fn probe(&self) -> String {
        format!("{}{FOLDER}/.check-{:016x}", self.prefix(), fastrand::u64(..))
    }
}

/// A stream's home in its bucket.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) bucket: Bucket,
    pub(super) home: Home,
}
