//! Bytes to batches, whatever the format.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use towpath_core::{BatchStream, Context, Position, Result};

use crate::{Input, ReadOptions};

/// A piece of an input that can be read on its own: all of it, a range of bytes on record boundaries, or row groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// The first byte, or the first row group.
    pub start: u64,
    /// Behind the last byte or row group; `None` for the end of the input.
    pub end: Option<u64>,
    /// The number of the first line of text formats, for messages; 0 where it is not known.
    pub line: u64,
    /// How many bytes of the input it covers, for progress.
    pub bytes: Option<u64>,
}

/// Reads inputs of one format. One reader serves all files of a stream, and its clones know the same columns.
#[derive(Debug, Clone)]
pub struct Reader {
    options: Arc<ReadOptions>,
}

impl Reader {
    /// A reader for inputs like this one. The format is told by the options, else by the content type (`text/csv`,
    /// `application/json`, ...), else by the name's extensions (`.csv.gz`); the codec likewise.
    ///
    /// # Errors
    /// `Config` when the format cannot be told, names the formats; when this binary lacks the format or codec, names
    /// the cargo feature.
    pub fn new(
        options: ReadOptions,
        name: &str,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Result<Self> {
        let _ = (name, content_type, content_encoding);
        Ok(Self { options: Arc::new(options) })
    }

    /// The columns of an input: from its footer, or declared and inferred from a sample. The reader remembers them for
    /// the inputs that it reads later, so that all batches agree as long as the data does.
    ///
    /// # Errors
    /// `DataInvalid` when the input is not of this format.
    pub async fn schema(&self, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
        let _ = (cx, input, &self.options);
        todo!()
    }

    /// Cuts an input into pieces of about this many bytes, on record boundaries, as far as its format allows. A
    /// compressed or small one is one piece.
    pub fn pieces(&self, cx: &Context, input: Arc<dyn Input>, target: u64) -> BoxStream<'static, Result<Piece>> {
        let _ = (cx, input, target);
        todo!()
    }

    /// The batches of a piece. Each batch's position is exact: reading on from it gives the rows behind it. `columns`
    /// are the only ones wanted.
    ///
    /// A row that cannot be read is a `Rejected` of its batch, with place (`name:line`), column and value. Values that
    /// do not fit an inferred column, and unknown columns, give batches with a wider schema.
    pub fn read(
        &self,
        cx: &Context,
        input: Arc<dyn Input>,
        piece: &Piece,
        from: Position,
        columns: Option<&[String]>,
    ) -> BatchStream {
        let _ = (cx, input, piece, from, columns);
        todo!()
    }
}
