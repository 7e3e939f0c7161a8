//! From the binary form of `COPY` straight into columns.
//!
//! The form: <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4>.

mod builder;
mod numeric;
mod text;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow_schema::SchemaRef;
use towpath_core::{Error, Rejected, Result, json_row};

use builder::Builder;

use crate::types::Column;
use crate::wire::Frames;

/// What stands in front of the first row.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Rows that came.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// How many rows came, those that were rejected among them.
    pub(crate) count: u64,
}

/// Why a value has no place in its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl Refusal {
    fn new(value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { value: value.into(), reason: reason.into() }
    }
}

/// The first rows of a `COPY`, without what stands in front of them.
///
/// # Errors
/// `Unexpected` where that is not what the form says.
pub(crate) fn without_header(first: &Frames) -> Result<Vec<Frames>> {
    let malformed = || malformed("it does not begin as it must");
    let (message, behind) = first.clone().split_first().ok_or_else(malformed)?;
    if !message.starts_with(SIGNATURE) || message.len() < 19 {
        return Err(malformed());
    }
    let extension = u32::from_be_bytes(message[15..19].try_into().map_err(|_| malformed())?) as usize;
    let rows = message.get(19 + extension..).ok_or_else(malformed)?;
    Ok(vec![Frames::from(rows), behind])
}

fn malformed(what: &str) -> Error {
    Error::unexpected(format!("the server sent rows that cannot be read: {what}")).connector(crate::NAME)
}

/// Decodes rows. `place` is where they come from, for those that are rejected.
///
/// # Errors
/// `Unexpected` where the messages are not what the protocol promises.
pub(crate) fn decode(
    columns: &[Column],
    schema: &SchemaRef,
    rows: &[Frames],
    place: &str,
) -> Result<Decoded> {
    // The server sends a message for each.
    let capacity = rows.iter().map(Frames::count).sum();
    let mut columns = Columns::new(columns, capacity);
    for message in rows.iter().flat_map(Frames::messages) {
        let mut reader = Reader { rest: message };
        while !reader.rest.is_empty() {
            match reader.i16()? {
                // Behind the last row.
                -1 => break,
                fields => columns.must_be(fields)?,
            }
            columns.take_row(&mut reader)?;
        }
    }
    columns.append_found();
    let Columns { builders, mut refused, count, .. } = columns;
    refused.sort_by_key(|(row, column, _)| (*row, *column));
    let arrays = builders.into_iter().map(Builder::finish).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let rows = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
    let (rows, rejected) = without_refused(rows, refused, place)?;
    Ok(Decoded { rows, rejected, count: count as u64 })
}

/// How many rows are found before their values are appended. They stay near until then.
const FOUND_ROWS: usize = 128;

/// Columns under way. Values are found row by row and appended column by column, so that what a column does with its values
/// is decided once for many.
struct Columns<'a> {
    builders: Vec<Builder>,
    /// Of rows that were found: the values of the first one, then those of the next.
    found: Vec<Option<&'a [u8]>>,
    /// Row, column and why.
    refused: Vec<(usize, usize, Refusal)>,
    /// How many rows came.
    count: usize,
    /// How many of them were appended.
    appended: usize,
}

impl<'a> Columns<'a> {
    fn new(columns: &[Column], rows: usize) -> Self {
        let builders: Vec<_> = columns.iter().map(|column| Builder::new(&column.decode, rows)).collect();
        let found = Vec::with_capacity(FOUND_ROWS * builders.len());
        Self { builders, found, refused: Vec::new(), count: 0, appended: 0 }
    }

    fn must_be(&self, fields: i16) -> Result<()> {
        let expected = self.builders.len();
        if usize::try_from(fields) == Ok(expected) {
            return Ok(());
        }
        Err(malformed(&format!("a row has {fields} fields instead of {expected}")))
    }

    fn take_row(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        for _ in 0..self.builders.len() {
            self.found.push(reader.field()?);
        }
        self.count += 1;
        if self.count - self.appended == FOUND_ROWS {
            self.append_found();
        }
        Ok(())
    }

    fn append_found(&mut self) {
        let Self { builders, found, refused, appended, .. } = self;
        let width = builders.len();
        for (column, builder) in builders.iter_mut().enumerate() {
            let values = found.iter().skip(column).step_by(width).copied();
            builder.append_all(values, &mut |row, refusal| refused.push((*appended + row, column, refusal)));
        }
        found.clear();
        *appended = self.count;
    }
}

/// Takes the rows out in which a value had no place.
fn without_refused(
    rows: RecordBatch,
    refused: Vec<(usize, usize, Refusal)>,
    place: &str,
) -> Result<(RecordBatch, Vec<Rejected>)> {
    if refused.is_empty() {
        return Ok((rows, Vec::new()));
    }
    let mut keep = vec![true; rows.num_rows()];
    let mut rejected = Vec::new();
    for (row, column, refusal) in refused {
        // The first refusal of a row tells of it.
        if std::mem::replace(&mut keep[row], false) {
            let name = rows.schema_ref().field(column).name().clone();
            let row = json_row(&rows, row)?;
            rejected.push(Rejected::new(place, refusal.reason).column(name, refusal.value).row(row));
        }
    }
    Ok((filter_record_batch(&rows, &BooleanArray::from(keep))?, rejected))
}

/// Big-endian values, one after the other.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| malformed("a row ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| malformed("a row ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn i16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A value behind its length; `None` for null.
    fn field(&mut self) -> Result<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| malformed("a value has a negative length"))?;
                self.take(length).map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests;
