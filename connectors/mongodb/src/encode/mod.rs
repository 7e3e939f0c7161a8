//! Rows into documents.

mod cell;
mod text;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow_schema::DataType;
use towpath_core::{Error, Result};

use crate::config::Nulls;
use crate::schema::{TYPE_KEY, names};
use crate::wire::{self, Value, tag};
use cell::{Cell, Element};

/// The most bytes of a document that a server takes.
pub(crate) const MOST_BYTES: usize = 16 << 20;

const ID: &str = "_id";

/// Why a row has no document.
pub(crate) type Unfit = String;

/// The rows of a batch, ready to become documents.
pub(crate) struct Encoder {
    columns: Vec<(String, Cell)>,
    /// The column whose values are whole documents.
    whole: Option<arrow::array::ArrayRef>,
    nulls: Nulls,
    /// Columns whose moments are finer than what a date holds.
    pub(crate) rounded: Vec<String>,
}

impl Encoder {
    /// The columns of these rows, those left out that are named.
    pub(crate) fn new(rows: &RecordBatch, leave_out: &[String], nulls: Nulls) -> Result<Self> {
        let (mut columns, mut rounded, mut whole) = (Vec::new(), Vec::new(), None);
        let schema = rows.schema();
        for (field, array) in schema.fields().iter().zip(rows.columns()) {
            if leave_out.contains(field.name()) {
                continue;
            }
            if field.metadata().get(TYPE_KEY).is_some_and(|name| name == names::DOCUMENT)
                && field.data_type() == &DataType::Binary
            {
                whole = Some(array.clone());
                continue;
            }
            let mut is_rounded = false;
            let cell = Cell::new(field, array, &mut is_rounded)
                .map_err(|error| error.detail("column", field.name()))?;
            if is_rounded {
                rounded.push(field.name().clone());
            }
            columns.push((field.name().clone(), cell));
        }
        Ok(Self { columns, whole, nulls, rounded })
    }

    /// Appends the fields of a row, without the length in front and the zero behind.
    pub(crate) fn fields(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if let Some(document) = self.whole(row) {
            return copy(document, out);
        }
        for (name, cell) in &self.columns {
            // An id that is null is one that the row does not bring.
            if name == ID && cell.is_null(row) {
                continue;
            }
            cell.write(&Element { name: name.as_bytes(), nulls: self.nulls }, row, out)?;
        }
        Ok(())
    }

    /// The document of a row that is a whole one.
    fn whole(&self, row: usize) -> Option<&[u8]> {
        let whole = self.whole.as_ref().filter(|whole| whole.is_valid(row))?;
        Some(whole.as_binary::<i32>().value(row))
    }

    /// Whether the row brings an id.
    pub(crate) fn has_id(&self, row: usize) -> bool {
        match self.whole(row) {
            Some(document) => wire::field(document, ID).is_ok_and(|id| id.is_some()),
            None => self.columns.iter().any(|(name, cell)| name == ID && !cell.is_null(row)),
        }
    }

    /// Whether the row has a value in this column that can be a key: no null, and no list.
    pub(crate) fn has_key(&self, column: &str, row: usize) -> bool {
        let is_key = |value: Value<'_>| !matches!(value.tag, tag::NULL | tag::UNDEFINED | tag::ARRAY);
        match self.whole(row) {
            Some(document) => wire::field(document, column).is_ok_and(|value| value.is_some_and(is_key)),
            None => self
                .columns
                .iter()
                .any(|(name, cell)| name == column && !cell.is_null(row) && !cell.is_list()),
        }
    }
}

/// The fields of a document that came as it is.
fn copy(document: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    let elements =
        crate::wire::Elements::of(document).map_err(|malformed| format!("it is no BSON: {malformed}"))?;
    for element in elements {
        element.map_err(|malformed| format!("it is no BSON: {malformed}"))?;
    }
    out.extend(&document[4..document.len() - 1]);
    Ok(())
}

/// Begins a document; [`close`] ends it.
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend([0; 4]);
    start
}

/// Ends a document that [`open`] began.
pub(crate) fn close(start: usize, out: &mut Vec<u8>) -> Result<(), Unfit> {
    out.push(0);
    let length = i32::try_from(out.len() - start).map_err(|_| "it is larger than 2 GiB".to_owned())?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A name of a column that a document can have.
pub(crate) fn check_names(schema: &arrow_schema::Schema) -> Result<()> {
    match schema.fields().iter().find(|field| field.name().contains('\0')) {
        None => Ok(()),
        Some(field) => Err(Error::schema(format!("column {:?} has a zero in its name", field.name()))
            .connector(crate::NAME)
            .help("rename it under `transform`")),
    }
}

#[cfg(test)]
mod tests;
