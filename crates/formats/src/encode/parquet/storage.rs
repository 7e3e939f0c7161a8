//! How Arrow types are stored in Parquet.
//!
//! Parquet knows no seconds and no dates in milliseconds: Arrow would store them as bare numbers, which other readers
//! could not tell from integers. They are stored in the next type that Parquet knows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use towpath_core::Result;

use crate::plain::plain_type;

/// The columns as they are stored.
pub(super) fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = stored_fields(schema.fields());
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The type in which values are stored.
pub(super) fn stored_type(data_type: &DataType) -> DataType {
    match plain_type(data_type) {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::List(item) => DataType::List(stored_field(&item)),
        DataType::LargeList(item) => DataType::LargeList(stored_field(&item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(stored_field(&item), size),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(&entries), sorted),
        DataType::Struct(fields) => DataType::Struct(stored_fields(&fields)),
        other => other,
    }
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let data_type = stored_type(field.data_type());
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

fn stored_fields(fields: &Fields) -> Fields {
    fields.iter().map(stored_field).collect()
}

/// An array in its stored type.
pub(super) fn store(array: &dyn Array, stored: &DataType) -> Result<ArrayRef> {
    if array.data_type() == stored {
        return Ok(make_array(array.to_data()));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, stored, &options)?)
}

/// How many columns of Parquet a type takes.
pub(super) fn leaves(stored: &DataType) -> usize {
    match stored {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaves(item.data_type()),
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

/// What to do about a type that Parquet cannot hold.
pub(super) fn refuse(stored: &DataType) -> Option<&'static str> {
    match stored {
        DataType::Union(..) | DataType::Interval(IntervalUnit::MonthDayNano) => {
            Some("cast it to string or drop it")
        }
        DataType::Struct(fields) if fields.is_empty() => {
            Some("a struct needs a field: cast it to string or drop it")
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| refuse(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => refuse(item.data_type()),
        DataType::FixedSizeBinary(0) => Some("drop it: it holds nothing"),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
            if *scale < 0 =>
        {
            Some("cast it to a decimal without a negative scale")
        }
        _ => None,
    }
}
