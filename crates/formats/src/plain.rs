//! Arrays in their plain layout: no dictionaries, runs or views.
//!
//! Arrow has several layouts for the same values. Formats and sinks would otherwise all need to know each of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use towpath_core::{Error, Result};

/// The type with the same values in its plain layout.
pub(crate) fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(plain_fields(fields)),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = plain_type(field.data_type());
    if data_type == *field.data_type() {
        return field.clone();
    }
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()))
}

fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(plain_field).collect()
}

/// The columns in their plain layout.
pub(crate) fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = plain_fields(schema.fields());
    if fields == *schema.fields() {
        return schema.clone();
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The rows in their plain layout.
///
/// # Errors
/// `DataInvalid` when a column has more bytes than its plain layout can address.
pub(crate) fn plain_rows(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema_ref() == schema {
        return Ok(rows);
    }
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| plain_array(column, field)).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn plain_array(array: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(array.clone());
    }
    cast(array, field.data_type()).map_err(|error| Error::from(error).detail("column", field.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        Array, AsArray, DictionaryArray, RunArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::datatypes::{Int8Type, Int32Type};

    #[test]
    fn dictionaries_runs_and_views_become_values() {
        let dictionary: DictionaryArray<Int8Type> = [Some("a"), None, Some("a")].into_iter().collect();
        let runs: RunArray<Int32Type> = [Some("x"), Some("x"), None].into_iter().collect();
        let views: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("a string of some length"), None, Some("")]));
        let inner =
            StructArray::from(vec![(Arc::new(Field::new("v", DataType::Utf8View, true)), views.clone())]);
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("dictionary", Arc::new(dictionary) as ArrayRef, true),
            ("runs", Arc::new(runs) as ArrayRef, true),
            ("views", views, true),
            ("nested", Arc::new(inner) as ArrayRef, true),
        ])
        .unwrap();
        let schema = plain_schema(&rows.schema());
        let plain = plain_rows(rows, &schema).unwrap();
        assert_eq!(plain.schema(), schema);
        let expected = |values: Vec<Option<&str>>| StringArray::from(values);
        assert_eq!(plain.column(0).as_string::<i32>(), &expected(vec![Some("a"), None, Some("a")]));
        assert_eq!(plain.column(1).as_string::<i32>(), &expected(vec![Some("x"), Some("x"), None]));
        assert_eq!(plain.column(2).as_string::<i32>().value(0), "a string of some length");
        assert_eq!(plain.column(3).as_struct().column(0).data_type(), &DataType::Utf8);
        assert!(plain.column(3).as_struct().column(0).is_null(1));
    }
}
