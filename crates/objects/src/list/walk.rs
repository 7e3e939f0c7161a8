//! A walk through the paths, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use towpath_core::{Error, ErrorKind, Result};
use towpath_files::{FileEntry, Found, Place};

use super::tree::Tree;
use super::{Lookup, Root};

/// A walk through a listing.
pub struct Walk {
    lookup: Arc<Lookup>,
    /// Objects before this place are left out.
    from: Option<Place>,
    /// Names up to which everything is known, by path.
    known: BTreeMap<usize, String>,
    /// The path under way, by its index.
    under_way: Option<(usize, BoxStream<'static, Result<FileEntry>>)>,
    next: usize,
    /// Whether the path under way has matched anything.
    matched: bool,
}

impl Walk {
    pub(super) fn new(lookup: Arc<Lookup>, from: Option<Place>, known: BTreeMap<usize, String>) -> Self {
        let next = from.as_ref().map_or(0, |from| from.root);
        Self { lookup, from, known, under_way: None, next, matched: false }
    }

    fn begin(&mut self, index: usize) {
        self.next = index + 1;
        let place = self.from.take_if(|from| from.root == index).map(|from| from.path);
        let from = place.max(self.known.remove(&index));
        // Before a place there was a match already.
        self.matched = from.is_some();
        let objects = match &self.lookup.roots[index] {
            Root::File(file) => {
                let wanted = from.is_none_or(|from| file.path >= from);
                let file = wanted.then(|| Ok(file.clone()));
                self.matched = true;
                Box::pin(futures::stream::iter(file)) as BoxStream<'static, _>
            }
            Root::Tree { glob, .. } => Tree::new(self.lookup.bucket.clone(), glob.clone()).objects(from),
        };
        self.under_way = Some((index, objects));
    }

    fn end(&self, index: usize) -> Result<()> {
        match &self.lookup.roots[index] {
            Root::Tree { text, .. } if !self.matched && !self.lookup.allow_empty => {
                let wanted = self.lookup.bucket.display(text.trim_start_matches('/'));
                Err(Error::new(ErrorKind::NotFound, "no object matches the path")
                    .operation("list")
                    .detail("path", wanted)
                    .help("check `path`, or set `allow_empty: true` if that is fine"))
            }
            _ => Ok(()),
        }
    }
}

impl towpath_files::Walk for Walk {
    async fn next(&mut self) -> Result<Option<Found>> {
        loop {
            let Some((index, objects)) = &mut self.under_way else {
                if self.next >= self.lookup.roots.len() {
                    return Ok(None);
                }
                self.begin(self.next);
                continue;
            };
            let index = *index;
            let Some(file) = objects.try_next().await? else {
                self.under_way = None;
                self.end(index)?;
                continue;
            };
            self.matched = true;
            if !self.lookup.is_covered(index, &file.path) {
                self.lookup.bucket.location(&file.path)?;
                return Ok(Some(Found { root: index, file }));
            }
        }
    }
}
