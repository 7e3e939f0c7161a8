//! Writing: one module for each format, and what they share.
//!
//! A [`Stage`] takes rows and gives bytes to an output, in order. What costs time runs on the CPU pool. Formats whose
//! blocks are independent ([`blocks`]) encode several at once.

#[cfg(feature = "avro")]
mod avro;
#[cfg(any(feature = "csv", feature = "json", feature = "avro"))]
mod blocks;
#[cfg(any(feature = "csv", feature = "json"))]
mod cells;
#[cfg(any(feature = "csv", feature = "json", feature = "avro"))]
mod compress;
#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "arrow")]
mod ipc;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(any(feature = "csv", feature = "json", feature = "parquet", feature = "avro"))]
mod pipeline;
mod target;
#[cfg(any(feature = "csv", feature = "json"))]
mod text;
#[cfg(any(feature = "csv", feature = "json"))]
mod time;

#[cfg(all(test, feature = "full"))]
mod compress_tests;
#[cfg(all(test, feature = "full"))]
mod copying;
#[cfg(all(test, feature = "full"))]
mod text_tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef};
use async_trait::async_trait;
use towpath_core::{ColumnType, Context, Error, Result};

pub(crate) use target::Target;

#[cfg(feature = "avro")]
use crate::Compression;
use crate::{Input, Output, WriteFormat};

/// Turns rows of one schema into the bytes of a format.
#[async_trait]
pub(crate) trait Stage: Send {
    /// Takes rows in; their bytes may go out later.
    async fn write(&mut self, rows: RecordBatch, output: &mut dyn Output) -> Result<()>;

    /// Takes in a whole file of the same format, options and columns, without decoding it. `false` where that cannot be
    /// done; then nothing of it was taken.
    async fn append(&mut self, input: Arc<dyn Input>, output: &mut dyn Output) -> Result<bool> {
        let _ = (input, output);
        Ok(false)
    }

    /// Writes what is left and the end of the format.
    async fn finish(&mut self, output: &mut dyn Output) -> Result<()>;
}

impl Target {
    /// Begins a file of these columns.
    ///
    /// # Errors
    /// `Config` for options that contradict each other, `SchemaMismatch` as [`Target::check`].
    pub(crate) fn stage(&self, cx: &Context, schema: &SchemaRef) -> Result<Box<dyn Stage>> {
        self.check(schema)?;
        match &self.format {
            #[cfg(feature = "csv")]
            WriteFormat::Csv(options) => {
                Ok(Box::new(blocks::Blocks::new(cx, csv::Csv::new(options, ',', schema)?, self.compression)))
            }
            #[cfg(feature = "csv")]
            WriteFormat::Tsv(options) => {
                Ok(Box::new(blocks::Blocks::new(cx, csv::Csv::new(options, '\t', schema)?, self.compression)))
            }
            #[cfg(feature = "json")]
            WriteFormat::Ndjson => Ok(Box::new(blocks::Blocks::new(cx, json::Json::Lines, self.compression))),
            #[cfg(feature = "json")]
            WriteFormat::Json => Ok(Box::new(blocks::Blocks::new(cx, json::Json::Array, self.compression))),
            #[cfg(feature = "parquet")]
            WriteFormat::Parquet(options) => Ok(Box::new(parquet::ParquetStage::new(cx, options, schema)?)),
            #[cfg(feature = "arrow")]
            WriteFormat::Arrow => Ok(Box::new(ipc::IpcStage::new(cx, schema)?)),
            #[cfg(feature = "avro")]
            WriteFormat::Avro => {
                Ok(Box::new(blocks::Blocks::new(cx, avro::Avro::new(schema)?, Compression::None)))
            }
            WriteFormat::Bytes => Err(crate::feature::no_rows()),
            #[cfg(not(all(
                feature = "csv",
                feature = "json",
                feature = "parquet",
                feature = "arrow",
                feature = "avro"
            )))]
            other => Err(crate::feature::lacks("format", target::feature(other))),
        }
    }

    /// Whether the format can hold these columns.
    ///
    /// # Errors
    /// `SchemaMismatch` names the first column that it cannot hold.
    pub(crate) fn check(&self, schema: &SchemaRef) -> Result<()> {
        if schema.fields().is_empty() && !matches!(self.format, WriteFormat::Ndjson | WriteFormat::Json) {
            let name = target::name(&self.format);
            return Err(Error::schema(format!("{name} cannot hold rows without columns")));
        }
        schema.fields().iter().try_for_each(|field| match self.refuse(field) {
            None => Ok(()),
            Some(help) => Err(self.refusal(field, help)),
        })
    }

    /// About how many bytes a stage holds for each column.
    pub(crate) fn column_bytes(&self) -> usize {
        match &self.format {
            #[cfg(feature = "parquet")]
            WriteFormat::Parquet(_) => parquet::COLUMN_BYTES,
            _ => 0,
        }
    }

    /// What to do about a type that the format cannot hold.
    fn refuse(&self, field: &Field) -> Option<&'static str> {
        let data_type = field.data_type();
        match &self.format {
            WriteFormat::Csv(_) | WriteFormat::Tsv(_) => {
                let nested = crate::plain::plain_type(data_type).is_nested();
                nested.then_some("flatten it, or cast it to string, which makes JSON text of it")
            }
            WriteFormat::Ndjson | WriteFormat::Json => refuse_json(data_type),
            #[cfg(feature = "parquet")]
            WriteFormat::Parquet(_) => parquet::refuse(data_type),
            #[cfg(feature = "avro")]
            WriteFormat::Avro => avro::refuse(field),
            _ => None,
        }
    }

    fn refusal(&self, field: &Field, help: &str) -> Error {
        let column_type = ColumnType::from(field.data_type().clone());
        let name = target::name(&self.format);
        Error::schema(format!("{name} cannot hold the column `{}` of type {column_type}", field.name()))
            .help(help)
    }
}

fn refuse_json(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Union(..) => Some("cast it to string or drop it"),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                let key = crate::plain::plain_type(fields[0].data_type());
                if key.is_nested() || key.is_null() {
                    return Some("the keys of a map must be text or numbers");
                }
                refuse_json(fields[1].data_type())
            }
            _ => Some("a map must have keys and values"),
        },
        DataType::Struct(fields) => fields.iter().find_map(|field| refuse_json(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::RunEndEncoded(_, item) => refuse_json(item.data_type()),
        DataType::Dictionary(_, values) => refuse_json(values),
        _ => None,
    }
}

/// The bytes that rows take, without what their buffers share with other slices.
#[cfg(any(feature = "csv", feature = "json", feature = "parquet", feature = "avro"))]
fn slice_bytes(rows: &RecordBatch) -> usize {
    let bytes = |column: &arrow::array::ArrayRef| {
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
    };
    rows.columns().iter().map(bytes).sum()
}
