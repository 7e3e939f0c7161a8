//! What stores can do beside what all of them do alike.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
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
    /// Listing the parts of an upload.
    ListParts,
    /// Giving an upload up.
    AbortUpload,
}

impl Operation {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::List,
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::ListUploads,
        Self::ListParts,
        Self::AbortUpload,
    ];

    /// The verb, as errors have it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::ListUploads => "list uploads",
            Self::ListParts => "list parts",
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

/// What an object says of itself beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appearance {
    /// The media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What the bytes are encoded with on top of that, such as `gzip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// How caches treat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// Whether a browser shows or saves it, and under which name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// The language of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Whatever its owner has noted of it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// How it is stored, as the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Names and values to find and to bill it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl Appearance {
    /// What this does not say, the other one does, but for how it is stored and by what it is found.
    pub(crate) fn or(mut self, other: Self) -> Self {
        self.content_type = self.content_type.or(other.content_type);
        self.content_encoding = self.content_encoding.or(other.content_encoding);
        self.cache_control = self.cache_control.or(other.cache_control);
        self.content_disposition = self.content_disposition.or(other.content_disposition);
        self.content_language = self.content_language.or(other.content_language);
        for (name, value) in other.metadata {
            self.metadata.entry(name).or_insert(value);
        }
        self
    }

    /// Whether it says nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// An upload that was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key of the object that it would become.
    pub key: String,
    /// What the store calls it.
    pub id: String,
}

/// A page of uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uploads {
    /// The uploads.
    pub uploads: Vec<Upload>,
    /// The last one, behind which the next page begins; `None` where there is no other page.
    pub next: Option<Upload>,
}

/// Bytes that the service holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// The bucket, if it is another one.
    pub bucket: Option<String>,
    /// The object.
    pub key: String,
    /// The `ETag` that it must have.
    pub tag: Option<String>,
    /// Which of several versions it is.
    pub version: Option<String>,
    /// Which of its bytes; `None` for all of them. Stores take no ranges of small objects.
    pub range: Option<Range<u64>>,
}

/// What a store can do beside what `object_store` does with all of them alike.
#[async_trait]
pub trait Extras: fmt::Debug + Send + Sync + 'static {
    /// One page of a listing.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn list(&self, request: &ListRequest) -> Result<Page>;

    /// Begins an upload; the object will carry the mark ([`MARK`](crate::MARK)). Tells what the store calls it.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn begin_upload(&self, key: &str, mark: &str, appearance: &Appearance) -> Result<String>;

    /// Uploads below a prefix that were not completed, behind this one.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn uploads(&self, prefix: &str, after: Option<&Upload>) -> Result<Uploads>;

    /// Whether an upload can go on: it is there, with these of its parts. By default it is looked for among the uploads.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn is_open(&self, upload: &Upload, _parts: &[String]) -> Result<bool> {
        let mut after = None;
        loop {
            let page = self.uploads(&upload.key, after.as_ref()).await?;
            if page.uploads.contains(upload) {
                return Ok(true);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }

    /// Completes an upload where the store wants to hear only now what the object carries and says of itself. `false` where
    /// `object_store` completes it, as it does by default.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again. `NotFound` when the upload, or one of its parts, is gone.
    async fn complete(
        &self,
        _upload: &Upload,
        _parts: &[String],
        _mark: &str,
        _appearance: &Appearance,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Makes a part of an upload out of bytes that the service holds, without moving them. `None` where it cannot.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again. `Conflict` when the source has another `ETag`.
    async fn copy_part(&self, upload: &Upload, index: usize, source: &CopySource) -> Result<Option<String>>;

    /// How many bytes the parts of an upload have that have arrived, by their indexes from 0 on. `None` where the store does
    /// not tell; by default it does not.
    ///
    /// # Errors
    /// As the store classifies them; a retryable one is tried again.
    async fn part_sizes(&self, _upload: &Upload) -> Result<Option<BTreeMap<usize, u64>>> {
        Ok(None)
    }

    /// Whether keys come in the order of their bytes, so that a listing may begin behind one.
    fn lists_in_order(&self) -> bool;

    /// The permission that an operation needs, as the provider calls it, such as `s3:GetObject`.
    fn permission(&self, operation: Operation) -> Option<&'static str>;

    /// A role that has this permission, where the provider has such roles.
    fn role(&self, _operation: Operation) -> Option<&'static str> {
        None
    }
}
