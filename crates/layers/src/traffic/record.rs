//! Writes a recording.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::SystemTime;

use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use towpath_core::{Error, Exchange, Piece, Recorder, Result, Then};

use super::{Header, Line, Text, VERSION, failed, is_gzip, rfc3339};

/// How many bytes may wait to be written.
const WAITING_BYTES: usize = 4 << 20;

/// Keeps exchanges in a file. A thread of its own writes, so that a slow disk holds back only who records.
pub struct FileRecorder {
    path: PathBuf,
    began: SystemTime,
    numbers: AtomicU64,
    room: Arc<Semaphore>,
    writing: Mutex<Writing>,
}

struct Writing {
    /// `None` once it is finished.
    lines: Option<mpsc::Sender<(Vec<u8>, Option<OwnedSemaphorePermit>)>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl FileRecorder {
    /// Begins a recording, instead of what this file holds.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|error| failed("written", path, error))?;
        let mut output = Output::new(file, is_gzip(path));
        let began = SystemTime::now();
        let header = serde_json::to_vec(&Header { towpath_recording: VERSION, began: began.into() });
        let header = header.map_err(|error| Error::unexpected("a line cannot be written").source(error))?;
        output.line(header).and_then(|()| output.flush()).map_err(|error| failed("written", path, error))?;
        let (sender, receiver) = mpsc::channel::<(Vec<u8>, Option<OwnedSemaphorePermit>)>();
        let thread = std::thread::Builder::new().name("recording".to_owned()).spawn(move || {
            while let Ok((line, _room)) = receiver.recv() {
                output.line(line)?;
                // What has come is on the disk before anybody waits.
                while let Ok((line, _room)) = receiver.try_recv() {
                    output.line(line)?;
                }
                output.flush()?;
            }
            output.finish()
        });
        let thread = thread.map_err(|error| failed("written", path, error))?;
        Ok(Self {
            path: path.to_owned(),
            began,
            numbers: AtomicU64::new(1),
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            writing: Mutex::new(Writing { lines: Some(sender), thread: Some(thread) }),
        })
    }

    /// Writes what is left. What comes later is not kept.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn finish(&self) -> Result<()> {
        let thread = {
            let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            writing.lines = None;
            writing.thread.take()
        };
        match thread.map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(failed("written", &self.path, error)),
            Some(Err(_)) => Err(Error::unexpected("the thread that writes the recording panicked")),
        }
    }

    /// Hands a line to the thread; `false` when that has ended.
    fn hand_over(&self, line: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> bool {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.lines.as_ref().is_some_and(|lines| lines.send((line, room)).is_ok())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Recorder for FileRecorder {
    fn began(&self) -> SystemTime {
        self.began
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    async fn keep(&self, piece: Piece) -> Result<()> {
        let line = line(piece);
        let wanted = u32::try_from(line.len().min(WAITING_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(wanted).await.ok();
        if self.hand_over(line, room) {
            return Ok(());
        }
        // The thread ends early only with an error.
        self.finish()?;
        Err(Error::unexpected("the recording is finished"))
    }

    fn keep_last(&self, piece: Piece) {
        self.hand_over(line(piece), None);
    }
}

/// A piece as it is written.
fn line(piece: Piece) -> Vec<u8> {
    let Piece { exchange: n, head, body, then } = piece;
    let at = head.is_some().then(|| rfc3339(SystemTime::now()));
    let (asked, request, answer) = match head {
        Some(Exchange { asked, request, answer }) => (Some(asked), Some(request), Some(answer)),
        None => (None, None, None),
    };
    let (more, cut) = match then {
        Then::More => (true, None),
        Then::End => (false, None),
        Then::Cut(reason) => (false, Some(reason)),
    };
    let line = Line { n, at, asked, request, answer, body: Text::new(body), more, cut };
    serde_json::to_vec(&line).expect("its keys are texts")
}

/// The file, compressed if its name says so.
enum Output {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Output {
    fn new(file: File, gzip: bool) -> Self {
        let file = BufWriter::new(file);
        if gzip {
            Self::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Self::Plain(file)
        }
    }

    fn line(&mut self, mut line: Vec<u8>) -> std::io::Result<()> {
        line.push(b'\n');
        match self {
            Self::Plain(file) => file.write_all(&line),
            Self::Gzip(file) => file.write_all(&line),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(file) => file.flush(),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Gzip(file) => file.finish()?.flush(),
        }
    }
}
