//! The fields of an object, each a column. New ones come behind.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Fields};
use towpath_core::{Error, Result};

use super::column::Column;
use super::scan::{Cursor, Syntax};

/// Why a record cannot be read.
pub(crate) enum Fault {
    Syntax(Syntax),
    Unfit(Unfit),
    /// Not the record's fault.
    Broken(Error),
}

/// A value that does not fit a declared type.
pub(crate) struct Unfit {
    pub(crate) column: String,
    pub(crate) value: String,
    pub(crate) reason: String,
}

impl From<Syntax> for Fault {
    fn from(syntax: Syntax) -> Self {
        Self::Syntax(syntax)
    }
}

/// Above this many fields a hash finds a name faster than looking through them.
const FEW: usize = 12;

/// Columns by name.
pub(crate) struct FieldSet {
    /// What was known of each. Most batches bring nothing new, and share these.
    fields: Vec<FieldRef>,
    columns: Vec<Column>,
    /// Where each name is; empty while there are few.
    index: HashMap<String, usize>,
    /// Whether a name that is not there is refused, because all of them were declared.
    closed: bool,
    /// The only names wanted; `None` for all.
    wanted: Option<Vec<String>>,
}

impl FieldSet {
    /// Empty columns of these types.
    pub(crate) fn new(fields: &Fields, declared: impl Fn(&str) -> bool) -> Result<Self> {
        let mut set = Self {
            fields: Vec::with_capacity(fields.len()),
            columns: Vec::with_capacity(fields.len()),
            index: HashMap::new(),
            closed: false,
            wanted: None,
        };
        for field in fields {
            let column = Column::new(field.data_type(), declared(field.name()))
                .map_err(|error| error.detail("column", field.name()))?;
            set.add(field.clone(), column);
        }
        // Within a declared struct all is declared.
        set.closed = !fields.is_empty() && fields.iter().all(|field| declared(field.name()));
        Ok(set)
    }

    /// Takes only these names, and new ones unless it says otherwise.
    pub(crate) fn open(mut self, wanted: Option<&[String]>) -> Self {
        self.closed = false;
        self.wanted = wanted.map(<[String]>::to_vec);
        self
    }

    fn add(&mut self, field: FieldRef, column: Column) -> usize {
        let at = self.fields.len();
        self.fields.push(field);
        self.columns.push(column);
        if self.fields.len() > FEW {
            let unknown = if self.index.is_empty() { 0 } else { at };
            let names = self.fields[unknown..].iter().map(|field| field.name().clone());
            self.index.extend(names.zip(unknown..));
        }
        at
    }

    fn find(&self, name: &str, hint: usize) -> Option<usize> {
        // Objects nearly always have their fields in the same order.
        if self.fields.get(hint).is_some_and(|known| known.name() == name) {
            return Some(hint);
        }
        if self.index.is_empty() {
            self.fields.iter().position(|known| known.name() == name)
        } else {
            self.index.get(name).copied()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends an object as the row behind `rows`.
    pub(crate) fn push(&mut self, cursor: &mut Cursor<'_>, depth: usize, rows: usize) -> Result<(), Fault> {
        let mut hint = 0;
        cursor.object(|cursor| {
            let name = cursor.string()?;
            cursor.colon()?;
            let at = match self.find(&name, hint) {
                Some(at) => at,
                None if self.is_wanted(&name) => {
                    if self.closed {
                        let found = cursor.skip_nested(depth)?;
                        return Err(Fault::Unfit(Unfit {
                            column: name.into_owned(),
                            value: cursor.slice(found).to_owned(),
                            reason: "is not in the declared struct".to_owned(),
                        }));
                    }
                    let mut column = Column::new(&DataType::Null, false).map_err(Fault::Broken)?;
                    for _ in 0..rows {
                        column.push_null();
                    }
                    self.add(Arc::new(Field::new(&*name, DataType::Null, true)), column)
                }
                None => return Ok(cursor.skip_nested(depth + 1).map(drop)?),
            };
            hint = at + 1;
            let column = &mut self.columns[at];
            if column.len() > rows {
                // A name that comes twice: the last one counts, as everywhere.
                column.truncate(rows);
            }
            column.push(cursor, depth + 1).map_err(|fault| inside(fault, &name))
        })?;
        self.pad(rows + 1);
        Ok(())
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|known| known == name))
    }

    /// Fills up with nulls.
    pub(crate) fn pad(&mut self, rows: usize) {
        for column in &mut self.columns {
            while column.len() < rows {
                column.push_null();
            }
        }
    }

    pub(crate) fn truncate(&mut self, rows: usize) {
        for column in &mut self.columns {
            column.truncate(rows.min(column.len()));
        }
    }

    pub(crate) fn fields(&self) -> Fields {
        let columns = self.fields.iter().zip(&self.columns);
        columns.map(|(field, column)| with_type(field, column.data_type())).collect()
    }

    pub(crate) fn finish(&mut self, rows: usize, nulls: Option<NullBuffer>) -> Result<StructArray> {
        let (fields, columns) = self.finish_columns()?;
        Ok(StructArray::try_new_with_length(fields, columns, nulls, rows)?)
    }

    /// The columns as arrays, which leaves them empty.
    pub(crate) fn finish_columns(&mut self) -> Result<(Fields, Vec<ArrayRef>)> {
        let mut fields = Vec::with_capacity(self.fields.len());
        let mut columns = Vec::with_capacity(self.fields.len());
        for (field, column) in self.fields.iter().zip(&mut self.columns) {
            let (data_type, array) = column.finish()?;
            fields.push(with_type(field, data_type));
            columns.push(array);
        }
        Ok((fields.into(), columns))
    }
}

/// The field itself if it is of this type and nullable, else a new one.
fn with_type(field: &FieldRef, data_type: DataType) -> FieldRef {
    if *field.data_type() == data_type && field.is_nullable() {
        field.clone()
    } else {
        Arc::new(Field::new(field.name(), data_type, true))
    }
}

/// Names the column of a value, from the outside in.
fn inside(fault: Fault, name: &str) -> Fault {
    match fault {
        Fault::Unfit(mut unfit) => {
            unfit.column =
                if unfit.column.is_empty() { name.to_owned() } else { format!("{name}.{}", unfit.column) };
            Fault::Unfit(unfit)
        }
        other => other,
    }
}
