//! Any column as text, and a text from each text.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericStringArray, GenericStringBuilder, LargeBinaryArray, OffsetSizeTrait,
    StringArray,
};
use arrow::compute::cast;
use arrow_schema::DataType;
use towpath_core::{Result, conform_array};

/// The column with each text changed; null stays null. What is not text is converted first.
pub(crate) fn map_text(array: &ArrayRef, change: impl FnMut(&str, &mut String)) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8 => Ok(Arc::new(each(array.as_string::<i32>(), change))),
        DataType::LargeUtf8 => Ok(Arc::new(each(array.as_string::<i64>(), change))),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = cast(array, &DataType::LargeBinary)?;
            let bytes: &LargeBinaryArray = bytes.as_binary();
            let text: StringArray = bytes.iter().map(|value| value.map(hexadecimal)).collect();
            Ok(Arc::new(each(&text, change)))
        }
        _ => {
            let text = conform_array(array, &DataType::Utf8)?;
            Ok(Arc::new(each(text.as_string::<i32>(), change)))
        }
    }
}

fn each<O: OffsetSizeTrait>(
    texts: &GenericStringArray<O>,
    mut change: impl FnMut(&str, &mut String),
) -> GenericStringArray<O> {
    let mut changed = GenericStringBuilder::<O>::with_capacity(texts.len(), texts.value_data().len());
    let mut buffer = String::new();
    for text in texts {
        let Some(text) = text else {
            changed.append_null();
            continue;
        };
        buffer.clear();
        change(text, &mut buffer);
        changed.append_value(&buffer);
    }
    changed.finish()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hexadecimal(bytes, &mut text);
    text
}

pub(crate) fn push_hexadecimal(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are a digit"));
        }
    }
}
