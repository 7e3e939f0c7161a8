//! A column's values as fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{
    Date32Type, Date64Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt64Type,
};
use arrow_schema::{DataType, Field, TimeUnit};
use towpath_core::{ColumnType, Error, Result, json_value};

use super::text::{TextForm, write_number_text, write_text};
use super::{Unfit, close, open};
use crate::config::Nulls;
use crate::schema::{TYPE_KEY, names};
use crate::wire::tag;

/// Values that are written as fields or items.
pub(super) struct Cell {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Bool(ArrayRef),
    Int32(ArrayRef),
    Int64(ArrayRef),
    UInt64(ArrayRef),
    Timestamp(ArrayRef),
    Double(ArrayRef),
    Decimal(ArrayRef),
    Text(ArrayRef, TextForm),
    Bytes(ArrayRef, u8),
    /// Milliseconds since 1970.
    Date(Int64Array),
    List(OffsetBuffer<i64>, Box<Cell>),
    Struct(Vec<(String, Cell)>),
    Map(OffsetBuffer<i64>, StringArray, Box<Cell>),
}

/// How a value is called, and what becomes of nulls.
pub(super) struct Element<'a> {
    pub(super) name: &'a [u8],
    pub(super) nulls: Nulls,
}

impl Element<'_> {
    /// Begins the element.
    pub(super) fn begin(&self, tag: u8, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.name.contains(&0) {
            return Err("a name has a zero in it".to_owned());
        }
        out.push(tag);
        out.extend(self.name);
        out.push(0);
        Ok(())
    }

    fn fixed<const N: usize>(&self, tag: u8, bytes: [u8; N], out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.begin(tag, out)?;
        out.extend(bytes);
        Ok(())
    }

    pub(super) fn string(&self, tag: u8, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.begin(tag, out)?;
        out.extend(length(text.len() + 1)?);
        out.extend(text.as_bytes());
        out.push(0);
        Ok(())
    }

    pub(super) fn binary(&self, subtype: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        self.begin(tag::BINARY, out)?;
        // The old subtype has the length of its bytes once more.
        let inner = if subtype == 2 { length(bytes.len())?.to_vec() } else { Vec::new() };
        out.extend(length(inner.len() + bytes.len())?);
        out.push(subtype);
        out.extend(inner);
        out.extend(bytes);
        Ok(())
    }
}

fn length(length: usize) -> Result<[u8; 4], Unfit> {
    i32::try_from(length).map(i32::to_le_bytes).map_err(|_| "a value is larger than 2 GiB".to_owned())
}

impl Cell {
    /// The values of a column. `rounded` is set where moments lose what is finer than a millisecond.
    pub(super) fn new(field: &Field, array: &ArrayRef, rounded: &mut bool) -> Result<Self> {
        let array = plain(array)?;
        let nulls = array.logical_nulls();
        let values = Values::new(field, &array, rounded)?;
        Ok(Self { nulls, values })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        matches!(self.values, Values::Null) || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.values, Values::List(..))
    }

    /// Appends a field. A null is left out, or written, as the options say.
    pub(super) fn write(&self, element: &Element<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self.is_null(row) {
            return match element.nulls {
                Nulls::Omit => Ok(()),
                Nulls::Write => element.begin(tag::NULL, out),
            };
        }
        self.write_value(element, row, out)
    }

    fn write_value(&self, element: &Element<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match &self.values {
            Values::Null => element.begin(tag::NULL, out),
            Values::Bool(array) => element.fixed(tag::BOOL, [u8::from(array.as_boolean().value(row))], out),
            Values::Int32(array) => {
                element.fixed(tag::INT32, array.as_primitive::<Int32Type>().value(row).to_le_bytes(), out)
            }
            Values::Int64(array) => {
                element.fixed(tag::INT64, array.as_primitive::<Int64Type>().value(row).to_le_bytes(), out)
            }
            Values::UInt64(array) => {
                let value = array.as_primitive::<UInt64Type>().value(row);
                match i64::try_from(value) {
                    Ok(value) => element.fixed(tag::INT64, value.to_le_bytes(), out),
                    Err(_) => write_number_text(element, &value.to_string(), out),
                }
            }
            Values::Timestamp(array) => element.fixed(
                tag::TIMESTAMP,
                array.as_primitive::<UInt64Type>().value(row).to_le_bytes(),
                out,
            ),
            Values::Double(array) => {
                element.fixed(tag::DOUBLE, array.as_primitive::<Float64Type>().value(row).to_le_bytes(), out)
            }
            Values::Decimal(array) => {
                let text = match array.data_type() {
                    DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
                    _ => array.as_primitive::<Decimal256Type>().value_as_string(row),
                };
                write_number_text(element, &text, out)
            }
            Values::Text(array, form) => write_text(element, *form, array.as_string::<i32>().value(row), out),
            Values::Bytes(array, subtype) => {
                element.binary(*subtype, array.as_binary::<i32>().value(row), out)
            }
            Values::Date(array) => element.fixed(tag::DATE, array.value(row).to_le_bytes(), out),
            Values::List(offsets, items) => write_list(element, offsets, items, row, out),
            Values::Struct(fields) => {
                element.begin(tag::DOCUMENT, out)?;
                let start = open(out);
                for (name, cell) in fields {
                    cell.write(&Element { name: name.as_bytes(), nulls: element.nulls }, row, out)?;
                }
                close(start, out)
            }
            Values::Map(offsets, keys, values) => {
                element.begin(tag::DOCUMENT, out)?;
                let start = open(out);
                for entry in range(offsets, row) {
                    let name = keys.value(entry).as_bytes();
                    values.write(&Element { name, nulls: Nulls::Write }, entry, out)?;
                }
                close(start, out)
            }
        }
    }
}

fn write_list(
    element: &Element<'_>,
    offsets: &OffsetBuffer<i64>,
    items: &Cell,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    element.begin(tag::ARRAY, out)?;
    let start = open(out);
    for (index, item) in range(offsets, row).enumerate() {
        // A null among items keeps its place.
        let name = index.to_string();
        items.write(&Element { name: name.as_bytes(), nulls: Nulls::Write }, item, out)?;
    }
    close(start, out)
}

fn range(offsets: &OffsetBuffer<i64>, row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).unwrap_or(0);
    at(row)..at(row + 1)
}

/// An array without encodings, in one of the forms that are told apart below.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::RunEndEncoded(_, value) => value.data_type().clone(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::List(item)
        | DataType::ListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::LargeListView(item) => DataType::LargeList(item.clone()),
        _ => return Ok(array.clone()),
    };
    plain(&cast(array, &to).map_err(|error| unknown(array).source(error))?)
}

impl Values {
    fn new(field: &Field, array: &ArrayRef, rounded: &mut bool) -> Result<Self> {
        let type_name = field.metadata().get(TYPE_KEY).map(String::as_str);
        let shared = || array.clone();
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(shared()),
            DataType::Int32 => Self::Int32(shared()),
            DataType::Int64 => Self::Int64(shared()),
            DataType::UInt64 if type_name == Some(names::TIMESTAMP) => Self::Timestamp(shared()),
            DataType::UInt64 => Self::UInt64(shared()),
            DataType::Float64 => Self::Double(shared()),
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Decimal(shared()),
            DataType::Utf8 => Self::Text(shared(), TextForm::of(field)),
            DataType::Binary => Self::Bytes(shared(), subtype(type_name)),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                Self::Date(milliseconds(array, rounded))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let cells = columns
                    .map(|(field, column)| Ok((field.name().clone(), Cell::new(field, column, rounded)?)));
                Self::Struct(cells.collect::<Result<_>>()?)
            }
            DataType::LargeList(item) => {
                let list = array.as_list::<i64>();
                Self::List(list.offsets().clone(), Box::new(Cell::new(item, list.values(), rounded)?))
            }
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let offsets = OffsetBuffer::from_lengths(map.offsets().lengths());
                let first = map.offsets().first().copied().unwrap_or(0);
                let count = map.offsets().last().copied().unwrap_or(0) - first;
                let bound = |number: i32| usize::try_from(number).unwrap_or(0);
                let own = |column: &ArrayRef| column.slice(bound(first), bound(count));
                let DataType::Struct(fields) = entries.data_type() else { return Err(unknown(array)) };
                let keys = texts(&own(map.keys()))?;
                Self::Map(
                    widened(&offsets),
                    keys,
                    Box::new(Cell::new(&fields[1], &own(map.values()), rounded)?),
                )
            }
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => {
                Self::Text(Arc::new(texts(array)?), TextForm::String)
            }
            _ => return Err(unknown(array)),
        })
    }
}

fn widened(offsets: &OffsetBuffer<i32>) -> OffsetBuffer<i64> {
    OffsetBuffer::from_lengths(offsets.lengths())
}

fn unknown(array: &ArrayRef) -> Error {
    Error::schema(format!("MongoDB has nothing for {}", ColumnType::from(array.data_type().clone())))
        .connector(crate::NAME)
        .help("cast or drop the column under `transform`")
}

fn subtype(type_name: Option<&str>) -> u8 {
    let subtype = type_name.and_then(|name| name.strip_prefix(names::BINARY)?.strip_prefix(':'));
    subtype.and_then(|subtype| subtype.parse().ok()).unwrap_or(0)
}

/// What has no type there is text, in ISO form.
fn texts(array: &ArrayRef) -> Result<StringArray> {
    let text = |row| {
        Ok(match json_value(array, row)? {
            towpath_core::Json::Null => None,
            towpath_core::Json::String(text) => Some(text),
            other => Some(other.to_string()),
        })
    };
    (0..array.len()).map(text).collect()
}

fn milliseconds(array: &ArrayRef, rounded: &mut bool) -> Int64Array {
    const DAY: i64 = 86_400_000;
    let mut finer = |value: i64, per: i64| {
        *rounded |= value.rem_euclid(per) != 0;
        value.div_euclid(per)
    };
    match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().unary(|days| i64::from(days) * DAY),
        DataType::Timestamp(TimeUnit::Second, _) => {
            array.as_primitive::<TimestampSecondType>().unary(|seconds| seconds.saturating_mul(1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            // Slots without a value may hold anything.
            let array = array.as_primitive::<TimestampMicrosecondType>();
            array.iter().map(|value| value.map(|value| finer(value, 1_000))).collect()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let array = array.as_primitive::<TimestampNanosecondType>();
            array.iter().map(|value| value.map(|value| finer(value, 1_000_000))).collect()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().unary(|milliseconds| milliseconds)
        }
        _ => array.as_primitive::<Date64Type>().unary(|milliseconds| milliseconds),
    }
}
