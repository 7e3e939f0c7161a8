//! Which files there are: lazily, a folder at a time, in an order that never changes.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use towpath_core::{Error, ErrorKind, Result};
use towpath_files::names::tidy;
use towpath_files::{FileEntry, Found, Glob, Listing as _, Place};

use crate::blocking::blocking;
use crate::errors::{CONNECTOR, io_error};

/// A file as the file system has it now.
pub(crate) fn entry(path: String, metadata: &Metadata) -> FileEntry {
    FileEntry {
        path,
        size: metadata.len(),
        modified: modified(metadata),
        arrived: arrived(metadata),
        ..FileEntry::default()
    }
}

/// When the content was last written.
pub(crate) fn modified(metadata: &Metadata) -> i64 {
    metadata.modified().map_or(0, nanoseconds)
}

/// A rename keeps the time of modification but not that of the change.
#[cfg(unix)]
fn arrived(metadata: &Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn arrived(metadata: &Metadata) -> i64 {
    metadata.created().map_or(0, nanoseconds)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let whole = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -whole(before.duration()), whole)
}

/// The paths of the options, looked up.
#[derive(Debug, Clone)]
pub struct Listing(Arc<Lookup>);

#[derive(Debug)]
struct Lookup {
    roots: Vec<Root>,
    /// The index of the first root that is this file, by absolute path.
    files: HashMap<PathBuf, usize>,
    allow_empty: bool,
}

#[derive(Debug)]
enum Root {
    File(FileEntry),
    Tree { text: String, glob: Glob, absolute: PathBuf },
}

impl Listing {
    /// Looks the paths up: a file, a folder, or else a glob.
    pub(crate) async fn resolve(paths: &[String], allow_empty: bool) -> Result<Self> {
        if paths.is_empty() {
            return Err(Error::config("`path` lists no path").connector(CONNECTOR));
        }
        let paths = paths.to_vec();
        blocking(move || {
            let roots = paths.iter().map(|path| resolve(path)).collect::<Result<Vec<_>>>()?;
            let mut files = HashMap::new();
            for (index, root) in roots.iter().enumerate() {
                if let Root::File(file) = root {
                    files.entry(absolute(&file.path)?).or_insert(index);
                }
            }
            Ok(Self(Arc::new(Lookup { roots, files, allow_empty })))
        })
        .await
    }
}

impl Lookup {
    /// Whether an earlier path gives this file already.
    fn is_covered(&self, index: usize, path: &str) -> Result<bool> {
        if self.roots.len() == 1 {
            return Ok(false);
        }
        let absolute = absolute(path)?;
        if self.files.get(&absolute).is_some_and(|first| *first < index) {
            return Ok(true);
        }
        Ok(self.roots[..index].iter().any(|root| match root {
            Root::File(_) => false,
            Root::Tree { glob, absolute: root, .. } => absolute
                .strip_prefix(root)
                .is_ok_and(|below| below.to_str().is_some_and(|below| glob.matches(below))),
        }))
    }
}

impl towpath_files::Listing for Listing {
    type Walk = Walk;

    fn walk(&self, from: Option<Place>) -> Walk {
        Walk::new(self.0.clone(), from)
    }

    /// Folder by folder, names as bytes.
    fn order(left: &str, right: &str) -> Ordering {
        left.split('/').cmp(right.split('/'))
    }
}

fn resolve(text: &str) -> Result<Root> {
    let path = tidy(text);
    if path.is_empty() {
        return Err(Error::config("`path` is empty").connector(CONNECTOR));
    }
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Root::File(entry(path, &metadata))),
        Ok(metadata) if metadata.is_dir() => tree(text, Glob::everything_in(&path)?),
        Ok(_) => Err(Error::unsupported("it is neither a file nor a folder")
            .connector(CONNECTOR)
            .operation("list")
            .detail("path", text)),
        Err(error) if error.kind() == Io::NotFound && Glob::has_wildcards(&path) => {
            tree(text, Glob::parse(&path)?)
        }
        Err(error) => Err(io_error(error, "list", text)),
    }
}

fn tree(text: &str, glob: Glob) -> Result<Root> {
    let absolute = absolute(if glob.root().is_empty() { "." } else { glob.root() })?;
    Ok(Root::Tree { text: text.to_owned(), glob, absolute })
}

fn absolute(path: &str) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| io_error(error, "list", path))
}

/// A walk through a listing.
pub struct Walk {
    listing: Arc<Lookup>,
    /// Files before this place are left out.
    from: Option<Place>,
    next_root: usize,
    /// Whether the root under way has matched anything.
    matched: bool,
    folders: Vec<Folder>,
}

/// A folder on the way down, with what is left of it.
struct Folder {
    /// Its real path, to notice links that lead back.
    real: PathBuf,
    entries: std::vec::IntoIter<Entry>,
}

#[derive(Debug)]
enum Entry {
    File(FileEntry),
    Folder { path: String, is_link: bool },
}

impl Walk {
    fn new(listing: Arc<Lookup>, from: Option<Place>) -> Self {
        let next_root = from.as_ref().map_or(0, |from| from.root);
        Self { listing, from, next_root, matched: false, folders: Vec::new() }
    }

    async fn enter_root(&mut self) -> Result<Step> {
        let index = self.next_root;
        let listing = self.listing.clone();
        let Some(root) = listing.roots.get(index) else { return Ok(Step::End) };
        self.next_root += 1;
        match root {
            Root::File(file) => {
                let found = Found { root: index, file: file.clone() };
                let is_before = self
                    .from
                    .as_ref()
                    .is_some_and(|from| Listing::compare(&found.place(), from) == Ordering::Less);
                if is_before || listing.is_covered(index, &file.path)? {
                    return Ok(Step::Entered);
                }
                Ok(Step::File(found))
            }
            Root::Tree { glob, .. } => {
                // Behind a place there was a match already.
                self.matched = self.from.as_ref().is_some_and(|from| from.root == index);
                match self.enter_folder(glob.root().to_owned(), true).await {
                    Err(error) if error.kind() == ErrorKind::NotFound && listing.allow_empty => {}
                    entered => entered?,
                }
                if self.folders.is_empty() {
                    self.leave_root()?;
                }
                Ok(Step::Entered)
            }
        }
    }

    fn leave_root(&self) -> Result<()> {
        match &self.listing.roots[self.next_root - 1] {
            Root::Tree { text, .. } if !self.matched && !self.listing.allow_empty => {
                Err(Error::new(ErrorKind::NotFound, "no file matches the path")
                    .connector(CONNECTOR)
                    .operation("list")
                    .detail("path", text)
                    .help("check `path`, or set `allow_empty: true` if that is fine"))
            }
            _ => Ok(()),
        }
    }

    async fn enter_folder(&mut self, path: String, is_link: bool) -> Result<()> {
        let is_root = self.folders.is_empty();
        let parents: Vec<PathBuf> = self.folders.iter().map(|folder| folder.real.clone()).collect();
        let (listing, root) = (self.listing.clone(), self.next_root - 1);
        let from = self.from.clone().filter(|from| from.root == root);
        let folder = blocking(move || {
            let Root::Tree { glob, .. } = &listing.roots[root] else {
                return Err(Error::unexpected("a single file was listed as a folder"));
            };
            let real = real_path(&path, is_link, &parents)?;
            if parents.contains(&real) {
                tracing::debug!(path, "left out a link that leads back to a folder above it");
                return Ok(None);
            }
            let entries = entries(&path, glob, from.as_ref().map(|from| from.path.as_str()))?;
            Ok(Some(Folder { real, entries: entries.into_iter() }))
        })
        .await;
        match folder {
            // It went away since its parent was listed.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_root => Ok(()),
            folder => {
                self.folders.extend(folder?);
                Ok(())
            }
        }
    }
}

impl towpath_files::Walk for Walk {
    async fn next(&mut self) -> Result<Option<Found>> {
        loop {
            let Some(folder) = self.folders.last_mut() else {
                match self.enter_root().await? {
                    Step::File(found) => return Ok(Some(found)),
                    Step::Entered => continue,
                    Step::End => return Ok(None),
                }
            };
            match folder.entries.next() {
                Some(Entry::File(file)) => {
                    self.matched = true;
                    let root = self.next_root - 1;
                    if !self.listing.is_covered(root, &file.path)? {
                        return Ok(Some(Found { root, file }));
                    }
                }
                Some(Entry::Folder { path, is_link }) => self.enter_folder(path, is_link).await?,
                None => {
                    self.folders.pop();
                    if self.folders.is_empty() {
                        self.leave_root()?;
                    }
                }
            }
        }
    }
}

enum Step {
    File(Found),
    Entered,
    End,
}

fn real_path(path: &str, is_link: bool, parents: &[PathBuf]) -> Result<PathBuf> {
    match (parents.last(), is_link) {
        (Some(parent), false) => Ok(parent.join(Path::new(path).file_name().unwrap_or_default())),
        _ => fs::canonicalize(or_current(path)).map_err(|error| io_error(error, "list", or_current(path))),
    }
}

fn or_current(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// What a folder holds that the glob wants, in order, without what comes before `from`.
fn entries(folder: &str, glob: &Glob, from: Option<&str>) -> Result<Vec<Entry>> {
    let failed = |error| io_error(error, "list", or_current(folder));
    let mut names = Vec::new();
    for entry in fs::read_dir(or_current(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        names.push((entry.file_name().into_string(), entry.file_type().map_err(failed)?));
    }
    let mut found: Vec<(String, Entry)> = Vec::new();
    for (name, file_type) in names {
        let lossy = |raw: std::ffi::OsString| raw.to_string_lossy().into_owned();
        let (name, is_text) = name.map_or_else(|raw| (lossy(raw), false), |name| (name, true));
        let path = join(folder, &name);
        let below = path.strip_prefix(glob.root()).unwrap_or(&path).trim_start_matches('/');
        let (as_file, as_folder) = (glob.matches(below), glob.may_match_in(below));
        if !is_text && ((as_file && !file_type.is_dir()) || (as_folder && file_type.is_dir())) {
            return Err(Error::unsupported("a name is not UTF-8")
                .connector(CONNECTOR)
                .operation("list")
                .detail("path", path)
                .help("rename it"));
        }
        let entry = if file_type.is_symlink() {
            link(path.clone(), as_file, as_folder)?
        } else if file_type.is_dir() {
            as_folder.then(|| Entry::Folder { path: path.clone(), is_link: false })
        } else if file_type.is_file() && as_file {
            file(path.clone())?
        } else {
            None
        };
        let Some(entry) = entry else { continue };
        if from.is_none_or(|from| is_wanted(&path, &entry, from)) {
            found.push((name, entry));
        }
    }
    found.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(found.into_iter().map(|(_, entry)| entry).collect())
}

/// Whether it, or something in it, comes at or behind `from`.
fn is_wanted(path: &str, entry: &Entry, from: &str) -> bool {
    let leads_there = || from.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    Listing::order(path, from).is_ge() || (matches!(entry, Entry::Folder { .. }) && leads_there())
}

fn link(path: String, as_file: bool, as_folder: bool) -> Result<Option<Entry>> {
    if !as_file && !as_folder {
        return Ok(None);
    }
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(as_folder.then_some(Entry::Folder { path, is_link: true })),
        Ok(metadata) if metadata.is_file() && as_file => Ok(Some(Entry::File(entry(path, &metadata)))),
        Ok(_) => Ok(None),
        Err(_) if !as_file => Ok(None),
        Err(error) => Err(io_error(error, "list", &path).help("the link leads nowhere: repair or remove it")),
    }
}

fn file(path: String) -> Result<Option<Entry>> {
    match fs::symlink_metadata(&path) {
        Ok(metadata) => Ok(Some(Entry::File(entry(path, &metadata)))),
        // It went away since the folder was listed.
        Err(error) if error.kind() == Io::NotFound => Ok(None),
        Err(error) => Err(io_error(error, "list", &path)),
    }
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" | "." => name.to_owned(),
        folder if folder.ends_with('/') => format!("{folder}{name}"),
        folder => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests;
