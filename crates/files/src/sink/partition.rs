//! Rows by the folder that they belong in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow_schema::{DataType, SchemaRef};
use towpath_core::{ColumnType, Error, Rejected, Result, conform_array, json_row};

use crate::names::{encode, encode_value};

/// The longest name that file systems hold.
const LONGEST: usize = 255;

/// Which columns become folders.
#[derive(Debug, Clone)]
pub(crate) struct Partitioning {
    columns: Vec<usize>,
    kept: Vec<usize>,
    schema: SchemaRef,
}

/// Rows that belong in one folder, without the columns that its name holds.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) folder: String,
    pub(crate) rows: RecordBatch,
}

impl Partitioning {
    pub(crate) fn new(names: &[String], schema: &SchemaRef) -> Result<Self> {
        let wrong = |error: Error, name: &String| error.detail("column", name);
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let (index, field) = schema.column_with_name(name).ok_or_else(|| {
                let known: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let help = format!("name one of {}", known.join(", "));
                wrong(Error::schema("the rows have no column that `partition_by` names").help(help), name)
            })?;
            let data_type = field.data_type();
            if data_type.is_nested() || matches!(data_type, DataType::Binary | DataType::LargeBinary) {
                let column_type = ColumnType::from(data_type.clone());
                let message = format!("a column of type {column_type} cannot name folders");
                return Err(wrong(
                    Error::schema(message).help("partition by a column of single values"),
                    name,
                ));
            }
            columns.push(index);
        }
        let kept: Vec<_> = (0..schema.fields().len()).filter(|index| !columns.contains(index)).collect();
        if kept.is_empty() && !columns.is_empty() {
            return Err(Error::schema(
                "every column is named by `partition_by`, so the files would be empty",
            )
            .help("leave at least one column out of `partition_by`"));
        }
        let schema = Arc::new(schema.project(&kept)?);
        Ok(Self { columns, kept, schema })
    }

    /// Whether all rows belong in one folder.
    pub(crate) fn is_none(&self) -> bool {
        self.columns.is_empty()
    }

    /// The columns of the files.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows of each folder, and those whose value no folder can be named for.
    pub(crate) fn split(&self, rows: &RecordBatch) -> Result<(Vec<Share>, Vec<Rejected>)> {
        if self.is_none() {
            return Ok((vec![Share { folder: String::new(), rows: rows.clone() }], Vec::new()));
        }
        let parts = self.columns.iter().map(|column| folders(rows, *column)).collect::<Result<Vec<_>>>()?;
        let mut order: Vec<(String, Vec<u32>)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut rejected = Vec::new();
        for row in 0..rows.num_rows() {
            if let Some(column) = parts.iter().position(|part| part.name(row).len() > LONGEST) {
                rejected.push(self.reject(rows, row, column)?);
                continue;
            }
            let names: Vec<&str> = parts.iter().map(|part| part.name(row)).collect();
            let folder = names.join("/");
            let index = *known.entry(folder).or_insert_with_key(|folder| {
                order.push((folder.clone(), Vec::new()));
                order.len() - 1
            });
            order[index].1.push(u32::try_from(row).map_err(|_| Error::unexpected("a batch is too long"))?);
        }
        let rows = rows.project(&self.kept)?;
        let whole = order.len() == 1 && rejected.is_empty();
        let shares = order.into_iter().map(|(folder, indices)| {
            let rows =
                if whole { rows.clone() } else { take_record_batch(&rows, &UInt32Array::from(indices))? };
            Ok(Share { folder, rows })
        });
        Ok((shares.collect::<Result<_>>()?, rejected))
    }

    fn reject(&self, rows: &RecordBatch, row: usize, column: usize) -> Result<Rejected> {
        let index = self.columns[column];
        let name = rows.schema_ref().field(index).name().clone();
        let value = text(rows.column(index))?;
        let value = value.as_string::<i32>().value(row).to_owned();
        let place = format!("partition_by {name}");
        Ok(Rejected::new(place, "the value is too long for the name of a folder")
            .column(name, value)
            .row(json_row(rows, row)?))
    }
}

/// The folder names of one column: each different value is encoded once.
struct Folders {
    names: Vec<String>,
    of_row: Vec<usize>,
}

impl Folders {
    fn name(&self, row: usize) -> &str {
        &self.names[self.of_row[row]]
    }
}

fn folders(rows: &RecordBatch, column: usize) -> Result<Folders> {
    let key = encode(rows.schema_ref().field(column).name());
    let texts = text(rows.column(column))?;
    let mut known: HashMap<Option<&str>, usize> = HashMap::new();
    let mut names = Vec::new();
    let of_row = texts.as_string::<i32>().iter().map(|value| {
        *known.entry(value).or_insert_with(|| {
            names.push(format!("{key}={}", encode_value(value)));
            names.len() - 1
        })
    });
    let of_row = of_row.collect();
    Ok(Folders { names, of_row })
}

fn text(column: &ArrayRef) -> Result<ArrayRef> {
    if *column.data_type() == DataType::Null {
        return Ok(arrow::array::new_null_array(&DataType::Utf8, column.len()));
    }
    conform_array(column, &DataType::Utf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_testkit::rows;

    fn split(
        columns: &str,
        names: &[&str],
        values: &towpath_core::Json,
    ) -> (Vec<(String, Vec<towpath_core::Json>)>, Vec<Rejected>) {
        let batch = rows::batch(columns, values);
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let (shares, rejected) = Partitioning::new(&names, &batch.schema()).unwrap().split(&batch).unwrap();
        (shares.into_iter().map(|share| (share.folder, rows::to_json([&share.rows]))).collect(), rejected)
    }

    #[test]
    fn rows_go_to_the_folder_of_their_values() {
        let values =
            json!([[1, "DE", "2026-01-02"], [2, null, "2026-01-02"], [3, "DE", "2026-01-02"], [4, "", null]]);
        let (shares, rejected) = split("id: int64, country: string, day: date", &["day", "country"], &values);
        assert_eq!(
            shares,
            [
                ("day=2026-01-02/country=DE".to_owned(), vec![json!({"id": 1}), json!({"id": 3})]),
                ("day=2026-01-02/country=__HIVE_DEFAULT_PARTITION__".to_owned(), vec![json!({"id": 2})]),
                ("day=__HIVE_DEFAULT_PARTITION__/country=".to_owned(), vec![json!({"id": 4})]),
            ]
        );
        assert!(rejected.is_empty());
    }

    #[test]
    fn a_value_never_leaves_its_folder() {
        let (shares, _) =
            split("id: int64, p: string", &["p"], &json!([[1, "../../x"], [2, "/etc"], [3, "a=b"]]));
        let folders: Vec<_> = shares.into_iter().map(|(folder, _)| folder).collect();
        assert_eq!(folders, ["p=%2E.%2F..%2Fx", "p=%2Fetc", "p=a%3Db"]);
    }

    #[test]
    fn a_value_that_is_too_long_for_a_folder_is_refused_with_its_row() {
        let (shares, rejected) =
            split("id: int64, p: string", &["p"], &json!([[1, "x".repeat(300)], [2, "y"]]));
        assert_eq!(shares, [("p=y".to_owned(), vec![json!({"id": 2})])]);
        assert_eq!(rejected[0].column.as_deref(), Some("p"));
        assert_eq!(rejected[0].row.as_ref().unwrap()["id"], json!(1));
    }

    #[test]
    fn columns_that_cannot_name_folders_are_refused() {
        let schema = rows::schema("a: int64, b: list<int64>");
        for (names, expected) in [
            (vec!["c"], "no column that `partition_by` names (column: c); name one of a, b"),
            (vec!["b"], "a column of type list<int64> cannot name folders (column: b)"),
        ] {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            let error = Partitioning::new(&names, &schema).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let error = Partitioning::new(&["a".to_owned()], &rows::schema("a: int64")).unwrap_err().to_string();
        assert!(error.contains("the files would be empty"), "{error}");
    }
}
