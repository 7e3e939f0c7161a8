//! Staging files in a hidden folder beside their places.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use towpath_core::{Context, Result};
use towpath_files::sink::{Role, StagedFile, Staging};
use towpath_formats::Input;

use super::manifest::{Home, Move};
use super::output::{FileOutput, StagingFile};
use crate::blocking::blocking;
use crate::errors::{CONNECTOR, io_error};
use crate::input::FileInput;

/// Makes the names of staged files unique within a process.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// The hidden folder of a run.
#[derive(Debug, Clone)]
pub struct FolderStaging {
    home: Home,
    run: String,
}

impl FolderStaging {
    pub(super) fn new(home: Home, run: &str) -> Self {
        Self { home, run: run.to_owned() }
    }
}

impl StagedFile for Move {
    fn path(&self) -> &str {
        &self.target
    }
}

impl Staging for FolderStaging {
    const CONNECTOR: &'static str = CONNECTOR;

    type Output = FileOutput;
    type Held = Arc<StagingFile>;
    type File = Move;

    fn begin(&self, cx: &Context, path: String, role: Role) -> FileOutput {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        // The whole name, because its extensions tell the format.
        let name = format!("{number}-{}", path.rsplit('/').next().unwrap_or(&path));
        let step = Move { staged: self.home.staged(&self.run, &name), target: path };
        let staged = self.home.staging(&self.run).join(name);
        FileOutput::new(staged, step, role == Role::Whole, cx)
    }

    async fn finish(&self, output: FileOutput) -> Result<Arc<StagingFile>> {
        output.finish().await
    }

    fn keep(&self, held: Arc<StagingFile>) -> Move {
        held.keep()
    }

    async fn promote(&self, _: &Context, segment: &Move) -> Result<Move> {
        let path = self.home.path(&segment.staged)?;
        let synchronize = move || {
            let synchronized = File::open(&path).and_then(|file| file.sync_all());
            synchronized.map_err(|error| io_error(error, "commit", path.display()))
        };
        blocking(synchronize).await?;
        Ok(segment.clone())
    }

    async fn open(&self, cx: &Context, segment: &Move) -> Result<(Arc<dyn Input>, u64)> {
        open(self.home.path(&segment.staged)?, cx).await
    }

    async fn open_committed(&self, cx: &Context, path: &str) -> Result<Option<Arc<dyn Input>>> {
        let there = self.home.path(path)?;
        if !there.is_file() {
            return Ok(None);
        }
        Ok(Some(open(there, cx).await?.0))
    }
}

/// A file with its size.
async fn open(path: PathBuf, cx: &Context) -> Result<(Arc<dyn Input>, u64)> {
    let entry = blocking(move || {
        let metadata = path.metadata().map_err(|error| io_error(error, "commit", path.display()))?;
        Ok(crate::list::entry(path.display().to_string(), &metadata))
    })
    .await?;
    let size = entry.size;
    Ok((Arc::new(FileInput::new(entry, cx)), size))
}
