//! What a connector brings: a place that holds named files.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Dataset, Error, ErrorKind, Result};
use towpath_formats::Input;

use crate::SourceOptions;

/// A place that holds named files, opened for one stream.
pub trait Store: Clone + fmt::Debug + Send + Sync + 'static {
    /// The connector's name, for errors.
    const CONNECTOR: &'static str;

    /// The options of the stream's source, as pipeline files write them.
    type Config: DeserializeOwned + JsonSchema + Send;

    /// The paths of the options, looked up.
    type Listing: Listing;

    /// Checks the options, and tells those that all stores have.
    fn open(config: Self::Config, cx: &Context)
    -> impl Future<Output = Result<(Self, SourceOptions)>> + Send;

    /// Looks the paths of the options up.
    ///
    /// # Errors
    /// `NotFound` when a single file is not there; a glob without a match is noticed by the walk.
    fn list(
        &self,
        cx: &Context,
        options: &SourceOptions,
    ) -> impl Future<Output = Result<Self::Listing>> + Send;

    /// A file as the formats read it. `name` is what it is called below the folder that is read.
    fn input(&self, cx: &Context, file: FileEntry, name: String) -> Arc<dyn Input>;

    /// Whether a file may be read, without reading it whole.
    fn probe(&self, cx: &Context, file: &FileEntry) -> impl Future<Output = Result<()>> + Send;

    /// The places that could be looked into, for a store that was opened without any: the buckets of an account. `None`
    /// when it was told where to look.
    fn places(&self, _cx: &Context) -> impl Future<Output = Result<Option<Vec<Dataset>>>> + Send {
        std::future::ready(Ok(None))
    }

    /// What a person calls a path: a path, or a URL without secrets. As an option it means the same.
    fn display(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// The paths of the options, looked up.
pub trait Listing: Clone + Send + Sync + 'static {
    /// A walk through them.
    type Walk: Walk;

    /// From the file at this place on, which comes once more if it is still there.
    fn walk(&self, from: Option<Place>) -> Self::Walk;

    /// The same, for somebody who knows the files up to these names, told by the index of the path. They may be left out,
    /// and a path of which nothing else is left is no error.
    fn walk_behind(&self, from: Option<Place>, names: BTreeMap<usize, String>) -> Self::Walk {
        // A store that finds its files as quickly leaves out nothing.
        drop(names);
        self.walk(from)
    }

    /// The order in which paths of one root come.
    fn order(left: &str, right: &str) -> Ordering;

    /// The order of all places.
    fn compare(left: &Place, right: &Place) -> Ordering {
        left.root.cmp(&right.root).then_with(|| Self::order(&left.path, &right.path))
    }
}

/// A walk through a listing, lazily, in an order that never changes.
pub trait Walk: Send + 'static {
    /// The next file.
    fn next(&mut self) -> impl Future<Output = Result<Option<Found>>> + Send;
}

/// A file as it was when it was listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path, or its key in a bucket.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// When its content was last written; nanoseconds since 1970.
    pub modified: i64,
    /// When it came here under this name, as far as the store tells; nanoseconds since 1970.
    #[serde(skip)]
    pub arrived: i64,
    /// What the store calls this content, where it does: an `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Which of several versions under one name it is, where the store keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where a listing stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The index of the path in the options.
    pub root: usize,
    /// The path of a file.
    pub path: String,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The index of the path in the options.
    pub root: usize,
    /// The file.
    pub file: FileEntry,
}

impl Found {
    /// Where the listing stands.
    pub fn place(&self) -> Place {
        Place { root: self.root, path: self.file.path.clone() }
    }
}

/// A file must be what was planned.
pub(crate) fn check_unchanged(planned: &FileEntry, found: &FileEntry) -> Result<()> {
    let is_same = (planned.size, planned.modified, &planned.tag) == (found.size, found.modified, &found.tag);
    if is_same { Ok(()) } else { Err(changed(planned, found)) }
}

/// The error for a file that is not what was planned.
pub fn changed(planned: &FileEntry, found: &FileEntry) -> Error {
    let what = if planned.size != found.size {
        format!("it has {} bytes instead of {}", found.size, planned.size)
    } else if planned.modified != found.modified {
        format!("its time of modification is {} instead of {} (ns)", found.modified, planned.modified)
    } else {
        let tag = |file: &FileEntry| file.tag.clone().unwrap_or_else(|| "none".to_owned());
        format!("its ETag is {} instead of {}", tag(found), tag(planned))
    };
    Error::new(ErrorKind::Conflict, format!("the file changed after it was planned: {what}"))
        .operation("read")
        .detail("path", &planned.path)
        .help("write files under another name and rename them when they are complete; then run again")
}
