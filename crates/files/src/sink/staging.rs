//! How files are staged.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, Result, Staged};
use towpath_formats::{Input, Output};

/// Where the files of a load are staged. What differs between folders and buckets.
pub trait Staging: Clone + fmt::Debug + Send + Sync + 'static {
    /// The connector's name, for errors.
    const CONNECTOR: &'static str;

    /// Where the bytes of a file go. Dropped, it leaves nothing behind.
    type Output: Output;

    /// A file that is written and goes away again unless it is kept.
    type Held: Send + 'static;

    /// A staged file, as receipts hold it.
    type File: StagedFile;

    /// How many files a writer keeps open at once, of all the folders that it writes into. When another is needed, one is
    /// finished. What a file holds back in memory bounds it.
    fn most_open(&self) -> usize {
        64
    }

    /// Begins a file that will have this path below the base.
    fn begin(&self, cx: &Context, path: String, role: Role) -> Self::Output;

    /// Writes what is left. A [`Role::Whole`] file is durable afterwards.
    fn finish(&self, output: Self::Output) -> impl Future<Output = Result<Self::Held>> + Send;

    /// Lets a file stay until it is committed or thrown away.
    fn keep(&self, held: Self::Held) -> Self::File;

    /// Makes a segment, which is the only one, the file of its path.
    fn promote(&self, cx: &Context, segment: &Self::File) -> impl Future<Output = Result<Self::File>> + Send;

    /// A segment with its size, to be read.
    fn open(
        &self,
        cx: &Context,
        segment: &Self::File,
    ) -> impl Future<Output = Result<(Arc<dyn Input>, u64)>> + Send;

    /// The visible file of a path below the base, if there is one.
    fn open_committed(
        &self,
        cx: &Context,
        path: &str,
    ) -> impl Future<Output = Result<Option<Arc<dyn Input>>>> + Send;
}

/// What becomes of a staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It will be the file of its path as it is.
    Whole,
    /// It may be put together with others, so it can be read before the commit.
    Segment,
}

/// A staged file, as receipts hold it.
pub trait StagedFile:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// Its path below the base.
    fn path(&self) -> &str;
}

/// What a receipt holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: StagedFile"))]
pub struct Receipt<F> {
    /// The files.
    pub files: Vec<F>,
    /// The columns of the files, where they may have to be brought together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaRef>,
}

impl<F: StagedFile> Receipt<F> {
    /// Reads what a writer's receipt holds.
    ///
    /// # Errors
    /// `Unsupported` for the receipt of a newer build.
    pub fn of(staged: &Staged) -> Result<Self> {
        check_version(staged)?;
        serde_json::from_value(staged.payload.clone())
            .map_err(|error| Error::unexpected("a receipt cannot be read").source(error))
    }
}

/// Refuses the receipt of a newer build.
pub(super) fn check_version(staged: &Staged) -> Result<()> {
    if staged.version == 1 {
        return Ok(());
    }
    Err(Error::unsupported(format!("a receipt has version {}, this build reads 1", staged.version)))
}
