//! A file that is being staged.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use towpath_core::{Context, Metrics, Result, Retry};
use towpath_formats::Output;

use super::manifest::Move;
use crate::blocking::joined;
use crate::errors::io_error;

/// How much is gathered for one go: large enough that the hop to another thread costs nothing.
const CHUNK: usize = 1 << 20;

/// A file in the staging folder. It goes away again unless it is kept.
#[derive(Debug)]
pub struct StagingFile {
    path: PathBuf,
    step: Move,
    keep: AtomicBool,
}

impl StagingFile {
    /// Lets it stay, and tells where it is to go.
    pub(crate) fn keep(&self) -> Move {
        self.keep.store(true, Ordering::Release);
        self.step.clone()
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if !self.keep.load(Ordering::Acquire) {
            // It may never have been created; and what stays behind, the next run clears away.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Writes a staging file. While more is encoded, what came before is written.
#[derive(Debug)]
pub struct FileOutput {
    file: Arc<StagingFile>,
    /// Whether it has to be durable once it is finished. Otherwise whoever makes it the file that counts sees to that.
    durable: bool,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
    pending: Option<JoinHandle<Result<File>>>,
    metrics: Arc<Metrics>,
}

impl FileOutput {
    /// A file that is created with its first bytes.
    pub(crate) fn new(path: PathBuf, step: Move, durable: bool, cx: &Context) -> Self {
        Self {
            file: Arc::new(StagingFile { path, step, keep: AtomicBool::new(false) }),
            durable,
            waiting: Vec::new(),
            waiting_bytes: 0,
            pending: None,
            metrics: cx.metrics().clone(),
        }
    }

    /// Writes what is left.
    pub(crate) async fn finish(mut self) -> Result<Arc<StagingFile>> {
        self.flush(self.durable).await?;
        if let Some(pending) = self.pending.take() {
            joined(pending).await?;
        }
        Ok(self.file.clone())
    }

    async fn flush(&mut self, durable: bool) -> Result<()> {
        let open = match self.pending.take() {
            None => None,
            Some(pending) => Some(joined(pending).await?),
        };
        if open.is_none() {
            self.metrics.add_requests(1);
        }
        self.metrics.add_bytes_written(self.waiting_bytes as u64);
        let chunks = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let staging = self.file.clone();
        self.pending = Some(spawn_blocking(move || {
            let written = write(open, &staging.path, &chunks, durable);
            // Some of a batch may be in the file, so its rows must not be given once more.
            written.map_err(|error| io_error(error, "write", staging.path.display()).retry(Retry::Never))
        }));
        Ok(())
    }
}

#[async_trait]
impl Output for FileOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        if self.waiting_bytes >= CHUNK { self.flush(false).await } else { Ok(()) }
    }
}

fn write(open: Option<File>, path: &Path, chunks: &[Bytes], durable: bool) -> io::Result<File> {
    let mut file = match open {
        Some(file) => file,
        None => create(path)?,
    };
    for chunk in chunks {
        file.write_all(chunk)?;
    }
    if durable {
        file.sync_all()?;
    }
    Ok(file)
}

/// Creates the file and the folder for it, which another writer's end may just have removed.
fn create(path: &Path) -> io::Result<File> {
    let mut attempts = 0;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < 8 => {
                attempts += 1;
                std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::ErrorKind;
    use towpath_testkit::context;

    fn output(path: PathBuf, cx: &Context) -> FileOutput {
        FileOutput::new(path, Move { staged: "staged/a".into(), target: "a".into() }, true, cx)
    }

    #[tokio::test]
    async fn small_and_large_pieces_land_in_order_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staged/a");
        let cx = context();
        let mut output = output(path.clone(), &cx);
        let mut expected = Vec::new();
        for (byte, length) in [(1, 10), (2, 3 << 20), (3, 1 << 19), (4, 1 << 19), (5, 1)] {
            let piece = vec![byte; length];
            expected.extend_from_slice(&piece);
            output.write(piece.into()).await.unwrap();
        }
        output.finish().await.unwrap().keep();
        assert_eq!(std::fs::read(path).unwrap(), expected);
        let metrics = cx.metrics().snapshot();
        assert_eq!((metrics.bytes_written, metrics.requests), (expected.len() as u64, 1));
    }

    #[tokio::test]
    async fn a_file_that_is_not_kept_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        for finish in [true, false] {
            let mut output = output(folder.path().join("a"), &context());
            output.write(vec![0; 2 << 20].into()).await.unwrap();
            if finish {
                drop(output.finish().await.unwrap());
            } else {
                // The write under way holds the file until it ends.
                let pending = output.pending.take().unwrap();
                drop(output);
                pending.await.unwrap().unwrap();
            }
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn an_error_of_writing_is_final() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let mut output = output(folder.path().join("file/a"), &context());
        output.write(Bytes::from_static(b"x")).await.unwrap();
        let error = output.finish().await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false));
    }
}
