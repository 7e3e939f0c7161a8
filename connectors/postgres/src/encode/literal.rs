//! Arrays and composites as text, for those with parts that have no binary form.
//!
//! The forms: <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO> and
//! <https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX>.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow_schema::{DataType, Field};
use towpath_core::{Result, conform_array};

/// The values of a column of lists or structs as literals.
pub(super) fn literals(column: &ArrayRef) -> Result<ArrayRef> {
    let column = match column.data_type() {
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let item = Field::new_list_field(item.data_type().clone(), true);
            conform_array(column, &DataType::List(item.into()))?
        }
        _ => column.clone(),
    };
    let parts = Parts::of(&column)?;
    let mut texts = StringBuilder::new();
    let mut text = String::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
        } else {
            text.clear();
            parts.write(row, &mut text);
            texts.append_value(&text);
        }
    }
    Ok(Arc::new(texts.finish()))
}

/// A column, taken apart down to texts.
enum Parts {
    List(ArrayRef, Box<Parts>),
    Struct(Vec<(ArrayRef, Parts)>),
    Text(StringArray),
}

impl Parts {
    fn of(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::List(_) => {
                Self::List(array.clone(), Box::new(Self::of(array.as_list::<i32>().values())?))
            }
            DataType::Struct(_) => {
                let fields =
                    array.as_struct().columns().iter().map(|field| Ok((field.clone(), Self::of(field)?)));
                Self::Struct(fields.collect::<Result<_>>()?)
            }
            _ => Self::Text(conform_array(array, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    /// The value of a row that is not null.
    fn write(&self, row: usize, text: &mut String) {
        match self {
            Self::Text(texts) => text.push_str(texts.value(row)),
            Self::List(lists, items) => {
                let lists = lists.as_list::<i32>();
                let first = offset(lists.value_offsets()[row]);
                let items_of_row = first..first + offset(lists.value_length(row));
                let nulls = lists.values();
                text.push('{');
                for (index, item) in items_of_row.enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    match items.as_ref() {
                        _ if nulls.is_null(item) => text.push_str("NULL"),
                        // An array of arrays has one type, and its inner ones are not quoted.
                        inner @ Self::List(..) => inner.write(item, text),
                        part => part.write_quoted(item, text),
                    }
                }
                text.push('}');
            }
            Self::Struct(fields) => {
                text.push('(');
                for (index, (array, field)) in fields.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    // Nothing at all is null.
                    if !array.is_null(row) {
                        field.write_quoted(row, text);
                    }
                }
                text.push(')');
            }
        }
    }

    fn write_quoted(&self, row: usize, text: &mut String) {
        let mut inner = String::new();
        self.write(row, &mut inner);
        text.push('"');
        for character in inner.chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push('"');
    }
}

/// Offsets of lists are not negative.
fn offset(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, ListArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};

    use super::*;

    fn texts(column: &ArrayRef) -> Vec<Option<String>> {
        let literals = literals(column).unwrap();
        literals.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn pairs() -> ArrayRef {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\", \\"), Some(""), None]));
        let fields = vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
        Arc::new(StructArray::new(
            fields.into(),
            vec![numbers, names],
            Some(NullBuffer::from(vec![true, true, false])),
        ))
    }

    #[test]
    fn composites_tell_null_from_empty() {
        let expected = [Some(r#"("1","a \"b\", \\")"#), Some("(,\"\")"), None];
        assert_eq!(texts(&pairs()), expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn arrays_quote_their_items_and_nest() {
        let field = Arc::new(Field::new_list_field(pairs().data_type().clone(), true));
        let lists = ListArray::new(field, OffsetBuffer::from_lengths([2, 1]), pairs(), None);
        let lists: ArrayRef = Arc::new(lists);
        let found = texts(&lists);
        assert_eq!(found[1].as_deref(), Some("{NULL}"));
        assert!(found[0].as_ref().unwrap().starts_with(r#"{"(\"1\",\"a "#), "{found:?}");
    }
}
