//! The seam between the connectors and what they share: a bucket, as one stream sees it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use towpath_core::{Context, Error, ErrorKind, Result};
use towpath_files::FileEntry;

use crate::extras::{Extras, ListRequest, Operation, Page};
use crate::refusal::told;
use crate::{Refusal, retry};

/// What `object_store` has to offer for a store.
pub trait Stores: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Stores for T {}

/// A bucket, whose requests are those of one stream: its limits, its counters, its cancellation.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    url: String,
    store: Arc<dyn Stores>,
    extras: Arc<dyn Extras>,
    cx: Context,
}

impl Bucket {
    /// A bucket with this URL, such as `s3://landing`, which people read in errors.
    pub fn new(url: impl Into<String>, store: impl Stores, extras: impl Extras, cx: &Context) -> Self {
        Self(Arc::new(Inner {
            url: url.into(),
            store: Arc::new(store),
            extras: Arc::new(extras),
            cx: cx.clone(),
        }))
    }

    /// Its URL, without a `/` at the end.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// What all stores can do alike. Errors go through [`error`](Self::error).
    pub fn store(&self) -> &dyn Stores {
        &*self.0.store
    }

    /// What this store can do beside.
    pub fn extras(&self) -> &dyn Extras {
        &*self.0.extras
    }

    /// On whose behalf it is asked.
    pub fn cx(&self) -> &Context {
        &self.0.cx
    }

    /// The key as `object_store` takes it.
    ///
    /// # Errors
    /// `Unsupported` for a key that it cannot name.
    pub fn location(&self, key: &str) -> Result<Path> {
        let path = Path::parse(key).ok().filter(|path| path.as_ref() == key);
        path.ok_or_else(|| {
            Error::unsupported(
                "a key with an empty part, `.` or `..` between slashes, or control characters cannot be read",
            )
            .detail("object", self.display(key))
            .help("rename the object, or let `path` leave it out")
        })
    }

    /// One page of a listing. A page that fails is asked for again.
    ///
    /// # Errors
    /// As the store classifies them.
    pub async fn list(&self, request: &ListRequest) -> Result<Page> {
        let page = retry(&self.0.cx, || self.0.extras.list(request)).await;
        page.map_err(|error| self.explained(error, Operation::List, &request.prefix))
    }

    /// An error of `object_store` as one of ours.
    pub fn error(&self, error: object_store::Error, operation: Operation, key: &str) -> Error {
        self.explained(classified(error), operation, key)
    }

    /// Says where an error happened, and which permission is missing.
    pub fn explained(&self, error: Error, operation: Operation, key: &str) -> Error {
        let place = self.display(key);
        let needed = self.named_in(error.message()).unwrap_or(operation);
        let permission = self.0.extras.permission(needed);
        let denied = error.kind() == ErrorKind::PermissionDenied && error.help_text().is_none();
        let error = match permission.filter(|_| denied) {
            Some(permission) => {
                let role = self.0.extras.role(needed);
                let role = role.map_or_else(String::new, |role| format!(", as the role `{role}` does"));
                error.help(format!("grant `{permission}` on {place}{role}"))
            }
            None => error,
        };
        error.operation(operation.verb()).detail("object", place)
    }

    /// What needs the permission that a store names itself: who replaces an object may have to be allowed to remove it.
    fn named_in(&self, message: &str) -> Option<Operation> {
        let is_named = |operation: &Operation| {
            let permission = self.0.extras.permission(*operation);
            permission.is_some_and(|permission| is_word_of(message, permission))
        };
        Operation::ALL.into_iter().find(is_named)
    }

    /// What people call a key.
    pub fn display(&self, key: &str) -> String {
        format!("{}/{key}", self.0.url)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.url).finish()
    }
}

/// Whether a text holds a word, and not only a longer one that begins with it.
fn is_word_of(text: &str, word: &str) -> bool {
    let mut behind = text.split(word).skip(1);
    behind.any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
}

/// An object as a store tells of it.
pub(crate) fn entry(key: &str, meta: &ObjectMeta) -> FileEntry {
    // Some stores are more exact in listings than in the headers of an object.
    let modified = meta.last_modified.timestamp().saturating_mul(1_000_000_000);
    FileEntry {
        path: key.to_owned(),
        size: meta.size,
        modified,
        arrived: modified,
        tag: meta.e_tag.clone(),
        version: None,
    }
}

/// An error of `object_store`: what the store said, or what was said of a request without an answer.
pub fn classified(error: object_store::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return refusal.error();
        }
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return told(ours);
        }
        cause = inner.source();
    }
    let kind = match &error {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. } => {
            ErrorKind::Conflict
        }
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Unexpected,
    };
    Error::new(kind, "the store's answer cannot be used").source(error)
}
