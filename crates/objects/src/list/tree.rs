//! The objects that a glob matches: level by level where it says what a level's names look like, and below that in one go.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use towpath_core::{Error, Result};
use towpath_files::{FileEntry, Glob, Level};

use crate::{Bucket, ListRequest, Page};

/// How many prefixes of one level are listed ahead. Each holds a page at most.
const AHEAD: usize = 16;

type Objects = BoxStream<'static, Result<FileEntry>>;

/// A glob in a bucket, or the part of it below a prefix.
#[derive(Clone)]
pub(super) struct Tree {
    bucket: Bucket,
    glob: Arc<Glob>,
    /// Empty, or with a `/` at its end.
    prefix: String,
    depth: usize,
}

impl Tree {
    pub(super) fn new(bucket: Bucket, glob: Arc<Glob>) -> Self {
        let prefix = if glob.root().is_empty() { String::new() } else { format!("{}/", glob.root()) };
        Self { bucket, glob, prefix, depth: 0 }
    }

    /// The objects in order, from this key on.
    pub(super) fn objects(self, from: Option<String>) -> Objects {
        match self.glob.level(self.depth) {
            Level::Folders { head } => {
                let request =
                    self.request(head, true, from.as_deref().and_then(|from| self.before_folder(from)));
                self.folders(request, from)
            }
            Level::Files { head } => {
                let request = self.request(head, true, from.as_deref().and_then(before));
                self.files(request, from)
            }
            Level::Everything { head } => {
                let request = self.request(head, false, from.as_deref().and_then(before));
                self.files(request, from)
            }
        }
    }

    fn request(&self, head: &str, folders: bool, after: Option<String>) -> ListRequest {
        let prefix = format!("{}{head}", self.prefix);
        // Some servers take a key before the prefix amiss; and some would leave out what they list out of order.
        let after = after.filter(|after| *after > prefix && self.bucket.extras().lists_in_order());
        ListRequest { prefix, folders, after, token: None }
    }

    /// What comes before the folder that leads to a key, and everything in it.
    fn before_folder(&self, from: &str) -> Option<String> {
        let rest = from.strip_prefix(&self.prefix)?;
        let folder = rest.split('/').next().unwrap_or_default();
        before(&format!("{}{folder}", self.prefix))
    }

    fn files(self, request: ListRequest, from: Option<String>) -> Objects {
        let root = self.prefix_of_root();
        let is_wanted = move |file: &FileEntry| {
            let below = file.path.strip_prefix(&root).unwrap_or(&file.path);
            // Some tools mark folders by an object.
            !file.path.ends_with('/')
                && from.as_ref().is_none_or(|from| file.path >= *from)
                && self.glob.matches(below)
        };
        let files = pages(self.bucket, request).map_ok(move |page| {
            let files: Vec<_> = page.files.into_iter().filter(|file| is_wanted(file)).map(Ok).collect();
            stream::iter(files)
        });
        files.try_flatten().boxed()
    }

    fn folders(self, request: ListRequest, from: Option<String>) -> Objects {
        let bucket = self.bucket.clone();
        let below = pages(bucket, request).map_ok(move |page| {
            let trees = page.prefixes.into_iter().filter_map(|prefix| self.enter(prefix, from.as_deref()));
            let trees: Vec<Result<Objects>> = trees.map(|(tree, from)| Ok(tree.objects(from))).collect();
            stream::iter(trees)
        });
        let ahead = below.try_flatten().map(|objects| async { begin(objects?).await });
        ahead.buffered(AHEAD).try_flatten().boxed()
    }

    /// What lies in a folder, if the glob wants any of it from this key on.
    fn enter(&self, prefix: String, from: Option<&str>) -> Option<(Self, Option<String>)> {
        let leads_there = from.filter(|from| from.starts_with(&prefix));
        if leads_there.is_none() && from.is_some_and(|from| prefix.as_str() < from) {
            return None;
        }
        let root = self.prefix_of_root();
        let below = prefix.strip_prefix(&root)?.trim_end_matches('/');
        if !self.glob.may_match_in(below) {
            return None;
        }
        let from = leads_there.map(str::to_owned);
        Some((Self { prefix, depth: self.depth + 1, ..self.clone() }, from))
    }

    fn prefix_of_root(&self) -> String {
        match self.glob.root() {
            "" => String::new(),
            root => format!("{root}/"),
        }
    }
}

/// Lists up to the first object in a task of its own: a request must not wait, with its permit in hand, until somebody
/// asks for what comes behind others.
async fn begin(objects: Objects) -> Result<Objects> {
    let mut objects = objects.fuse();
    let task = tokio::spawn(async move {
        let first = objects.next().await;
        stream::iter(first).chain(objects).boxed()
    });
    AbortOnDropHandle::new(task).await.map_err(lost)
}

/// The pages of a listing, in order.
fn pages(bucket: Bucket, request: ListRequest) -> BoxStream<'static, Result<Page>> {
    let pages = stream::try_unfold(Some((request, String::new())), move |state| {
        let bucket = bucket.clone();
        async move {
            let Some((request, last)) = state else { return Ok(None) };
            let (asked, asking) = (request.clone(), bucket.clone());
            let task = AbortOnDropHandle::new(tokio::spawn(async move { asking.list(&asked).await }));
            let mut page = task.await.map_err(lost)??;
            let last = in_order(&bucket, &mut page, request.folders, last)?;
            let next = page.next.take();
            Ok(Some((page, next.map(|token| (ListRequest { token: Some(token), ..request }, last)))))
        }
    });
    pages.boxed()
}

/// Puts a page in order, and tells its last name. Some servers list folder by folder, so that `a/b` comes before `a-b`;
/// that is mended within a page. Across pages it would lose objects when planning goes on behind one.
fn in_order(bucket: &Bucket, page: &mut Page, folders: bool, last: String) -> Result<String> {
    page.files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    page.prefixes.sort_unstable();
    let files = || page.files.iter().map(|file| &file.path);
    let mut names: Vec<&String> =
        if folders { page.prefixes.iter().chain(files()).collect() } else { files().collect() };
    names.sort_unstable();
    match (names.first(), names.last()) {
        (Some(first), _) if **first < last => {
            Err(Error::unsupported("the server does not list keys in the order of their bytes")
                .operation("list")
                .detail("object", bucket.display(first))
                .detail("behind", last)
                .help("read each of its folders by a `path` of its own"))
        }
        (_, Some(newest)) => Ok((*newest).clone()),
        _ => Ok(last),
    }
}

fn lost(error: JoinError) -> Error {
    Error::unexpected("a listing ended in the middle").source(error)
}

/// A key that comes before this one, with few others in between.
fn before(key: &str) -> Option<String> {
    let mut before = key.to_owned();
    before.pop()?;
    (!before.is_empty()).then_some(before)
}
