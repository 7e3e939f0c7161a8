//! Parquet: the columns of a row group are fetched at once, only those that are wanted.

pub(crate) mod chunks;
mod footer;
#[cfg(all(test, feature = "full"))]
mod tests;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use towpath_core::{BatchStream, Context, Error, Position, Result};

use super::units::{self, Batches, Unit, Units};
use super::whole::sized;
use crate::plain::{plain_rows, plain_schema};
use crate::{Input, Piece};

/// Batches have about this many bytes.
const BATCH_BYTES: u64 = 2 << 20;

/// Batches have at most this many rows.
const BATCH_ROWS: u64 = 64 << 10;

/// The next row group is fetched ahead if it has at most this many bytes.
const FETCH_AHEAD_BYTES: u64 = 16 << 20;

pub(super) async fn schema(cx: &Context, input: &Arc<dyn Input>) -> Result<SchemaRef> {
    let (input, size) = sized(input.clone()).await?;
    Ok(plain_schema(footer::load(cx, &*input, size).await?.schema()))
}

pub(super) fn pieces(cx: &Context, input: Arc<dyn Input>, target: u64) -> BoxStream<'static, Result<Piece>> {
    let Some(size) = input.size() else { return super::one_piece(None) };
    let cx = cx.clone();
    let pieces = async move {
        let footer = footer::load(&cx, &*input, size).await?;
        Ok::<_, Error>(stream::iter(cut(footer.metadata().row_groups(), target).into_iter().map(Ok)))
    };
    stream::once(pieces).try_flatten().boxed()
}

/// Neighbouring row groups of about this many bytes together.
fn cut(row_groups: &[RowGroupMetaData], target: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, row_group) in row_groups.iter().enumerate() {
        bytes += u64::try_from(row_group.compressed_size()).unwrap_or(0);
        if bytes >= target || index + 1 == row_groups.len() {
            let end = index as u64 + 1;
            pieces.push(Piece { start, end: Some(end), line: 0, bytes: Some(bytes) });
            (start, bytes) = (end, 0);
        }
    }
    pieces
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
        let (at, row) = units::place::<RowGroups>(&from, piece.start)?;
        let (input, size) = sized(input).await?;
        let footer = footer::load(&cx, &*input, size).await?;
        let row_groups = RowGroups::new(input, size, footer, piece.end, columns.as_deref());
        let at = row_groups.from(at).unwrap_or(u64::MAX);
        Ok::<_, Error>(units::read(&cx, row_groups, at, row))
    };
    stream::once(batches).try_flatten().boxed()
}

/// The row groups of a file.
struct RowGroups {
    input: Arc<dyn Input>,
    size: u64,
    footer: ArrowReaderMetadata,
    end: usize,
    wanted: ProjectionMask,
    plain: SchemaRef,
}

impl RowGroups {
    fn new(
        input: Arc<dyn Input>,
        size: u64,
        footer: ArrowReaderMetadata,
        end: Option<u64>,
        columns: Option<&[String]>,
    ) -> Self {
        let all = footer.metadata().num_row_groups();
        let end = end.and_then(|end| usize::try_from(end).ok()).unwrap_or(all).min(all);
        let (wanted, plain) = match columns {
            None => (ProjectionMask::all(), plain_schema(footer.schema())),
            Some(columns) => {
                let fields = footer.schema().fields().iter().enumerate();
                let wanted = fields.filter(|(_, field)| columns.contains(field.name()));
                let indices: Vec<_> = wanted.map(|(index, _)| index).collect();
                let schema = footer.schema().project(&indices).expect("the indices are those of its fields");
                (ProjectionMask::roots(footer.parquet_schema(), indices), plain_schema(&Arc::new(schema)))
            }
        };
        Self { input, size, footer, end, wanted, plain }
    }

    /// The first row group with rows from this one on.
    fn from(&self, at: u64) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let mut row_groups = at..self.end;
        row_groups
            .find(|index| self.footer.metadata().row_group(*index).num_rows() > 0)
            .map(|index| index as u64)
    }

    /// The bytes of a row group that are wanted.
    fn wanted_bytes(&self, row_group: &RowGroupMetaData, size: impl Fn(usize) -> i64) -> u64 {
        let columns = (0..row_group.num_columns()).filter(|index| self.wanted.leaf_included(*index));
        columns.map(|index| u64::try_from(size(index)).unwrap_or(0)).sum()
    }

    fn batch_rows(&self, row_group: &RowGroupMetaData, rows: u64) -> usize {
        let bytes = self.wanted_bytes(row_group, |index| row_group.column(index).uncompressed_size());
        let fit = rows.saturating_mul(BATCH_BYTES).checked_div(bytes).unwrap_or(BATCH_ROWS);
        usize::try_from(fit.clamp(1, BATCH_ROWS)).unwrap_or(1)
    }
}

#[async_trait]
impl Units for RowGroups {
    const NAME: &'static str = "row_group";

    fn input(&self) -> &str {
        self.input.name()
    }

    async fn open(&self, at: u64, skip: u64) -> Result<Option<Unit>> {
        let Some(index) = usize::try_from(at).ok().filter(|index| *index < self.end) else { return Ok(None) };
        let row_group = self.footer.metadata().row_group(index);
        let rows = u64::try_from(row_group.num_rows()).unwrap_or(0);
        let chunks = chunks::fetch(&*self.input, self.size, row_group, &self.wanted);
        let chunks = chunks.await.map_err(|error| error.detail(Self::NAME, at))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.footer.clone())
            .with_row_groups(vec![index])
            .with_projection(self.wanted.clone())
            .with_batch_size(self.batch_rows(row_group, rows))
            .with_offset(usize::try_from(skip).unwrap_or(usize::MAX));
        let plain = self.plain.clone();
        let next = self.from(at + 1);
        let next_bytes = next.and_then(|next| usize::try_from(next).ok()).map_or(0, |next| {
            let row_group = self.footer.metadata().row_group(next);
            self.wanted_bytes(row_group, |index| row_group.column(index).compressed_size())
        });
        Ok(Some(Unit {
            rows,
            next,
            fetch_ahead: next_bytes <= FETCH_AHEAD_BYTES,
            batches: batches(builder, plain),
        }))
    }
}

/// The batches of a row group. Nothing is decoded before the first is asked for.
fn batches(builder: ParquetRecordBatchReaderBuilder<chunks::Chunks>, plain: SchemaRef) -> Batches {
    let batches = std::iter::once_with(move || builder.build()).flat_map(move |reader| -> Batches {
        let plain = plain.clone();
        match reader {
            Ok(reader) => Box::new(reader.map(move |rows| plain_rows(rows?, &plain))),
            Err(error) => {
                Box::new(std::iter::once(Err(Error::data("its pages are unreadable").source(error))))
            }
        }
    });
    Box::new(batches)
}
