//! CSV, straight from columns. Fields are quoted only where they must be.
//!
//! An empty text is quoted, so that it differs from null, and so is a text that reads like `null_value`. A row whose
//! only field is empty would be a blank line, which readers skip: it is written as two quotes.

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow_schema::{DataType, SchemaRef};
use towpath_core::{Error, Result};

use super::blocks::BlockFormat;
use super::cells::{self, Cells, Kind, Visitor};
use crate::CsvWrite;

/// CSV with its options.
#[derive(Debug)]
pub(super) struct Csv {
    schema: SchemaRef,
    header: bool,
    style: Style,
}

/// What needs quotes, and how.
#[derive(Debug)]
struct Style {
    delimiter: u8,
    quote: u8,
    null: Vec<u8>,
    /// Whether even numbers and dates may need quotes.
    wary: bool,
}

impl Csv {
    /// CSV with these options, `delimiter` where they have none.
    ///
    /// # Errors
    /// `Config` when delimiter or quote cannot be told from values.
    pub(super) fn new(options: &CsvWrite, delimiter: char, schema: &SchemaRef) -> Result<Self> {
        let delimiter = ascii("delimiter", options.delimiter.unwrap_or(delimiter))?;
        let quote = ascii("quote", options.quote)?;
        if delimiter == quote {
            return Err(Error::config("`delimiter` and `quote` are the same character"));
        }
        let null = options.null_value.clone().into_bytes();
        let mut style = Style { delimiter, quote, wary: false, null };
        if super::text::Bytes(&style.null).any(|byte| style.is_special(byte)) {
            return Err(Error::config("`null_value` holds the delimiter, the quote or a line break"));
        }
        let in_values = |byte: u8| byte.is_ascii_alphanumeric() || b" +-.:".contains(&byte);
        style.wary =
            in_values(delimiter) || in_values(quote) || style.null.iter().any(|byte| in_values(*byte));
        Ok(Self { schema: schema.clone(), header: options.header, style })
    }
}

fn ascii(option: &str, character: char) -> Result<u8> {
    let byte = u8::try_from(character).ok().filter(|byte| byte.is_ascii() && !b"\r\n".contains(byte));
    byte.ok_or_else(|| Error::config(format!("`{option}` must be one ASCII character and no line break")))
}

impl BlockFormat for Csv {
    fn head(&self, out: &mut Vec<u8>) {
        if !self.header || self.schema.fields().is_empty() {
            return;
        }
        for (index, field) in self.schema.fields().iter().enumerate() {
            if index > 0 {
                out.push(self.style.delimiter);
            }
            self.style.text(field.name().as_bytes(), out);
        }
        out.push(b'\n');
    }

    fn joins(&self) -> bool {
        true
    }

    fn rows(&self, rows: &RecordBatch, _first: bool, out: &mut Vec<u8>) -> Result<()> {
        let schema = rows.schema_ref();
        let columns = rows.columns().iter().zip(schema.fields());
        let columns = columns
            .map(|(column, field)| Ok((self.style.column(column)?, field.name().as_str())))
            .collect::<Result<Vec<_>>>()?;
        for row in 0..rows.num_rows() {
            let start = out.len();
            for (index, (column, name)) in columns.iter().enumerate() {
                if index > 0 {
                    out.push(self.style.delimiter);
                }
                column.write(row, out).map_err(|error| error.detail("column", name))?;
            }
            if out.len() == start {
                out.extend([self.style.quote; 2]);
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

impl Style {
    fn column<'a>(&'a self, array: &'a ArrayRef) -> Result<Box<dyn Cells + 'a>> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(match array.data_type() {
            DataType::Null => Box::new(Null(&self.null)),
            DataType::Utf8 => self.nullable(Text::new(array.as_string::<i32>(), self), nulls),
            DataType::LargeUtf8 => self.nullable(Text::new(array.as_string::<i64>(), self), nulls),
            // No bytes are no text, and differ from null as well.
            DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
                cells::visit(array.as_ref(), None, Boxed { style: self, nulls, wary: true })?
            }
            _ => cells::visit(array.as_ref(), None, Boxed { style: self, nulls, wary: self.wary })?,
        })
    }

    fn nullable<'a>(&'a self, cells: impl Cells + 'a, nulls: Option<&'a NullBuffer>) -> Box<dyn Cells + 'a> {
        match nulls {
            None => Box::new(cells),
            Some(nulls) => Box::new(Nullable { cells, nulls, null: &self.null }),
        }
    }

    #[inline]
    fn is_special(&self, byte: u8) -> bool {
        byte == self.delimiter || byte == self.quote || byte == b'\n' || byte == b'\r'
    }

    /// A text with quotes if it needs them.
    #[inline]
    fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        if text.is_empty() || text == self.null || super::text::Bytes(text).any(|byte| self.is_special(byte))
        {
            self.quoted(text, out);
        } else {
            out.extend_from_slice(text);
        }
    }

    fn quoted(&self, text: &[u8], out: &mut Vec<u8>) {
        out.push(self.quote);
        for (index, part) in text.split(|byte| *byte == self.quote).enumerate() {
            if index > 0 {
                out.extend([self.quote; 2]);
            }
            out.extend_from_slice(part);
        }
        out.push(self.quote);
    }
}

struct Boxed<'a> {
    style: &'a Style,
    nulls: Option<&'a NullBuffer>,
    wary: bool,
}

impl<'a> Visitor<'a> for Boxed<'a> {
    type Output = Box<dyn Cells + 'a>;

    fn visit(self, cells: impl Cells + 'a, _kind: Kind) -> Box<dyn Cells + 'a> {
        if self.wary {
            self.style.nullable(Wary { cells, style: self.style }, self.nulls)
        } else {
            self.style.nullable(cells, self.nulls)
        }
    }
}

struct Null<'a>(&'a [u8]);

impl Cells for Null<'_> {
    fn write(&self, _row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

struct Nullable<'a, C> {
    cells: C,
    nulls: &'a NullBuffer,
    null: &'a [u8],
}

impl<C: Cells> Cells for Nullable<'_, C> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.is_null(row) {
            out.extend_from_slice(self.null);
            return Ok(());
        }
        self.cells.write(row, out)
    }
}

/// Values that are looked at once they are written, because the options let them be mistaken.
struct Wary<'a, C> {
    cells: C,
    style: &'a Style,
}

impl<C: Cells> Cells for Wary<'_, C> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.cells.write(row, out)?;
        let written = out.split_off(start);
        self.style.text(&written, out);
        Ok(())
    }
}

struct Text<'a, O: OffsetSizeTrait> {
    array: &'a GenericStringArray<O>,
    style: &'a Style,
    /// Whether no value holds a special character: one look at the whole column is cheaper than one at each value.
    clean: bool,
}

impl<'a, O: OffsetSizeTrait> Text<'a, O> {
    fn new(array: &'a GenericStringArray<O>, style: &'a Style) -> Self {
        let clean = !super::text::all_values(array).any(|byte| style.is_special(byte));
        Self { array, style, clean }
    }
}

impl<O: OffsetSizeTrait> Cells for Text<'_, O> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let text = self.array.value(row).as_bytes();
        if self.clean && !text.is_empty() && text != self.style.null {
            out.extend_from_slice(text);
        } else {
            self.style.text(text, out);
        }
        Ok(())
    }
}
