//! Bringing columns of different batches together: the narrowest type that holds both, and the cast to it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::json::json_value;
use crate::{ColumnType, Error, Result};

/// The narrowest type that holds the values of both: int → float → string, the finer unit, the larger decimal, structs
/// with the fields of both. A scalar and a nested type meet in a string that holds JSON.
///
/// ```
/// use arrow_schema::DataType;
/// use towpath_core::widen;
///
/// assert_eq!(widen(&DataType::Int32, &DataType::Int64), DataType::Int64);
/// assert_eq!(widen(&DataType::Int64, &DataType::Float64), DataType::Float64);
/// assert_eq!(widen(&DataType::Float64, &DataType::Date32), DataType::Utf8);
/// ```
pub fn widen(left: &DataType, right: &DataType) -> DataType {
    use DataType::{Binary, Date32, LargeBinary, LargeUtf8, Null, Timestamp, Utf8};
    match (left, right) {
        (a, b) if a == b => a.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Timestamp(unit_a, zone_a), Timestamp(unit_b, zone_b)) if zone_a.is_some() == zone_b.is_some() => {
            // Instants are the same in any zone; two zones meet in UTC.
            let zone = if zone_a == zone_b { zone_a.clone() } else { Some("UTC".into()) };
            Timestamp(finer(*unit_a, *unit_b), zone)
        }
        (Date32, Timestamp(unit, None)) | (Timestamp(unit, None), Date32) => Timestamp(*unit, None),
        (DataType::Struct(a), DataType::Struct(b)) => DataType::Struct(merge_fields(a, b)),
        (DataType::List(a), DataType::List(b)) => DataType::List(widen_item(a, b)),
        (DataType::LargeList(a), DataType::LargeList(b) | DataType::List(b))
        | (DataType::List(a), DataType::LargeList(b)) => DataType::LargeList(widen_item(a, b)),
        (a, b) if a.is_numeric() && b.is_numeric() => widen_numbers(a, b),
        (Binary | LargeBinary, Binary | LargeBinary) => LargeBinary,
        (LargeUtf8, _) | (_, LargeUtf8) => LargeUtf8,
        _ => Utf8,
    }
}

fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    left.max(right)
}

fn widen_item(left: &FieldRef, right: &FieldRef) -> FieldRef {
    let item = widen(left.data_type(), right.data_type());
    Arc::new(Field::new(left.name(), item, true).with_metadata(left.metadata().clone()))
}

fn widen_numbers(left: &DataType, right: &DataType) -> DataType {
    if left.is_floating() || right.is_floating() {
        return DataType::Float64;
    }
    if left.is_decimal() || right.is_decimal() {
        return widen_decimals(digits(left), digits(right));
    }
    let (left_bits, right_bits) = (bits(left), bits(right));
    match (left.is_signed_integer(), right.is_signed_integer()) {
        (true, true) => signed(left_bits.max(right_bits)),
        (false, false) => unsigned(left_bits.max(right_bits)),
        (true, false) => mixed(left_bits, right_bits),
        (false, true) => mixed(right_bits, left_bits),
    }
}

/// A signed type that also holds the unsigned one; no integer holds both `int64` and `uint64`.
fn mixed(signed_bits: usize, unsigned_bits: usize) -> DataType {
    if unsigned_bits >= 64 { DataType::Decimal128(20, 0) } else { signed(signed_bits.max(unsigned_bits * 2)) }
}

fn signed(bits: usize) -> DataType {
    match bits {
        8 => DataType::Int8,
        16 => DataType::Int16,
        32 => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn unsigned(bits: usize) -> DataType {
    match bits {
        8 => DataType::UInt8,
        16 => DataType::UInt16,
        32 => DataType::UInt32,
        _ => DataType::UInt64,
    }
}

fn bits(data_type: &DataType) -> usize {
    data_type.primitive_width().unwrap_or(8) * 8
}

/// Digits before and behind the point of a decimal or an integer.
fn digits(data_type: &DataType) -> (i16, i16) {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            (i16::from(*precision) - i16::from(*scale), i16::from(*scale))
        }
        integer => match bits(integer) {
            8 => (3, 0),
            16 => (5, 0),
            32 => (10, 0),
            _ => (20, 0),
        },
    }
}

fn widen_decimals(left: (i16, i16), right: (i16, i16)) -> DataType {
    let (whole, scale) = (left.0.max(right.0), left.1.max(right.1));
    match (u8::try_from(whole + scale), i8::try_from(scale)) {
        (Ok(precision @ 0..=38), Ok(scale)) => DataType::Decimal128(precision.max(1), scale),
        (Ok(precision @ 39..=76), Ok(scale)) => DataType::Decimal256(precision, scale),
        // No decimal holds both, and a float would change digits.
        _ => DataType::Utf8,
    }
}

/// The columns of both schemas: those of the first in their order, widened where the second needs it, then the new
/// ones, nullable. A column's metadata is that of the schema whose type it has; where both have it, of the first.
pub fn merge_schemas(left: &Schema, right: &Schema) -> Schema {
    if left == right {
        return left.clone();
    }
    let mut metadata = right.metadata().clone();
    metadata.extend(left.metadata().clone());
    Schema::new_with_metadata(merge_fields(left.fields(), right.fields()), metadata)
}

fn merge_fields(left: &Fields, right: &Fields) -> Fields {
    let mut merged: Vec<FieldRef> = left
        .iter()
        .map(|field| match right.find(field.name()) {
            Some((_, other)) => merge_field(field, other),
            None => Arc::new(field.as_ref().clone().with_nullable(true)),
        })
        .collect();
    for field in right {
        if left.find(field.name()).is_none() {
            merged.push(Arc::new(field.as_ref().clone().with_nullable(true)));
        }
    }
    merged.into()
}

fn merge_field(left: &FieldRef, right: &FieldRef) -> FieldRef {
    let data_type = widen(left.data_type(), right.data_type());
    let nullable = left.is_nullable() || right.is_nullable();
    if data_type == *left.data_type() && nullable == left.is_nullable() {
        return left.clone();
    }
    // Metadata such as the type in a database says something of the type, so it goes with it.
    let metadata = if data_type == *left.data_type() {
        left.metadata().clone()
    } else if data_type == *right.data_type() {
        right.metadata().clone()
    } else {
        HashMap::new()
    };
    Arc::new(Field::new(left.name(), data_type, nullable).with_metadata(metadata))
}

/// The rows in exactly these columns: cast where the types differ, null where a column is missing. Columns that the
/// schema does not have are left out.
///
/// # Errors
/// `DataInvalid` when a value does not fit its column's type, `SchemaMismatch` when no cast exists or a column that must
/// not be null is missing. The error names the column.
pub fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows.clone());
    }
    let columns = schema.fields().iter().map(|field| {
        let column = rows.column_by_name(field.name()).map(|column| conform_array(column, field.data_type()));
        column
            .unwrap_or_else(|| Ok(new_null_array(field.data_type(), rows.num_rows())))
            .map_err(|error| error.detail("column", field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| Error::schema("the rows do not fit the columns").source(error))
}

/// An array as another type. Casts that lose a value fail; a nested value becomes text as JSON.
///
/// # Errors
/// As [`conform`].
pub fn conform_array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(array.clone());
    }
    match (from, to) {
        (DataType::Struct(_), DataType::Struct(fields)) => conform_struct(array.as_struct(), fields),
        (DataType::List(_), DataType::List(item)) => conform_list::<i32>(array, item),
        (DataType::LargeList(_), DataType::LargeList(item)) => conform_list::<i64>(array, item),
        _ if from.is_nested() && is_text(to) => {
            let texts = (0..array.len()).map(|row| match json_value(array, row)? {
                serde_json::Value::Null => Ok(None),
                value => Ok(Some(value.to_string())),
            });
            conform_array(&(Arc::new(texts.collect::<Result<StringArray>>()?) as ArrayRef), to)
        }
        _ if can_cast_types(from, to) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, to, &options).map_err(|error| {
                Error::data(format!("a value does not fit {}", ColumnType::from(to.clone()))).source(error)
            })
        }
        _ => Err(Error::schema(format!(
            "{} cannot become {}",
            ColumnType::from(from.clone()),
            ColumnType::from(to.clone())
        ))),
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn conform_struct(array: &StructArray, fields: &Fields) -> Result<ArrayRef> {
    let columns = fields.iter().map(|field| match array.column_by_name(field.name()) {
        Some(column) => {
            conform_array(column, field.data_type()).map_err(|error| error.detail("field", field.name()))
        }
        None => Ok(new_null_array(field.data_type(), array.len())),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let made = StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len());
    Ok(Arc::new(made.map_err(|error| Error::schema("a struct does not fit").source(error))?))
}

fn conform_list<O: OffsetSizeTrait>(array: &ArrayRef, item: &FieldRef) -> Result<ArrayRef> {
    let list: &GenericListArray<O> = array.as_list();
    // A slice shares the items of the whole; only its own may decide whether they fit.
    let (start, end) = (list.value_offsets()[0].as_usize(), list.value_offsets()[list.len()].as_usize());
    let own = list.values().slice(start, end - start);
    let values = conform_array(&own, item.data_type())?;
    let offsets = OffsetBuffer::from_lengths(list.offsets().lengths());
    let made = GenericListArray::<O>::try_new(item.clone(), offsets, values, list.nulls().cloned());
    Ok(Arc::new(made.map_err(|error| Error::schema("a list does not fit").source(error))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, record_batch};

    fn data_type(text: &str) -> DataType {
        text.parse::<ColumnType>().unwrap().data_type().clone()
    }

    #[test]
    fn types_meet_in_the_narrowest_that_holds_both() {
        for (left, right, both) in [
            ("int8", "int32", "int32"),
            ("uint8", "int8", "int16"),
            ("uint64", "int64", "decimal(20,0)"),
            ("int64", "float32", "float64"),
            ("bool", "int64", "string"),
            ("null", "date", "date"),
            ("date", "timestamp(ms)", "timestamp(ms)"),
            ("timestamp(s, UTC)", "timestamp(us, Europe/Berlin)", "timestamp(us, UTC)"),
            ("timestamp", "timestamp(us, UTC)", "string"),
            ("decimal(10,2)", "decimal(12,4)", "decimal(12,4)"),
            ("decimal(10,2)", "int64", "decimal(22,2)"),
            ("decimal(38,0)", "decimal(38,38)", "decimal(76,38)"),
            ("list<int8>", "list<string>", "list<string>"),
            ("struct<a: int8>", "struct<b: bool, a: int64>", "struct<a: int64, b: bool>"),
            ("struct<a: int8>", "int64", "string"),
        ] {
            assert_eq!(widen(&data_type(left), &data_type(right)), data_type(both), "{left} and {right}");
            let widened = ColumnType::from(widen(&data_type(right), &data_type(left)));
            assert_eq!(widened.to_string().len(), both.len(), "{right} and {left} gave {widened}");
        }
    }

    #[test]
    fn new_columns_come_behind_and_are_nullable() {
        let left = Schema::new(vec![Field::new("a", DataType::Int32, false)]);
        let right = Schema::new(vec![
            Field::new("b", DataType::Utf8, false),
            Field::new("a", DataType::Int64, false),
        ]);
        let merged = merge_schemas(&left, &right);
        assert_eq!(merged.field(0), &Field::new("a", DataType::Int64, false));
        assert_eq!(merged.field(1), &Field::new("b", DataType::Utf8, true));
    }

    #[test]
    fn metadata_goes_with_the_type_that_it_describes() {
        let field = |data_type, name: &str| {
            Field::new("a", data_type, true).with_metadata([("sql".to_owned(), name.to_owned())].into())
        };
        let merged = |left, right| merge_schemas(&Schema::new(vec![left]), &Schema::new(vec![right]));
        let (int, bigint) = (field(DataType::Int32, "int"), field(DataType::Int64, "bigint"));
        assert_eq!(merged(int.clone(), bigint.clone()).field(0), &bigint);
        assert_eq!(merged(bigint.clone(), int.clone()).field(0), &bigint);
        let float = field(DataType::Float32, "real");
        assert_eq!(merged(int, float).field(0), &Field::new("a", DataType::Float64, true));
    }

    #[test]
    fn rows_are_cast_padded_and_cut_to_the_schema() {
        let rows = record_batch!(("a", Int32, [1, 2]), ("gone", Utf8, ["x", "y"])).unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("b", DataType::Utf8, true),
            Field::new("a", DataType::Int64, true),
        ]));
        let conformed = conform(&rows, &schema).unwrap();
        assert_eq!(conformed.schema(), schema);
        assert_eq!(conformed.column(0).null_count(), 2);
        assert_eq!(conformed.column(1).as_ref(), &Int64Array::from(vec![1, 2]) as &dyn Array);
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_column() {
        let rows = record_batch!(("a", Utf8, ["12", "twelve"])).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let error = conform(&rows, &schema).unwrap_err().to_string();
        assert!(
            error.contains("a value does not fit int64 (column: a)") && error.contains("twelve"),
            "{error}"
        );
    }

    #[test]
    fn a_struct_gains_fields_and_becomes_json_as_text() {
        let rows = record_batch!(("x", Int64, [7])).unwrap();
        let structs: ArrayRef = Arc::new(StructArray::from(rows));
        let wider = conform_array(&structs, &data_type("struct<x: float64, y: string>")).unwrap();
        assert_eq!(wider.as_struct().column_by_name("y").unwrap().null_count(), 1);
        let text = conform_array(&structs, &DataType::Utf8).unwrap();
        assert_eq!(text.as_string::<i32>().value(0), r#"{"x":7}"#);
    }

    #[test]
    fn items_outside_of_a_sliced_list_do_not_count() {
        let items: ArrayRef = Arc::new(StringArray::from(vec!["oops", "7", "8"]));
        let field = Arc::new(Field::new("item", DataType::Utf8, true));
        let list = GenericListArray::<i32>::new(field, OffsetBuffer::from_lengths([1, 2]), items, None);
        let own: ArrayRef = Arc::new(list.slice(1, 1));
        let numbers = conform_array(&own, &data_type("list<int64>")).unwrap();
        assert_eq!(numbers.as_list::<i32>().value(0).as_ref(), &Int64Array::from(vec![7, 8]) as &dyn Array);
    }
}
