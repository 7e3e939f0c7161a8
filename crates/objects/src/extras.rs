//! What stores can do beside what all of them do alike.

use std::fmt;

use async_trait::async_trait;
use towpath_core::Result;
use towpath_files::FileEntry;

/// What is done with objects; errors and permissions are told by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Listing keys.
    List,
    /// Reading an object, or what is known of it.
    Read,
    /// Writing an object, or a part of it.
    Write,
    /// Removing an object.
    Delete,
    /// Listing uploads that were not completed.
    ListUploads,
    /// Giving an upload up.
    AbortUpload,
}

impl Operation {
    /// The verb, as errors have it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::ListUploads => "list uploads",
            Self::AbortUpload => "abort upload",
        }
    }
}

/// Which keys are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// What keys begin with.
    pub prefix: String,
    /// Whether keys with a further `/` behind the prefix are told as one prefix each.
    pub folders: bool,
    /// Keys up to this one are left out.
    pub after: Option<String>,
    /// Goes on behind the page that gave this.
    pub token: Option<String>,
}

/// A page of a listing. Keys and prefixes come in the order of their bytes, each in its list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub files: Vec<FileEntry>,
    /// What several keys have in common, up to and with a `/`.
    pub prefixes: Vec<String>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<String>,
}

/// What a store can do beside what `object_store` does with all of them alike.
#[async_trait]
pub trait Extras: fmt::Debug + Send + Sync + 'static {
    /// One page of a listing.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn list(&self, request: &ListRequest) -> Result<Page>;

    /// Whether keys come in the order of their bytes, so that a listing may begin behind one.
    fn lists_in_order(&self) -> bool;

    /// The permission that an operation needs, as the provider calls it, such as `s3:GetObject`.
    fn permission(&self, operation: Operation) -> Option<&'static str>;
}
