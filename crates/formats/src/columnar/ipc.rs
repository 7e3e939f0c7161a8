//! Arrow IPC. A file is read by its record batches, in any place; a stream from its beginning.

mod file;
mod stream;
#[cfg(all(test, feature = "full"))]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use towpath_core::{BatchStream, Context, Error, Position, Result};

use self::file::IpcFile;
use self::stream::IpcStream;
use super::units::{self, Batches};
use super::whole::sized;
use crate::plain::{plain_rows, plain_schema};
use crate::{Input, Piece};

/// What a file begins with; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Rows of a batch; larger ones are cut.
const BATCH_ROWS: usize = 64 << 10;

/// The two forms.
enum Ipc {
    File(IpcFile),
    Stream(Box<IpcStream>),
}

async fn open(cx: &Context, input: Arc<dyn Input>, columns: Option<&[String]>) -> Result<Ipc> {
    let (input, size) = sized(input).await?;
    let name = input.name().to_owned();
    let opened = async {
        let length = MAGIC.len() as u64;
        if size >= length && input.range(0..length).await? == MAGIC[..] {
            Ok(Ipc::File(IpcFile::open(cx, input, size, columns).await?))
        } else {
            Ok(Ipc::Stream(Box::new(IpcStream::open(cx, input, columns).await?)))
        }
    };
    opened.await.map_err(|error: Error| error.detail("input", name))
}

pub(super) async fn schema(cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
    Ok(match open(cx, input.clone(), None).await? {
        Ipc::File(file) => plain_schema(&file.schema),
        Ipc::Stream(stream) => plain_schema(&stream.schema),
    })
}

pub(super) fn pieces(cx: &Context, input: Arc<dyn Input>, target: u64) -> BoxStream<'static, Result<Piece>> {
    let Some(size) = input.size() else { return super::one_piece(None) };
    let cx = cx.clone();
    let pieces = async move {
        Ok::<_, Error>(match open(&cx, input, None).await? {
            Ipc::File(file) => futures::stream::iter(file.pieces(target).into_iter().map(Ok)).boxed(),
            Ipc::Stream(_) => super::one_piece(Some(size)),
        })
    };
    futures::stream::once(pieces).try_flatten().boxed()
}

pub(super) fn read(
    cx: &Context,
    input: Arc<dyn Input>,
    piece: &Piece,
    from: Position,
    columns: Option<&[String]>,
) -> BatchStream {
    let (cx, piece, columns) = (cx.clone(), piece.clone(), columns.map(<[String]>::to_vec));
    let batches = async move {
        let (at, row) = units::place::<IpcFile>(&from, piece.start)?;
        Ok::<_, Error>(match open(&cx, input, columns.as_deref()).await? {
            Ipc::File(file) => units::read(&cx, file.until(piece.end), at, row),
            Ipc::Stream(stream) => units::read(&cx, *stream, at, row),
        })
    };
    futures::stream::once(batches).try_flatten().boxed()
}

/// The indices of the wanted columns.
fn projection(schema: &SchemaRef, columns: Option<&[String]>) -> Option<Vec<usize>> {
    let columns = columns?;
    let fields = schema.fields().iter().enumerate();
    Some(fields.filter(|(_, field)| columns.contains(field.name())).map(|(index, _)| index).collect())
}

/// The rows of a record batch behind the first ones, in plain layout, cut to a good size.
fn slices(rows: RecordBatch, skip: u64) -> Batches {
    let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(rows.num_rows());
    let plain = plain_schema(&rows.schema());
    let starts = (skip..rows.num_rows()).step_by(BATCH_ROWS);
    Box::new(starts.map(move |start| {
        let length = BATCH_ROWS.min(rows.num_rows() - start);
        plain_rows(rows.slice(start, length), &plain)
    }))
}

/// What is wrong with bytes that cannot be decoded, a panic of the decoder included.
fn undecodable(what: &str, error: Error) -> Error {
    Error::data(format!("{what} cannot be decoded"))
        .source(error)
        .help("is it complete, and is `format` right?")
}
