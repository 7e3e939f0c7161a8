//! Where files go, and which partial files are in use.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use towpath_core::{Error, ErrorKind, Result};
use towpath_files::sink::{ByteFolder, InUse};

use super::super::manifest::Home;
use super::named;
use crate::errors::{CONNECTOR, io_error};

/// The folder of the staged files that are put together.
const PARTIAL: &str = "partial";

/// A folder for files.
#[derive(Debug)]
pub(super) struct Place {
    folder: ByteFolder,
    in_use: InUse,
}

impl Place {
    pub(super) fn new(path: &str) -> Result<Self> {
        let folder = ByteFolder::parse(path).map_err(named)?;
        Ok(Self { folder, in_use: InUse::default() })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        self.folder.text()
    }

    /// The folder in which everything lies.
    pub(super) fn base(&self) -> &Path {
        Path::new(self.folder.base())
    }

    /// A file's path below the base.
    pub(super) fn path(&self, stream: &str, name: &str) -> String {
        self.folder.path(stream, name)
    }

    /// Makes the folders above a file below the base. Links are not followed, so that nothing lands outside.
    pub(super) fn make_folders(&self, target: &str) -> Result<()> {
        let base = self.base();
        fs::create_dir_all(base).map_err(|error| io_error(error, "commit", base.display()))?;
        let in_the_way = |path: &Path, what: &str, help: &str| {
            Error::new(ErrorKind::Conflict, format!("{what} is in the way"))
                .connector(CONNECTOR)
                .operation("commit")
                .detail("path", path.display())
                .help(help.to_owned())
        };
        let parts: Vec<_> = target.split('/').collect();
        let mut path = base.to_owned();
        for (index, part) in parts.iter().enumerate() {
            path.push(part);
            let is_file = index + 1 == parts.len();
            match fs::symlink_metadata(&path) {
                Ok(found) if is_file && found.is_dir() => {
                    return Err(in_the_way(&path, "a folder", "move it away and run again"));
                }
                Ok(_) if is_file => {}
                Ok(found) if found.is_symlink() => {
                    return Err(in_the_way(&path, "a link", "make it a folder: links are not followed"));
                }
                Ok(found) if !found.is_dir() => {
                    return Err(in_the_way(&path, "a file", "move it away and run again"));
                }
                Ok(_) => {}
                Err(error) if error.kind() == Io::NotFound && is_file => {}
                Err(error) if error.kind() == Io::NotFound => match fs::create_dir(&path) {
                    Err(error) if error.kind() != Io::AlreadyExists => {
                        return Err(io_error(error, "commit", path.display()));
                    }
                    _ => {}
                },
                Err(error) => return Err(io_error(error, "commit", path.display())),
            }
        }
        Ok(())
    }

    /// Which partial files are in use.
    pub(super) fn in_use(&self) -> &InUse {
        &self.in_use
    }

    /// Notes that a part's bytes are not wanted. A file that nobody else needs goes.
    pub(super) fn release(&self, home: &Home, part: u32, keys: impl Iterator<Item = String>) {
        // What stays behind, the next run clears away.
        self.in_use.release(part, keys, |key| drop(fs::remove_file(partial_path(home, key))));
        let _ = fs::remove_dir(home.staging(PARTIAL));
    }
}

/// Where partial files lie.
pub(super) fn partial_folder(home: &Home) -> PathBuf {
    home.staging(PARTIAL)
}

/// Where a partial file lies.
pub(super) fn partial_path(home: &Home, key: &str) -> PathBuf {
    partial_folder(home).join(key)
}

/// Where a partial file lies, as the manifest stores it.
pub(super) fn partial_below(home: &Home, key: &str) -> String {
    home.staged(PARTIAL, key)
}

/// The name under which the staging folder is known, for what clears the others.
pub(super) const fn partial_run() -> &'static str {
    PARTIAL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), folder.path().join("a")).unwrap();
        let place = Place::new(folder.path().to_str().unwrap()).unwrap();
        let error = place.make_folders("a/b/c").unwrap_err().to_string();
        assert!(error.contains("a link is in the way") && error.contains("/a)"), "{error}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        place.make_folders("b/c/d").unwrap();
        assert!(folder.path().join("b/c").is_dir());
        let error = place.make_folders("b/c").unwrap_err().to_string();
        assert!(error.contains("a folder is in the way"), "{error}");
    }
}
