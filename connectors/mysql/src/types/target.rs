//! The type of a column that is written: declared, read from the catalog, and made wider.
//!
//! | Arrow | MySQL, MariaDB |
//! |---|---|
//! | Boolean | `tinyint(1)` |
//! | `Int8` … `Int64`, `UInt8` … `UInt64` | `tinyint`, `smallint`, `int`, `bigint`, unsigned ones unsigned |
//! | Float16, Float32, Float64 | `float`, `float`, `double` |
//! | Decimal | `decimal` of up to 65 digits, 30 of them behind the point |
//! | Utf8, interval | `longtext`; `varchar` in keys and indexes |
//! | Binary | `longblob`; `varbinary` in keys and indexes; `binary(n)` for a fixed size of up to 255 bytes |
//! | Date, Time | `date`, `time(6)` |
//! | Timestamp, Timestamp with a zone | `datetime(6)`, `timestamp(6)` |
//! | Duration | `bigint`, in the unit of the Arrow type |
//! | List, Struct, Map, Union; text with the extension name `arrow.json` | `json` |
//!
//! A field that came from MySQL gets the type back that it had there, `time`, `enum` and geometries among them.

use std::fmt;

use arrow_schema::{DataType, Field, TimeUnit};

use super::declaration::{Declaration, parse};
use super::{EXTENSION_KEY, JSON_EXTENSION, TYPE_KEY};
use crate::client::Server;
use crate::sql::text;

/// The most digits of a decimal, and of those behind the point.
const MAX_PRECISION: u8 = 65;
const MAX_SCALE: u8 = 30;
/// The most digits of a fraction of a second.
pub(crate) const MICROSECONDS: u8 = 6;
/// Longer texts do not fit a row of `utf8mb4` beside others.
const LONGEST_VARCHAR: u32 = 4000;

/// A column type of MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetType {
    /// `tinyint(1)`.
    Boolean,
    Integer {
        bits: u8,
        unsigned: bool,
    },
    Decimal {
        precision: u8,
        scale: u8,
        unsigned: bool,
    },
    Float,
    Double,
    Bit(u8),
    Year,
    Date,
    /// With so many digits of the second's fraction, as those behind it.
    Datetime(u8),
    Timestamp(u8),
    Time(u8),
    Text(Length),
    Bytes(Length),
    Json,
    Enum(Vec<String>),
    Set(Vec<String>),
    Geometry(&'static str),
    /// A type whose values are written as texts: `uuid`, `inet6`.
    Named(&'static str),
    /// A type that this connector does not know. The server reads the texts.
    Other,
}

/// How long texts or bytes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// `char`, `binary`.
    Fixed(u32),
    /// `varchar`, `varbinary`.
    Varying(u32),
    /// `tinytext`, `tinyblob`.
    Tiny,
    /// `text`, `blob`.
    Normal,
    /// `mediumtext`, `mediumblob`.
    Medium,
    /// `longtext`, `longblob`.
    Long,
}

/// How a column that is there takes what is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fit {
    /// As it is.
    Keeps,
    /// Once it has this type.
    Widens(TargetType),
    /// Not at all.
    Never,
}

const GEOMETRIES: &[&str] = &[
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
];
/// Types of MariaDB that are written as texts.
const NAMED: &[&str] = &["uuid", "inet4", "inet6"];

impl TargetType {
    /// Reads a type as the server writes it. What is not known is [`Other`](Self::Other).
    pub(crate) fn from_catalog(declared: &str) -> Self {
        parse(declared).and_then(|declaration| Self::from_declaration(&declaration)).unwrap_or(Self::Other)
    }

    fn from_declaration(declared: &Declaration) -> Option<Self> {
        let unsigned = declared.unsigned;
        let integer = |bits| Some(Self::Integer { bits, unsigned });
        let fraction = || declared.number(0).map_or(Some(0), |digits| u8::try_from(digits).ok());
        let length = || declared.number(0);
        Some(match declared.name.as_str() {
            "tinyint" if declared.number(0) == Some(1) && !unsigned => Self::Boolean,
            "tinyint" => integer(8)?,
            "smallint" => integer(16)?,
            "mediumint" => integer(24)?,
            "int" => integer(32)?,
            "bigint" => integer(64)?,
            "decimal" => Self::Decimal {
                precision: declared.number(0).map_or(Some(10), |digits| u8::try_from(digits).ok())?,
                scale: declared.number(1).map_or(Some(0), |digits| u8::try_from(digits).ok())?,
                unsigned,
            },
            "float" => Self::Float,
            "double" => Self::Double,
            "bit" => Self::Bit(u8::try_from(length().unwrap_or(1)).ok()?),
            "year" => Self::Year,
            "date" => Self::Date,
            "datetime" => Self::Datetime(fraction()?),
            "timestamp" => Self::Timestamp(fraction()?),
            "time" => Self::Time(fraction()?),
            "char" => Self::Text(Length::Fixed(length().unwrap_or(1))),
            "varchar" => Self::Text(Length::Varying(length()?)),
            "tinytext" => Self::Text(Length::Tiny),
            "text" => Self::Text(Length::Normal),
            "mediumtext" => Self::Text(Length::Medium),
            "longtext" => Self::Text(Length::Long),
            "binary" => Self::Bytes(Length::Fixed(length().unwrap_or(1))),
            "varbinary" => Self::Bytes(Length::Varying(length()?)),
            "tinyblob" => Self::Bytes(Length::Tiny),
            "blob" => Self::Bytes(Length::Normal),
            "mediumblob" => Self::Bytes(Length::Medium),
            "longblob" => Self::Bytes(Length::Long),
            "json" => Self::Json,
            "enum" => Self::Enum(declared.texts()?),
            "set" => Self::Set(declared.texts()?),
            "geomcollection" => Self::Geometry("geometrycollection"),
            other => match GEOMETRIES.iter().find(|name| **name == other) {
                Some(name) => Self::Geometry(name),
                None => Self::Named(NAMED.iter().find(|name| **name == other)?),
            },
        })
    }

    /// The type of a column that is made for a field. `indexed` is how many characters a text may have so that all
    /// columns of an index fit.
    pub(crate) fn for_field(field: &Field, server: Server, indexed: Option<u32>) -> Self {
        let wanted = Self::declared(field, server).unwrap_or_else(|| Self::of(field));
        match (wanted, indexed) {
            (Self::Text(length), Some(most)) if length.longer_than(most) => Self::Text(Length::Varying(most)),
            (Self::Bytes(length), Some(most)) if length.longer_than(most) => {
                Self::Bytes(Length::Varying(most))
            }
            (wanted, _) => wanted,
        }
    }

    /// The type that the field had in MySQL, if it still holds such values.
    fn declared(field: &Field, server: Server) -> Option<Self> {
        let declared = Self::from_declaration(&parse(field.metadata().get(TYPE_KEY)?)?)?;
        let known = !matches!(declared, Self::Named(_)) || server.is_mariadb;
        (known && declared.is_type_of(field.data_type())).then(|| declared.within_limits())
    }

    /// Whether the source gives values of this type in that Arrow type.
    fn is_type_of(&self, data_type: &DataType) -> bool {
        use DataType as D;
        let data_type = if let D::Dictionary(_, value) = data_type { value } else { data_type };
        match self {
            Self::Boolean => matches!(data_type, D::Boolean | D::Int8),
            Self::Integer { .. } => *self == Self::of_type(data_type) || self.is_24_bits_of(data_type),
            Self::Bit(_) => *data_type == D::UInt64,
            Self::Year => *data_type == D::Int16,
            Self::Decimal { precision, scale, .. } => match data_type {
                D::Decimal128(digits, behind) | D::Decimal256(digits, behind) => {
                    precision >= digits && i16::from(*scale) == i16::from(*behind)
                }
                _ => false,
            },
            Self::Float => *data_type == D::Float32,
            Self::Double => *data_type == D::Float64,
            Self::Date => *data_type == D::Date32,
            Self::Datetime(_) => *data_type == D::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp(_) => matches!(data_type, D::Timestamp(TimeUnit::Microsecond, Some(_))),
            Self::Time(_) => *data_type == D::Duration(TimeUnit::Microsecond),
            Self::Text(_) | Self::Json | Self::Enum(_) | Self::Set(_) | Self::Named(_) => {
                matches!(data_type, D::Utf8 | D::LargeUtf8 | D::Utf8View)
            }
            Self::Bytes(_) | Self::Geometry(_) => {
                matches!(data_type, D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_))
            }
            Self::Other => false,
        }
    }

    fn is_24_bits_of(&self, data_type: &DataType) -> bool {
        matches!(
            (self, data_type),
            (Self::Integer { bits: 24, unsigned: false }, DataType::Int32)
                | (Self::Integer { bits: 24, unsigned: true }, DataType::UInt32)
        )
    }

    /// A type whose text comes from elsewhere may ask for more than there is.
    fn within_limits(self) -> Self {
        match self {
            Self::Text(Length::Fixed(length)) if length > 255 => Self::Text(Length::Normal),
            Self::Text(Length::Varying(length)) if length > LONGEST_VARCHAR => Self::Text(Length::Long),
            Self::Bytes(Length::Fixed(length)) if length > 255 => Self::Bytes(Length::Normal),
            Self::Bytes(Length::Varying(length)) if length > LONGEST_VARCHAR => Self::Bytes(Length::Long),
            Self::Decimal { precision, scale, unsigned } => {
                let precision = precision.clamp(1, MAX_PRECISION);
                Self::Decimal { precision, scale: scale.min(MAX_SCALE).min(precision), unsigned }
            }
            Self::Datetime(digits) => Self::Datetime(digits.min(MICROSECONDS)),
            Self::Timestamp(digits) => Self::Timestamp(digits.min(MICROSECONDS)),
            Self::Time(digits) => Self::Time(digits.min(MICROSECONDS)),
            Self::Bit(bits) => Self::Bit(bits.clamp(1, 64)),
            other => other,
        }
    }

    fn of(field: &Field) -> Self {
        let is_json = field.metadata().get(EXTENSION_KEY).is_some_and(|name| name == JSON_EXTENSION);
        match Self::of_type(field.data_type()) {
            Self::Text(_) if is_json => Self::Json,
            other => other,
        }
    }

    fn of_type(data_type: &DataType) -> Self {
        use DataType as D;
        let signed = |bits| Self::Integer { bits, unsigned: false };
        let unsigned = |bits| Self::Integer { bits, unsigned: true };
        match data_type {
            D::Boolean => Self::Boolean,
            D::Int8 => signed(8),
            D::Int16 => signed(16),
            D::Int32 => signed(32),
            D::Int64 | D::Duration(_) => signed(64),
            D::UInt8 => unsigned(8),
            D::UInt16 => unsigned(16),
            D::UInt32 => unsigned(32),
            D::UInt64 => unsigned(64),
            D::Float16 | D::Float32 => Self::Float,
            D::Float64 => Self::Double,
            D::Decimal32(precision, scale)
            | D::Decimal64(precision, scale)
            | D::Decimal128(precision, scale)
            | D::Decimal256(precision, scale) => Self::decimal(*precision, *scale),
            D::Binary | D::LargeBinary | D::BinaryView => Self::Bytes(Length::Long),
            D::FixedSizeBinary(size) => match u32::try_from(*size) {
                Ok(size @ 1..=255) => Self::Bytes(Length::Fixed(size)),
                _ => Self::Bytes(Length::Long),
            },
            D::Date32 | D::Date64 => Self::Date,
            D::Time32(_) | D::Time64(_) => Self::Time(MICROSECONDS),
            D::Timestamp(_, None) => Self::Datetime(MICROSECONDS),
            D::Timestamp(_, Some(_)) => Self::Timestamp(MICROSECONDS),
            D::List(_)
            | D::LargeList(_)
            | D::FixedSizeList(..)
            | D::ListView(_)
            | D::LargeListView(_)
            | D::Struct(_)
            | D::Map(..)
            | D::Union(..) => Self::Json,
            D::Dictionary(_, value) => Self::of_type(value),
            D::RunEndEncoded(_, value) => Self::of_type(value.data_type()),
            D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Null | D::Interval(_) => Self::Text(Length::Long),
        }
    }

    /// A decimal; where it has more digits than the server can keep, those before the point go first, and rows that
    /// need them are rejected.
    fn decimal(precision: u8, scale: i8) -> Self {
        let behind = u8::try_from(scale).unwrap_or(0);
        let before = i16::from(precision) - i16::from(scale);
        let scale = behind.min(MAX_SCALE);
        let before = u8::try_from(before.max(0)).unwrap_or(MAX_PRECISION);
        let precision = before.saturating_add(scale).clamp(1, MAX_PRECISION).max(scale);
        Self::Decimal { precision, scale, unsigned: false }
    }
}

impl Length {
    fn longer_than(self, most: u32) -> bool {
        match self {
            Self::Fixed(length) | Self::Varying(length) => length > most,
            _ => true,
        }
    }
}

/// As it stands in a definition.
impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |unsigned: bool| if unsigned { " unsigned" } else { "" };
        let texts = |values: &[String]| values.iter().map(|value| text(value)).collect::<Vec<_>>().join(",");
        match self {
            Self::Boolean => f.write_str("tinyint(1)"),
            Self::Integer { bits, unsigned } => {
                let name = match bits {
                    8 => "tinyint",
                    16 => "smallint",
                    24 => "mediumint",
                    32 => "int",
                    _ => "bigint",
                };
                write!(f, "{name}{}", sign(*unsigned))
            }
            Self::Decimal { precision, scale, unsigned } => {
                write!(f, "decimal({precision},{scale}){}", sign(*unsigned))
            }
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Bit(bits) => write!(f, "bit({bits})"),
            Self::Year => f.write_str("year"),
            Self::Date => f.write_str("date"),
            Self::Datetime(digits) => write!(f, "datetime({digits})"),
            Self::Timestamp(digits) => write!(f, "timestamp({digits})"),
            Self::Time(digits) => write!(f, "time({digits})"),
            Self::Text(length) => length.write(f, "char", "text"),
            Self::Bytes(length) => length.write(f, "binary", "blob"),
            Self::Json => f.write_str("json"),
            Self::Enum(values) => write!(f, "enum({})", texts(values)),
            Self::Set(values) => write!(f, "set({})", texts(values)),
            Self::Geometry(name) | Self::Named(name) => f.write_str(name),
            Self::Other => f.write_str("longtext"),
        }
    }
}

impl Length {
    fn write(self, f: &mut fmt::Formatter<'_>, short: &str, long: &str) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{short}({length})"),
            Self::Varying(length) => write!(f, "var{short}({length})"),
            Self::Tiny => write!(f, "tiny{long}"),
            Self::Normal => f.write_str(long),
            Self::Medium => write!(f, "medium{long}"),
            Self::Long => write!(f, "long{long}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const MARIADB: Server = Server { is_mariadb: true, version: (10, 11, 0) };
    const MYSQL: Server = Server { is_mariadb: false, version: (8, 0, 36) };

    fn came_from_mysql(data_type: DataType, declared: &str) -> Field {
        let metadata = HashMap::from([(TYPE_KEY.to_owned(), declared.to_owned())]);
        Field::new("x", data_type, true).with_metadata(metadata)
    }

    #[test]
    fn a_field_that_came_from_mysql_gets_its_type_back() {
        for (data_type, declared) in [
            (DataType::Boolean, "tinyint(1)"),
            (DataType::Int32, "mediumint"),
            (DataType::UInt64, "bigint unsigned"),
            (DataType::UInt64, "bit(9)"),
            (DataType::Int16, "year"),
            (DataType::Decimal256(65, 30), "decimal(65,30)"),
            (DataType::Decimal128(10, 2), "decimal(10,2) unsigned"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "datetime(3)"),
            (DataType::Duration(TimeUnit::Microsecond), "time(0)"),
            (DataType::Utf8, "varchar(20)"),
            (DataType::Utf8, "enum('a','it''s','b,c')"),
            (DataType::Binary, "varbinary(16)"),
            (DataType::Binary, "multipolygon"),
        ] {
            let target = TargetType::for_field(&came_from_mysql(data_type, declared), MYSQL, None);
            assert_eq!(target.to_string(), declared);
        }
    }

    #[test]
    fn a_type_that_no_longer_fits_its_values_does_not_count() {
        let target = |data_type, declared| {
            TargetType::for_field(&came_from_mysql(data_type, declared), MARIADB, None).to_string()
        };
        assert_eq!(target(DataType::Int64, "int"), "bigint");
        assert_eq!(target(DataType::Utf8, "date"), "longtext");
        assert_eq!(target(DataType::Utf8, "varchar(20)); drop table x; --"), "longtext");
        assert_eq!(target(DataType::Utf8, "enum('a') comment 'x'"), "longtext");
        assert_eq!(target(DataType::Utf8, "varchar(99999)"), "longtext");
        assert_eq!(target(DataType::Utf8, "uuid"), "uuid");
        let uuid = TargetType::for_field(&came_from_mysql(DataType::Utf8, "uuid"), MYSQL, None);
        assert_eq!(uuid.to_string(), "longtext");
    }

    #[test]
    fn every_arrow_type_has_a_column_type() {
        let target = |data_type: DataType| {
            TargetType::for_field(&Field::new("x", data_type, true), MYSQL, None).to_string()
        };
        assert_eq!(target(DataType::UInt16), "smallint unsigned");
        assert_eq!(target(DataType::Timestamp(TimeUnit::Nanosecond, Some("+05:30".into()))), "timestamp(6)");
        assert_eq!(target(DataType::Decimal256(76, 20)), "decimal(65,20)");
        assert_eq!(target(DataType::Decimal128(38, 36)), "decimal(32,30)");
        assert_eq!(target(DataType::Decimal128(5, -3)), "decimal(8,0)");
        assert_eq!(target(DataType::FixedSizeBinary(16)), "binary(16)");
        assert_eq!(target(DataType::new_list(DataType::Int8, true)), "json");
        assert_eq!(target(DataType::Duration(TimeUnit::Second)), "bigint");
    }

    #[test]
    fn texts_and_bytes_of_an_index_have_an_end() {
        let target = |data_type| {
            TargetType::for_field(&Field::new("x", data_type, true), MYSQL, Some(255)).to_string()
        };
        assert_eq!(target(DataType::Utf8), "varchar(255)");
        assert_eq!(target(DataType::Binary), "varbinary(255)");
        assert_eq!(target(DataType::FixedSizeBinary(16)), "binary(16)");
        assert_eq!(target(DataType::Int64), "bigint");
    }
}
