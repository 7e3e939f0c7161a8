//! Writing rows into staging files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Begun, Context, Error, Rejected, Result, Staged, Writer};
use towpath_formats::{Encoded, Encoder, WriteFormat, WriteOptions};

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
pub struct FileWriter {
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
}

struct Finished {
    file: Arc<StagingFile>,
    step: Move,
    encoded: Encoded,
}

impl std::fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("staging", &self.staging)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl Writer for FileWriter {
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
        let open = std::mem::take(&mut self.open);
        let finished: Vec<Finished> = stream::iter(open.into_values().map(OpenFile::finish))
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
        finished.iter().for_each(|file| file.file.keep());
        let mut staged = Staged::new(self.part, rows, bytes, payload);
        staged.rejected = std::mem::take(&mut self.rejected);
        Ok(staged)
    }
}

impl FileWriter {
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

    /// Adds rows to the file of a folder, and begins new ones as files get full.
    async fn append(&mut self, folder: &str, mut rows: RecordBatch) -> Result<()> {
        let most_rows = self.target.config.max_rows_per_file.map_or(u64::MAX, std::num::NonZero::get);
        let most_bytes =
            self.target.config.max_bytes_per_file.map_or(u64::MAX, towpath_core::ByteSize::bytes);
        while rows.num_rows() > 0 {
            let open = self.file(folder, &rows).await?;
            let room = usize::try_from(most_rows - open.encoder.progress().rows).unwrap_or(usize::MAX);
            let now = rows.num_rows().min(room);
            open.encoder.write(rows.slice(0, now)).await?;
            rows = rows.slice(now, rows.num_rows() - now);
            let written = open.encoder.progress();
            if written.rows >= most_rows || written.bytes >= most_bytes {
                self.close(folder).await?;
            }
        }
        Ok(())
    }

    /// The open file of a folder.
    async fn file(&mut self, folder: &str, rows: &RecordBatch) -> Result<&mut OpenFile> {
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
            let (step, encoder) = stage(
                &self.target,
                &self.home,
                &self.staging,
                target,
                self.partitioning.schema(),
                Some(rows),
                &self.cx,
            )?;
            self.open.insert(folder.to_owned(), OpenFile { encoder, step, last_use: 0 });
        }
        let open = self.open.get_mut(folder).ok_or_else(|| Error::unexpected("an open file is gone"))?;
        open.last_use = self.uses;
        Ok(open)
    }

    async fn close(&mut self, folder: &str) -> Result<()> {
        if let Some(open) = self.open.remove(folder) {
            let finished = open.finish().await?;
            self.finished.push(finished);
        }
        Ok(())
    }
}

impl OpenFile {
    async fn finish(self) -> Result<Finished> {
        let (encoded, output) = self.encoder.finish().await?;
        Ok(Finished { file: output.finish().await?, step: self.step, encoded })
    }
}

/// Begins a staging file for a target below the base.
pub(crate) fn stage(
    target: &Target,
    home: &Home,
    staging: &std::path::Path,
    path: String,
    schema: &SchemaRef,
    first: Option<&RecordBatch>,
    cx: &Context,
) -> Result<(Move, Encoder<FileOutput>)> {
    let name = path.rsplit('/').next().unwrap_or(&path);
    // The whole name, because its extensions tell the format.
    let staged = staging.join(format!("{}-{name}", STAGED.fetch_add(1, Ordering::Relaxed)));
    let options = row_groups(target, name, first);
    let step = Move { staged: home.relative(&staged)?, target: path.clone() };
    let encoder = Encoder::new(&options, name, schema, cx, FileOutput::new(staged, cx))
        .map_err(|error| error.connector(CONNECTOR).detail("path", path))?;
    Ok((step, encoder))
}

/// Parquet goes out by row groups: with a limit on bytes, a quarter of it as a row group keeps files near the limit.
fn row_groups(target: &Target, name: &str, first: Option<&RecordBatch>) -> WriteOptions {
    let mut options = target.options.clone();
    let by_name = options.format.is_none() && [".parquet", ".pq"].iter().any(|end| name.ends_with(end));
    if by_name {
        options.format = Some(WriteFormat::Parquet(towpath_formats::ParquetWrite::default()));
    }
    if let (Some(WriteFormat::Parquet(parquet)), Some(most), Some(first)) =
        (&mut options.format, target.config.max_bytes_per_file, first)
    {
        let row = (first.get_array_memory_size() / first.num_rows().max(1)).max(1);
        parquet.row_group_rows = parquet.row_group_rows.min((most.as_usize() / 4 / row).max(1));
    }
    options
}
