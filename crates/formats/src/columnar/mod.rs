//! Reading the formats that carry their own schema: Parquet, Arrow IPC and Avro.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use towpath_core::{BatchStream, Context, Position, Result};

use crate::{Input, Piece};

/// A format that carries its own schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columnar {
    Parquet,
    Arrow,
    Avro,
}

/// The columns of an input.
///
/// # Errors
/// `Config` when this binary lacks the format, `DataInvalid` when the input is not of this format.
pub(crate) async fn schema(kind: Columnar, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
    let _ = (cx, input);
    Err(kind.lacking())
}

/// Pieces of about this many bytes.
pub(crate) fn pieces(
    kind: Columnar,
    cx: &Context,
    input: Arc<dyn Input>,
    target_bytes: u64,
) -> BoxStream<'static, Result<Piece>> {
    let _ = (cx, input, target_bytes);
    Box::pin(futures::stream::iter([Err(kind.lacking())]))
}

/// The batches of a piece from a position on. `columns` are the only ones wanted.
pub(crate) fn read(
    kind: Columnar,
    cx: &Context,
    input: Arc<dyn Input>,
    piece: &Piece,
    from: Position,
    columns: Option<&[String]>,
) -> BatchStream {
    let _ = (cx, input, piece, from, columns);
    Box::pin(futures::stream::iter([Err(kind.lacking())]))
}

impl Columnar {
    fn lacking(self) -> towpath_core::Error {
        let feature = match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Avro => "avro",
        };
        crate::feature::lacks("format", feature)
    }
}
