//! From columns straight into the binary form of `COPY`.
//!
//! The form: <https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4>.

mod literal;
mod numeric;
mod values;

use arrow::array::{ArrayRef, RecordBatch};
use bytes::BufMut;
use towpath_core::{Result, conform_array};

use values::Values;

use crate::types::{Wire, encoded_type};
use crate::wire;

/// What stands in front of the first row: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind the last row.
const TRAILER: &[u8] = &[0xff, 0xff];

/// A message ends behind the row that makes it so long. The server keeps each one whole.
const MESSAGE: usize = 64 << 10;
/// The longest row. A message of more than 1 GiB ends the connection: `PQ_LARGE_MESSAGE_LIMIT` of `src/include/libpq/libpq.h`.
const LONGEST_ROW: usize = (1 << 30) - 2 * MESSAGE;

/// A row with a value that Postgres cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) row: usize,
    pub(crate) column: usize,
    pub(crate) value: String,
    pub(crate) reason: String,
}

/// Why a value cannot be encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    value: String,
    reason: &'static str,
}

impl Refusal {
    fn new(value: impl Into<String>, reason: &'static str) -> Self {
        Self { value: value.into(), reason }
    }
}

/// Rows in the form of `COPY`, as the messages that hold them, and those that were left out.
pub(crate) fn encode(rows: &RecordBatch, wires: &[Wire]) -> Result<(Vec<u8>, Vec<Refused>)> {
    encode_within(rows, wires, LONGEST_ROW)
}

fn encode_within(rows: &RecordBatch, wires: &[Wire], longest: usize) -> Result<(Vec<u8>, Vec<Refused>)> {
    let columns = rows
        .columns()
        .iter()
        .zip(wires)
        .map(|(column, wire)| prepared(column, wire))
        .collect::<Result<Vec<_>>>()?;
    let values = columns.iter().zip(wires).map(|(column, wire)| Values::new(column, wire));
    let values = values.collect::<Result<Vec<_>>>()?;
    let fields = i16::try_from(values.len()).unwrap_or(i16::MAX);
    let mut buffer =
        Vec::with_capacity(rows.get_array_memory_size() + rows.num_rows() * (2 + 4 * values.len()));
    let mut refused = Vec::new();
    let mut message = wire::begin_message(&mut buffer);
    buffer.put_slice(HEADER);
    for row in 0..rows.num_rows() {
        if buffer.len() - message >= MESSAGE {
            wire::end_message(&mut buffer, message);
            message = wire::begin_message(&mut buffer);
        }
        let start = buffer.len();
        buffer.put_i16(fields);
        for (column, values) in values.iter().enumerate() {
            let put = values.put(row, &mut buffer).and_then(|()| must_fit(buffer.len() - start, longest));
            if let Err(Refusal { value, reason }) = put {
                buffer.truncate(start);
                refused.push(Refused { row, column, value, reason: reason.to_owned() });
                break;
            }
        }
    }
    buffer.put_slice(TRAILER);
    wire::end_message(&mut buffer, message);
    Ok((buffer, refused))
}

fn must_fit(row: usize, longest: usize) -> std::result::Result<(), Refusal> {
    if row <= longest {
        return Ok(());
    }
    Err(Refusal::new(format!("{row} bytes up to here"), "Postgres takes no row of more than 1 GiB"))
}

/// The column in one of the types that are encoded. What goes as text becomes text here.
fn prepared(column: &ArrayRef, wire: &Wire) -> Result<ArrayRef> {
    let wanted = match wire {
        Wire::Literal => return literal::literals(column),
        Wire::Text | Wire::Jsonb | Wire::Uuid => arrow_schema::DataType::Utf8,
        _ => encoded_type(column.data_type()),
    };
    conform_array(column, &wanted)
}

#[cfg(test)]
mod tests;
