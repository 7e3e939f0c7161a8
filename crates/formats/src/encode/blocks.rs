//! Formats whose rows can be encoded in any order: blocks of rows become bytes on the CPU pool, several at once, and go
//! out in order.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use futures::TryStreamExt;
use towpath_core::{Context, Result};

use super::compress::{Compressor, member, sequential};
use super::pipeline::Pipeline;
use super::{Stage, slice_bytes};
use crate::plain::{plain_rows, plain_schema};
use crate::{Compression, Input, Output};

/// Rows are joined or cut to blocks of about this many bytes of Arrow memory: enough for a codec to find repetitions,
/// little enough for several to be under way at once.
const BLOCK_BYTES: usize = 2 << 20;

/// The same where nothing is compressed: a hop to another thread costs little beside it, and memory counts.
const PLAIN_BLOCK_BYTES: usize = 512 << 10;

/// A format whose blocks know nothing of each other.
pub(super) trait BlockFormat: Send + Sync + 'static {
    /// What stands before the first row.
    fn head(&self, out: &mut Vec<u8>);

    /// Appends rows; `first` when no rows were before them.
    fn rows(&self, rows: &RecordBatch, first: bool, out: &mut Vec<u8>) -> Result<()>;

    /// Whether the rows of several files can stand one behind the other, once the head is gone.
    fn joins(&self) -> bool {
        false
    }

    /// What stands behind the last row.
    fn tail(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
}

/// Encodes blocks.
pub(super) struct Blocks {
    cx: Context,
    format: Arc<dyn BlockFormat>,
    compression: Compression,
    /// For codecs whose members cannot stand one behind the other.
    compressor: Option<Box<dyn Compressor>>,
    block_bytes: usize,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    pipeline: Pipeline<Vec<u8>>,
    begun: bool,
}

impl Blocks {
    pub(super) fn new(cx: &Context, format: impl BlockFormat, compression: Compression) -> Self {
        Self {
            cx: cx.clone(),
            format: Arc::new(format),
            compression,
            compressor: sequential(compression),
            block_bytes: if compression == Compression::None { PLAIN_BLOCK_BYTES } else { BLOCK_BYTES },
            pending: Vec::new(),
            pending_bytes: 0,
            // One more than there are processors waits for the first to be free.
            pipeline: Pipeline::new(available_parallelism().map_or(1, NonZero::get) + 1),
            begun: false,
        }
    }

    /// Encodes these rows as one block. Without rows, it is only what stands before them.
    async fn submit(&mut self, rows: Vec<RecordBatch>, output: &mut dyn Output) -> Result<()> {
        while self.pipeline.is_full() {
            self.advance(output).await?;
        }
        let first = !std::mem::replace(&mut self.begun, true);
        let (cx, format) = (self.cx.clone(), self.format.clone());
        let compression = self.compressor.is_none().then_some(self.compression);
        self.pipeline.push(async move {
            cx.cpu(move || {
                let rows = join(&rows)?;
                let mut text = Vec::with_capacity(rows.as_ref().map_or(0, slice_bytes) * 2);
                if first {
                    format.head(&mut text);
                }
                if let Some(rows) = rows {
                    format.rows(&rows, first, &mut text)?;
                }
                match compression {
                    Some(compression) => member(compression, text),
                    None => Ok(text),
                }
            })
            .await
        });
        while let Some(block) = self.pipeline.try_next() {
            self.append(block?, output).await?;
        }
        Ok(())
    }

    /// Waits for the next block in order, and appends it.
    async fn advance(&mut self, output: &mut dyn Output) -> Result<()> {
        match self.pipeline.next().await {
            Some(block) => self.append(block?, output).await,
            None => Ok(()),
        }
    }

    async fn append(&mut self, block: Vec<u8>, output: &mut dyn Output) -> Result<()> {
        let Some(mut compressor) = self.compressor.take() else { return write(block, output).await };
        let (compressor, compressed) = self
            .cx
            .cpu(move || {
                let compressed = compressor.compress(&block)?;
                Ok((compressor, compressed))
            })
            .await?;
        self.compressor = Some(compressor);
        write(compressed, output).await
    }

    async fn flush_pending(&mut self, output: &mut dyn Output) -> Result<()> {
        self.pending_bytes = 0;
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() { Ok(()) } else { self.submit(pending, output).await }
    }
}

#[async_trait]
impl Stage for Blocks {
    async fn write(&mut self, rows: RecordBatch, output: &mut dyn Output) -> Result<()> {
        for block in cut(&rows, self.block_bytes) {
            self.pending_bytes += slice_bytes(&block);
            self.pending.push(block);
            if self.pending_bytes >= self.block_bytes / 2 {
                self.flush_pending(output).await?;
            }
        }
        Ok(())
    }

    async fn append(&mut self, input: Arc<dyn Input>, output: &mut dyn Output) -> Result<bool> {
        let mut head = Vec::new();
        self.format.head(&mut head);
        // A head that was compressed together with rows cannot be taken off.
        let is_plain = self.compression == Compression::None || head.is_empty();
        if !self.format.joins() || self.compressor.is_some() || !is_plain {
            return Ok(false);
        }
        self.flush_pending(output).await?;
        while !self.pipeline.is_empty() {
            self.advance(output).await?;
        }
        let skip = if std::mem::replace(&mut self.begun, true) { head.len() as u64 } else { 0 };
        if let Some(size) = input.size().filter(|_| output.copies(&*input)) {
            output.copy(&*input, skip.min(size)..size).await?;
            return Ok(true);
        }
        let mut bytes = input.stream(skip).await?;
        while let Some(bytes) = bytes.try_next().await? {
            output.write(bytes).await?;
        }
        Ok(true)
    }

    async fn finish(&mut self, output: &mut dyn Output) -> Result<()> {
        self.flush_pending(output).await?;
        let no_rows = !self.begun;
        let mut tail = Vec::new();
        if no_rows {
            self.format.head(&mut tail);
        }
        self.format.tail(&mut tail);
        while !self.pipeline.is_empty() {
            self.advance(output).await?;
        }
        match self.compressor.take() {
            Some(mut compressor) => {
                let last = self.cx.cpu(move || {
                    let mut last = compressor.compress(&tail)?;
                    last.extend(compressor.finish()?);
                    Ok(last)
                });
                write(last.await?, output).await
            }
            // A compressed file without any member would be no compressed file.
            None if no_rows || !tail.is_empty() => write(member(self.compression, tail)?, output).await,
            None => Ok(()),
        }
    }
}

async fn write(bytes: Vec<u8>, output: &mut dyn Output) -> Result<()> {
    if bytes.is_empty() { Ok(()) } else { output.write(bytes.into()).await }
}

/// Rows in slices of about this many bytes.
fn cut(rows: &RecordBatch, block_bytes: usize) -> Vec<RecordBatch> {
    let blocks = slice_bytes(rows).div_ceil(block_bytes).clamp(1, rows.num_rows().max(1));
    let size = rows.num_rows().div_ceil(blocks).max(1);
    let starts = (0..rows.num_rows()).step_by(size);
    starts.map(|start| rows.slice(start, size.min(rows.num_rows() - start))).collect()
}

/// One batch in plain layout.
fn join(rows: &[RecordBatch]) -> Result<Option<RecordBatch>> {
    let Some(first) = rows.first() else { return Ok(None) };
    let schema = first.schema();
    let rows = if rows.len() == 1 { first.clone() } else { concat_batches(&schema, rows)? };
    Ok(Some(plain_rows(rows, &plain_schema(&schema))?))
}
