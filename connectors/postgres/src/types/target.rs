//! Which type of Postgres holds a column, and in which form its values go over the wire.

use arrow_schema::{DataType, Field, TimeUnit};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Kind, Type};

use super::TYPE_KEY;

/// The binary form of a value, where we know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Jsonb,
    Bytes,
    Date,
    Time,
    /// With or without a zone.
    Timestamp,
    Uuid,
    /// Arrays and composites as text, as Postgres writes them.
    Literal,
    /// An array: what its items are, by the server's number of the type and by their form.
    Array {
        item_type: u32,
        item: Box<Wire>,
    },
}

/// The type with which a column is made for values of this field.
pub(crate) fn ddl_type(field: &Field) -> String {
    match TypeName::of(field) {
        // What it was called in Postgres before.
        Some(own) if is_faithful(own, field.data_type()) => own.to_owned(),
        _ if is_json(field) => "jsonb".to_owned(),
        _ => default_type(field.data_type()),
    }
}

fn is_json(field: &Field) -> bool {
    field.extension_type_name() == Some("arrow.json")
}

/// A type that metadata names, which may come from anywhere.
pub(crate) struct TypeName;

impl TypeName {
    /// The type that the metadata of a field names, if it is written as a type and as nothing else.
    pub(crate) fn of(field: &Field) -> Option<&str> {
        field.metadata().get(TYPE_KEY).map(String::as_str).filter(|name| is_type_name(name))
    }
}

/// Words and quoted names with dots between, one list of modifiers in parentheses, brackets at the end. The server says
/// then whether it is one.
fn is_type_name(text: &str) -> bool {
    let (mut rest, mut modifiers) = (text, 0);
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => {
                let Some(end) = rest[1..].find('"') else { return false };
                &rest[end + 2..]
            }
            '(' => {
                let Some(end) = rest.find(')') else { return false };
                let inner = &rest[1..end];
                modifiers += 1;
                let plain = |character: char| character.is_ascii_alphanumeric() || ", -".contains(character);
                if modifiers > 1 || inner.contains("--") || !inner.chars().all(plain) {
                    return false;
                }
                &rest[end + 1..]
            }
            '[' => match rest.strip_prefix("[]") {
                Some(behind) => behind,
                None => return false,
            },
            '.' | ' ' | '_' | '$' => &rest[1..],
            letter if letter.is_alphanumeric() => &rest[letter.len_utf8()..],
            _ => return false,
        };
    }
    !text.is_empty()
}

/// A type as one that a value can be cast to without being cut: without length and precision, which count when the value
/// lands.
pub(crate) fn cast_name(data_type: &Type) -> String {
    let quoted = |name: &str| towpath_sql::Dialect::Postgres.identifier(name);
    match *data_type {
        Type::BPCHAR | Type::VARCHAR => "text".to_owned(),
        _ => format!("{}.{}", quoted(data_type.schema()), quoted(data_type.name())),
    }
}

/// Whether a type that the metadata names can hold values of this Arrow type. The metadata goes with the type, unless
/// somebody else wrote it.
fn is_faithful(name: &str, data_type: &DataType) -> bool {
    if name.ends_with("[]") {
        return matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
            || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8);
    }
    // Precision stands in the middle: `timestamp(3) without time zone`.
    let plain = match (name.find('('), name.find(')')) {
        (Some(open), Some(close)) if open < close => format!("{}{}", &name[..open], &name[close + 1..]),
        _ => name.to_owned(),
    };
    match plain.as_str() {
        "smallint" => matches!(data_type, DataType::Int8 | DataType::Int16 | DataType::UInt8),
        "integer" => {
            data_type.is_integer()
                && !matches!(data_type, DataType::Int64 | DataType::UInt64 | DataType::UInt32)
        }
        "bigint" => data_type.is_integer() && *data_type != DataType::UInt64,
        "boolean" => *data_type == DataType::Boolean,
        "date" => matches!(data_type, DataType::Date32),
        "timestamp without time zone" => matches!(data_type, DataType::Timestamp(_, None) | DataType::Date32),
        "timestamp with time zone" => matches!(data_type, DataType::Timestamp(_, Some(_))),
        "bytea" => matches!(data_type, DataType::Binary | DataType::LargeBinary),
        "real" => *data_type == DataType::Float32,
        "double precision" => data_type.is_floating(),
        _ => true,
    }
}

fn default_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".into(),
        DataType::UInt16 | DataType::Int32 => "integer".into(),
        DataType::UInt32 | DataType::Int64 => "bigint".into(),
        DataType::UInt64 => "numeric(20,0)".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            // A negative scale is one of whole numbers.
            let (precision, scale) = (i16::from(*precision) - i16::from(*scale).min(0), (*scale).max(0));
            format!("numeric({precision},{scale})")
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".into()
        }
        DataType::Date32 => "date".into(),
        DataType::Date64 | DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone".into(),
        DataType::Duration(_) | DataType::Interval(_) => "interval".into(),
        DataType::Dictionary(_, values) => default_type(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => list_type(item),
        DataType::Struct(_) | DataType::Map(..) => "jsonb".into(),
        _ => "text".into(),
    }
}

/// Arrays have one type for all depths. What an array cannot hold is JSON.
fn list_type(item: &Field) -> String {
    match innermost(item.data_type()) {
        DataType::Struct(_) | DataType::Map(..) | DataType::Duration(_) | DataType::Interval(_) => {
            "jsonb".into()
        }
        other => format!("{}[]", default_type(other)),
    }
}

fn innermost(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            innermost(item.data_type())
        }
        other => other,
    }
}

/// The form in which values of this Arrow type go into a column of that type. `None`: as text, which the server casts.
pub(crate) fn wire(data_type: &DataType, target: &Type) -> Option<Wire> {
    use DataType as D;
    match target.kind() {
        Kind::Domain(below) => return wire(data_type, below),
        Kind::Enum(_) => return is_text(data_type).then_some(Wire::Text),
        Kind::Array(item) => {
            let D::List(field) = data_type else { return None };
            let item_wire = wire(innermost(field.data_type()), item)?;
            return Some(Wire::Array { item_type: item.oid(), item: Box::new(item_wire) });
        }
        _ => {}
    }
    let is = |fits: bool, wire: Wire| fits.then_some(wire);
    match *target {
        Type::BOOL => is(*data_type == D::Boolean, Wire::Bool),
        Type::INT2 => is(matches!(data_type, D::Int8 | D::UInt8 | D::Int16), Wire::Int2),
        Type::INT4 => {
            is(matches!(data_type, D::Int8 | D::UInt8 | D::Int16 | D::UInt16 | D::Int32), Wire::Int4)
        }
        Type::INT8 => is(data_type.is_integer() && *data_type != D::UInt64, Wire::Int8),
        Type::OID => is(*data_type == D::UInt32, Wire::Oid),
        Type::FLOAT4 => is(*data_type == D::Float32, Wire::Float4),
        Type::FLOAT8 => is(matches!(data_type, D::Float32 | D::Float64), Wire::Float8),
        Type::NUMERIC => {
            let fits = data_type.is_integer() || matches!(data_type, D::Decimal128(..) | D::Decimal256(..));
            is(fits, Wire::Numeric)
        }
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::XML => {
            is(is_text(data_type), Wire::Text)
        }
        Type::JSONB => is(is_text(data_type), Wire::Jsonb),
        Type::BYTEA => is(is_binary(data_type), Wire::Bytes),
        Type::DATE => is(*data_type == D::Date32, Wire::Date),
        Type::TIME => is(matches!(data_type, D::Time32(_) | D::Time64(_)), Wire::Time),
        Type::TIMESTAMP => is(matches!(data_type, D::Timestamp(_, None)), Wire::Timestamp),
        Type::TIMESTAMPTZ => is(matches!(data_type, D::Timestamp(_, Some(_))), Wire::Timestamp),
        Type::UUID => is(is_text(data_type), Wire::Uuid),
        _ => match target.name() {
            "citext" => is(is_text(data_type), Wire::Text),
            "geometry" | "geography" => is(is_binary(data_type), Wire::Bytes),
            _ => None,
        },
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8)
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary)
}

/// Whether a column that goes as text holds arrays or composites, which have a form of their own.
pub(crate) fn is_literal(data_type: &DataType, target: &Type) -> bool {
    let is_nested = matches!(
        data_type,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_)
    );
    match target.kind() {
        Kind::Domain(below) => is_literal(data_type, below),
        Kind::Array(_) | Kind::Composite(_) => is_nested,
        _ => false,
    }
}

/// The few Arrow types in which values are encoded: others are cast to one of them first.
pub(crate) fn encoded_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Dictionary(_, values) => encoded_type(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
            if !matches!(innermost(item.data_type()), DataType::Struct(_) | DataType::Map(..)) =>
        {
            let item = Field::new_list_field(encoded_type(item.data_type()), true);
            DataType::List(item.into())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use towpath_core::ColumnType;

    use super::*;

    fn field(data_type: &str, own: Option<&str>) -> Field {
        let data_type: ColumnType = data_type.parse().unwrap();
        let metadata = own.map(|own| (TYPE_KEY.to_owned(), own.to_owned()));
        data_type.field("c").with_metadata(HashMap::from_iter(metadata))
    }

    #[test]
    fn columns_are_made_as_narrow_as_their_values_allow() {
        for (arrow, expected) in [
            ("int8", "smallint"),
            ("uint32", "bigint"),
            ("uint64", "numeric(20,0)"),
            ("decimal(12,2)", "numeric(12,2)"),
            ("timestamp(ms, UTC)", "timestamp with time zone"),
            ("list<list<int32>>", "integer[]"),
            ("list<struct<a: int8>>", "jsonb"),
            ("struct<a: int8>", "jsonb"),
            ("duration", "interval"),
            ("null", "text"),
        ] {
            assert_eq!(ddl_type(&field(arrow, None)), expected, "{arrow}");
        }
    }

    #[test]
    fn a_type_from_postgres_comes_back_unless_the_values_changed() {
        assert_eq!(ddl_type(&field("string", Some("inet"))), "inet");
        assert_eq!(ddl_type(&field("string", Some("character varying(10)"))), "character varying(10)");
        assert_eq!(ddl_type(&field("int64", Some("integer"))), "bigint");
        assert_eq!(
            ddl_type(&field("timestamp", Some("timestamp(3) without time zone"))),
            "timestamp(3) without time zone"
        );
        assert_eq!(ddl_type(&field("string", Some("timestamp(3) without time zone"))), "text");
        assert_eq!(ddl_type(&field("int32", Some("integer[]"))), "integer");
    }

    #[test]
    fn what_is_no_type_is_not_taken_for_one() {
        for name in [
            "numeric(12,2)",
            "timestamp(3) without time zone",
            "\"My Type\"[]",
            "geometry(Point,4326)",
            "s.mood",
        ] {
            assert!(is_type_name(name), "{name}");
        }
        for name in [
            "",
            "text); DROP TABLE t; --",
            "text --",
            "text /*",
            "\"text",
            "int DEFAULT (f())",
            "a::b",
            "x'y",
        ] {
            assert!(!is_type_name(name), "{name}");
        }
    }

    #[test]
    fn what_may_not_fit_goes_as_text() {
        assert_eq!(wire(&DataType::Int64, &Type::INT4), None);
        assert_eq!(wire(&DataType::Int16, &Type::INT4), Some(Wire::Int4));
        assert_eq!(wire(&DataType::Utf8, &Type::INET), None);
        assert_eq!(wire(&DataType::Float64, &Type::FLOAT4), None);
        assert_eq!(wire(&DataType::Timestamp(TimeUnit::Second, None), &Type::TIMESTAMPTZ), None);
    }
}
