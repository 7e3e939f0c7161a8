//! Batches to bytes, whatever the format.

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use towpath_core::{Context, Result, conform};

use crate::encode::{Stage, Target};
use crate::{Input, Output, WriteOptions};

/// Writes batches of one schema into one output. Encoding runs on the CPU pool, several blocks at once, in order.
pub struct Encoder<O> {
    output: Counted<O>,
    stage: Box<dyn Stage>,
    schema: SchemaRef,
    rows: u64,
}

/// What was encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Rows.
    pub rows: u64,
    /// Bytes, as they went out.
    pub bytes: u64,
}

impl<O: Output> Encoder<O> {
    /// Begins an output. The format and codec are told by the options, else by the name's extensions.
    ///
    /// # Errors
    /// `Config` as for reading; `SchemaMismatch` names a column whose type the format cannot hold.
    pub fn new(
        options: &WriteOptions,
        name: &str,
        schema: &SchemaRef,
        cx: &Context,
        output: O,
    ) -> Result<Self> {
        let stage = Target::new(options, name)?.stage(cx, schema)?;
        Ok(Self { output: Counted { output, bytes: 0 }, stage, schema: schema.clone(), rows: 0 })
    }

    /// Whether this format can hold these columns, before anything is written.
    ///
    /// # Errors
    /// `SchemaMismatch` names the column and its type.
    pub fn check(options: &WriteOptions, name: &str, schema: &SchemaRef) -> Result<()> {
        Target::new(options, name)?.check(schema)
    }

    /// About how many bytes are held for each column until they go out: pages and dictionaries of Parquet, for the end of
    /// their row group. None where rows go out as they come.
    pub fn column_bytes(options: &WriteOptions, name: &str) -> usize {
        Target::new(options, name).map_or(0, |target| target.column_bytes())
    }

    /// Adds rows. They may be encoded and go out later.
    ///
    /// # Errors
    /// Of the output, or of rows given before; as [`conform`] when the rows do not fit the columns.
    pub async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let rows = conform(&rows, &self.schema)?;
        self.rows += rows.num_rows() as u64;
        if rows.num_rows() == 0 { Ok(()) } else { self.stage.write(rows, &mut self.output).await }
    }

    /// Adds all rows of a file that another encoder wrote with the same options and columns, without decoding them: whole row
    /// groups of Parquet, lines of NDJSON and CSV. They do not count in [`progress`](Self::progress).
    ///
    /// `false` where that cannot be done, because the format has no parts that stand for themselves, or because the parts
    /// are so small that a reader would suffer. Then nothing was taken, and the rows have to be read and written.
    ///
    /// # Errors
    /// Of the input and the output; `DataInvalid` when the file is broken.
    pub async fn append(&mut self, input: Arc<dyn Input>) -> Result<bool> {
        self.stage.append(input, &mut self.output).await
    }

    /// For rotation: the rows that were given, and the bytes that went out. Of Parquet, whole row groups go out.
    pub fn progress(&self) -> Encoded {
        Encoded { rows: self.rows, bytes: self.output.bytes }
    }

    /// Encodes what is left, writes the end of the format, and gives the output back.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<(Encoded, O)> {
        self.stage.finish(&mut self.output).await?;
        Ok((self.progress(), self.output.output))
    }
}

/// Counts what goes out.
struct Counted<O> {
    output: O,
    bytes: u64,
}

#[async_trait]
impl<O: Output> Output for Counted<O> {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.output.write(bytes).await
    }

    fn copies(&self, input: &dyn Input) -> bool {
        self.output.copies(input)
    }

    async fn copy(&mut self, input: &dyn Input, range: Range<u64>) -> Result<()> {
        self.bytes += range.end.saturating_sub(range.start);
        self.output.copy(input, range).await
    }
}
