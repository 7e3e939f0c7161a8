//! A batch on its way through the steps, and the columns that steps name.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::compute::{filter, filter_record_batch, is_null, nullif, take};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use towpath_core::{ColumnType, Error, Rejected, Result, json_row};

use crate::Transformed;

/// A batch on its way through the steps.
pub(crate) struct Work<'a> {
    pub(crate) batch: RecordBatch,
    rejected: Vec<Rejected>,
    place: &'a str,
    /// Whether a step may reject rows, so that it matters where each row came from.
    tracked: bool,
    /// For each row, its number in the batch as it came; none while nothing moved.
    origin: Option<UInt64Array>,
}

impl<'a> Work<'a> {
    pub(crate) fn new(batch: RecordBatch, place: &'a str, tracked: bool) -> Self {
        Self { batch, rejected: Vec::new(), place, tracked, origin: None }
    }

    pub(crate) fn finish(self) -> Transformed {
        Transformed { rows: self.batch, rejected: self.rejected }
    }

    /// Keeps the rows for which the mask is true.
    pub(crate) fn filter(&mut self, keep: &BooleanArray) -> Result<()> {
        if keep.true_count() == self.batch.num_rows() {
            return Ok(());
        }
        if let Some(origin) = self.origins() {
            self.origin = Some(filter(&origin, keep)?.as_primitive().clone());
        }
        self.batch = filter_record_batch(&self.batch, keep)?;
        Ok(())
    }

    /// Replaces the batch by one whose rows come from these rows of the old one.
    pub(crate) fn replace(&mut self, batch: RecordBatch, rows: &UInt64Array) -> Result<()> {
        if let Some(origin) = self.origins() {
            self.origin = Some(take(&origin, rows, None)?.as_primitive().clone());
        }
        self.batch = batch;
        Ok(())
    }

    fn origins(&mut self) -> Option<UInt64Array> {
        let rows = self.batch.num_rows() as u64;
        self.tracked.then(|| self.origin.take().unwrap_or_else(|| UInt64Array::from_iter_values(0..rows)))
    }

    /// Puts arrays in the place of columns, which keep their names.
    pub(crate) fn set_columns(&mut self, changed: Vec<(usize, ArrayRef)>) -> Result<()> {
        let mut fields = self.batch.schema_ref().fields().to_vec();
        let mut columns = self.batch.columns().to_vec();
        for (index, array) in changed {
            fields[index] = retyped(&fields[index], array.data_type());
            columns[index] = array;
        }
        self.set_all(fields, columns)
    }

    /// Replaces all columns; the rows stay.
    pub(crate) fn set_all(&mut self, fields: Vec<FieldRef>, columns: Vec<ArrayRef>) -> Result<()> {
        self.batch = batch_of(&self.batch, fields, columns, self.batch.num_rows())?;
        Ok(())
    }

    /// Notes a row that is about to be filtered out.
    pub(crate) fn reject(&mut self, row: usize, column: &str, value: String, to: &DataType) -> Result<()> {
        let number = self.origin.as_ref().map_or(row as u64, |origin| origin.value(row)) + 1;
        let reason = format!("the value does not fit {}", ColumnType::from(to.clone()));
        let rejected = Rejected::new(format!("{}#{number}", self.place), reason);
        self.rejected.push(rejected.column(column, value).row(json_row(&self.batch, row)?));
        Ok(())
    }
}

/// A batch with the metadata of another.
pub(crate) fn batch_of(
    like: &RecordBatch,
    fields: Vec<FieldRef>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let schema = Arc::new(Schema::new_with_metadata(fields, like.schema_ref().metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The field with another type. Metadata describes the old type, so it goes when the type changes.
fn retyped(field: &FieldRef, data_type: &DataType) -> FieldRef {
    if field.data_type() == data_type {
        return field.clone();
    }
    Arc::new(Field::new(field.name(), data_type.clone(), field.is_nullable()))
}

/// Fails where two columns have one name.
pub(crate) fn check_names(fields: &[FieldRef], advice: &str) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match fields.iter().find(|field| !seen.insert(field.name().as_str())) {
        None => Ok(()),
        Some(field) => {
            Err(Error::schema(format!("there would be two columns called `{}`", field.name())).help(advice))
        }
    }
}

/// A field of a struct, null where the struct is null.
pub(crate) fn child(parent: &dyn Array, index: usize) -> Result<ArrayRef> {
    let parent_struct = parent.as_struct();
    let child = parent_struct.column(index);
    if parent_struct.null_count() == 0 {
        return Ok(child.clone());
    }
    Ok(nullif(child, &is_null(parent)?)?)
}

/// A column that a step names, and whether a batch had it.
pub(crate) struct Named {
    path: Vec<String>,
    found: AtomicBool,
    missed: Mutex<Option<Missed>>,
}

/// The name that came nearest in the first batch that lacked a column.
#[derive(Clone)]
struct Missed {
    nearest: Option<String>,
}

impl Named {
    pub(crate) fn column(name: &str) -> Self {
        Self::path(vec![name.to_owned()])
    }

    pub(crate) fn path(path: Vec<String>) -> Self {
        Self { path, found: AtomicBool::new(false), missed: Mutex::new(None) }
    }

    /// The name of the top-level column.
    pub(crate) fn name(&self) -> &str {
        &self.path[0]
    }

    pub(crate) fn is_path(&self, path: &[String]) -> bool {
        self.path == path
    }

    /// Where the top-level column is.
    pub(crate) fn index(&self, batch: &RecordBatch) -> Option<usize> {
        let fields = batch.schema_ref().fields();
        let found = fields.find(self.name());
        self.note(found.is_some(), 0, fields);
        found.map(|(index, _)| index)
    }

    /// As [`Named::index`]; a batch with rows and without the column is an error.
    pub(crate) fn required(&self, batch: &RecordBatch) -> Result<Option<usize>> {
        let index = self.index(batch);
        if index.is_some() || batch.num_rows() == 0 {
            return Ok(index);
        }
        let error = Error::schema(format!("there is no column `{}`", self.name()));
        Err(match nearest(self.name(), batch.schema_ref().fields()) {
            Some(nearest) => error.help(format!("did you mean `{nearest}`?")),
            None => error.help(format!("the columns are {}", names(batch.schema_ref().fields()))),
        })
    }

    /// The values of the path, down into structs; none when the batch does not have it.
    ///
    /// # Errors
    /// A message when a part of the path is not a struct.
    pub(crate) fn values(&self, batch: &RecordBatch) -> Result<Option<ArrayRef>, String> {
        let Some(index) = self.index(batch) else { return Ok(None) };
        let mut array = batch.column(index).clone();
        for (level, name) in self.path.iter().enumerate().skip(1) {
            let fields = match array.data_type() {
                DataType::Struct(fields) => fields.clone(),
                // A batch in which every struct is null.
                DataType::Null => return Ok(None),
                other => {
                    let parent = self.path[..level].join(".");
                    return Err(format!(
                        "`{parent}` is {} and has no fields",
                        ColumnType::from(other.clone())
                    ));
                }
            };
            let found = fields.find(name);
            self.note(found.is_some(), level, &fields);
            let Some((index, _)) = found else { return Ok(None) };
            array = child(&array, index).map_err(|error| error.to_string())?;
        }
        Ok(Some(array))
    }

    fn note(&self, found: bool, level: usize, fields: &[FieldRef]) {
        if found {
            if level + 1 == self.path.len() {
                self.found.store(true, Ordering::Relaxed);
            }
            return;
        }
        // An empty page of an API has no columns at all, which says nothing about names.
        if fields.is_empty() || self.found.load(Ordering::Relaxed) {
            return;
        }
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.get_or_insert_with(|| Missed {
            nearest: nearest(&self.path[level], fields).map(|near| {
                let parents = self.path[..level].iter().map(String::as_str);
                parents.chain([near]).collect::<Vec<_>>().join(".")
            }),
        });
    }

    pub(crate) fn unused(&self, step: String) -> Option<UnusedColumn> {
        if self.found.load(Ordering::Relaxed) {
            return None;
        }
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(UnusedColumn { step, column: self.path.join("."), nearest: missed.nearest })
    }
}

/// A column that a step names and that no batch had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedColumn {
    /// The step: `transform step 2 (cast)`.
    pub step: String,
    /// The name, as the step has it.
    pub column: String,
    /// The most similar name that there was.
    pub nearest: Option<String>,
}

impl fmt::Display for UnusedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: no batch had a column `{}`", self.step, self.column)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
            None => Ok(()),
        }
    }
}

/// The most similar name, if one is similar enough to be meant.
fn nearest<'a>(name: &str, fields: &'a [FieldRef]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let distances = fields.iter().map(|field| {
        (strsim::damerau_levenshtein(&lower, &field.name().to_lowercase()), field.name().as_str())
    });
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(nearest)
}

fn names(fields: &[FieldRef]) -> String {
    fields.iter().map(|field| format!("`{}`", field.name())).collect::<Vec<_>>().join(", ")
}
