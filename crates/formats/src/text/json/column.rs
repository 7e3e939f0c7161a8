//! A column that grows by JSON values, and widens where they need it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, ListArray,
    MapArray, NullArray, NullBufferBuilder, StringArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow_schema::{DataType, Field};
use towpath_core::{ColumnType, Result, conform_array, widen};

use super::fields::{Fault, FieldSet, Unfit};
use super::scan::{Cursor, kind_of};
use crate::text::scalars::{Scalars, scalars};
use crate::text::value::{self, Accept};

/// A column under construction.
pub(crate) struct Column {
    values: Values,
    nulls: NullBufferBuilder,
    /// Whether its type was declared, so that it never widens.
    declared: bool,
}

enum Values {
    /// Nothing but nulls so far.
    Null,
    Bool(BooleanBufferBuilder),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Text),
    Struct(FieldSet),
    List(Vec<i32>, Box<Column>),
    Map(Vec<i32>, Text, Box<Column>),
    Other(Box<dyn Scalars>, DataType),
}

struct Text {
    /// Where texts end, behind a zero; empty as long as there are none.
    offsets: Vec<i32>,
    data: String,
}

impl Text {
    fn new() -> Self {
        Self { offsets: Vec::new(), data: String::new() }
    }

    fn push(&mut self, text: &str) {
        self.begin();
        self.data.push_str(text);
        self.offsets.push(offset(self.data.len()));
    }

    fn begin(&mut self) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
    }

    fn truncate(&mut self, len: usize) {
        self.begin();
        self.offsets.truncate(len + 1);
        self.data.truncate(index(self.offsets[len]));
    }

    fn finish(&mut self, nulls: Option<arrow::buffer::NullBuffer>) -> Result<StringArray> {
        self.begin();
        let Self { offsets, data } = std::mem::replace(self, Self::new());
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(StringArray::try_new(offsets, data.into_bytes().into(), nulls)?)
    }
}

fn offset(length: usize) -> i32 {
    i32::try_from(length).expect("blocks are shorter than 2 GiB")
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).expect("offsets are not negative")
}

impl Column {
    /// An empty column of this type.
    ///
    /// # Errors
    /// `Config` for a type that JSON cannot hold.
    pub(crate) fn new(data_type: &DataType, declared: bool) -> Result<Self> {
        let values = match data_type {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int64 => Values::Int(Vec::new()),
            DataType::Float64 => Values::Float(Vec::new()),
            DataType::Utf8 => Values::Text(Text::new()),
            DataType::Struct(fields) => Values::Struct(FieldSet::new(fields, |_| declared)?),
            DataType::List(item) => Values::List(vec![0], Box::new(Self::new(item.data_type(), declared)?)),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) => {
                    Values::Map(vec![0], Text::new(), Box::new(Self::new(fields[1].data_type(), declared)?))
                }
                other => Values::Other(scalars(other, Accept::Lenient)?, other.clone()),
            },
            other => {
                let accept = if declared { Accept::Lenient } else { Accept::Canonical };
                Values::Other(scalars(other, accept)?, other.clone())
            }
        };
        Ok(Self { values, nulls: NullBufferBuilder::new(0), declared })
    }

    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    pub(crate) fn push_null(&mut self) {
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Text(text) => text.push(""),
            Values::Struct(fields) => fields.pad(self.nulls.len() + 1),
            Values::List(offsets, item) | Values::Map(offsets, _, item) => offsets.push(offset(item.len())),
            Values::Other(scalars, _) => scalars.push_null(),
        }
        self.nulls.append_null();
    }

    /// Forgets the rows from here on.
    pub(crate) fn truncate(&mut self, len: usize) {
        if self.nulls.len() > len {
            self.nulls.truncate(len);
        }
        // The values may be ahead of the nulls when a row broke off inside them.
        match &mut self.values {
            Values::Null => {}
            Values::Bool(values) => values.truncate(len.min(values.len())),
            Values::Int(values) => values.truncate(len),
            Values::Float(values) => values.truncate(len),
            Values::Text(text) => text.truncate(len),
            Values::Struct(fields) => fields.truncate(len),
            Values::List(offsets, item) => {
                offsets.truncate(len + 1);
                item.truncate(index(offsets[len]));
            }
            Values::Map(offsets, keys, item) => {
                offsets.truncate(len + 1);
                let entries = index(offsets[len]);
                keys.truncate(entries);
                item.truncate(entries);
            }
            Values::Other(scalars, _) => scalars.truncate(len),
        }
    }

    /// Appends the next value of the text.
    pub(crate) fn push(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        cursor.check_depth(depth)?;
        let first = cursor.peek();
        match (&mut self.values, first) {
            (_, Some(b'n')) => {
                cursor.word("null")?;
                self.push_null();
                return Ok(());
            }
            (Values::Text(text), Some(b'"')) => text.push(&cursor.string()?),
            // Whatever else comes to a text is kept as it was written.
            (Values::Text(text), Some(_)) => {
                let found = cursor.skip_nested(depth)?;
                text.push(cursor.slice(found));
            }
            (Values::Int(values), Some(b'-' | b'0'..=b'9')) => {
                let number = cursor.number()?;
                match value::integer(number, Accept::Lenient) {
                    Some(value) => values.push(value),
                    None => return self.mismatch(Mismatch::Number(number), cursor, depth),
                }
            }
            (Values::Float(values), Some(b'-' | b'0'..=b'9')) => {
                let number = cursor.number()?;
                match value::float(number, Accept::Lenient) {
                    Some(value) => values.push(value),
                    None => return self.mismatch(Mismatch::Number(number), cursor, depth),
                }
            }
            (Values::Bool(values), Some(b't')) => {
                cursor.word("true")?;
                values.append(true);
            }
            (Values::Bool(values), Some(b'f')) => {
                cursor.word("false")?;
                values.append(false);
            }
            (Values::Struct(fields), Some(b'{')) => fields.push(cursor, depth, self.nulls.len())?,
            (Values::List(offsets, item), Some(b'[')) => {
                cursor.array(|cursor| item.push(cursor, depth + 1))?;
                offsets.push(offset(item.len()));
            }
            (Values::Map(offsets, keys, item), Some(b'{')) => {
                cursor.object(|cursor| {
                    let key = cursor.string()?;
                    cursor.colon()?;
                    item.push(cursor, depth + 1)?;
                    keys.push(&key);
                    Ok::<_, Fault>(())
                })?;
                offsets.push(offset(item.len()));
            }
            (Values::Other(scalars, _), Some(b'-' | b'0'..=b'9')) => {
                let number = cursor.number()?;
                if scalars.push(number).is_err() {
                    return self.mismatch(Mismatch::Number(number), cursor, depth);
                }
            }
            (Values::Other(scalars, _), Some(b'"')) if self.declared => {
                let text = cursor.string()?;
                if scalars.push(&text).is_err() {
                    return Err(self.unfit(&text));
                }
            }
            // A declared number may be written as a string.
            (Values::Int(values), Some(b'"')) if self.declared => {
                let text = cursor.string()?;
                match value::integer(&text, Accept::Lenient) {
                    Some(value) => values.push(value),
                    None => return Err(self.unfit(&text)),
                }
            }
            (Values::Float(values), Some(b'"')) if self.declared => {
                let text = cursor.string()?;
                match value::float(&text, Accept::Lenient) {
                    Some(value) => values.push(value),
                    None => return Err(self.unfit(&text)),
                }
            }
            (_, None) => return Ok(cursor.fail("a value")?),
            _ => return self.mismatch(Mismatch::Kind(first), cursor, depth),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// A value that does not fit: the column widens, or refuses it if its type was declared.
    fn mismatch(&mut self, found: Mismatch<'_>, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        let number = match found {
            Mismatch::Number(number) => Some(number),
            Mismatch::Kind(Some(b'-' | b'0'..=b'9')) => Some(cursor.number()?),
            Mismatch::Kind(_) => None,
        };
        if self.declared {
            let text = if let Some(number) = number {
                number.to_owned()
            } else {
                let found = cursor.skip_nested(depth)?;
                cursor.slice(found).to_owned()
            };
            return Err(self.unfit(&text));
        }
        if let Some(number) = number {
            cursor.seek(cursor.at() - number.len());
        }
        let incoming = match (number, cursor.peek()) {
            (Some(number), _) => number_type(number),
            (None, Some(b'"')) => DataType::Utf8,
            (None, Some(b't' | b'f')) => DataType::Boolean,
            (None, Some(b'{')) => DataType::Struct(arrow_schema::Fields::empty()),
            (None, Some(b'[')) => DataType::new_list(DataType::Null, true),
            (None, _) => return Ok(cursor.fail("a value")?),
        };
        let own = self.data_type();
        let wider = widen(&own, &incoming);
        // Where both types are one already and the value still does not fit, only text is wide enough.
        let wider = if wider == own { DataType::Utf8 } else { wider };
        self.become_type(&wider).map_err(Fault::Broken)?;
        self.push(cursor, depth)
    }

    fn unfit(&self, text: &str) -> Fault {
        Fault::Unfit(Unfit {
            column: String::new(),
            value: text.to_owned(),
            reason: format!("does not fit {}", ColumnType::from(self.data_type())),
        })
    }

    /// Turns what is there into a wider type.
    fn become_type(&mut self, wider: &DataType) -> Result<()> {
        let rows = self.len();
        // A row that broke off may have left values behind.
        self.truncate(rows);
        let mut column = Self::new(wider, false)?;
        if self.data_type() == DataType::Null {
            for _ in 0..rows {
                column.push_null();
            }
        } else {
            column.load(&conform_array(&self.finish()?.1, wider)?);
        }
        *self = column;
        Ok(())
    }

    /// Appends an array of this column's type. Only single values are ever widened to something other than text.
    fn load(&mut self, array: &ArrayRef) {
        match &mut self.values {
            Values::Float(values) => values.extend_from_slice(array.as_primitive::<Float64Type>().values()),
            Values::Int(values) => values.extend_from_slice(array.as_primitive::<Int64Type>().values()),
            Values::Bool(values) => values.append_buffer(array.as_boolean().values()),
            Values::Text(text) => {
                for value in array.as_string::<i32>() {
                    text.push(value.unwrap_or_default());
                }
            }
            Values::Other(scalars, _) => scalars.load(array),
            Values::Null | Values::Struct(_) | Values::List(..) | Values::Map(..) => {
                unreachable!("values widen to single values")
            }
        }
        match array.nulls() {
            Some(nulls) => self.nulls.append_buffer(nulls),
            None => self.nulls.append_n_non_nulls(array.len()),
        }
    }

    /// The type of what is there so far.
    pub(crate) fn data_type(&self) -> DataType {
        match &self.values {
            Values::Null => DataType::Null,
            Values::Bool(_) => DataType::Boolean,
            Values::Int(_) => DataType::Int64,
            Values::Float(_) => DataType::Float64,
            Values::Text(_) => DataType::Utf8,
            // An object of which nobody has seen a field holds nothing that a column could keep.
            Values::Struct(fields) if fields.is_empty() => DataType::Null,
            Values::Struct(fields) => DataType::Struct(fields.fields()),
            Values::List(_, item) => DataType::new_list(item.data_type(), true),
            Values::Map(_, _, item) => {
                let key = Field::new("keys", DataType::Utf8, false);
                let value = Field::new("values", item.data_type(), true);
                let entries = DataType::Struct(vec![key, value].into());
                DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
            }
            Values::Other(_, data_type) => data_type.clone(),
        }
    }

    /// The column as an array, which leaves it empty.
    pub(crate) fn finish(&mut self) -> Result<(DataType, ArrayRef)> {
        let data_type = self.data_type();
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        let array: ArrayRef = match &mut self.values {
            Values::Null => Arc::new(NullArray::new(rows)),
            Values::Struct(fields) if fields.is_empty() => Arc::new(NullArray::new(rows)),
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => Arc::new(Int64Array::try_new(std::mem::take(values).into(), nulls)?),
            Values::Float(values) => Arc::new(Float64Array::try_new(std::mem::take(values).into(), nulls)?),
            Values::Text(text) => Arc::new(text.finish(nulls)?),
            Values::Struct(fields) => Arc::new(fields.finish(rows, nulls)?),
            Values::List(offsets, item) => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let (item_type, items) = item.finish()?;
                let field = Arc::new(Field::new_list_field(item_type, true));
                Arc::new(ListArray::try_new(field, offsets, items, nulls)?)
            }
            Values::Map(offsets, keys, item) => {
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                let (DataType::Map(entries, _), (_, items)) = (&data_type, item.finish()?) else {
                    unreachable!("a map has the type of a map")
                };
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!("the entries of a map are structs")
                };
                let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish(None)?), items];
                let pairs = arrow::array::StructArray::try_new(fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, false)?)
            }
            Values::Other(scalars, _) => scalars.finish()?,
        };
        Ok((data_type, array))
    }
}

/// What came instead of a value of the column's type.
#[derive(Clone, Copy)]
enum Mismatch<'a> {
    /// A number that was already taken.
    Number(&'a str),
    /// A value that begins with this byte.
    Kind(Option<u8>),
}

fn number_type(number: &str) -> DataType {
    if number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return if value::float(number, Accept::Lenient).is_some() {
            DataType::Float64
        } else {
            DataType::Utf8
        };
    }
    if value::integer::<i64>(number, Accept::Lenient).is_some() {
        DataType::Int64
    } else if value::integer::<u64>(number, Accept::Lenient).is_some() {
        DataType::UInt64
    } else if value::decimal128(number, 38, 0, Accept::Lenient).is_some() {
        DataType::Decimal128(38, 0)
    } else {
        DataType::Utf8
    }
}

/// The kind of a record that is no object.
pub(crate) fn no_object(cursor: &mut Cursor<'_>) -> String {
    format!("a record must be an object, found {}", kind_of(cursor.peek()))
}
