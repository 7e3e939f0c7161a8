//! Rows of the parent: what the child needs of them, and what its rows carry on.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use towpath_core::{Error, ErrorKind, Json, Parent, Result, json_value};

use crate::value::array_of;

/// How many characters of a row's values are shown in the names of its splits.
const SHOWN: usize = 80;

/// Which parts of the parent's rows are needed.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The fields that the child is planned with.
    pub(super) fields: Vec<String>,
    /// The columns that the child's rows get, with the fields that they come from.
    pub(super) include: Vec<(String, String)>,
}

/// A row of the parent.
#[derive(Debug, Clone)]
pub(super) struct ParentRow {
    pub(super) parent: Parent,
    pub(super) carried: Vec<Carried>,
}

/// A value that all rows of a split get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) column: String,
    #[serde(rename = "type")]
    data_type: DataType,
    value: Json,
}

impl Wanted {
    /// The columns of the parent in which these fields are.
    pub(super) fn columns(&self) -> Vec<String> {
        let included = self.include.iter().map(|(_, field)| field);
        let columns = self.fields.iter().chain(included).map(|field| column_of(field).to_owned());
        columns.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The rows of a batch.
    ///
    /// # Errors
    /// `Unsupported` for a value that cannot be carried on as it is.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Vec<ParentRow>> {
        let columns = self.columns();
        let rows = (0..batch.num_rows()).map(|row| {
            let mut fields = serde_json::Map::new();
            for column in &columns {
                if let Some(array) = batch.column_by_name(column) {
                    fields.insert(column.clone(), json_value(array, row)?);
                }
            }
            let carried = self.include.iter().map(|(column, field)| {
                let data_type = type_of(batch.schema_ref(), field);
                Carried::new(column, data_type, field_of(&fields, field))
            });
            Ok(ParentRow { carried: carried.collect::<Result<_>>()?, parent: Parent(fields) })
        });
        rows.collect()
    }

    /// The first field for which a row has no value.
    pub(super) fn missing(&self, row: &ParentRow) -> Option<String> {
        self.fields.iter().find(|field| row.parent.get(field).is_none()).cloned()
    }

    /// The values of a row, as people see them.
    pub(super) fn shown(&self, row: &ParentRow) -> String {
        let shown = self.fields.iter().map(|field| match row.parent.get(field) {
            Some(Json::String(text)) => format!("{field}={text}"),
            Some(value) => format!("{field}={value}"),
            None => format!("{field}="),
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        match shown.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown,
        }
    }
}

impl ParentRow {
    /// The row by its values: equal for equal rows, and in the same order in each run.
    pub(super) fn key(&self) -> String {
        serde_json::to_string(&self.parent).unwrap_or_default()
    }
}

impl Carried {
    fn new(column: &str, data_type: DataType, value: Json) -> Result<Self> {
        let carried = Self { column: column.to_owned(), data_type, value };
        // What comes back from the checkpoint must be what the parent had.
        let back = carried.array().and_then(|array| json_value(&array, 0));
        match back {
            Ok(back) if back == carried.value => Ok(carried),
            _ => Err(Error::unsupported(format!(
                "`include` cannot carry `{column}` of type {} into other rows",
                carried.data_type
            ))
            .help("include single values: numbers, texts, booleans, dates, times and decimals")),
        }
    }

    fn array(&self) -> Result<ArrayRef> {
        array_of(&self.value, &self.data_type)
    }
}

/// Rows with the values that they carry on.
///
/// # Errors
/// `SchemaMismatch` when the rows have a column of that name already.
pub(super) fn carry(rows: &RecordBatch, carried: &[Carried]) -> Result<RecordBatch> {
    if carried.is_empty() || (rows.num_columns() == 0 && rows.num_rows() == 0) {
        return Ok(rows.clone());
    }
    let schema = rows.schema_ref();
    let (mut fields, mut columns) = (schema.fields().to_vec(), rows.columns().to_vec());
    let first = UInt32Array::from(vec![0; rows.num_rows()]);
    for value in carried {
        if schema.column_with_name(&value.column).is_some() {
            let text = format!("`include` names the column `{}`, which the rows have already", value.column);
            return Err(
                Error::schema(text).help("give it a name of its own, such as `include: { parent_id: id }`")
            );
        }
        fields.push(Arc::new(Field::new(&value.column, value.data_type.clone(), true)));
        columns.push(take(&value.array()?, &first, None)?);
    }
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

fn column_of(field: &str) -> &str {
    field.split('.').next().unwrap_or(field)
}

fn field_of(row: &serde_json::Map<String, Json>, field: &str) -> Json {
    let column = row.get(column_of(field));
    let value = field.split('.').skip(1).try_fold(column, |value, name| value.map(|value| value.get(name)));
    value.flatten().cloned().unwrap_or(Json::Null)
}

fn type_of(schema: &Schema, field: &str) -> DataType {
    fn inside<'a>(found: Option<&'a FieldRef>, mut names: impl Iterator<Item = &'a str>) -> DataType {
        match (found, names.next()) {
            (None, _) => DataType::Null,
            (Some(field), None) => field.data_type().clone(),
            (Some(field), Some(name)) => match field.data_type() {
                DataType::Struct(fields) => inside(fields.iter().find(|field| field.name() == name), names),
                _ => DataType::Null,
            },
        }
    }
    let found = schema.fields().iter().find(|known| known.name() == column_of(field));
    inside(found, field.split('.').skip(1))
}

/// Whether a row's refusal concerns that row alone.
pub(super) fn is_of_row(error: &Error) -> bool {
    error.kind() == ErrorKind::DataInvalid
}
