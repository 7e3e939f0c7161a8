//! Batches to bytes, whatever the format.

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use towpath_core::{Context, Result};

use crate::{Output, WriteOptions};

/// Writes batches of one schema into one output. Encoding runs on the CPU pool, several blocks at once, in order.
pub struct Encoder<O> {
    output: O,
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
    pub fn new(options: &WriteOptions, name: &str, schema: &SchemaRef, cx: &Context, output: O) -> Result<Self> {
        let _ = (options, name, schema, cx);
        Ok(Self { output })
    }

    /// Whether this format can hold these columns, before anything is written.
    ///
    /// # Errors
    /// `SchemaMismatch` names the column and its type.
    pub fn check(options: &WriteOptions, name: &str, schema: &SchemaRef) -> Result<()> {
        let _ = (options, name, schema);
        todo!()
    }

    /// Adds rows. They may be encoded and go out later.
    ///
    /// # Errors
    /// Of the output, or of rows given before.
    pub async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let _ = rows;
        todo!()
    }

    /// What has gone out so far, for rotation.
    pub fn progress(&self) -> Encoded {
        todo!()
    }

    /// Encodes what is left, writes the end of the format, and gives the output back.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(self) -> Result<(Encoded, O)> {
        Ok((Encoded::default(), self.output))
    }
}
