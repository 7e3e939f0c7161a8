//! JSON, straight from columns: a line for each row, or one array of all rows.
//!
//! Values look as Arrow's own JSON writer would have them: dates and times in ISO 8601, binary in hexadecimal digits,
//! decimals with all their digits, nulls written out. A floating number that is not finite is null, because JSON has no
//! word for it.

use std::ops::Range;

use arrow::array::{Array, AsArray, GenericStringArray, MapArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::ArrowNativeType;
use arrow_schema::{DataType, Fields};
use towpath_core::{Result, ResultExt};

use super::blocks::BlockFormat;
use super::cells::{self, Cells, Kind, Visitor};

/// How rows are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Json {
    /// A line for each row.
    Lines,
    /// One array, with a line for each row.
    Array,
}

impl BlockFormat for Json {
    fn head(&self, out: &mut Vec<u8>) {
        if *self == Self::Array {
            out.push(b'[');
        }
    }

    fn joins(&self) -> bool {
        *self == Self::Lines
    }

    fn rows(&self, rows: &RecordBatch, first: bool, out: &mut Vec<u8>) -> Result<()> {
        let object = Object::new(rows.schema_ref().fields(), rows.columns())?;
        for row in 0..rows.num_rows() {
            match self {
                Self::Lines => {
                    object.write(row, out)?;
                    out.push(b'\n');
                }
                Self::Array => {
                    out.extend_from_slice(if first && row == 0 { b"\n" } else { b",\n" });
                    object.write(row, out)?;
                }
            }
        }
        Ok(())
    }

    fn tail(&self, out: &mut Vec<u8>) {
        if *self == Self::Array {
            out.extend_from_slice(b"\n]\n");
        }
    }
}

/// A value of any column, null included.
type Value<'a> = Box<dyn Cells + 'a>;

/// The fields of rows or structs, each with what stands before its value.
struct Object<'a>(Vec<Member<'a>>);

struct Member<'a> {
    before: Vec<u8>,
    value: Value<'a>,
    name: &'a str,
}

impl<'a> Object<'a> {
    fn new(fields: &'a Fields, columns: &'a [arrow::array::ArrayRef]) -> Result<Self> {
        let members = fields.iter().zip(columns).enumerate().map(|(index, (field, column))| {
            let mut before = vec![if index == 0 { b'{' } else { b',' }];
            quote(field.name(), &mut before);
            before.push(b':');
            let value = value(column).detail("column", field.name())?;
            Ok(Member { before, value, name: field.name() })
        });
        Ok(Self(members.collect::<Result<_>>()?))
    }
}

impl Cells for Object<'_> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.0.is_empty() {
            out.push(b'{');
        }
        for member in &self.0 {
            out.extend_from_slice(&member.before);
            member.value.write(row, out).map_err(|error| error.detail("column", member.name))?;
        }
        out.push(b'}');
        Ok(())
    }
}

fn value(array: &dyn Array) -> Result<Value<'_>> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    Ok(match array.data_type() {
        DataType::Null => Box::new(Null),
        DataType::Utf8 => nullable(Text::new(array.as_string::<i32>()), nulls),
        DataType::LargeUtf8 => nullable(Text::new(array.as_string::<i64>()), nulls),
        DataType::Struct(fields) => nullable(Object::new(fields, array.as_struct().columns())?, nulls),
        DataType::List(_) => list(array.as_list::<i32>(), nulls)?,
        DataType::LargeList(_) => list(array.as_list::<i64>(), nulls)?,
        DataType::FixedSizeList(..) => {
            let list = array.as_fixed_size_list();
            let size = list.value_length().unsigned_abs() as usize;
            nullable(
                List { items: value(list.values())?, range: move |row| row * size..(row + 1) * size },
                nulls,
            )
        }
        DataType::Map(..) => map(array.as_map(), nulls)?,
        _ => cells::visit(array, Some("null"), Boxed { nulls, quoted: false })?,
    })
}

fn list<'a, O: OffsetSizeTrait>(
    list: &'a arrow::array::GenericListArray<O>,
    nulls: Option<&'a NullBuffer>,
) -> Result<Value<'a>> {
    let offsets = list.value_offsets();
    let range = move |row: usize| offsets[row].as_usize()..offsets[row + 1].as_usize();
    Ok(nullable(List { items: value(list.values())?, range }, nulls))
}

fn map<'a>(map: &'a MapArray, nulls: Option<&'a NullBuffer>) -> Result<Value<'a>> {
    let offsets = map.value_offsets();
    let range = move |row: usize| offsets[row].as_usize()..offsets[row + 1].as_usize();
    let keys = match map.keys().data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => value(map.keys())?,
        // The key of an object is always text.
        _ => cells::visit(map.keys(), None, Boxed { nulls: None, quoted: true })?,
    };
    Ok(nullable(Map { keys, values: value(map.values())?, range }, nulls))
}

fn nullable<'a>(cells: impl Cells + 'a, nulls: Option<&'a NullBuffer>) -> Value<'a> {
    match nulls {
        None => Box::new(cells),
        Some(nulls) => Box::new(Nullable { cells, nulls }),
    }
}

/// Puts quotes round text, and boxes.
struct Boxed<'a> {
    nulls: Option<&'a NullBuffer>,
    quoted: bool,
}

impl<'a> Visitor<'a> for Boxed<'a> {
    type Output = Value<'a>;

    fn visit(self, cells: impl Cells + 'a, kind: Kind) -> Value<'a> {
        if self.quoted || kind == Kind::Text {
            nullable(Quoted(cells), self.nulls)
        } else {
            nullable(cells, self.nulls)
        }
    }
}

struct Null;

impl Cells for Null {
    fn write(&self, _row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(b"null");
        Ok(())
    }
}

struct Nullable<'a, C> {
    cells: C,
    nulls: &'a NullBuffer,
}

impl<C: Cells> Cells for Nullable<'_, C> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.is_null(row) {
            return Null.write(row, out);
        }
        self.cells.write(row, out)
    }
}

/// Text that needs no escaping.
struct Quoted<C>(C);

impl<C: Cells> Cells for Quoted<C> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'"');
        self.0.write(row, out)?;
        out.push(b'"');
        Ok(())
    }
}

struct List<'a, R> {
    items: Value<'a>,
    range: R,
}

impl<R: Fn(usize) -> Range<usize>> Cells for List<'_, R> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'[');
        for (index, item) in (self.range)(row).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.items.write(item, out)?;
        }
        out.push(b']');
        Ok(())
    }
}

struct Map<'a, R> {
    keys: Value<'a>,
    values: Value<'a>,
    range: R,
}

impl<R: Fn(usize) -> Range<usize>> Cells for Map<'_, R> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.push(b'{');
        for (index, entry) in (self.range)(row).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            self.keys.write(entry, out)?;
            out.push(b':');
            self.values.write(entry, out)?;
        }
        out.push(b'}');
        Ok(())
    }
}

struct Text<'a, O: OffsetSizeTrait> {
    array: &'a GenericStringArray<O>,
    /// Whether no value needs escaping: one look at the whole column is cheaper than one at each value.
    clean: bool,
}

impl<'a, O: OffsetSizeTrait> Text<'a, O> {
    fn new(array: &'a GenericStringArray<O>) -> Self {
        Self { array, clean: !super::text::all_values(array).any(needs_escape) }
    }
}

impl<O: OffsetSizeTrait> Cells for Text<'_, O> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let text = self.array.value(row);
        if self.clean {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        } else {
            quote(text, out);
        }
        Ok(())
    }
}

#[inline]
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Writes a JSON string.
fn quote(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut done = 0;
    if super::text::Bytes(bytes).any(needs_escape) {
        for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| needs_escape(**byte)) {
            out.extend_from_slice(&bytes[done..at]);
            escape(*byte, out);
            done = at + 1;
        }
    }
    out.extend_from_slice(&bytes[done..]);
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            return out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    };
    out.extend([b'\\', short]);
}
