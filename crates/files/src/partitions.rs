//! Columns that come from the path of a file instead of from its rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray, UInt32Array};
use arrow::compute::take;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use towpath_core::{Error, ErrorKind, Result, conform_array};
use towpath_formats::Columns;

use crate::names::{NULL_PARTITION, decode};

/// The `key=value` folders of a path, in order. The last of a repeated key counts.
pub(crate) fn partitions(path: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    for (key, value) in folders.split('/').filter_map(|folder| folder.split_once('=')) {
        let Some(key) = decode(key).filter(|key| !key.is_empty()) else { continue };
        let value = (value != NULL_PARTITION)
            .then(|| decode(value).map_or_else(|| value.to_owned(), std::borrow::Cow::into_owned));
        found.retain(|(known, _)| *known != key);
        found.push((key.into_owned(), value));
    }
    found
}

/// The keys of the folders of the first file, which others must have, too.
#[derive(Debug, Default)]
pub(crate) struct Keys(Option<Vec<String>>);

impl Keys {
    /// # Errors
    /// `SchemaMismatch` when a file has other keys, or none.
    pub(crate) fn check(&mut self, partitions: &[(String, Option<String>)], path: &str) -> Result<()> {
        let keys: Vec<String> = partitions.iter().map(|(key, _)| key.clone()).collect();
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::SchemaMismatch, message).detail("path", path).help(
                "move the file, let `path` leave it out, or set `hive_partitions: auto` to take each file as it is",
            ))
        };
        if keys.is_empty() {
            return wrong("the file lies in no folder `key=value`".to_owned());
        }
        let expected = self.0.get_or_insert_with(|| keys.clone());
        if *expected == keys {
            return Ok(());
        }
        wrong(format!("the file's folders name {}, those of others {}", keys.join(", "), expected.join(", ")))
    }
}

/// What a file's path adds to its rows, and which of all columns are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Extension {
    /// A field with its value, in an array of one row.
    columns: Vec<(FieldRef, ArrayRef)>,
    wanted: Option<Vec<String>>,
    file_column: Option<String>,
}

impl Extension {
    /// These partitions, typed as declared, and the path itself if a column is named for it.
    pub(crate) fn new(
        partitions: &[(String, Option<String>)],
        declared: &Columns,
        file: Option<(&str, &str)>,
        wanted: Option<Vec<String>>,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for (key, value) in partitions {
            let typed = typed(value.as_deref(), declared.get(key).map(towpath_core::ColumnType::data_type))
                .map_err(|error| error.operation("read").detail("partition", key))?;
            columns.push((Arc::new(Field::new(key, typed.data_type().clone(), true)), typed));
        }
        if let Some((name, path)) = file {
            let path: ArrayRef = Arc::new(StringArray::from(vec![path]));
            columns.push((Arc::new(Field::new(name, DataType::Utf8, false)), path));
        }
        Ok(Self { columns, wanted, file_column: file.map(|(name, _)| name.to_owned()) })
    }

    /// The columns that the file itself has to give; `None` for all.
    pub(crate) fn of_file(&self) -> Option<Vec<String>> {
        let wanted = self.wanted.as_ref()?;
        let of_file: Vec<_> = wanted.iter().filter(|name| !self.adds(name)).cloned().collect();
        // Without any column nobody could count the rows.
        (!of_file.is_empty()).then_some(of_file)
    }

    /// The columns of rows with these of the file.
    pub(crate) fn schema(&self, of_file: &Schema) -> Result<SchemaRef> {
        if let Some(name) = self.file_column.as_ref().filter(|name| of_file.column_with_name(name).is_some())
        {
            return Err(Error::config("the file has a column of the name that `file_column` gives")
                .detail("column", name)
                .help("give `file_column` another name"));
        }
        let own =
            of_file.fields().iter().filter(|field| self.is_wanted(field.name()) && !self.adds(field.name()));
        let added = self.columns.iter().map(|(field, _)| field).filter(|field| self.is_wanted(field.name()));
        let fields: Vec<FieldRef> = own.chain(added).cloned().collect();
        Ok(Arc::new(Schema::new_with_metadata(fields, of_file.metadata().clone())))
    }

    /// The rows with the columns of the path.
    pub(crate) fn extend(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if self.columns.is_empty() && self.wanted.is_none() {
            return Ok(rows);
        }
        let schema = self.schema(rows.schema_ref())?;
        let same = UInt32Array::from_value(0, rows.num_rows());
        let columns = schema.fields().iter().map(|field| {
            match self.columns.iter().find(|(added, _)| added.name() == field.name()) {
                Some((_, value)) => Ok(take(value, &same, None)?),
                None => rows.column_by_name(field.name()).cloned().ok_or_else(|| {
                    Error::unexpected("a column vanished while rows were extended")
                        .detail("column", field.name())
                }),
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|known| known == name))
    }

    fn adds(&self, name: &str) -> bool {
        self.columns.iter().any(|(field, _)| field.name() == name)
    }
}

/// A value as an array of one row: of the declared type, else int64 for a whole number, else string.
fn typed(value: Option<&str>, declared: Option<&DataType>) -> Result<ArrayRef> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![value]));
    match (declared, value) {
        (Some(declared), _) => conform_array(&text, declared),
        (None, Some(value)) => match whole_number(value) {
            Some(number) => Ok(Arc::new(Int64Array::from(vec![number]))),
            None => Ok(text),
        },
        // Null fits every type that other files bring.
        (None, None) => Ok(arrow::array::new_null_array(&DataType::Null, 1)),
    }
}

fn whole_number(value: &str) -> Option<i64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_testkit::rows;

    #[test]
    fn folders_become_keys_and_values() {
        let found =
            partitions("lake/year=2026/city=S%C3%A3o%20Paulo/n=__HIVE_DEFAULT_PARTITION__/e=/a=b.csv");
        let some = |text: &str| Some(text.to_owned());
        let expected = [("year", some("2026")), ("city", some("São Paulo")), ("n", None), ("e", some(""))];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn a_whole_number_is_an_int_unless_declared_otherwise() {
        let found = partitions("year=2026/month=01/zip=01234/x.csv");
        let declared: Columns = serde_json::from_value(json!({"zip": "string"})).unwrap();
        let extension = Extension::new(&found, &declared, Some(("file", "x.csv")), None).unwrap();
        let extended =
            extension.extend(rows::batch("id: int64, zip: int64", &json!([[1, 9], [2, 9]]))).unwrap();
        assert_eq!(
            rows::to_json([&extended]),
            [
                json!({"id": 1, "year": 2026, "month": 1, "zip": "01234", "file": "x.csv"}),
                json!({"id": 2, "year": 2026, "month": 1, "zip": "01234", "file": "x.csv"}),
            ]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_its_declared_type_names_the_partition() {
        let declared: Columns = serde_json::from_value(json!({"year": "int64"})).unwrap();
        let error =
            Extension::new(&partitions("year=old/a.csv"), &declared, None, None).unwrap_err().to_string();
        assert!(error.contains("partition: year") && error.contains("old"), "{error}");
    }

    #[test]
    fn only_wanted_columns_are_given() {
        let wanted = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let found = partitions("year=2026/a.csv");
        let extend = |names| {
            let extension = Extension::new(&found, &Columns::default(), None, wanted(names)).unwrap();
            let rows = extension.extend(rows::batch("a: int64, b: int64", &json!([[1, 2]]))).unwrap();
            (extension.of_file(), rows::to_json([&rows]))
        };
        assert_eq!(extend(&["b", "year"]), (wanted(&["b"]), vec![json!({"b": 2, "year": 2026})]));
        assert_eq!(extend(&["year"]), (None, vec![json!({"year": 2026})]));
        assert_eq!(extend(&["a"]), (wanted(&["a"]), vec![json!({"a": 1})]));
    }

    #[test]
    fn a_file_column_never_hides_one_of_the_file() {
        let extension = Extension::new(&[], &Columns::default(), Some(("a", "x.csv")), None).unwrap();
        let error = extension.extend(rows::batch("a: int64", &json!([[1]]))).unwrap_err();
        assert!(error.to_string().contains("`file_column`"), "{error}");
    }
}
