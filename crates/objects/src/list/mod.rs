//! Which objects there are: streamed, in the order of their keys' bytes, and only the prefixes that a glob needs.

mod tree;
mod walk;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use towpath_core::{Error, ErrorKind, Result};
use towpath_files::names::tidy;
use towpath_files::{FileEntry, Glob, Place};

use crate::Bucket;

pub use walk::Walk;

/// The paths of the options, looked up in a bucket.
#[derive(Debug, Clone)]
pub struct Listing(Arc<Lookup>);

#[derive(Debug)]
struct Lookup {
    bucket: Bucket,
    roots: Vec<Root>,
    allow_empty: bool,
}

#[derive(Debug)]
enum Root {
    File(FileEntry),
    Tree { text: String, glob: Arc<Glob> },
}

impl Listing {
    /// Looks the paths up: an object, a prefix, or else a glob. A version is one of a single object.
    ///
    /// # Errors
    /// `NotFound` when a version is not there; a path without a match is noticed by the walk.
    pub async fn resolve(
        bucket: Bucket,
        paths: &[String],
        version: Option<&str>,
        allow_empty: bool,
    ) -> Result<Self> {
        if paths.is_empty() {
            return Err(Error::config("`path` lists no path"));
        }
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            roots.push(root(&bucket, path, version).await?);
        }
        let single = matches!(roots.as_slice(), [Root::File(_)]);
        if version.is_some() && !single {
            return Err(Error::config(
                "`path` must be the key of one object, because one version of it is asked for",
            ));
        }
        Ok(Self(Arc::new(Lookup { bucket, roots, allow_empty })))
    }
}

/// What a path means.
async fn root(bucket: &Bucket, text: &str, version: Option<&str>) -> Result<Root> {
    let path = tidy(text.trim_start_matches('/'));
    let path = if path == "." { String::new() } else { path };
    if Glob::has_wildcards(&path) {
        return Ok(Root::Tree { text: text.to_owned(), glob: Arc::new(Glob::parse(&path)?) });
    }
    if !path.is_empty() && !text.ends_with('/') {
        match bucket.head(&path, version).await {
            Ok(file) => return Ok(Root::File(file)),
            Err(error) if error.kind() == ErrorKind::NotFound && version.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Root::Tree { text: text.to_owned(), glob: Arc::new(Glob::everything_in(&path)?) })
}

impl Lookup {
    /// Whether an earlier path gives this object already.
    fn is_covered(&self, index: usize, key: &str) -> bool {
        self.roots[..index].iter().any(|root| match root {
            Root::File(file) => file.path == key,
            Root::Tree { glob, .. } => below(glob, key).is_some_and(|below| glob.matches(below)),
        })
    }
}

/// What a key is called below the root of a glob, if it lies there.
fn below<'a>(glob: &Glob, key: &'a str) -> Option<&'a str> {
    match glob.root() {
        "" => Some(key),
        root => key.strip_prefix(root)?.strip_prefix('/'),
    }
}

impl towpath_files::Listing for Listing {
    type Walk = Walk;

    fn walk(&self, from: Option<Place>) -> Walk {
        Walk::new(self.0.clone(), from, BTreeMap::new())
    }

    fn walk_behind(&self, from: Option<Place>, names: BTreeMap<usize, String>) -> Walk {
        Walk::new(self.0.clone(), from, names)
    }

    /// By the bytes of the key.
    fn order(left: &str, right: &str) -> Ordering {
        left.cmp(right)
    }
}
