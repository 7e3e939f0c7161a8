//! Writing files: staged in a hidden folder, moved into place when they are complete.

mod bytes;
mod claim;
mod commit;
mod folder;
mod manifest;
mod output;
mod staging;

use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::Result;
use towpath_files::sink::RowSink;

use crate::errors::io_error;
use folder::Folder;

/// Writes files.
pub type FileSink = towpath_files::sink::FileSink<RowSink<Folder>, bytes::ByteSink>;

/// Creates a file in the folder, or the nearest one above it that exists, and removes it again.
fn check_writable(folder: &Path) -> Result<()> {
    let above = |folder: &Path| {
        folder
            .parent()
            .map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above }.to_owned())
    };
    let mut nearest: PathBuf = folder.to_owned();
    while !nearest.exists() {
        match above(&nearest) {
            Some(parent) => nearest = parent,
            None => break,
        }
    }
    let probe = nearest.join(format!(".towpath-check-{}", std::process::id()));
    let failed = |error| io_error(error, "check", folder.display());
    let created = fs::OpenOptions::new().write(true).create_new(true).open(&probe);
    created.map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)
}

#[cfg(test)]
mod tests;
