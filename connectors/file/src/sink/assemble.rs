//! One file out of several segments: the columns changed while a run was under way, or splits had writers of their own.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::TryStreamExt;
use towpath_core::{Begun, ColumnType, Context, Error, Position, Result, conform};
use towpath_formats::{
    Columns, CsvRead, CsvWrite, Encoder, Input, ReadFormat, ReadOptions, Reader, WriteFormat,
};

use super::Target;
use super::commit::Receipt;
use super::manifest::{Home, Move};
use super::output::FileOutput;
use super::template::FileName;
use super::writer::stage;
use crate::blocking::blocking;
use crate::errors::{CONNECTOR, io_error};
use crate::input::FileInput;
use crate::list::FileEntry;

/// The one file of a plain path: the staged one as it is, or all segments with their columns brought together, or a
/// file without rows.
pub(crate) async fn one_file(
    target: &Target,
    cx: &Context,
    home: &Home,
    begun: &Begun,
    receipts: &[Receipt],
) -> Result<Move> {
    let unknown: SchemaRef = Arc::new(Schema::empty());
    let schema = begun.schema.as_ref().unwrap_or(&unknown);
    let segments: Vec<_> = receipts
        .iter()
        .flat_map(|receipt| receipt.files.iter().map(move |file| (file, &receipt.schema)))
        .collect();
    if let [(only, written)] = segments.as_slice() {
        if written.as_ref() == Some(schema) {
            return Ok((*only).clone());
        }
    }
    let name = FileName { stream: &begun.load.stream, run: &begun.load.run, part: 0, sequence: 0 };
    let path = target.template.render(name, "");
    let (step, mut encoder) = stage(target, home, &home.staging(&begun.load.run), path, schema, None, cx)?;
    for (file, written) in segments {
        let written = written.as_ref().ok_or_else(|| {
            Error::unexpected("a receipt does not tell the columns of its file").connector(CONNECTOR)
        })?;
        copy(target, cx, home, file, written, schema, &mut encoder).await?;
    }
    let (_, output) = encoder.finish().await?;
    output.finish().await?.keep();
    Ok(step)
}

async fn copy(
    target: &Target,
    cx: &Context,
    home: &Home,
    segment: &Move,
    written: &SchemaRef,
    schema: &SchemaRef,
    encoder: &mut Encoder<FileOutput>,
) -> Result<()> {
    let path = home.path(&segment.staged)?;
    let entry = blocking(move || {
        let metadata = path.metadata().map_err(|error| io_error(error, "commit", path.display()))?;
        Ok(FileEntry::new(path.display().to_string(), &metadata))
    })
    .await?;
    let input: Arc<dyn Input> = Arc::new(FileInput::new(entry, cx));
    let reader = Reader::new(read_options(target, written), &segment.target, None, None)?;
    let mut pieces = reader.pieces(cx, input.clone(), u64::MAX);
    while let Some(piece) = pieces.try_next().await? {
        let mut batches = reader.read(cx, input.clone(), &piece, Position::Start, None);
        while let Some(batch) = batches.try_next().await? {
            if let Some(rejected) = batch.rejected.first() {
                return Err(Error::unexpected(format!("a staged row cannot be read back: {rejected}"))
                    .connector(CONNECTOR)
                    .operation("commit"));
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
    let format = target.options.format.as_ref().map(|format| match format {
        WriteFormat::Csv(options) => ReadFormat::Csv(read_csv(options)),
        WriteFormat::Tsv(options) => ReadFormat::Tsv(read_csv(options)),
        WriteFormat::Ndjson => ReadFormat::Ndjson,
        WriteFormat::Json => ReadFormat::Json(towpath_formats::JsonRead::default()),
        WriteFormat::Parquet(_) => ReadFormat::Parquet,
        WriteFormat::Arrow => ReadFormat::Arrow,
        WriteFormat::Avro => ReadFormat::Avro,
    });
    ReadOptions {
        format,
        compression: target.options.compression,
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
