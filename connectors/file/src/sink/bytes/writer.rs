//! Writing chunks to their places in partial files.

use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::{Context, Error, Metrics, Rejected, Result, Staged, Writer};
use towpath_files::sink::{Partial, PartialReceipt, Partials, key};
use towpath_formats::chunks::{Chunk, Chunks, name};

use super::disk::Disk;
use super::place::{Place, partial_folder, partial_path};
use crate::blocking::blocking;
use crate::errors::{CONNECTOR, io_error};
use crate::sink::manifest::{Home, sync_folder};

/// Writes chunks to their places in partial files.
pub struct ByteWriter {
    place: Arc<Place>,
    home: Home,
    metrics: Arc<Metrics>,
    part: u32,
    written: Written,
    disk: Disk,
    /// Whether a receipt was given for what was written.
    is_staged: bool,
}

/// What was written.
#[derive(Default)]
struct Written {
    files: Partials,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
}

impl std::fmt::Debug for ByteWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteWriter").field("part", &self.part).finish_non_exhaustive()
    }
}

impl ByteWriter {
    pub(super) fn new(place: Arc<Place>, home: Home, cx: &Context, part: u32) -> Self {
        let metrics = cx.metrics().clone();
        let (written, disk) = Default::default();
        Self { place, home, metrics, part, written, disk, is_staged: false }
    }
}

impl Writer for ByteWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let chunks = Chunks::of(&rows).map_err(|error| error.connector(CONNECTOR))?;
        let (place, home, part) = (self.place.clone(), self.home.clone(), self.part);
        let written = blocking(move || write(&place, &home, part, &chunks)).await?;
        self.metrics.add_bytes_written(written.bytes);
        for (key, file) in &written.files {
            let bytes = file.ranges.iter().map(|(from, to)| to - from).sum();
            self.disk.written(partial_path(&self.home, key), bytes)?;
        }
        self.written.add(written);
        Ok(())
    }

    async fn finish(mut self) -> Result<Staged> {
        let written = std::mem::take(&mut self.written);
        std::mem::take(&mut self.disk).finish().await?;
        if !written.files.is_empty() {
            let folder = partial_folder(&self.home);
            blocking(move || sync_folder(&folder)).await?;
        }
        self.metrics.add_requests(written.files.len() as u64);
        let payload = serde_json::to_value(PartialReceipt { files: written.files }).map_err(|error| {
            Error::unexpected("a receipt cannot be stored").connector(CONNECTOR).source(error)
        })?;
        let mut staged = Staged::new(self.part, written.rows, written.bytes, payload);
        staged.rejected = written.rejected;
        self.is_staged = true;
        Ok(staged)
    }
}

impl Drop for ByteWriter {
    fn drop(&mut self) {
        if !self.is_staged {
            let keys = self.place.in_use().touched_by(self.part);
            self.place.release(&self.home, self.part, keys.into_iter());
        }
    }
}

impl Written {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.rejected.extend(other.rejected);
        for (key, file) in other.files {
            match self.files.entry(key) {
                Entry::Occupied(mut known) => known.get_mut().merge(&file),
                Entry::Vacant(new) => drop(new.insert(file)),
            }
        }
    }
}

fn write(place: &Place, home: &Home, part: u32, chunks: &Chunks) -> Result<Written> {
    let mut written = Written::default();
    for chunk in chunks.iter() {
        let chunk = match chunk.map_err(|why| Box::new(Rejected::new("", why))).and_then(allowed) {
            Ok(chunk) => chunk,
            Err(rejected) => {
                written.rejected.push(*rejected);
                continue;
            }
        };
        let key = key(&chunk);
        place.in_use().touch(&key, part);
        let path = partial_path(home, &key);
        put(&path, &chunk).map_err(|error| io_error(error, "write", path.display()))?;
        let one = Written {
            files: Partials::from([(key, Partial::of(&chunk))]),
            rows: 1,
            bytes: chunk.data.len() as u64,
            rejected: Vec::new(),
        };
        written.add(one);
    }
    Ok(written)
}

/// Refuses a chunk whose file may not have its name.
fn allowed(chunk: Chunk<'_>) -> Result<Chunk<'_>, Box<Rejected>> {
    match name::check(chunk.name) {
        Ok(()) => Ok(chunk),
        Err(why) => {
            let row = json!({ "name": chunk.name, "offset": chunk.offset, "size": chunk.size });
            let reason = format!("a file cannot have this name: {why}");
            Err(Box::new(Rejected::new(chunk.name, reason).column("name", chunk.name).row(row)))
        }
    }
}

/// Writes a chunk to its place.
fn put(path: &Path, chunk: &Chunk<'_>) -> io::Result<()> {
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(chunk.offset))?;
    file.write_all(&chunk.data)
}

/// Opens the file, and makes it and the folder for it, which another writer's end may just have removed.
fn open(path: &Path) -> io::Result<File> {
    let mut attempts = 0;
    loop {
        match OpenOptions::new().create(true).truncate(false).write(true).open(path) {
            Err(error) if error.kind() == Io::NotFound && attempts < 8 => {
                attempts += 1;
                fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            }
            result => return result,
        }
    }
}
