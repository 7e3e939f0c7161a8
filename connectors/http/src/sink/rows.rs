//! Rows as JSON: a text for each row, or for each value of a column.

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use towpath_core::{Context, Json, Result};
use towpath_formats::{Encoder, MemoryOutput, WriteFormat, WriteOptions};

const NAME: &str = "body";

fn options() -> WriteOptions {
    WriteOptions { format: Some(WriteFormat::Ndjson), compression: None }
}

/// Whether rows of these columns can be written.
///
/// # Errors
/// `SchemaMismatch` names the column that cannot.
pub(super) fn check(schema: &SchemaRef) -> Result<()> {
    Encoder::<MemoryOutput>::check(&options(), NAME, schema)
}

/// The JSON object of each row.
pub(super) async fn objects(cx: &Context, rows: RecordBatch) -> Result<Vec<Bytes>> {
    let (count, schema) = (rows.num_rows(), rows.schema());
    if schema.fields().is_empty() {
        return Ok(vec![Bytes::from_static(b"{}"); count]);
    }
    let mut encoder = Encoder::new(&options(), NAME, &schema, cx, MemoryOutput::default())?;
    encoder.write(rows).await?;
    let (_, output) = encoder.finish().await?;
    let text = output.into_bytes();
    // No value holds a bare line break: JSON writes it as `\n`.
    let mut begin = 0;
    let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    Ok(ends.map(|end| text.slice(std::mem::replace(&mut begin, end + 1)..end)).collect())
}

/// The JSON of each value of a column, with all of its digits.
pub(super) async fn values(cx: &Context, rows: &RecordBatch, column: usize) -> Result<Vec<Bytes>> {
    let name = Json::String(rows.schema().field(column).name().clone()).to_string();
    let objects = objects(cx, rows.project(&[column])?).await?;
    // What is around it is `{"name":` and `}`.
    Ok(objects.into_iter().map(|object| object.slice(name.len() + 2..object.len() - 1)).collect())
}

/// The rows as values.
pub(super) async fn parsed(cx: &Context, rows: RecordBatch) -> Result<Vec<Json>> {
    let objects = objects(cx, rows).await?;
    Ok(objects.iter().map(|object| serde_json::from_slice(object).unwrap_or_default()).collect())
}
