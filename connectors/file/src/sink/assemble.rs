//! One file out of several segments: the columns changed while a run was under way, or splits had writers of their own.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use futures::TryStreamExt;
use towpath_core::{Begun, ColumnType, Context, Error, Position, Result, conform};
use towpath_formats::{
    Columns, CsvRead, CsvWrite, Encoder, Input, ReadFormat, ReadOptions, Reader, WriteFormat,
};

use super::Target;
use super::commit::Receipt;
use super::form::Form;
use super::manifest::{Home, Move};
use super::output::FileOutput;
use super::template::FileName;
use super::writer::stage;
use crate::blocking::blocking;
use crate::errors::{CONNECTOR, io_error};
use crate::input::FileInput;

/// The one file of a plain path: the staged one as it is, or all segments with their columns brought together, or a
/// file without rows. `None` when there are neither rows nor columns, and never were any.
pub(crate) async fn one_file(
    target: &Target,
    cx: &Context,
    home: &Home,
    begun: &Begun,
    receipts: &[Receipt],
) -> Result<Option<Move>> {
    let name = FileName { stream: &begun.load.stream, run: &begun.load.run, part: 0, sequence: 0 };
    let path = target.template.render(name, "");
    let known = match &begun.schema {
        Some(schema) => Some(schema.clone()),
        None => columns_of(target, cx, home, &path).await?,
    };
    let Some(schema) = known else { return Ok(None) };
    let segments: Vec<_> = receipts
        .iter()
        .flat_map(|receipt| receipt.files.iter().map(move |file| (file, &receipt.schema)))
        .collect();
    if let [(only, Some(written))] = segments.as_slice()
        && *written == schema
    {
        make_durable(home.path(&only.staged)?).await?;
        return Ok(Some((*only).clone()));
    }
    let form = Form::of(target, &path);
    let schema = form.schema(&schema);
    let (step, mut encoder) = stage(target, home, &home.staging(&begun.load.run), path, &schema, cx)?;
    for (file, written) in segments {
        let written = written.as_ref().ok_or_else(|| {
            Error::unexpected("a receipt does not tell the columns of its file").connector(CONNECTOR)
        })?;
        let written = form.schema(written);
        if written == schema && encoder.append(open(home.path(&file.staged)?, cx).await?.0).await? {
            continue;
        }
        copy(target, cx, home, file, &written, &schema, &mut encoder).await?;
    }
    let (_, output) = encoder.finish().await?;
    output.finish().await?.keep();
    Ok(Some(step))
}

async fn make_durable(path: PathBuf) -> Result<()> {
    let synchronize = move || {
        let synchronized = File::open(&path).and_then(|file| file.sync_all());
        synchronized.map_err(|error| io_error(error, "commit", path.display()))
    };
    blocking(synchronize).await
}

/// The columns of the file that is there: rows that are replaced by none leave their columns.
async fn columns_of(target: &Target, cx: &Context, home: &Home, path: &str) -> Result<Option<SchemaRef>> {
    let there = home.path(path)?;
    if !there.is_file() {
        return Ok(None);
    }
    let reader = Reader::new(read_options(target, &Schema::empty()), path, None, None)?;
    let schema = reader.schema(cx, &open(there, cx).await?.0).await?;
    // A file without columns has no rows either, and can stay.
    Ok((!schema.fields().is_empty()).then_some(schema))
}

/// A file with its size.
async fn open(path: PathBuf, cx: &Context) -> Result<(Arc<dyn Input>, u64)> {
    let entry = blocking(move || {
        let metadata = path.metadata().map_err(|error| io_error(error, "commit", path.display()))?;
        Ok(crate::list::entry(path.display().to_string(), &metadata))
    })
    .await?;
    let size = entry.size;
    Ok((Arc::new(FileInput::new(entry, cx)), size))
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
    let (input, size) = open(home.path(&segment.staged)?, cx).await?;
    let reader = Reader::new(read_options(target, written), &segment.target, None, None)?;
    let mut pieces = reader.pieces(cx, input.clone(), size.max(1));
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
        WriteFormat::Bytes => ReadFormat::Bytes,
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
