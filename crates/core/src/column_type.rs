//! Column types as people write them: `int64`, `decimal(12,2)`, `timestamp(us, UTC)`, `list<string>`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Error, Result};

/// An Arrow type in the notation of pipeline files and messages.
///
/// | written | type |
/// |---|---|
/// | `bool` `string` `binary` `date` `time` `duration` | as named; times and durations in microseconds |
/// | `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64` | numbers |
/// | `decimal(12,2)` | precision and scale, up to 76 digits |
/// | `timestamp`, `timestamp(ms)`, `timestamp(us, UTC)` | without or with a time zone; `s`, `ms`, `us` or `ns` |
/// | `list<T>`, `struct<a: T, b: T>`, `map<K, V>` | nested |
///
/// ```
/// use arrow_schema::DataType;
/// use towpath_core::ColumnType;
///
/// let price: ColumnType = "decimal(12,2)".parse().unwrap();
/// assert_eq!(price.data_type(), &DataType::Decimal128(12, 2));
/// assert_eq!(price.to_string(), "decimal(12,2)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnType(DataType);

impl ColumnType {
    /// The Arrow type.
    pub fn data_type(&self) -> &DataType {
        &self.0
    }

    /// A nullable field of this type.
    pub fn field(&self, name: &str) -> Field {
        Field::new(name, self.0.clone(), true)
    }
}

impl From<DataType> for ColumnType {
    fn from(data_type: DataType) -> Self {
        Self(data_type)
    }
}

impl FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parser = Parser { rest: text };
        let parsed = parser.data_type().filter(|_| parser.rest.trim().is_empty());
        parsed.map(Self).ok_or_else(|| {
            Error::config(format!(
                "`{text}` is not a column type; write for example int64, string, decimal(12,2), timestamp(us, UTC), \
                 list<string> or struct<a: int64>"
            ))
        })
    }
}

/// A recursive descent over the notation.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn data_type(&mut self) -> Option<DataType> {
        Some(match self.word()? {
            "bool" | "boolean" => DataType::Boolean,
            "int8" => DataType::Int8,
            "int16" => DataType::Int16,
            "int32" => DataType::Int32,
            "int64" | "int" => DataType::Int64,
            "uint8" => DataType::UInt8,
            "uint16" => DataType::UInt16,
            "uint32" => DataType::UInt32,
            "uint64" => DataType::UInt64,
            "float32" => DataType::Float32,
            "float64" | "float" => DataType::Float64,
            "string" => DataType::Utf8,
            "binary" => DataType::Binary,
            "date" => DataType::Date32,
            "time" => DataType::Time64(TimeUnit::Microsecond),
            "duration" => DataType::Duration(TimeUnit::Microsecond),
            "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
            "null" => DataType::Null,
            "timestamp" => self.timestamp()?,
            "decimal" => self.decimal()?,
            "list" => {
                self.expect('<')?;
                let item = self.data_type()?;
                self.expect('>')?;
                DataType::new_list(item, true)
            }
            "map" => self.map()?,
            "struct" => self.structure()?,
            _ => return None,
        })
    }

    fn timestamp(&mut self) -> Option<DataType> {
        if !self.accept('(') {
            return Some(DataType::Timestamp(TimeUnit::Microsecond, None));
        }
        let first = self.until(&[',', ')'])?;
        let (unit, zone) = match time_unit(first) {
            Some(unit) if self.accept(',') => (unit, Some(self.until(&[')'])?)),
            Some(unit) => (unit, None),
            None => (TimeUnit::Microsecond, Some(first)),
        };
        self.expect(')')?;
        let zone = zone.map(str::trim).filter(|zone| !zone.is_empty()).map(Arc::from);
        Some(DataType::Timestamp(unit, zone))
    }

    fn decimal(&mut self) -> Option<DataType> {
        self.expect('(')?;
        let precision: u8 = self.until(&[',', ')'])?.parse().ok()?;
        let scale: i8 = if self.accept(',') { self.until(&[')'])?.parse().ok()? } else { 0 };
        self.expect(')')?;
        let fits = scale >= 0 && u8::try_from(scale).ok()? <= precision;
        match precision {
            1..=38 if fits => Some(DataType::Decimal128(precision, scale)),
            39..=76 if fits => Some(DataType::Decimal256(precision, scale)),
            _ => None,
        }
    }

    fn map(&mut self) -> Option<DataType> {
        self.expect('<')?;
        let key = self.data_type()?;
        self.expect(',')?;
        let value = self.data_type()?;
        self.expect('>')?;
        let entries = Fields::from(vec![Field::new("keys", key, false), Field::new("values", value, true)]);
        Some(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false))
    }

    fn structure(&mut self) -> Option<DataType> {
        self.expect('<')?;
        let mut fields = Vec::new();
        while !self.accept('>') {
            let name = self.until(&[':'])?.to_owned();
            self.expect(':')?;
            fields.push(Field::new(name, self.data_type()?, true));
            if !self.accept(',') {
                self.expect('>')?;
                break;
            }
        }
        Some(DataType::Struct(fields.into()))
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        (end > 0).then(|| &rest[..end])
    }

    fn until(&mut self, ends: &[char]) -> Option<&'a str> {
        let end = self.rest.find(ends)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(text.trim())
    }

    fn accept(&mut self, expected: char) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(expected) else { return false };
        self.rest = rest;
        true
    }

    fn expect(&mut self, expected: char) -> Option<()> {
        self.accept(expected).then_some(())
    }
}

fn time_unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_type(f, &self.0)
    }
}

fn write_type(f: &mut fmt::Formatter<'_>, data_type: &DataType) -> fmt::Result {
    let list = |f: &mut fmt::Formatter<'_>, item: &DataType| {
        f.write_str("list<")?;
        write_type(f, item)?;
        f.write_str(">")
    };
    match data_type {
        DataType::Boolean => f.write_str("bool"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => f.write_str("string"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => f.write_str("binary"),
        DataType::Date32 | DataType::Date64 => f.write_str("date"),
        DataType::Time32(_) | DataType::Time64(_) => f.write_str("time"),
        DataType::Duration(_) => f.write_str("duration"),
        DataType::Interval(_) => f.write_str("interval"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => f.write_str("timestamp"),
        DataType::Timestamp(unit, None) => write!(f, "timestamp({})", unit_name(*unit)),
        DataType::Timestamp(unit, Some(zone)) => write!(f, "timestamp({}, {zone})", unit_name(*unit)),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => write!(f, "decimal({precision},{scale})"),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => list(f, item.data_type()),
        DataType::Dictionary(_, value) => write_type(f, value),
        DataType::Struct(fields) => {
            f.write_str("struct<")?;
            for (index, field) in fields.iter().enumerate() {
                write!(f, "{}{}: ", if index == 0 { "" } else { ", " }, field.name())?;
                write_type(f, field.data_type())?;
            }
            f.write_str(">")
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 => {
                f.write_str("map<")?;
                write_type(f, fields[0].data_type())?;
                f.write_str(", ")?;
                write_type(f, fields[1].data_type())?;
                f.write_str(">")
            }
            _ => f.write_str("map"),
        },
        // The plain number types are called the same here as in Arrow, in lower case.
        other => f.write_str(&other.to_string().to_ascii_lowercase()),
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message()))
    }
}

impl JsonSchema for ColumnType {
    fn schema_name() -> Cow<'static, str> {
        "ColumnType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A column type: bool, int8 to int64, uint8 to uint64, float32, float64, string, binary, \
                date, time, duration, decimal(12,2), timestamp, timestamp(us, UTC), list<T>, struct<a: T>, map<K, V>",
        })
    }
}

/// Kinds of types, for what a sink can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is called as the Arrow types that it holds")]
pub enum TypeFamily {
    Null,
    Bool,
    Int,
    UInt,
    Float,
    Decimal,
    String,
    Binary,
    Date,
    Time,
    Timestamp,
    Duration,
    Interval,
    List,
    Struct,
    Map,
    Union,
}

impl TypeFamily {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Null,
        Self::Bool,
        Self::Int,
        Self::UInt,
        Self::Float,
        Self::Decimal,
        Self::String,
        Self::Binary,
        Self::Date,
        Self::Time,
        Self::Timestamp,
        Self::Duration,
        Self::Interval,
        Self::List,
        Self::Struct,
        Self::Map,
        Self::Union,
    ];

    /// The kind of a type. A dictionary is of the kind of its values.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Self::Int,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Self::UInt,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::Decimal,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Binary,
            DataType::Date32 | DataType::Date64 => Self::Date,
            DataType::Time32(_) | DataType::Time64(_) => Self::Time,
            DataType::Timestamp(..) => Self::Timestamp,
            DataType::Duration(_) => Self::Duration,
            DataType::Interval(_) => Self::Interval,
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_) => Self::List,
            DataType::Struct(_) => Self::Struct,
            DataType::Map(..) => Self::Map,
            DataType::Union(..) => Self::Union,
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::RunEndEncoded(_, value) => Self::of(value.data_type()),
        }
    }

    /// The kinds that a type holds, nested ones included.
    pub fn all_of(data_type: &DataType) -> Vec<Self> {
        let mut families = vec![Self::of(data_type)];
        match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::Map(item, _) => families.extend(Self::all_of(item.data_type())),
            DataType::Struct(fields) => {
                families.extend(fields.iter().flat_map(|field| Self::all_of(field.data_type())));
            }
            _ => {}
        }
        // The entries of a map are a struct only in form.
        if families[0] == Self::Map {
            families.remove(1);
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_again() {
        for text in [
            "bool",
            "int8",
            "uint64",
            "float32",
            "string",
            "binary",
            "date",
            "time",
            "duration",
            "decimal(12,2)",
            "decimal(76,10)",
            "timestamp",
            "timestamp(ms)",
            "timestamp(us, UTC)",
            "timestamp(ns, Europe/Berlin)",
            "list<list<int64>>",
            "struct<a: int64, b c: list<string>>",
            "map<string, decimal(3,1)>",
            "interval",
        ] {
            assert_eq!(text.parse::<ColumnType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_timestamp_may_name_only_its_zone() {
        let zoned: ColumnType = "timestamp(UTC)".parse().unwrap();
        assert_eq!(zoned.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    }

    #[test]
    fn nonsense_is_named_with_examples() {
        for text in
            ["", "int65", "decimal", "decimal(77,0)", "decimal(3,5)", "list<", "int64 x", "struct<a int64>"]
        {
            let error = text.parse::<ColumnType>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is not a column type; write for example")),
                "{error}"
            );
        }
    }

    #[test]
    fn families_look_into_nested_types_but_not_into_the_form_of_a_map() {
        let nested: ColumnType = "map<string, list<decimal(3,1)>>".parse().unwrap();
        assert_eq!(
            TypeFamily::all_of(nested.data_type()),
            [TypeFamily::Map, TypeFamily::String, TypeFamily::List, TypeFamily::Decimal]
        );
    }
}
