//! Writing rows into staging files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Begun, Context, Error, Rejected, Result, Staged, Writer};
use towpath_formats::{Encoded, Encoder};

use super::Target;
use super::commit::Receipt;
use super::manifest::{Home, Move};
use super::output::{FileOutput, StagingFile};
use super::partition::Partitioning;
use super::template::FileName;
use crate::errors::CONNECTOR;

/// How many files a writer keeps open. The one that was not used for longest is finished when another is needed.
const MOST_OPEN: usize = 64;

/// How many files are finished at once.
const FINISHED_AT_ONCE: usize = 16;

/// Makes the names of staged files unique within a process.
static STAGED: AtomicU64 = AtomicU64::new(0);

/// Writes rows into staging files.
pub(crate) struct RowWriter {
    cx: Context,
    target: Arc<Target>,
    home: Home,
    staging: PathBuf,
    begun: Begun,
    part: u32,
    partitioning: Arc<Partitioning>,
    open: HashMap<String, OpenFile>,
    finished: Vec<Finished>,
    rejected: Vec<Rejected>,
    /// How many files were begun.
    sequence: u32,
    /// How often a file was used, to find the one that was not for longest.
    uses: u64,
}

struct OpenFile {
    encoder: Encoder<FileOutput>,
    step: Move,
    last_use: u64,
    /// How many bytes of memory its rows took.
    memory: u64,
    /// About how many bytes it will have.
    estimate: f64,
}

struct Finished {
    file: Arc<StagingFile>,
    step: Move,
    encoded: Encoded,
}

impl std::fmt::Debug for RowWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowWriter")
            .field("staging", &self.staging)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl Writer for RowWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if self.partitioning.is_none() {
            return self.append("", rows).await;
        }
        let partitioning = self.partitioning.clone();
        let (shares, rejected) = self.cx.cpu(move || partitioning.split(&rows)).await?;
        self.rejected.extend(rejected);
        for share in shares {
            self.append(&share.folder, share.rows).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Staged> {
        let (open, is_final) = (std::mem::take(&mut self.open), self.is_final());
        let finished: Vec<Finished> = stream::iter(open.into_values().map(|open| open.finish(is_final)))
            .buffer_unordered(FINISHED_AT_ONCE)
            .try_collect()
            .await?;
        let mut finished: Vec<_> = self.finished.drain(..).chain(finished).collect();
        finished.sort_by(|left, right| left.step.target.cmp(&right.step.target));
        let rows = finished.iter().map(|file| file.encoded.rows).sum();
        let bytes = finished.iter().map(|file| file.encoded.bytes).sum();
        let schema = if self.target.template.is_plain() { Some(self.begun.schema()?.clone()) } else { None };
        let files = finished.iter().map(|file| file.step.clone()).collect();
        let payload = serde_json::to_value(Receipt { files, schema }).map_err(|error| {
            Error::unexpected("a receipt cannot be stored").connector(CONNECTOR).source(error)
        })?;
        for file in &finished {
            file.file.keep();
        }
        let mut staged = Staged::new(self.part, rows, bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        Ok(staged)
    }
}

impl RowWriter {
    pub(crate) fn new(target: Arc<Target>, cx: &Context, begun: &Begun, part: u32) -> Result<Self> {
        let home = target.home(&begun.load);
        Ok(Self {
            cx: cx.clone(),
            staging: home.staging(&begun.load.run),
            home,
            partitioning: Arc::new(Partitioning::new(&target.config.partition_by, begun.schema()?)?),
            target,
            begun: begun.clone(),
            part,
            open: HashMap::new(),
            finished: Vec::new(),
            rejected: Vec::new(),
            sequence: 0,
            uses: 0,
        })
    }

    /// Whether files stay as they are, and have to be durable. Those for a plain path may still be joined.
    fn is_final(&self) -> bool {
        !self.target.template.is_plain()
    }

    /// Adds rows to the file of a folder, and begins new ones as files get full.
    async fn append(&mut self, folder: &str, mut rows: RecordBatch) -> Result<()> {
        let most_rows = self.target.config.max_rows_per_file.map_or(u64::MAX, std::num::NonZero::get);
        let most_bytes = self.target.config.max_bytes_per_file.map(towpath_core::ByteSize::bytes);
        while rows.num_rows() > 0 {
            // Encoded bytes come late, because blocks are encoded at once; so they are estimated too.
            let row_bytes = self.target.density.encoded(memory(&rows)) / rows.num_rows() as f64;
            let open = self.file(folder).await?;
            let room = most_rows - open.encoder.progress().rows;
            let room =
                room.min(most_bytes.map_or(u64::MAX, |most| rows_within(most, open.estimate, row_bytes)));
            let now = rows.num_rows().min(usize::try_from(room).unwrap_or(usize::MAX));
            let part = rows.slice(0, now);
            rows = rows.slice(now, rows.num_rows() - now);
            open.memory += memory(&part);
            open.estimate += row_bytes * now as f64;
            open.encoder.write(part).await?;
            let written = open.encoder.progress();
            let is_full = |most: u64| written.bytes >= most || open.estimate >= most as f64;
            if written.rows >= most_rows || most_bytes.is_some_and(is_full) {
                self.close(folder).await?;
            }
        }
        Ok(())
    }

    /// The open file of a folder.
    async fn file(&mut self, folder: &str) -> Result<&mut OpenFile> {
        self.uses += 1;
        if !self.open.contains_key(folder) {
            if self.open.len() >= MOST_OPEN {
                let oldest =
                    self.open.iter().min_by_key(|(_, open)| open.last_use).map(|(folder, _)| folder.clone());
                self.close(&oldest.unwrap_or_default()).await?;
            }
            let name = FileName {
                stream: &self.begun.load.stream,
                run: &self.begun.load.run,
                part: self.part,
                sequence: self.sequence,
            };
            let target = self.target.template.render(name, folder);
            self.sequence += 1;
            let (step, encoder) =
                stage(&self.target, &self.home, &self.staging, target, self.partitioning.schema(), &self.cx)?;
            self.open
                .insert(folder.to_owned(), OpenFile { encoder, step, last_use: 0, memory: 0, estimate: 0.0 });
        }
        let open = self.open.get_mut(folder).ok_or_else(|| Error::unexpected("an open file is gone"))?;
        open.last_use = self.uses;
        Ok(open)
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(open) = self.open.remove(folder) {
            let memory = open.memory;
            let is_final = self.is_final();
            let finished = open.finish(is_final).await?;
            self.target.density.learn(memory, finished.encoded.bytes);
            self.finished.push(finished);
        }
        Ok(())
    }
}

impl OpenFile {
    async fn finish(self, is_final: bool) -> Result<Finished> {
        let (encoded, output) = self.encoder.finish().await?;
        let file = if is_final { output.finish().await? } else { output.close().await? };
        Ok(Finished { file, step: self.step, encoded })
    }
}

/// Begins a staging file for a target below the base.
pub(crate) fn stage(
    target: &Target,
    home: &Home,
    staging: &std::path::Path,
    path: String,
    schema: &SchemaRef,
    cx: &Context,
) -> Result<(Move, Encoder<FileOutput>)> {
    let name = path.rsplit('/').next().unwrap_or(&path);
    // The whole name, because its extensions tell the format.
    let staged = staging.join(format!("{}-{name}", STAGED.fetch_add(1, Ordering::Relaxed)));
    let step = Move { staged: home.relative(&staged)?, target: path.clone() };
    let encoder = Encoder::new(&target.options, name, schema, cx, FileOutput::new(staged, cx))
        .map_err(|error| error.connector(CONNECTOR).detail("path", path))?;
    Ok((step, encoder))
}

/// How many more rows of this size a file can take; at least one.
fn rows_within(most: u64, estimate: f64, row_bytes: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
    let rows = ((most as f64 - estimate) / row_bytes.max(f64::MIN_POSITIVE)).ceil() as u64;
    rows.max(1)
}

/// The bytes that rows take in memory, without what their buffers share with other slices.
fn memory(rows: &RecordBatch) -> u64 {
    let bytes = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    rows.columns().iter().map(bytes).sum::<usize>() as u64
}

/// How many bytes of a file a byte of memory becomes, learned from the files that were finished.
#[derive(Debug)]
pub(crate) struct Density(AtomicU64);

impl Density {
    fn encoded(&self, memory: u64) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed)) * memory as f64
    }

    fn learn(&self, memory: u64, encoded: u64) {
        if memory > 0 {
            self.0.store((encoded as f64 / memory as f64).to_bits(), Ordering::Relaxed);
        }
    }
}

impl Default for Density {
    /// At first a file counts as large as its rows in memory.
    fn default() -> Self {
        Self(AtomicU64::new(1_f64.to_bits()))
    }
}
