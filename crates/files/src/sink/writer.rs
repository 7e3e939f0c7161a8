//! Writing rows into staged files.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Begun, Context, Error, Rejected, Result, Staged, Writer};
use towpath_formats::{Encoded, Encoder};

use super::partition::Partitioning;
use super::{FileName, Receipt, Role, StagedFile, Staging, Target};

/// How many files are finished at once.
const FINISHED_AT_ONCE: usize = 16;

/// Writes rows into staged files.
pub struct RowWriter<S: Staging> {
    cx: Context,
    target: Arc<Target>,
    staging: S,
    begun: Begun,
    part: u32,
    partitioning: Arc<Partitioning>,
    open: HashMap<String, OpenFile<S::Output>>,
    finished: Vec<Finished<S::Held>>,
    rejected: Vec<Rejected>,
    /// How many files were begun.
    sequence: u32,
    /// How often a file was used, to find the one that was not for longest.
    uses: u64,
}

struct OpenFile<O> {
    encoder: Encoder<O>,
    last_use: u64,
    /// How many bytes of memory its rows took.
    memory: u64,
    /// About how many bytes it will have.
    estimate: f64,
}

struct Finished<H> {
    file: H,
    encoded: Encoded,
}

impl<S: Staging> std::fmt::Debug for RowWriter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowWriter")
            .field("staging", &self.staging)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl<S: Staging> Writer for RowWriter<S> {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.write_rows(rows).await.map_err(named::<S>)
    }

    async fn finish(mut self) -> Result<Staged> {
        let open = std::mem::take(&mut self.open);
        let finished: Vec<_> =
            stream::iter(open.into_values().map(|open| finish(&self.staging, open.encoder)))
                .buffer_unordered(FINISHED_AT_ONCE)
                .try_collect()
                .await
                .map_err(named::<S>)?;
        let finished: Vec<_> = self.finished.drain(..).chain(finished).collect();
        let rows = finished.iter().map(|file| file.encoded.rows).sum();
        let bytes = finished.iter().map(|file| file.encoded.bytes).sum();
        let schema = if self.role() == Role::Segment { Some(self.begun.schema()?.clone()) } else { None };
        let mut files: Vec<_> = finished.into_iter().map(|file| self.staging.keep(file.file)).collect();
        files.sort_by(|left, right| left.path().cmp(right.path()));
        let payload = serde_json::to_value(Receipt { files, schema })
            .map_err(|error| named::<S>(Error::unexpected("a receipt cannot be stored").source(error)))?;
        let mut staged = Staged::new(self.part, rows, bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        Ok(staged)
    }
}

impl<S: Staging> RowWriter<S> {
    pub(super) fn new(
        target: Arc<Target>,
        staging: S,
        cx: &Context,
        begun: &Begun,
        part: u32,
    ) -> Result<Self> {
        Ok(Self {
            cx: cx.clone(),
            staging,
            partitioning: Arc::new(Partitioning::new(&target.options.partition_by, begun.schema()?)?),
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

    /// Files of a plain path may still be joined.
    fn role(&self) -> Role {
        if self.target.template.is_plain() { Role::Segment } else { Role::Whole }
    }

    async fn write_rows(&mut self, rows: RecordBatch) -> Result<()> {
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

    /// Adds rows to the file of a folder, and begins new ones as files get full.
    async fn append(&mut self, folder: &str, mut rows: RecordBatch) -> Result<()> {
        let most_rows = self.target.options.max_rows_per_file.map_or(u64::MAX, std::num::NonZero::get);
        let most_bytes = self.target.options.max_bytes_per_file.map(towpath_core::ByteSize::bytes);
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
    async fn file(&mut self, folder: &str) -> Result<&mut OpenFile<S::Output>> {
        self.uses += 1;
        if !self.open.contains_key(folder) {
            if self.open.len() >= self.staging.most_open() {
                // The one that was not used for longest.
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
            let path = self.target.template.render(name, folder);
            self.sequence += 1;
            let schema = self.partitioning.schema();
            let encoder = encoder(&self.target, &self.staging, &self.cx, path, self.role(), schema)?;
            self.open.insert(folder.to_owned(), OpenFile { encoder, last_use: 0, memory: 0, estimate: 0.0 });
        }
        let open = self.open.get_mut(folder).ok_or_else(|| Error::unexpected("an open file is gone"))?;
        open.last_use = self.uses;
        Ok(open)
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(open) = self.open.remove(folder) {
            let finished = finish(&self.staging, open.encoder).await?;
            self.target.density.learn(open.memory, finished.encoded.bytes);
            self.finished.push(finished);
        }
        Ok(())
    }
}

async fn finish<S: Staging>(staging: &S, file: Encoder<S::Output>) -> Result<Finished<S::Held>> {
    let (encoded, output) = file.finish().await?;
    Ok(Finished { file: staging.finish(output).await?, encoded })
}

/// Begins a file below the base.
pub(super) fn encoder<S: Staging>(
    target: &Target,
    staging: &S,
    cx: &Context,
    path: String,
    role: Role,
    schema: &SchemaRef,
) -> Result<Encoder<S::Output>> {
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let output = staging.begin(cx, path.clone(), role);
    Encoder::new(&target.write, &name, schema, cx, output).map_err(|error| error.detail("path", path))
}

fn named<S: Staging>(error: Error) -> Error {
    error.connector(S::CONNECTOR)
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
pub(super) struct Density(AtomicU64);

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
