//! One file out of several segments: the columns changed while a run was under way, or splits had writers of their own.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::TryStreamExt;
use towpath_core::{Begun, ColumnType, Context, Error, Position, Result, conform};
use towpath_formats::{
    Columns, CsvRead, CsvWrite, Encoder, Input, ReadFormat, ReadOptions, Reader, WriteFormat,
};

use super::form::Form;
use super::writer::encoder;
use super::{FileName, Receipt, Role, StagedFile, Staging, Target};

/// The one file of a plain path: the staged one as it is, or all segments with their columns brought together, or a
/// file without rows. `None` when there are neither rows nor columns, and never were any.
pub(super) async fn one_file<S: Staging>(
    target: &Target,
    staging: &S,
    cx: &Context,
    begun: &Begun,
    receipts: &[Receipt<S::File>],
) -> Result<Option<S::File>> {
    let name = FileName { stream: &begun.load.stream, run: &begun.load.run, part: 0, sequence: 0 };
    let path = target.template.render(name, "");
    let known = match &begun.schema {
        Some(schema) => Some(schema.clone()),
        None => columns_of(target, staging, cx, &path).await?,
    };
    let Some(schema) = known else { return Ok(None) };
    let segments: Vec<_> = receipts
        .iter()
        .flat_map(|receipt| receipt.files.iter().map(move |file| (file, &receipt.schema)))
        .collect();
    if let [(only, Some(written))] = segments.as_slice()
        && *written == schema
    {
        return staging.promote(cx, only).await.map(Some);
    }
    let form = Form::of(target, &path);
    let schema = form.schema(&schema);
    let mut encoder = encoder(target, staging, cx, path, Role::Whole, &schema)?;
    for (file, written) in segments {
        let written = written
            .as_ref()
            .ok_or_else(|| Error::unexpected("a receipt does not tell the columns of its file"))?;
        let written = form.schema(written);
        let (input, size) = staging.open(cx, file).await?;
        if written == schema && encoder.append(input.clone()).await? {
            continue;
        }
        let reader = Reader::new(read_options(target, &written), file.path(), None, None)?;
        copy(cx, &reader, input, size, &schema, &mut encoder).await?;
    }
    let (_, output) = encoder.finish().await?;
    Ok(Some(staging.keep(staging.finish(output).await?)))
}

/// The columns of the file that is there: rows that are replaced by none leave their columns.
async fn columns_of<S: Staging>(
    target: &Target,
    staging: &S,
    cx: &Context,
    path: &str,
) -> Result<Option<SchemaRef>> {
    let Some(there) = staging.open_committed(cx, path).await? else { return Ok(None) };
    let reader = Reader::new(read_options(target, &Schema::empty()), path, None, None)?;
    let schema = reader.schema(cx, &there).await?;
    // A file without columns has no rows either, and can stay.
    Ok((!schema.fields().is_empty()).then_some(schema))
}

/// Reads all rows of a segment and writes them.
async fn copy<O: towpath_formats::Output>(
    cx: &Context,
    reader: &Reader,
    input: Arc<dyn Input>,
    size: u64,
    schema: &SchemaRef,
    encoder: &mut Encoder<O>,
) -> Result<()> {
    let mut pieces = reader.pieces(cx, input.clone(), size.max(1));
    while let Some(piece) = pieces.try_next().await? {
        let mut batches = reader.read(cx, input.clone(), &piece, Position::Start, None);
        while let Some(batch) = batches.try_next().await? {
            if let Some(rejected) = batch.rejected.first() {
                return Err(Error::unexpected(format!("a staged row cannot be read back: {rejected}")));
            }
            let schema = schema.clone();
            let rows = cx.cpu(move || conform(&batch.rows, &schema)).await?;
            encoder.write(rows).await?;
        }
    }
    Ok(())
}

/// How a file is read back that was written with the options of the target.
fn read_options(target: &Target, written: &Schema) -> ReadOptions {
    let columns = written
        .fields()
        .iter()
        .map(|field| (field.name().clone(), ColumnType::from(field.data_type().clone())));
    let format = target.write.format.as_ref().map(|format| match format {
        WriteFormat::Csv(options) => ReadFormat::Csv(read_csv(options)),
        WriteFormat::Tsv(options) => ReadFormat::Tsv(read_csv(options)),
        WriteFormat::Ndjson => ReadFormat::Ndjson,
        WriteFormat::Json => ReadFormat::Json(towpath_formats::JsonRead::default()),
        WriteFormat::Parquet(_) => ReadFormat::Parquet,
        WriteFormat::Arrow => ReadFormat::Arrow,
        WriteFormat::Avro => ReadFormat::Avro,
        WriteFormat::Bytes => ReadFormat::Bytes,
    });
    ReadOptions {
        format,
        compression: target.write.compression,
        columns: Columns(columns.collect()),
        max_decompressed: Some(towpath_core::ByteSize::new(u64::MAX)),
        ..ReadOptions::default()
    }
}

fn read_csv(options: &CsvWrite) -> CsvRead {
    let null_values =
        if options.null_value.is_empty() { Vec::new() } else { vec![options.null_value.clone()] };
    CsvRead {
        delimiter: options.delimiter,
        quote: options.quote.to_string(),
        header: options.header,
        null_values,
        ..CsvRead::default()
    }
}
