//! Reading the formats that carry their own schema: Parquet, Arrow IPC and Avro.
//!
//! Each is a sequence of *units* (row groups, record batches, runs of blocks) that are fetched by the byte and decoded
//! on the CPU pool; [`units`] overlaps the two. Batches come in plain layout, without dictionaries and views.

#[cfg(any(feature = "parquet", feature = "arrow", feature = "avro"))]
mod ahead;
#[cfg(feature = "avro")]
mod avro;
#[cfg(feature = "arrow")]
mod ipc;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
#[cfg(all(test, feature = "full"))]
mod reading;
#[cfg(any(feature = "parquet", feature = "arrow", feature = "avro"))]
mod units;
#[cfg(any(feature = "parquet", feature = "arrow", feature = "avro"))]
mod whole;

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

impl Columnar {
    /// Whether this binary has the format.
    ///
    /// # Errors
    /// `Config` names the feature that it lacks.
    pub(crate) fn available(self) -> Result<()> {
        let (built, feature) = match self {
            Self::Parquet => (cfg!(feature = "parquet"), "parquet"),
            Self::Arrow => (cfg!(feature = "arrow"), "arrow"),
            Self::Avro => (cfg!(feature = "avro"), "avro"),
        };
        if built { Ok(()) } else { Err(crate::feature::lacks("format", feature)) }
    }
}

/// A module with the functions of a format that this binary lacks.
macro_rules! absent {
    ($module:ident, $feature:literal) => {
        #[cfg(not(feature = $feature))]
        mod $module {
            use super::*;

            pub(super) async fn schema(_: &Context, _: &Arc<dyn Input>) -> Result<SchemaRef> {
                Err(crate::feature::lacks("format", $feature))
            }

            pub(super) fn pieces(
                _: &Context,
                _: Arc<dyn Input>,
                _: u64,
            ) -> BoxStream<'static, Result<Piece>> {
                Box::pin(futures::stream::iter([Err(crate::feature::lacks("format", $feature))]))
            }

            pub(super) fn read(
                _: &Context,
                _: Arc<dyn Input>,
                _: &Piece,
                _: Position,
                _: Option<&[String]>,
            ) -> BatchStream {
                Box::pin(futures::stream::iter([Err(crate::feature::lacks("format", $feature))]))
            }
        }
    };
}
absent!(parquet, "parquet");
absent!(ipc, "arrow");
absent!(avro, "avro");

/// The columns of an input.
///
/// # Errors
/// `Config` when this binary lacks the format, `DataInvalid` when the input is not of this format.
pub(crate) async fn schema(kind: Columnar, cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
    match kind {
        Columnar::Parquet => parquet::schema(cx, input).await,
        Columnar::Arrow => ipc::schema(cx, input).await,
        Columnar::Avro => avro::schema(cx, input).await,
    }
}

/// Pieces of about this many bytes.
pub(crate) fn pieces(
    kind: Columnar,
    cx: &Context,
    input: Arc<dyn Input>,
    target_bytes: u64,
) -> BoxStream<'static, Result<Piece>> {
    match kind {
        Columnar::Parquet => parquet::pieces(cx, input, target_bytes),
        Columnar::Arrow => ipc::pieces(cx, input, target_bytes),
        Columnar::Avro => avro::pieces(cx, input, target_bytes),
    }
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
    match kind {
        Columnar::Parquet => parquet::read(cx, input, piece, from, columns),
        Columnar::Arrow => ipc::read(cx, input, piece, from, columns),
        Columnar::Avro => avro::read(cx, input, piece, from, columns),
    }
}

/// All of an input as one piece.
#[cfg(any(feature = "parquet", feature = "arrow", feature = "avro"))]
fn one_piece(size: Option<u64>) -> BoxStream<'static, Result<Piece>> {
    Box::pin(futures::stream::iter([Ok(Piece { start: 0, end: None, line: 0, bytes: size })]))
}
