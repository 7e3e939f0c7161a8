//! Which Arrow type each type of Postgres becomes, and how its values come over the wire.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit};
use tokio_postgres::types::{Kind, Type};
use towpath_sql::Dialect;

use crate::config::{Arrays, Numeric};

/// The key of a field's metadata under which the type in Postgres stands.
pub(crate) const TYPE_KEY: &str = "postgres.type";
/// Arrow's own key and name for text that holds JSON.
const EXTENSION_KEY: &str = "ARROW:extension:name";
const JSON_EXTENSION: &str = "arrow.json";

/// A column as the server describes it.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) data_type: Type,
    /// Precision and scale, length and so on; -1 for none. That of a domain is looked up before.
    pub(crate) modifier: i32,
    /// The type as people write it.
    pub(crate) type_name: String,
    pub(crate) nullable: bool,
    /// How many dimensions an array declares; Postgres does not enforce it.
    pub(crate) dimensions: usize,
}

/// A column as it is read.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    /// What is selected.
    pub(crate) select: String,
    pub(crate) decode: Decode,
}

/// How the binary form of a value is read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decode {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Decimal128 { precision: u8, scale: i8 },
    Decimal256 { precision: u8, scale: i8 },
    NumericText,
    Text,
    Jsonb,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Uuid,
    List { item: Box<Decode>, dimensions: usize },
    Struct(Vec<(String, Decode)>),
}

impl Decode {
    /// The Arrow type.
    pub(crate) fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::NumericText | Self::Text | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List { item, dimensions } => {
                (0..*dimensions).fold(item.data_type(), |inner, _| DataType::List(list_item(inner)))
            }
            Self::Struct(fields) => DataType::Struct(struct_fields(fields)),
        }
    }
}

pub(crate) fn list_item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

pub(crate) fn struct_fields(fields: &[(String, Decode)]) -> Fields {
    fields.iter().map(|(name, decode)| Field::new(name, decode.data_type(), true)).collect()
}

/// How a column is read.
pub(crate) fn column(described: &Described, numeric: Numeric, arrays: Arrays) -> Column {
    let name = Dialect::Postgres.identifier(&described.name);
    let (select, decode) = match special(&described.data_type, &name, numeric) {
        Some(special) => special,
        None => match decode(described, &described.data_type, numeric, arrays) {
            Some(decode) => (name, decode),
            // What has no binary form that we know is text as the server writes it.
            None => (format!("{name}::text"), Decode::Text),
        },
    };
    let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), described.type_name.clone())]);
    if matches!(*base(&described.data_type), Type::JSON | Type::JSONB) {
        metadata.insert(EXTENSION_KEY.to_owned(), JSON_EXTENSION.to_owned());
    }
    let field = Field::new(&described.name, decode.data_type(), described.nullable).with_metadata(metadata);
    Column { field: Arc::new(field), select, decode }
}

/// Types that are cast on the server.
fn special(data_type: &Type, name: &str, numeric: Numeric) -> Option<(String, Decode)> {
    let base = base(data_type);
    if *base == Type::NUMERIC && numeric == Numeric::Float64 {
        return Some((format!("{name}::float8"), Decode::Float8));
    }
    match base.name() {
        // pgvector's vectors are arrays of floats.
        "vector" if matches!(base.kind(), Kind::Simple) => {
            Some((format!("{name}::real[]"), Decode::List { item: Box::new(Decode::Float4), dimensions: 1 }))
        }
        // PostGIS sends EWKB.
        "geometry" | "geography" if matches!(base.kind(), Kind::Simple) => {
            Some((name.to_owned(), Decode::Bytes))
        }
        _ => None,
    }
}

/// The type below domains.
fn base(data_type: &Type) -> &Type {
    match data_type.kind() {
        Kind::Domain(below) => base(below),
        _ => data_type,
    }
}

fn decode(described: &Described, data_type: &Type, numeric: Numeric, arrays: Arrays) -> Option<Decode> {
    let nested = |data_type: &Type, modifier: i32| {
        let described = Described { modifier, dimensions: 1, ..described.clone() };
        decode(&described, data_type, numeric, arrays)
    };
    match data_type.kind() {
        Kind::Domain(below) => return decode(described, below, numeric, arrays),
        Kind::Enum(_) => return Some(Decode::Text),
        Kind::Array(_) if arrays == Arrays::Text => return None,
        // The first index of these is 0, always.
        Kind::Array(_) if matches!(*data_type, Type::INT2_VECTOR | Type::OID_VECTOR) => return None,
        Kind::Array(item) => {
            let item = Box::new(nested(item, described.modifier)?);
            return Some(Decode::List { item, dimensions: described.dimensions.max(1) });
        }
        Kind::Composite(fields) => {
            let fields: Option<Vec<_>> = fields
                .iter()
                .map(|field| Some((field.name().to_owned(), nested(field.type_(), -1)?)))
                .collect();
            // A struct without fields has no rows in Arrow.
            return fields.filter(|fields| !fields.is_empty()).map(Decode::Struct);
        }
        _ => {}
    }
    Some(match *data_type {
        Type::BOOL => Decode::Bool,
        Type::INT2 => Decode::Int2,
        Type::INT4 => Decode::Int4,
        Type::INT8 => Decode::Int8,
        Type::OID => Decode::Oid,
        Type::FLOAT4 => Decode::Float4,
        Type::FLOAT8 => Decode::Float8,
        Type::NUMERIC if numeric == Numeric::Exact => decimal(described.modifier),
        Type::NUMERIC => Decode::NumericText,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::XML => Decode::Text,
        Type::JSONB => Decode::Jsonb,
        Type::BYTEA => Decode::Bytes,
        Type::DATE => Decode::Date,
        Type::TIME => Decode::Time,
        Type::TIMESTAMP => Decode::Timestamp,
        Type::TIMESTAMPTZ => Decode::TimestampTz,
        Type::UUID => Decode::Uuid,
        _ if data_type.name() == "citext" => Decode::Text,
        _ => return None,
    })
}

/// Precision and scale of `numeric` stand in the modifier, the scale as eleven bits with a sign.
///
/// `numerictypmodin` of `src/backend/utils/adt/numeric.c`.
fn decimal(modifier: i32) -> Decode {
    let packed = modifier - 4;
    if packed < 0 {
        return Decode::NumericText;
    }
    let precision = packed >> 16;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // Arrow's decimals hold a scale between 0 and the precision.
    let precision = precision.max(scale) - scale.min(0);
    match (u8::try_from(precision), i8::try_from(scale.max(0))) {
        (Ok(precision @ 1..=38), Ok(scale)) => Decode::Decimal128 { precision, scale },
        (Ok(precision @ 39..=76), Ok(scale)) => Decode::Decimal256 { precision, scale },
        _ => Decode::NumericText,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(data_type: Type, modifier: i32) -> Described {
        Described {
            name: "c\"1".into(),
            data_type,
            modifier,
            type_name: "t".into(),
            nullable: true,
            dimensions: 0,
        }
    }

    fn numeric(precision: i32, scale: i32) -> DataType {
        let modifier = ((precision << 16) | (scale & 0x7ff)) + 4;
        column(&described(Type::NUMERIC, modifier), Numeric::Exact, Arrays::List).field.data_type().clone()
    }

    #[test]
    fn declared_decimals_keep_their_digits() {
        assert_eq!(numeric(12, 2), DataType::Decimal128(12, 2));
        assert_eq!(numeric(50, 10), DataType::Decimal256(50, 10));
        assert_eq!(numeric(90, 0), DataType::Utf8);
        assert_eq!(numeric(3, -2), DataType::Decimal128(5, 0));
        assert_eq!(numeric(2, 4), DataType::Decimal128(4, 4));
        let free = column(&described(Type::NUMERIC, -1), Numeric::Exact, Arrays::List);
        assert_eq!(free.field.data_type(), &DataType::Utf8);
    }

    #[test]
    fn options_choose_other_types() {
        let float = column(&described(Type::NUMERIC, -1), Numeric::Float64, Arrays::List);
        assert_eq!((float.select.as_str(), float.decode), ("\"c\"\"1\"::float8", Decode::Float8));
        let text = column(&described(Type::INT4_ARRAY, -1), Numeric::Exact, Arrays::Text);
        assert_eq!((text.select.as_str(), text.decode), ("\"c\"\"1\"::text", Decode::Text));
    }

    #[test]
    fn what_has_no_binary_form_that_we_know_is_text_of_the_server() {
        for data_type in
            [Type::INET, Type::INTERVAL, Type::MONEY, Type::INT4_RANGE, Type::POINT, Type::INET_ARRAY]
        {
            let column = column(&described(data_type, -1), Numeric::Exact, Arrays::List);
            assert_eq!((column.select.as_str(), column.decode), ("\"c\"\"1\"::text", Decode::Text));
            assert_eq!(column.field.metadata()[TYPE_KEY], "t");
        }
    }

    #[test]
    fn arrays_are_as_deep_as_they_declare() {
        let mut described = described(Type::INT4_ARRAY, -1);
        described.dimensions = 2;
        let column = column(&described, Numeric::Exact, Arrays::List);
        let inner = DataType::List(list_item(DataType::Int32));
        assert_eq!(column.field.data_type(), &DataType::List(list_item(inner)));
    }
}
