//! Reading in tests.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use towpath_core::{Batch, ColumnType, Json, Position, Rejected, Result, conform, json_row, merge_schemas};
use towpath_testkit::context;

use super::{Kind, Reader};
use crate::{Columns, Compression, CsvRead, Input, MemoryInput, Piece, ReadOptions};

/// All of an input.
pub(crate) const WHOLE: Piece = Piece { start: 0, end: None, line: 1, bytes: None };

pub(crate) fn input(name: &str, text: impl Into<Bytes>) -> Arc<dyn Input> {
    Arc::new(MemoryInput::new(name, text))
}

#[cfg(feature = "csv")]
pub(crate) fn csv(change: impl FnOnce(&mut CsvRead)) -> Reader {
    csv_with(change, ReadOptions::default())
}

#[cfg(feature = "csv")]
pub(crate) fn csv_with(change: impl FnOnce(&mut CsvRead), options: ReadOptions) -> Reader {
    let mut csv = CsvRead::default();
    change(&mut csv);
    Reader::new(Kind::csv(csv, ',').unwrap(), Compression::None, options)
}

#[cfg(feature = "json")]
pub(crate) fn ndjson(options: ReadOptions) -> Reader {
    Reader::new(Kind::Ndjson, Compression::None, options)
}

#[cfg(feature = "json")]
pub(crate) fn json(records: Option<&str>) -> Reader {
    let path = records.map(|records| records.parse().unwrap());
    Reader::new(Kind::Json(path), Compression::None, ReadOptions::default())
}

/// Options with declared columns.
pub(crate) fn declared(columns: &[(&str, &str)]) -> ReadOptions {
    let columns =
        columns.iter().map(|(name, column_type)| ((*name).to_owned(), column_type.parse().unwrap()));
    ReadOptions { columns: Columns(columns.collect()), ..ReadOptions::default() }
}

pub(crate) async fn batches(
    reader: &Reader,
    input: &Arc<dyn Input>,
    piece: &Piece,
    from: &Position,
) -> Result<Vec<Batch>> {
    reader.read(&context(), input.clone(), piece, from, None).try_collect().await
}

/// All rows of batches, with the columns of all.
pub(crate) fn joined(batches: &[Batch]) -> (RecordBatch, Vec<Rejected>) {
    let schemas = batches.iter().map(|batch| batch.rows.schema());
    let schema = schemas.reduce(|left, right| Arc::new(merge_schemas(&left, &right)));
    let schema = schema.unwrap_or_else(|| Arc::new(arrow_schema::Schema::empty()));
    let rows: Vec<_> = batches.iter().map(|batch| conform(&batch.rows, &schema).unwrap()).collect();
    let rejected = batches.iter().flat_map(|batch| batch.rejected.clone()).collect();
    (concat_batches(&schema, &rows).unwrap(), rejected)
}

pub(crate) async fn read(reader: &Reader, text: impl Into<Bytes>) -> Result<(RecordBatch, Vec<Rejected>)> {
    let input = input("in/file.txt", text);
    Ok(joined(&batches(reader, &input, &WHOLE, &Position::Start).await?))
}

/// Rows as JSON, one object each.
pub(crate) fn rows_of(rows: &RecordBatch) -> Vec<Json> {
    (0..rows.num_rows()).map(|row| json_row(rows, row).unwrap()).collect()
}

/// The rows, without anything rejected.
pub(crate) async fn rows(reader: &Reader, text: impl Into<Bytes>) -> Vec<Json> {
    let (rows, rejected) = read(reader, text).await.unwrap();
    assert_eq!(rejected, [], "nothing should be rejected");
    rows_of(&rows)
}

/// The columns with their types, as `name: type`.
pub(crate) fn types(rows: &RecordBatch) -> Vec<String> {
    let schema = rows.schema();
    let fields = schema.fields().iter();
    fields.map(|field| format!("{}: {}", field.name(), ColumnType::from(field.data_type().clone()))).collect()
}

/// What was rejected, as messages.
pub(crate) fn messages(rejected: &[Rejected]) -> Vec<String> {
    rejected.iter().map(ToString::to_string).collect()
}
