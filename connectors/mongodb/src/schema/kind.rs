//! What a column holds, and what it becomes when another value shows up.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use towpath_core::ColumnType;

use super::Fields;
use crate::wire::{Malformed, UUID_SUBTYPE, Value, is_exact, tag};

/// The key of a field's metadata under which the type in MongoDB stands, where the column's own type does not tell it.
pub(crate) const TYPE_KEY: &str = "mongodb.type";
/// Arrow's own key and name for text that holds JSON.
const EXTENSION_KEY: &str = "ARROW:extension:name";
const JSON_EXTENSION: &str = "arrow.json";

/// The types that metadata names.
pub(crate) mod names {
    pub(crate) const OBJECT_ID: &str = "objectId";
    pub(crate) const UUID: &str = "uuid";
    pub(crate) const BINARY: &str = "binData";
    pub(crate) const DATE: &str = "date";
    pub(crate) const DECIMAL: &str = "decimal";
    pub(crate) const TIMESTAMP: &str = "timestamp";
    pub(crate) const REGEX: &str = "regex";
    pub(crate) const CODE: &str = "javascript";
    pub(crate) const SYMBOL: &str = "symbol";
    pub(crate) const JSON: &str = "json";
    /// A whole document as it came.
    pub(crate) const DOCUMENT: &str = "document";
}

/// What a column, a field or an item holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nothing but nulls so far.
    Null,
    Bool,
    Int32,
    Int64,
    Double,
    Decimal,
    String,
    ObjectId,
    Uuid,
    /// Bytes of this subtype.
    Binary(u8),
    Date,
    Timestamp,
    Regex,
    Code,
    Symbol,
    Array(Box<Kind>),
    Document(Fields),
    /// Values of several types, as text.
    Text,
    /// Values of several types, documents or what has no column of its own among them, as JSON.
    Json,
    /// A type that was declared, and is not widened.
    Declared(Box<Kind>),
    /// A declared type that values are cast to by way of text.
    Cast(DataType),
}

/// What looking at a value gave.
pub(crate) type Observed = Result<bool, Malformed>;

impl Kind {
    /// Widens this until it holds the value too; whether it had to. `depth` says how many levels of documents and arrays
    /// may be columns here.
    pub(crate) fn observe(&mut self, value: Value<'_>, depth: usize) -> Observed {
        if value.tag == tag::NULL {
            return Ok(false);
        }
        let seen = match (&mut *self, value.tag) {
            (Self::Declared(_) | Self::Cast(_) | Self::Json, _) => return Ok(false),
            (Self::Document(fields), tag::DOCUMENT) if depth > 0 => {
                return fields.observe(value.bytes, depth - 1);
            }
            (Self::Array(item), tag::ARRAY) if depth > 0 => return observe_items(item, value, depth - 1),
            (Self::Null, tag::DOCUMENT) if depth > 0 => {
                let mut fields = Fields::default();
                fields.observe(value.bytes, depth - 1)?;
                Self::Document(fields)
            }
            (Self::Null, tag::ARRAY) if depth > 0 => {
                let mut item = Self::Null;
                observe_items(&mut item, value, depth - 1)?;
                Self::Array(Box::new(item))
            }
            _ => Self::of_scalar(value)?,
        };
        let inexact = match (&*self, value.tag) {
            (Self::Double, tag::INT64) => !is_exact(i64::from_le_bytes(value.fixed()?)),
            _ => false,
        };
        let wider = if inexact { Self::Text } else { self.widened(seen) };
        let changed = wider != *self;
        *self = wider;
        Ok(changed)
    }

    /// The kind of a value that has no fields or items of its own, or whose have no columns.
    fn of_scalar(value: Value<'_>) -> Result<Self, Malformed> {
        Ok(match value.tag {
            tag::BOOL => Self::Bool,
            tag::INT32 => Self::Int32,
            tag::INT64 => Self::Int64,
            tag::DOUBLE => Self::Double,
            tag::DECIMAL => Self::Decimal,
            tag::STRING => Self::String,
            tag::OBJECT_ID => Self::ObjectId,
            tag::DATE => Self::Date,
            tag::TIMESTAMP => Self::Timestamp,
            tag::REGEX => Self::Regex,
            tag::CODE => Self::Code,
            tag::SYMBOL => Self::Symbol,
            tag::BINARY => match value.binary()? {
                (UUID_SUBTYPE, bytes) if bytes.len() == 16 => Self::Uuid,
                (subtype, _) => Self::Binary(subtype),
            },
            _ => Self::Json,
        })
    }

    /// The narrowest kind that holds both.
    fn widened(&self, other: Self) -> Self {
        use Kind::{Array, Binary, Document, Double, Int32, Int64, Json, Null, Text};
        match (self, other) {
            (Null, other) => other,
            (known, Null) => known.clone(),
            (known, other) if *known == other => other,
            (Int32, Int64) | (Int64, Int32) => Int64,
            (Int32 | Int64, Double) | (Double, Int32 | Int64) => Double,
            // Bytes, and years that no text has, are JSON beside others.
            (Json | Array(_) | Document(_) | Binary(_), _)
            | (_, Json | Array(_) | Document(_) | Binary(_)) => Json,
            _ => Text,
        }
    }

    /// The column's type.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Binary(_) => DataType::Binary,
            Self::Date => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            Self::Timestamp => DataType::UInt64,
            Self::Array(item) => DataType::List(item.field(Field::LIST_FIELD_DEFAULT_NAME)),
            // No column can have rows and no fields.
            Self::Document(fields) if !fields.is_empty() => DataType::Struct(fields.arrow()),
            Self::Declared(kind) => kind.data_type(),
            Self::Cast(data_type) => data_type.clone(),
            Self::Decimal
            | Self::String
            | Self::ObjectId
            | Self::Uuid
            | Self::Regex
            | Self::Code
            | Self::Symbol
            | Self::Text
            | Self::Json
            | Self::Document(_) => DataType::Utf8,
        }
    }

    /// The type in MongoDB, where the column's own type does not tell it.
    fn type_name(&self) -> Option<String> {
        Some(match self {
            Self::Decimal => names::DECIMAL.to_owned(),
            Self::ObjectId => names::OBJECT_ID.to_owned(),
            Self::Uuid => names::UUID.to_owned(),
            Self::Binary(0) => names::BINARY.to_owned(),
            Self::Binary(subtype) => format!("{}:{subtype}", names::BINARY),
            Self::Date => names::DATE.to_owned(),
            Self::Timestamp => names::TIMESTAMP.to_owned(),
            Self::Regex => names::REGEX.to_owned(),
            Self::Code => names::CODE.to_owned(),
            Self::Symbol => names::SYMBOL.to_owned(),
            Self::Json => names::JSON.to_owned(),
            Self::Document(fields) if fields.is_empty() => names::JSON.to_owned(),
            _ => return None,
        })
    }

    /// A column of this kind.
    pub(crate) fn field(&self, name: &str) -> FieldRef {
        let field = Field::new(name, self.data_type(), true);
        let Some(type_name) = self.type_name() else { return Arc::new(field) };
        let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), type_name)]);
        if metadata[TYPE_KEY] == names::JSON {
            metadata.insert(EXTENSION_KEY.to_owned(), JSON_EXTENSION.to_owned());
        }
        Arc::new(field.with_metadata(metadata))
    }
}

/// Whether a column of text says that it holds JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.metadata().get(EXTENSION_KEY).is_some_and(|name| name == JSON_EXTENSION)
}

/// Arrays are looked at item by item.
fn observe_items(item: &mut Kind, array: Value<'_>, depth: usize) -> Observed {
    let mut changed = false;
    for element in array.elements()? {
        changed |= item.observe(element?.value, depth)?;
    }
    Ok(changed)
}

/// A column that was declared with this type.
pub(crate) fn declared(column_type: &ColumnType) -> Kind {
    Kind::Declared(Box::new(declared_kind(column_type.data_type())))
}

fn declared_kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Bool,
        DataType::Int32 => Kind::Int32,
        DataType::Int64 => Kind::Int64,
        DataType::Float64 => Kind::Double,
        DataType::Utf8 => Kind::Text,
        DataType::Binary => Kind::Binary(0),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if &**zone == "UTC" => Kind::Date,
        DataType::List(item) => Kind::Array(Box::new(declared_item(item.data_type()))),
        DataType::Struct(fields) if !fields.is_empty() => {
            let kinds = fields.iter().map(|field| (field.name().as_str(), declared_item(field.data_type())));
            Kind::Document(Fields::declared(kinds))
        }
        other => Kind::Cast(other.clone()),
    }
}

fn declared_item(data_type: &DataType) -> Kind {
    Kind::Declared(Box::new(declared_kind(data_type)))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc, serialize_to_vec};

    use super::*;

    /// The type of a column with these values, at this depth.
    fn column(values: &[Bson], depth: usize) -> String {
        let mut fields = Fields::default();
        for value in values {
            fields.observe(&serialize_to_vec(&doc! { "v": value.clone() }).unwrap(), depth).unwrap();
        }
        let column = fields.arrow()[0].clone();
        let name = column.metadata().get(TYPE_KEY).map(|name| format!(" as {name}"));
        format!("{}{}", ColumnType::from(column.data_type().clone()), name.unwrap_or_default())
    }

    #[test]
    fn values_of_one_type_have_its_column() {
        let cases: [(Bson, &str); 14] = [
            (Bson::Null, "null"),
            (true.into(), "bool"),
            (1.into(), "int32"),
            (1_i64.into(), "int64"),
            (1.5.into(), "float64"),
            ("a".into(), "string"),
            (bson::oid::ObjectId::new().into(), "string as objectId"),
            (bson::Uuid::new().into(), "string as uuid"),
            (bson::DateTime::now().into(), "timestamp(ms, UTC) as date"),
            (Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }), "uint64 as timestamp"),
            (Bson::MinKey, "string as json"),
            (Bson::Document(doc! {}), "string as json"),
            (Bson::Array(vec![]), "list<null>"),
            (doc! { "a": [1, { "b": 2 }] }.into(), "struct<a: list<string>>"),
        ];
        for (value, expected) in cases {
            assert_eq!(column(std::slice::from_ref(&value), 8), expected, "{value:?}");
        }
    }

    #[test]
    fn conflicts_are_widened_and_nothing_is_lost() {
        let cases: [(&[Bson], &str); 9] = [
            (&[1.into(), 1_i64.into()], "int64"),
            (&[Bson::Null, 1.into(), 1.5.into()], "float64"),
            (&[1.5.into(), i64::MAX.into()], "string"),
            (&[1.into(), "a".into()], "string"),
            (&[bson::oid::ObjectId::new().into(), "a".into()], "string"),
            (&[1.into(), doc! { "a": 1 }.into()], "string as json"),
            (&[Bson::Array(vec![1.into()]), doc! { "a": 1 }.into()], "string as json"),
            (&[Bson::Array(vec![1.into()]), Bson::Array(vec![1.5.into()])], "list<float64>"),
            (&[doc! { "a": 1 }.into(), doc! { "b": "x", "a": 2_i64 }.into()], "struct<a: int64, b: string>"),
        ];
        for (values, expected) in cases {
            assert_eq!(column(values, 8), expected, "{values:?}");
        }
    }

    #[test]
    fn below_the_depth_limit_things_stay_json() {
        let value: Bson = doc! { "a": { "b": { "c": 1 } } }.into();
        assert_eq!(column(std::slice::from_ref(&value), 2), "struct<a: struct<b: string>>");
        assert_eq!(column(std::slice::from_ref(&value), 0), "string as json");
    }
}
