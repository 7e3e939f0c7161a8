//! Lists, structs, maps and whatever has no type of its own: as JSON, or as the text that people would write.

use arrow::array::ArrayRef;
use towpath_core::{Json, json_value};

use super::form::Form;

pub(super) fn write<F: Form>(out: &mut Vec<u8>, array: &ArrayRef, row: usize) -> Result<(), String> {
    let value = json_value(array, row).map_err(|error| error.message().to_owned())?;
    match (value, array.data_type().is_nested()) {
        (Json::String(text), false) => F::text(out, text.as_bytes()),
        (value, _) => F::text(out, value.to_string().as_bytes()),
    }
    Ok(())
}
