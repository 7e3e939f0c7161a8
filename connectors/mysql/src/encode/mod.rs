//! Arrow batches as the text that `LOAD DATA` reads, or as the values of an `INSERT`, straight from the arrays.
//!
//! Each column gets a writer that was made for its Arrow type and the type of its column, so that nothing is decided value
//! by value. What the column cannot hold rejects the row here, before the server could round it or cut it.

mod cell;
mod decimal;
mod form;
mod geometry;
mod nested;
mod temporal;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow_schema::DataType;
use towpath_core::{Rejected, Result, json_row, json_value};

pub(crate) use form::{Form, Insert, Load};

use cell::{Cell, cell};

use crate::types::target::TargetType;

/// A column as it is written.
#[derive(Debug, Clone)]
pub(crate) struct EncodedColumn {
    pub(crate) name: String,
    pub(crate) target: TargetType,
    /// Whether null rejects the row.
    pub(crate) required: bool,
    /// Whether it also counts in a row that only says that its key was deleted.
    pub(crate) is_key: bool,
}

/// What stands before the columns of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The number of the row, counted from here.
    Ordinal(u64),
    /// The number of the part, the same for all rows.
    Part(u32),
}

/// A batch, ready to be written in pieces.
pub(crate) struct Encoder {
    rows: RecordBatch,
    mark: Mark,
    columns: Vec<Column>,
    /// Where there is an operation column: which rows are deletions.
    deletes: Option<BooleanBuffer>,
}

struct Column {
    /// In the batch.
    index: usize,
    required: bool,
    is_key: bool,
    load: Box<dyn Cell<Load>>,
    insert: Box<dyn Cell<Insert>>,
}

/// Some rows as text.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    pub(crate) text: Vec<u8>,
    /// Which rows of the batch the text holds, in its order.
    pub(crate) lines: Vec<usize>,
    pub(crate) faults: Vec<Fault>,
}

/// A value that its column cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) row: usize,
    /// The column's name, if it was one.
    pub(crate) column: Option<String>,
    pub(crate) reason: String,
}

impl Encoder {
    /// # Errors
    /// `Unsupported` for an Arrow type that cannot be written.
    pub(crate) fn new(
        rows: RecordBatch,
        columns: &[EncodedColumn],
        mark: Mark,
        operation: Option<&str>,
    ) -> Result<Self> {
        let schema = rows.schema();
        let deletes = operation.and_then(|name| rows.column_by_name(name)).map(deletes).transpose()?;
        let column = |column: &EncodedColumn| {
            let index = schema.index_of(&column.name)?;
            let array = rows.column(index);
            let field = schema.field(index);
            Ok(Column {
                index,
                required: column.required,
                is_key: column.is_key,
                load: cell(array, field, &column.target)?,
                insert: cell(array, field, &column.target)?,
            })
        };
        let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        Ok(Self { rows, mark, columns, deletes })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Writes these rows for `LOAD DATA`.
    pub(crate) fn load(&self, rows: impl IntoIterator<Item = usize>) -> Encoded {
        self.encode::<Load>(rows, |column| &*column.load)
    }

    /// Writes these rows as the values of an `INSERT`.
    pub(crate) fn insert(&self, rows: impl IntoIterator<Item = usize>) -> Encoded {
        self.encode::<Insert>(rows, |column| &*column.insert)
    }

    fn encode<F: Form>(
        &self,
        rows: impl IntoIterator<Item = usize>,
        cell: impl Fn(&Column) -> &dyn Cell<F>,
    ) -> Encoded {
        let mut encoded = Encoded::default();
        for row in rows {
            let start = encoded.text.len();
            match self.row::<F>(row, &mut encoded.text, &cell) {
                Ok(()) => encoded.lines.push(row),
                Err((index, reason)) => {
                    encoded.text.truncate(start);
                    let column = Some(self.rows.schema_ref().field(index).name().clone());
                    encoded.faults.push(Fault { row, column, reason });
                }
            }
        }
        encoded
    }

    fn row<F: Form>(
        &self,
        row: usize,
        out: &mut Vec<u8>,
        cell: &impl Fn(&Column) -> &dyn Cell<F>,
    ) -> Result<(), (usize, String)> {
        let is_first = out.is_empty();
        F::begin_row(out, is_first);
        let mark = match self.mark {
            Mark::Ordinal(first) => first + row as u64,
            Mark::Part(part) => part.into(),
        };
        out.extend_from_slice(itoa::Buffer::new().format(mark).as_bytes());
        let is_delete = self.deletes.as_ref().map(|deletes| deletes.value(row));
        if let Some(is_delete) = is_delete {
            out.push(F::SEPARATOR);
            out.push(if is_delete { b'1' } else { b'0' });
        }
        for column in &self.columns {
            out.push(F::SEPARATOR);
            if is_delete == Some(true) && !column.is_key {
                out.extend_from_slice(F::NULL);
                continue;
            }
            let cell = cell(column);
            if cell.is_null(row) {
                if column.required {
                    return Err((column.index, "the column cannot be null".to_owned()));
                }
                out.extend_from_slice(F::NULL);
            } else {
                cell.write(row, out).map_err(|reason| (column.index, reason))?;
            }
        }
        F::end_row(out);
        Ok(())
    }

    /// The row of a fault, for people.
    pub(crate) fn rejected(&self, fault: &Fault, place: String) -> Rejected {
        let mut rejected = Rejected::new(place, &fault.reason);
        let named = fault.column.as_ref().and_then(|name| Some((name, self.rows.column_by_name(name)?)));
        if let Some((name, array)) = named {
            rejected = rejected.column(name, shown(array, fault.row));
        }
        match json_row(&self.rows, fault.row) {
            Ok(row) => rejected.row(row),
            Err(_) => rejected,
        }
    }
}

/// A value for people.
fn shown(array: &dyn Array, row: usize) -> String {
    match json_value(array, row) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(_) => "a value that cannot be shown".to_owned(),
    }
}

/// Which rows say that their key was deleted.
fn deletes(operations: &arrow::array::ArrayRef) -> Result<BooleanBuffer> {
    let texts = cast(operations, &DataType::Utf8)?;
    let texts = arrow::array::AsArray::as_string::<i32>(&texts);
    let is_delete = |text: Option<&str>| matches!(text, Some("d" | "D" | "delete" | "DELETE"));
    Ok(texts.iter().map(|text| Some(is_delete(text))).collect::<BooleanArray>().values().clone())
}

#[cfg(test)]
mod tests;
