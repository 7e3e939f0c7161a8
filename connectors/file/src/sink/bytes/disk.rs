//! What of partial files is on the disk.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use towpath_core::{Result, Retry};

use crate::blocking::{blocking, ended};
use crate::errors::io_error;

/// How many files are made durable at once.
const AT_ONCE: usize = 16;

/// How much is written to a file until the disk begins to take it, so that nobody waits for all of it in the end.
const EARLY: u64 = 16 << 20;

/// Makes files durable: some while more is written, all of them in the end.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// How many bytes of each file the disk was not told to take.
    waiting: BTreeMap<PathBuf, u64>,
    taking: JoinSet<Result<()>>,
}

impl Disk {
    /// So many bytes were written to a file.
    ///
    /// # Errors
    /// Those of the disk, with what it was told before: the system tells each of them only once.
    pub(super) fn written(&mut self, path: PathBuf, bytes: u64) -> Result<()> {
        while let Some(taken) = self.taking.try_join_next() {
            ended(taken)?;
        }
        let waiting = self.waiting.entry(path.clone()).or_default();
        *waiting += bytes;
        if *waiting >= EARLY && self.taking.len() < AT_ONCE {
            *waiting = 0;
            self.taking.spawn_blocking(move || sync(&path));
        }
        Ok(())
    }

    /// Waits until all files that were written are durable.
    pub(super) async fn finish(mut self) -> Result<()> {
        while let Some(taken) = self.taking.join_next().await {
            ended(taken)?;
        }
        let syncing = self.waiting.into_keys().map(|path| blocking(move || sync(&path)));
        stream::iter(syncing).buffer_unordered(AT_ONCE).try_collect().await
    }
}

/// When the disk fails, the system may have forgotten the bytes, and would say nothing of it to a second try.
fn sync(path: &Path) -> Result<()> {
    let failed = |error| io_error(error, "write", path.display());
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.sync_all().map_err(|error| failed(error).retry(Retry::Never))
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::ErrorKind;

    #[tokio::test]
    async fn the_disk_takes_a_file_once_enough_of_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name| folder.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), name).unwrap();
        }
        let mut disk = Disk::default();
        disk.written(path("a"), EARLY - 1).unwrap();
        disk.written(path("b"), EARLY - 1).unwrap();
        assert_eq!(disk.taking.len(), 0);
        disk.written(path("a"), 1).unwrap();
        assert_eq!(disk.taking.len(), 1);
        assert_eq!(disk.waiting.into_values().collect::<Vec<_>>(), [0, EARLY - 1]);
    }

    #[tokio::test]
    async fn no_error_of_the_disk_gets_lost() {
        let gone = || PathBuf::from("no such folder/a");
        // On the way, and told in the end.
        let mut disk = Disk::default();
        disk.written(gone(), EARLY).unwrap();
        disk.waiting.clear();
        assert_eq!(disk.finish().await.unwrap_err().kind(), ErrorKind::NotFound);
        // On the way, and told with what comes next.
        let mut disk = Disk::default();
        disk.written(gone(), EARLY).unwrap();
        let told = loop {
            tokio::task::yield_now().await;
            if let Err(error) = disk.written(PathBuf::from("b"), 1) {
                break error;
            }
        };
        assert_eq!(told.kind(), ErrorKind::NotFound);
        // In the end.
        let mut disk = Disk::default();
        disk.written(gone(), 1).unwrap();
        assert_eq!(disk.finish().await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
