//! A file that is being staged.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use towpath_core::{Context, Metrics, Result, Retry};
use towpath_formats::{Input, OpenFile, Output};

use super::manifest::Move;
use crate::blocking::joined;
use crate::errors::io_error;

/// How much is gathered for one go: large enough that the hop to another thread costs nothing.
const CHUNK: u64 = 1 << 20;

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

/// Bytes to write.
enum Piece {
    Bytes(Bytes),
    /// So many bytes of another file, which the system copies.
    Of(OpenFile, u64),
}

/// Writes a staging file. While more is encoded, what came before is written.
pub struct FileOutput {
    file: Arc<StagingFile>,
    /// Whether it has to be durable once it is finished. Otherwise whoever makes it the file that counts sees to that.
    durable: bool,
    waiting: Vec<Piece>,
    waiting_bytes: u64,
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
        self.metrics.add_bytes_written(self.waiting_bytes);
        let pieces = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let staging = self.file.clone();
        self.pending = Some(spawn_blocking(move || {
            let written = write(open, &staging.path, pieces, durable);
            // Some of a batch may be in the file, so its rows must not be given once more.
            written.map_err(|error| error.retry(Retry::Never))
        }));
        Ok(())
    }

    async fn push(&mut self, piece: Piece, bytes: u64) -> Result<()> {
        self.waiting_bytes += bytes;
        self.waiting.push(piece);
        if self.waiting_bytes >= CHUNK { self.flush(false).await } else { Ok(()) }
    }
}

#[async_trait]
impl Output for FileOutput {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let length = bytes.len() as u64;
        self.push(Piece::Bytes(bytes), length).await
    }

    fn copies(&self, input: &dyn Input) -> bool {
        input.local_file(0).is_some()
    }

    async fn copy(&mut self, input: &dyn Input, range: Range<u64>) -> Result<()> {
        match input.local_file(range.start) {
            Some(open) => {
                let length = range.end.saturating_sub(range.start);
                self.push(Piece::Of(open, length), length).await
            }
            None => self.write(input.range(range).await?).await,
        }
    }
}

fn write(open: Option<File>, path: &Path, pieces: Vec<Piece>, durable: bool) -> Result<File> {
    let failed = |error| io_error(error, "write", path.display());
    let mut file = open.map_or_else(|| create(path), Ok).map_err(failed)?;
    let mut gathered = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => gathered.push(bytes),
            Piece::Of(open, length) => {
                write_all(&mut file, &std::mem::take(&mut gathered)).map_err(failed)?;
                copy(open()?, length, &mut file).map_err(failed)?;
            }
        }
    }
    write_all(&mut file, &gathered).map_err(failed)?;
    if durable {
        file.sync_all().map_err(failed)?;
    }
    Ok(file)
}

/// Writes many pieces with few calls of the system.
fn write_all(file: &mut File, pieces: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut rest = slices.as_mut_slice();
    // Takes empty ones off.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Has the system copy the next bytes of a file.
fn copy(from: File, length: u64, to: &mut File) -> io::Result<()> {
    let copied = io::copy(&mut from.take(length), to)?;
    if copied == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
    use crate::input::FileInput;
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
    async fn bytes_of_another_file_are_copied_between_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..3 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let other = folder.path().join("other");
        std::fs::write(&other, &content).unwrap();
        let entry = crate::list::entry(other.display().to_string(), &other.metadata().unwrap());
        let cx = context();
        let input = FileInput::new(entry, &cx);
        let path = folder.path().join("staged/a");
        let mut output = output(path.clone(), &cx);
        assert!(output.copies(&input));
        output.write(Bytes::from_static(b"before")).await.unwrap();
        output.copy(&input, 5..2 << 20).await.unwrap();
        output.write(Bytes::new()).await.unwrap();
        output.write(Bytes::from_static(b"between")).await.unwrap();
        output.copy(&input, 0..7).await.unwrap();
        output.finish().await.unwrap().keep();
        let expected = [b"before", &content[5..2 << 20], b"between", &content[..7]].concat();
        assert_eq!(std::fs::read(path).unwrap(), expected);
        let metrics = cx.metrics().snapshot();
        assert_eq!((metrics.bytes_written, metrics.bytes_read), (expected.len() as u64, 0));
    }

    #[tokio::test]
    async fn bytes_of_a_file_that_ended_or_changed_are_missed() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, "ten bytes!").unwrap();
        let entry = crate::list::entry(other.display().to_string(), &other.metadata().unwrap());
        let input = FileInput::new(entry, &context());
        let mut shorter = output(folder.path().join("staged/a"), &context());
        shorter.copy(&input, 5..11).await.unwrap();
        assert!(!shorter.finish().await.unwrap_err().is_retryable());
        std::fs::write(&other, "changed").unwrap();
        let mut changed = output(folder.path().join("staged/b"), &context());
        changed.copy(&input, 0..5).await.unwrap();
        assert_eq!(changed.finish().await.unwrap_err().kind(), ErrorKind::Conflict);
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
