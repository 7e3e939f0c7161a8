//! The same crates as Towpath's, in a bare loop on one thread: a batch is read, then it is written.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::data::schema;

const BATCH_ROWS: usize = 8192;
pub(crate) const BUFFER: usize = 1 << 20;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// Reads one file and writes the other.
pub(crate) fn convert(from: &Path, to: &Path) -> Result<()> {
    let target = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    match extension(to)? {
        "gz" => compress(from, target),
        "ndjson" => write_ndjson(read(from)?, target),
        "parquet" => write_parquet(read(from)?, target),
        other => bail!("cannot write .{other}"),
    }
}

pub(crate) fn extension(path: &Path) -> Result<&str> {
    path.extension()
        .and_then(|extension| extension.to_str())
        .with_context(|| format!("{} has no extension", path.display()))
}

fn compress(from: &Path, target: File) -> Result<()> {
    let mut encoder = GzEncoder::new(BufWriter::with_capacity(BUFFER, target), Compression::default());
    std::io::copy(&mut File::open(from)?, &mut encoder)?;
    Ok(encoder.finish()?.flush()?)
}

fn read(path: &Path) -> Result<Batches> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(match extension(path)? {
        "csv" => read_csv(file)?,
        "gz" => read_csv(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file)))?,
        "ndjson" => {
            let reader = arrow_json::ReaderBuilder::new(schema(false)).with_batch_size(BATCH_ROWS);
            Box::new(reader.build(BufReader::with_capacity(BUFFER, file))?)
        }
        "parquet" => {
            Box::new(ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()?)
        }
        other => bail!("cannot read .{other}"),
    })
}

fn read_csv(input: impl Read + 'static) -> Result<Batches> {
    let reader = arrow_csv::ReaderBuilder::new(schema(true)).with_header(true).with_batch_size(BATCH_ROWS);
    Ok(Box::new(reader.build_buffered(BufReader::with_capacity(BUFFER, input))?))
}

fn write_ndjson(batches: Batches, target: File) -> Result<()> {
    let mut writer = arrow_json::LineDelimitedWriter::new(BufWriter::with_capacity(BUFFER, target));
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.finish()?;
    Ok(writer.into_inner().flush()?)
}

fn write_parquet(batches: Batches, target: File) -> Result<()> {
    let mut batches = batches.peekable();
    let Some(Ok(first)) = batches.peek() else { bail!("there are no rows") };
    let mut writer = ArrowWriter::try_new(target, first.schema(), Some(parquet_properties()?))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    writer.close()?;
    Ok(())
}

/// Compressed as Towpath does it.
pub(crate) fn parquet_properties() -> Result<WriterProperties> {
    let compression = ParquetCompression::ZSTD(ZstdLevel::try_new(1)?);
    Ok(WriterProperties::builder().set_compression(compression).build())
}
