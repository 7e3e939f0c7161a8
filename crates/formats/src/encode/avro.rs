//! Avro object container files, compressed by Snappy: the only other codec that readers commonly know, deflate, takes ten
//! times as long.
//!
//! A block of rows is encoded as a small file of its own; its block, under the marker of the whole file, is what goes
//! out. So blocks need not wait for each other.

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow_avro::compression::CompressionCodec;
use arrow_avro::errors::AvroError;
use arrow_avro::writer::{AvroWriter, WriterBuilder};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;
use towpath_core::{Error, Result};

use super::blocks::BlockFormat;
use crate::plain::plain_type;

/// The marker that ends each block.
const MARKER_BYTES: usize = 16;

/// Avro with the columns of a file.
pub(super) struct Avro {
    stored: SchemaRef,
    header: Vec<u8>,
}

impl Avro {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let stored = Arc::new(Schema::new(stored_fields(schema.fields())));
        let header = writer(&stored)?.into_inner();
        Ok(Self { stored, header })
    }
}

fn writer(stored: &SchemaRef) -> Result<AvroWriter<Vec<u8>>> {
    let builder =
        WriterBuilder::new(stored.as_ref().clone()).with_compression(Some(CompressionCodec::Snappy));
    builder.build(Vec::new()).map_err(failed)
}

impl BlockFormat for Avro {
    fn head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header);
    }

    fn rows(&self, rows: &RecordBatch, _first: bool, out: &mut Vec<u8>) -> Result<()> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = rows.columns().iter().zip(self.stored.fields()).map(|(column, field)| {
            let stored = cast_with_options(column, field.data_type(), &options);
            stored.map_err(|error| Error::from(error).detail("column", field.name()))
        });
        let rows = RecordBatch::try_new(self.stored.clone(), columns.collect::<Result<_>>()?)?;
        let mut writer = writer(&self.stored)?;
        writer.write(&rows).map_err(failed)?;
        let file = writer.into_inner();
        // Headers of the same columns have the same length: only the marker at their end differs.
        out.extend_from_slice(&file[self.header.len()..file.len() - MARKER_BYTES]);
        out.extend_from_slice(&self.header[self.header.len() - MARKER_BYTES..]);
        Ok(())
    }
}

/// The type in which values are stored: Avro has few.
pub(super) fn stored_type(data_type: &DataType) -> DataType {
    match plain_type(data_type) {
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(precision, scale)
        }
        DataType::LargeUtf8 => DataType::Utf8,
        DataType::LargeBinary => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Timestamp(unit, zone) => {
            let unit = if unit == TimeUnit::Second { TimeUnit::Millisecond } else { unit };
            // An instant has no zone in Avro.
            DataType::Timestamp(unit, zone.map(|_| "UTC".into()))
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(stored_field(&item))
        }
        DataType::Map(entries, sorted) => DataType::Map(stored_field(&entries), sorted),
        DataType::Struct(fields) => DataType::Struct(stored_fields(&fields)),
        other => other,
    }
}

fn stored_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), stored_type(field.data_type()), field.is_nullable()))
}

fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(stored_field).collect()
}

/// What to do about a column that Avro cannot hold.
pub(super) fn refuse(field: &Field) -> Option<&'static str> {
    if is_name(field.name()) { refuse_type(&stored_type(field.data_type())) } else { Some(NAMES) }
}

const NAMES: &str = "rename it: names of Avro have letters, digits and underscores, and begin with no digit";

fn refuse_type(stored: &DataType) -> Option<&'static str> {
    match stored {
        DataType::Union(..) | DataType::Interval(_) | DataType::Duration(_) => {
            Some("cast it to string or drop it")
        }
        DataType::Time64(TimeUnit::Nanosecond) => Some("cast it to time, which counts microseconds"),
        DataType::FixedSizeBinary(0) => Some("drop it: it holds nothing"),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale < 0 => {
            Some("cast it to a decimal without a negative scale")
        }
        DataType::Struct(fields) if fields.is_empty() => {
            Some("a struct needs a field: cast it to string or drop it")
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| refuse(field)),
        DataType::List(item) => refuse_type(item.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 && *fields[0].data_type() == DataType::Utf8 => {
                refuse_type(fields[1].data_type())
            }
            _ => Some("the keys of a map must be text"),
        },
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    first && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

fn failed(error: AvroError) -> Error {
    Error::unexpected("cannot encode Avro").source(error)
}

#[cfg(all(test, feature = "full"))]
mod tests {
    use std::io::Cursor;

    use arrow::array::{Array, ArrayRef, Int64Array};
    use arrow::compute::{cast, concat_batches};
    use arrow_avro::codec::Tz;
    use arrow_avro::reader::ReaderBuilder;
    use towpath_core::ErrorKind;
    use towpath_testkit::context;

    use super::*;
    use crate::WriteOptions;
    use crate::samples::{batch, columns, encode, encode_counted, orders};

    fn read(bytes: Vec<u8>) -> RecordBatch {
        let reader = ReaderBuilder::new().with_tz(Tz::Utc).build(Cursor::new(bytes)).unwrap();
        let schema = reader.schema();
        concat_batches(&schema, &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn every_type_is_carried_or_refused() {
        let mut refused = Vec::new();
        for (name, column) in columns() {
            match encode(&WriteOptions::default(), "x.avro", &[batch(name, &column)]).await {
                Ok(bytes) => {
                    let found = read(bytes);
                    let found = found.column(0);
                    let expected = cast(&column, &stored_type(column.data_type())).unwrap();
                    // Nested fields may have other names.
                    assert_eq!(&cast(found, expected.data_type()).unwrap(), &expected, "{name}");
                    assert_eq!(found.data_type().is_nested(), expected.data_type().is_nested(), "{name}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{name}: {error}");
                    assert!(error.to_string().starts_with("Avro cannot hold the column"), "{error}");
                    refused.push(name);
                }
            }
        }
        refused.sort_unstable();
        refused.dedup();
        let expected = "duration_ms duration_ns duration_s duration_us fixed_binary_0 interval_days interval_mixed \
                        interval_months interval_nanos map_of_numbers struct_empty time64_ns time64ns union";
        assert_eq!(refused.join(" "), expected);
    }

    #[tokio::test]
    async fn rows_are_the_same_whatever_the_batches() {
        let rows = orders(100_000);
        let batches: Vec<_> =
            (0..100_000).step_by(9_999).map(|at| rows.slice(at, 9_999.min(100_000 - at))).collect();
        for batches in [&[rows.clone()][..], &batches] {
            let found = read(encode(&WriteOptions::default(), "x.avro", batches).await.unwrap());
            assert_eq!(found.columns(), rows.columns());
        }
    }

    #[tokio::test]
    async fn no_rows_are_a_file_with_columns() {
        let schema = orders(1).schema();
        let (_, bytes) =
            encode_counted(&context(), &WriteOptions::default(), "x.avro", &schema, &[]).await.unwrap();
        let reader = ReaderBuilder::new().with_tz(Tz::Utc).build(Cursor::new(bytes)).unwrap();
        let names =
            |schema: &SchemaRef| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(&reader.schema()), names(&schema));
        assert_eq!(reader.count(), 0);
    }

    #[tokio::test]
    async fn a_name_that_avro_does_not_know_is_refused() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let error =
            encode(&WriteOptions::default(), "x.avro", &[batch("unit price", &column)]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Avro cannot hold the column `unit price` of type int64; rename it: names of Avro have letters, digits \
             and underscores, and begin with no digit"
        );
    }
}
