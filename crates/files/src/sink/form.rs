//! How values are carried from one file into another of the same format.

use std::sync::Arc;

use arrow_schema::{DataType, FieldRef, Fields, Schema, SchemaRef};
use towpath_formats::WriteFormat;

use super::Target;

/// How values are carried from one text file into another: as the text that they already are, wherever that means the
/// same in both. Files that carry their own schema lose nothing and need none of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    Json,
    Columnar,
}

impl Form {
    /// The form of a file of this name.
    pub(crate) fn of(target: &Target, name: &str) -> Self {
        let has = |extensions: &[&str]| name.split('.').skip(1).any(|part| extensions.contains(&part));
        match &target.write.format {
            Some(WriteFormat::Csv(_) | WriteFormat::Tsv(_)) => Self::Csv,
            Some(WriteFormat::Ndjson | WriteFormat::Json) => Self::Json,
            None if has(&["csv", "tsv", "tab"]) => Self::Csv,
            None if has(&["ndjson", "jsonl", "json"]) => Self::Json,
            _ => Self::Columnar,
        }
    }

    /// The columns under which a file is read, and the one file of all written.
    pub(crate) fn schema(self, schema: &Schema) -> SchemaRef {
        let fields = schema.fields().iter().map(|field| self.field(field));
        Arc::new(Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone()))
    }

    fn field(self, field: &FieldRef) -> FieldRef {
        let data_type = self.data_type(field.data_type());
        // A null that a text file left out must not fail.
        let nullable = field.is_nullable() || self != Self::Columnar;
        Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(nullable))
    }

    fn data_type(self, data_type: &DataType) -> DataType {
        match (self, data_type) {
            (Self::Columnar, _) | (_, DataType::Date32 | DataType::Timestamp(..)) => data_type.clone(),
            (_, DataType::Dictionary(_, value)) => self.data_type(value),
            (_, DataType::RunEndEncoded(_, values)) => self.data_type(values.data_type()),
            (Self::Csv, _) => DataType::Utf8,
            (Self::Json, _) => self.json_type(data_type),
        }
    }

    /// The plain type of a JSON value.
    fn json_type(self, data_type: &DataType) -> DataType {
        match data_type {
            DataType::Struct(fields) => {
                DataType::Struct(fields.iter().map(|field| self.field(field)).collect())
            }
            DataType::List(item)
            | DataType::ListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::LargeList(item)
            | DataType::LargeListView(item) => DataType::List(self.field(item)),
            DataType::Float16 => DataType::Float32,
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                DataType::Decimal128(*precision, *scale)
            }
            // All of these are written as text.
            DataType::Null
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Duration(_)
            | DataType::Interval(_)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => DataType::Utf8,
            other => other.clone(),
        }
    }
}
