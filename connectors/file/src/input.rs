//! A file as the formats read it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::task::{JoinHandle, spawn_blocking};
use towpath_core::{Context, Error, Limiter, Outcome, Permit, Result};
use towpath_files::FileEntry;
use towpath_formats::{ByteStream, Input, OpenFile, chunks};

use crate::blocking::joined;
use crate::errors::{CONNECTOR, changed, io_error};
use crate::list::modified;

/// How much is read in one go: large enough that the hop to another thread costs nothing.
const CHUNK: u64 = 1 << 20;

/// A file that must not change while it is read. While a chunk is worked on, the next one is read.
pub(crate) struct FileInput {
    file: Arc<FileEntry>,
    cx: Context,
    /// What it is called below the folder that is read, where it is read as it is.
    below: Option<String>,
}

impl FileInput {
    pub(crate) fn new(file: FileEntry, cx: &Context) -> Self {
        Self { file: Arc::new(file), cx: cx.clone(), below: None }
    }

    /// The same file, called this where it is read as it is.
    pub(crate) fn below(mut self, name: String) -> Self {
        self.below = Some(name);
        self
    }

    /// Waits until the connection's limits allow one more open file.
    async fn permit(&self) -> Permit {
        let limiter: &Arc<dyn Limiter> = self.cx.connection().limiter();
        let started = self.cx.clock().monotonic();
        let permit = limiter.acquire("").await;
        let waited = self.cx.clock().monotonic().saturating_duration_since(started);
        self.cx.metrics().add_limiter_wait(waited);
        self.cx.metrics().add_requests(1);
        permit
    }

    fn release<T>(&self, permit: Permit, outcome: &Result<T>) {
        let outcome = if outcome.is_ok() { Outcome::Success } else { Outcome::Failed };
        permit.finish(outcome, self.cx.clock().monotonic());
    }
}

impl std::fmt::Debug for FileInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FileInput").field(&self.file).finish()
    }
}

#[async_trait]
impl Input for FileInput {
    fn name(&self) -> &str {
        &self.file.path
    }

    fn size(&self) -> Option<u64> {
        Some(self.file.size)
    }

    fn file(&self) -> chunks::File {
        let path = &self.file.path;
        let name = self.below.as_deref().unwrap_or_else(|| path.rsplit('/').next().unwrap_or(path));
        let FileEntry { size, modified, .. } = *self.file;
        chunks::File {
            name: name.to_owned(),
            size: Some(size),
            version: Some(format!("{size}-{modified}")),
            digest: None,
        }
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        let permit = self.permit().await;
        let file = self.file.clone();
        let first = spawn_blocking(move || PlannedFile::open(file, from)?.next());
        let state = Reading {
            pending: Some(first),
            permit: Some(permit),
            input: Self { file: self.file.clone(), cx: self.cx.clone(), below: None },
        };
        Ok(stream::unfold(state, |mut state| async move { Some((state.next().await?, state)) }).boxed())
    }

    fn local_file(&self, from: u64) -> Option<OpenFile> {
        let file = self.file.clone();
        Some(Box::new(move || Ok(PlannedFile::open(file, from)?.handle)))
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let permit = self.permit().await;
        let file = self.file.clone();
        let bytes = joined(spawn_blocking(move || {
            if range.end > file.size || range.start > range.end {
                return Err(Error::data(format!("it has {} bytes, {range:?} was asked for", file.size))
                    .connector(CONNECTOR)
                    .operation("read")
                    .detail("path", &file.path));
            }
            PlannedFile::open(file, range.start)?.read(range.end - range.start)
        }))
        .await;
        self.release(permit, &bytes);
        let bytes = bytes?;
        self.cx.metrics().add_bytes_read(bytes.len() as u64);
        Ok(bytes)
    }
}

type Chunk = Result<(PlannedFile, Bytes)>;

/// A stream under way: one chunk is always being read.
struct Reading {
    pending: Option<JoinHandle<Chunk>>,
    permit: Option<Permit>,
    input: FileInput,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let chunk = joined(self.pending.take()?).await;
        let is_last = chunk.as_ref().map_or(true, |(file, _)| file.is_at_end());
        if let Some(permit) = self.permit.take_if(|_| is_last) {
            self.input.release(permit, &chunk);
        }
        match chunk {
            Err(error) => Some(Err(error)),
            Ok((_, bytes)) if bytes.is_empty() => None,
            Ok((file, bytes)) => {
                if !is_last {
                    self.pending = Some(spawn_blocking(move || file.next()));
                }
                self.input.cx.metrics().add_bytes_read(bytes.len() as u64);
                Some(Ok(bytes))
            }
        }
    }
}

/// A file that is open at a place, and is what was planned.
struct PlannedFile {
    handle: File,
    planned: Arc<FileEntry>,
    at: u64,
}

impl PlannedFile {
    fn open(planned: Arc<FileEntry>, at: u64) -> Result<Self> {
        let failed = |error| io_error(error, "read", &planned.path);
        let mut handle = File::open(&planned.path).map_err(failed)?;
        check_unchanged(&handle, &planned)?;
        if at > 0 {
            handle.seek(SeekFrom::Start(at)).map_err(failed)?;
        }
        Ok(Self { handle, planned, at })
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.planned.size
    }

    /// The next chunk; empty at the end, where the file must still be what it was.
    fn next(mut self) -> Chunk {
        let bytes = self.read(CHUNK.min(self.planned.size.saturating_sub(self.at)))?;
        if self.is_at_end() {
            check_unchanged(&self.handle, &self.planned)?;
        }
        Ok((self, bytes))
    }

    fn read(&mut self, length: u64) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        let mut part = (&mut self.handle).take(length);
        part.read_to_end(&mut bytes).map_err(|error| io_error(error, "read", &self.planned.path))?;
        self.at += bytes.len() as u64;
        if (bytes.len() as u64) < length {
            return Err(changed(&self.planned, self.at, self.planned.modified));
        }
        Ok(bytes.into())
    }
}

fn check_unchanged(handle: &File, planned: &FileEntry) -> Result<()> {
    let metadata = handle.metadata().map_err(|error| io_error(error, "read", &planned.path))?;
    let (size, modified) = (metadata.len(), modified(&metadata));
    if size == planned.size && modified == planned.modified {
        Ok(())
    } else {
        Err(changed(planned, size, modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use towpath_core::ErrorKind;
    use towpath_testkit::context;

    fn input(size: usize) -> (tempfile::NamedTempFile, Vec<u8>, FileInput) {
        let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let entry = crate::list::entry(path, &file.path().metadata().unwrap());
        (file, content, FileInput::new(entry, &context()))
    }

    async fn all(input: &FileInput, from: u64) -> Result<Vec<u8>> {
        Ok(input.stream(from).await?.try_collect::<Vec<_>>().await?.concat())
    }

    #[tokio::test]
    async fn a_file_is_read_from_any_place() {
        let (_file, content, input) = input((2 << 20) + 17);
        for from in [0, 1, (1 << 20) - 1, 2 << 20, content.len()] {
            assert_eq!(all(&input, from as u64).await.unwrap(), content[from..], "{from}");
        }
        assert_eq!(input.range(5..9).await.unwrap(), content[5..9]);
        assert_eq!(input.range(5..5).await.unwrap(), content[5..5]);
        let error = input.range(5..9_000_000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
    }

    #[tokio::test]
    async fn what_was_read_is_counted() {
        let (_file, content, input) = input(3 << 20);
        all(&input, 0).await.unwrap();
        input.range(0..10).await.unwrap();
        let metrics = input.cx.metrics().snapshot();
        assert_eq!((metrics.bytes_read, metrics.requests), (content.len() as u64 + 10, 2));
    }

    #[tokio::test]
    async fn a_file_that_changed_since_it_was_planned_is_an_error() {
        let (file, _, input) = input(100);
        std::fs::write(file.path(), "longer or shorter").unwrap();
        let error = all(&input, 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("it has 17 bytes instead of 100"), "{error}");
        assert!(input.range(0..5).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_grows_while_it_is_read_is_an_error() {
        use std::io::Write;
        let (mut file, _, input) = input(3 << 20);
        let mut stream = input.stream(0).await.unwrap();
        stream.try_next().await.unwrap();
        file.as_file_mut().seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"more").unwrap();
        let rest: Result<Vec<_>> = stream.try_collect().await;
        assert_eq!(rest.unwrap_err().kind(), ErrorKind::Conflict);
    }

    #[tokio::test]
    async fn an_empty_file_is_an_empty_stream_and_a_missing_one_an_error() {
        let (file, _, input) = input(0);
        assert!(all(&input, 0).await.unwrap().is_empty());
        file.close().unwrap();
        assert_eq!(all(&input, 0).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
