//! Reads a recording.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream;
use towpath_core::{Answered, Error, Recording, Result};

use super::{Header, Line, VERSION, failed, is_gzip};

/// Gives back the exchanges of a file. It remembers where they stand, and reads them when they are asked for.
pub struct FileRecording {
    path: PathBuf,
    began: DateTime<Utc>,
    file: Arc<Mutex<File>>,
    /// Where the lines of each exchange stand, by what was asked for.
    exchanges: Vec<Vec<Place>>,
    asked: HashMap<u64, Vec<usize>>,
    given: Mutex<HashMap<u64, usize>>,
}

/// A line of the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    length: usize,
}

impl FileRecording {
    /// Opens a recording.
    ///
    /// # Errors
    /// When the file cannot be read or is no recording.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path).map_err(|error| failed("read", path, error))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| {
            line.clear();
            reader.read_until(b'\n', line).map_err(|error| failed("read", path, error))
        };
        let mut offset = next(&mut line)? as u64;
        let header = serde_json::from_slice::<Header>(&line).map_err(|error| {
            Error::config("the file is no recording")
                .detail("file", path.display())
                .help("make one by `towpath run --record FILE`")
                .source(error)
        })?;
        if header.towpath_recording != VERSION {
            let text = format!("the recording has the form {}, not {VERSION}", header.towpath_recording);
            return Err(Error::config(text).detail("file", path.display()).help("record again"));
        }
        let (mut exchanges, mut asked) = (Vec::<Vec<Place>>::new(), HashMap::<u64, Vec<usize>>::new());
        let mut numbers = HashMap::new();
        loop {
            let length = next(&mut line)?;
            // The last line of a run that was killed may be incomplete.
            if line.pop() != Some(b'\n') {
                break;
            }
            let place = Place { offset, length };
            offset += length as u64;
            let found = serde_json::from_slice::<Line>(&line).map_err(|error| {
                Error::data(format!("the recording is broken: {error}")).detail("file", path.display())
            })?;
            if let Some(what) = found.asked {
                numbers.insert(found.n, exchanges.len());
                asked.entry(key(&what)).or_default().push(exchanges.len());
                exchanges.push(vec![place]);
            } else if let Some(exchange) = numbers.get(&found.n) {
                exchanges[*exchange].push(place);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            began: header.began,
            file: Arc::new(Mutex::new(reader.into_inner())),
            exchanges,
            asked,
            given: Mutex::default(),
        })
    }

    /// The next exchange for this.
    fn next(&self, asked: &str) -> Result<&[Place]> {
        let key = key(asked);
        let known = self.asked.get(&key).map_or(&[][..], Vec::as_slice);
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let count = given.entry(key).or_default();
        let Some(exchange) = known.get(*count) else {
            let text = if known.is_empty() {
                format!("the recording has no answer to `{asked}`")
            } else {
                format!("the recording has no further answer to `{asked}`; it had {}", known.len())
            };
            let help = "a replay has to begin as the recorded run did: with the same options and the same state; \
                        else record again";
            return Err(Error::config(text).detail("file", self.path.display()).help(help));
        };
        *count += 1;
        Ok(&self.exchanges[*exchange])
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Recording for FileRecording {
    fn began(&self) -> SystemTime {
        self.began.into()
    }

    async fn answer(&self, asked: &str) -> Result<Answered> {
        let places = self.next(asked)?.to_vec();
        let (file, path) = (self.file.clone(), self.path.clone());
        let mut first = read(file.clone(), path.clone(), places[0]).await?;
        let head = first.answer.take().unwrap_or_default();
        let rest = stream::iter(places.into_iter().skip(1))
            .then(move |place| read(file.clone(), path.clone(), place));
        let lines = stream::iter([Ok(first)]).chain(rest).map(Some).chain(stream::iter([None]));
        let mut is_complete = false;
        let pieces = lines.flat_map(move |line| {
            stream::iter(match line {
                Some(Ok(line)) => {
                    is_complete = !line.more;
                    pieces(line)
                }
                Some(Err(error)) => vec![Err(error)],
                None if is_complete => Vec::new(),
                None => vec![Err(Error::unavailable("the recording ends within this answer"))],
            })
        });
        let body = pieces.boxed();
        Ok(Answered { head, body })
    }
}

/// The bytes of a line, and why no more follow.
fn pieces(line: Line) -> Vec<Result<Vec<u8>>> {
    let body = line.body.bytes();
    let body = body.ok_or_else(|| Error::data("the recording is broken: a body is not base64"));
    let cut = line.cut.map(|reason| Err(Error::unavailable(reason)));
    [Some(body), cut].into_iter().flatten().collect()
}

fn key(asked: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    asked.hash(&mut hasher);
    hasher.finish()
}

/// The file, uncompressed: lines are read where they stand.
fn open(path: &Path) -> std::io::Result<File> {
    let file = File::open(path)?;
    if !is_gzip(path) {
        return Ok(file);
    }
    let mut plain = tempfile::tempfile()?;
    let mut decoder = flate2::read::GzDecoder::new(BufReader::new(file));
    // The end of a run that was killed is missing.
    if let Err(error) = std::io::copy(&mut decoder, &mut plain)
        && error.kind() != IoErrorKind::UnexpectedEof
    {
        return Err(error);
    }
    plain.seek(SeekFrom::Start(0))?;
    Ok(plain)
}

/// Reads a line.
async fn read(file: Arc<Mutex<File>>, path: PathBuf, place: Place) -> Result<Line> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = vec![0; place.length];
        {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let read = file.seek(SeekFrom::Start(place.offset)).and_then(|_| file.read_exact(&mut text));
            read.map_err(|error| failed("read", &path, error))?;
        }
        serde_json::from_slice(&text).map_err(|error| {
            Error::data(format!("the recording is broken: {error}")).detail("file", path.display())
        })
    });
    reading.await.unwrap_or_else(|_| Err(Error::unexpected("a read of the recording panicked")))
}
