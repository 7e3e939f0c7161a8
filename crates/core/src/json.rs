//! Single values as JSON, for cursors, dead letters and previews. Bulk conversion belongs to the formats.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{Float16Type, Float32Type, Float64Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use serde_json::{Map, Number};

use crate::{Json, Result};

/// A value of an array as JSON. Numbers stay numbers where JSON can hold them exactly; decimals, dates and times are
/// text in ISO form; binary is hexadecimal.
///
/// # Errors
/// `DataInvalid` for a value that Arrow cannot print, such as a date out of range.
pub fn json_value(array: &dyn Array, row: usize) -> Result<Json> {
    if array.is_null(row) {
        return Ok(Json::Null);
    }
    Ok(match array.data_type() {
        DataType::Null => Json::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            text(array, row)?.parse::<i64>().map_or(Json::Null, Json::from)
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            text(array, row)?.parse::<u64>().map_or(Json::Null, Json::from)
        }
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float16 => float(array.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => float(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            columns
                .map(|(field, column)| Ok((field.name().clone(), json_value(column, row)?)))
                .collect::<Result<Map<_, _>>>()?
                .into()
        }
        DataType::List(_) => items(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => items(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => items(&array.as_fixed_size_list().value(row))?,
        DataType::ListView(_) => items(&array.as_list_view::<i32>().value(row))?,
        DataType::LargeListView(_) => items(&array.as_list_view::<i64>().value(row))?,
        DataType::Dictionary(_, value) => plain(array, row, value)?,
        DataType::RunEndEncoded(_, value) => plain(array, row, value.data_type())?,
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            (0..entries.len())
                .map(|entry| Ok((text(entries.column(0), entry)?, json_value(entries.column(1), entry)?)))
                .collect::<Result<Map<_, _>>>()?
                .into()
        }
        _ => text(array, row)?.into(),
    })
}

/// A row as a JSON object.
///
/// # Errors
/// As [`json_value`].
pub fn json_row(rows: &RecordBatch, row: usize) -> Result<Json> {
    let schema = rows.schema_ref();
    let columns = schema.fields().iter().zip(rows.columns());
    let object: Result<Map<_, _>> =
        columns.map(|(field, column)| Ok((field.name().clone(), json_value(column, row)?))).collect();
    Ok(object?.into())
}

fn items(array: &dyn Array) -> Result<Json> {
    (0..array.len()).map(|item| json_value(array, item)).collect::<Result<Vec<_>>>().map(Json::Array)
}

/// A value of an encoded array, as its own type shows it.
fn plain(array: &dyn Array, row: usize, value: &DataType) -> Result<Json> {
    json_value(&cast(&array.slice(row, 1), value)?, 0)
}

fn text(array: &dyn Array, row: usize) -> Result<String> {
    let options = FormatOptions::default().with_display_error(false);
    Ok(ArrayFormatter::try_new(array, &options)?.value(row).try_to_string()?)
}

fn float(value: f64) -> Json {
    // JSON has no NaN and no infinity.
    Number::from_f64(value).map_or_else(|| Json::String(value.to_string()), Json::Number)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{
        ArrayRef, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray, StructArray,
    };
    use arrow::datatypes::Int32Type;
    use arrow_schema::Field;
    use serde_json::json;

    #[test]
    fn values_become_what_a_person_would_write() {
        let decimal = Decimal128Array::from(vec![12345]).with_precision_and_scale(12, 2).unwrap();
        assert_eq!(json_value(&decimal, 0).unwrap(), json!("123.45"));
        assert_eq!(json_value(&Float64Array::from(vec![f64::NAN]), 0).unwrap(), json!("NaN"));
        assert_eq!(json_value(&Int64Array::from(vec![None, Some(i64::MAX)]), 1).unwrap(), json!(i64::MAX));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(json_value(&list, 0).unwrap(), json!([1, null]));
    }

    #[test]
    fn encoded_values_are_shown_as_what_they_stand_for() {
        let plain: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), Some(7), None]));
        let index = || Box::new(DataType::Int32);
        let runs = Field::new("run_ends", DataType::Int32, false);
        let values = Field::new("values", DataType::Int64, true);
        for encoding in [
            DataType::Dictionary(index(), Box::new(DataType::Int64)),
            DataType::RunEndEncoded(Arc::new(runs), Arc::new(values)),
        ] {
            let encoded = cast(&plain, &encoding).unwrap();
            let shown: Vec<_> = (0..3).map(|row| json_value(&encoded, row).unwrap()).collect();
            assert_eq!(shown, [json!(7), json!(7), Json::Null], "{encoding}");
        }
    }

    #[test]
    fn a_row_becomes_an_object_nested_ones_included() {
        let name: ArrayRef = Arc::new(StringArray::from(vec!["Ann"]));
        let inner = StructArray::from(vec![(Arc::new(Field::new("name", DataType::Utf8, true)), name)]);
        let rows = RecordBatch::try_from_iter([("who", Arc::new(inner) as ArrayRef)]).unwrap();
        assert_eq!(json_row(&rows, 0).unwrap(), json!({"who": {"name": "Ann"}}));
    }
}
