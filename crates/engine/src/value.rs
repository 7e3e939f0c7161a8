//! Single values of JSON as arrays.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, UInt64Array, new_null_array,
};
use arrow_schema::DataType;
use towpath_core::{Json, Result, conform_array};

/// An array of this type with one value.
///
/// # Errors
/// `DataInvalid` and `SchemaMismatch` when the value is none of that type.
pub(crate) fn array_of(value: &Json, data_type: &DataType) -> Result<ArrayRef> {
    let array: ArrayRef = match value {
        Json::Null => return Ok(new_null_array(data_type, 1)),
        Json::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Arc::new(Int64Array::from(vec![whole])),
            (None, Some(whole)) => Arc::new(UInt64Array::from(vec![whole])),
            _ => Arc::new(Float64Array::from(vec![number.as_f64()])),
        },
        Json::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        other => Arc::new(StringArray::from(vec![other.to_string()])),
    };
    conform_array(&array, data_type)
}
