//! Text of JSON records to a batch.

use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use towpath_core::{Error, Rejected, Result};

use super::column::no_object;
use super::fields::{Fault, FieldSet, Unfit};
use super::scan::{Cursor, Syntax};
use crate::Columns;
use crate::text::block::{Decoded, Place, readable};

/// How records stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One a line. A line that is no JSON is rejected alone.
    Lines,
    /// Separated by commas, as in an array. What is no JSON is an error, since nobody knows where the next one begins.
    Elements,
}

/// What a batch of JSON is decoded to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// The columns so far.
    pub(crate) known: &'a Schema,
    /// Those of them that never widen.
    pub(crate) declared: &'a Columns,
    /// The only ones wanted.
    pub(crate) wanted: Option<&'a [String]>,
}

/// Decodes a block.
///
/// # Errors
/// `DataInvalid` as [`Layout`] says.
pub(crate) fn decode(bytes: &[u8], layout: Layout, target: Target<'_>, place: &Place) -> Result<Decoded> {
    let (text, invalid) = readable(bytes);
    let is_wanted = |name: &str| target.wanted.is_none_or(|wanted| wanted.iter().any(|known| known == name));
    let fields = target.known.fields().iter().filter(|field| is_wanted(field.name())).cloned().collect();
    let fields = FieldSet::new(&fields, |name| target.declared.get(name).is_some())?.open(target.wanted);
    let mut decoder = Decoder {
        bytes,
        text: &text,
        invalid: &invalid,
        place,
        fields,
        rows: 0,
        seen: 0,
        rejected: Vec::new(),
    };
    match layout {
        Layout::Lines => decoder.lines()?,
        Layout::Elements => decoder.elements()?,
    }
    decoder.finish()
}

struct Decoder<'a> {
    bytes: &'a [u8],
    text: &'a str,
    /// The places of bytes that are no UTF-8.
    invalid: &'a [usize],
    place: &'a Place,
    fields: FieldSet,
    rows: usize,
    /// Records so far, the rejected ones too.
    seen: u64,
    rejected: Vec<Rejected>,
}

impl Decoder<'_> {
    fn lines(&mut self) -> Result<()> {
        let mut start = 0;
        while start < self.text.len() {
            let rest = &self.text.as_bytes()[start..];
            let end = memchr::memchr(b'\n', rest).map_or(self.text.len(), |newline| start + newline);
            self.line(start, end)?;
            start = end + 1;
        }
        Ok(())
    }

    fn line(&mut self, start: usize, end: usize) -> Result<()> {
        let mut cursor = Cursor::new(&self.text[start..end]);
        if cursor.peek().is_none() {
            return Ok(());
        }
        self.seen += 1;
        let read = self.record(&mut cursor, start..end).and_then(|()| cursor.end().map_err(Fault::from));
        let rejected = match read {
            Ok(()) => {
                self.rows += 1;
                return Ok(());
            }
            Err(Fault::Broken(error)) => return Err(error),
            Err(Fault::Unfit(unfit)) => self.unfit(unfit, start),
            Err(Fault::Syntax(syntax)) => {
                Rejected::new(self.place_of(start), syntax_reason(&self.text[start..end], syntax))
            }
        };
        self.reject(rejected, start, end);
        Ok(())
    }

    /// Reads one record, which may begin only inside this range.
    fn record(&mut self, cursor: &mut Cursor<'_>, range: std::ops::Range<usize>) -> Result<(), Fault> {
        if cursor.peek() != Some(b'{') {
            return Err(not_readable(no_object(cursor)));
        }
        self.fields.push(cursor, 0, self.rows)?;
        if !self.invalid.is_empty() && self.invalid.iter().any(|at| range.contains(at)) {
            return Err(not_readable("invalid UTF-8".to_owned()));
        }
        Ok(())
    }

    fn elements(&mut self) -> Result<()> {
        let mut cursor = Cursor::new(self.text);
        // A block may begin with the comma behind the block before.
        cursor.accept(b',');
        while cursor.peek().is_some() {
            let start = cursor.at();
            self.seen += 1;
            let range = if self.invalid.is_empty() {
                start..start
            } else {
                cursor.clone().skip().map_err(|syntax| self.broken(syntax))?
            };
            match self.record(&mut cursor, range) {
                Ok(()) => self.rows += 1,
                Err(Fault::Broken(error)) => return Err(error),
                Err(Fault::Syntax(syntax)) => return Err(self.broken(syntax)),
                Err(Fault::Unfit(unfit)) => {
                    cursor.seek(start);
                    let found = cursor.skip().map_err(|syntax| self.broken(syntax))?;
                    let rejected = self.unfit(unfit, start);
                    self.reject(rejected, start, found.end);
                }
            }
            if !cursor.accept(b',') {
                cursor.end().map_err(|syntax| self.broken(Syntax { expected: "`,` or `]`", ..syntax }))?;
            }
        }
        Ok(())
    }

    fn broken(&self, syntax: Syntax) -> Error {
        let (line, column) = self.place.line_and_column(&self.bytes[..syntax.at.min(self.bytes.len())]);
        let found = found(&self.text[syntax.at.min(self.text.len())..]);
        Error::data(format!(
            "invalid JSON at line {line}, column {column}: expected {}, {found}",
            syntax.expected
        ))
        .detail("input", &self.place.name)
    }

    fn unfit(&self, unfit: Unfit, start: usize) -> Rejected {
        let rejected = Rejected::new(self.place_of(start), unfit.reason);
        if unfit.column.is_empty() { rejected } else { rejected.column(unfit.column, unfit.value) }
    }

    fn place_of(&self, start: usize) -> String {
        self.place.of(&self.bytes[..start], self.seen - 1)
    }

    fn reject(&mut self, rejected: Rejected, start: usize, end: usize) {
        self.fields.truncate(self.rows);
        let row = String::from_utf8_lossy(&self.bytes[start..end]);
        self.rejected.push(rejected.row(row.trim_end_matches('\r')));
    }

    fn finish(mut self) -> Result<Decoded> {
        let (fields, columns) = self.fields.finish_columns()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let rows = RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)?;
        Ok(Decoded { rows, rejected: self.rejected, ends: false })
    }
}

fn not_readable(reason: String) -> Fault {
    Fault::Unfit(Unfit { column: String::new(), value: String::new(), reason })
}

fn syntax_reason(line: &str, syntax: Syntax) -> String {
    let at = syntax.at.min(line.len());
    let column = line[..at].chars().count() + 1;
    format!("invalid JSON at column {column}: expected {}, {}", syntax.expected, found(&line[at..]))
}

fn found(rest: &str) -> String {
    match rest.chars().next().filter(|found| *found != '\r') {
        None => "it ends there".to_owned(),
        Some(found) => format!("found `{found}`"),
    }
}
