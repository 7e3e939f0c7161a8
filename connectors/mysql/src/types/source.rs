//! What a column is in Arrow, told by how the server describes it on the wire and by its declaration, if there is one.
//!
//! | MySQL, MariaDB | Arrow |
//! |---|---|
//! | `tinyint(1)` | Boolean, or Int8 by `tinyint1` |
//! | `tinyint`, `smallint`, `mediumint`, `int`, `bigint` | Int8, Int16, Int32, Int32, Int64; unsigned ones unsigned |
//! | `decimal(p,s)` | Decimal128, from 39 digits on Decimal256 |
//! | `float`, `double` | Float32, Float64 |
//! | `bit(n)` | UInt64 |
//! | `year` | Int16 |
//! | `date`, `datetime`, `timestamp` | Date32, Timestamp(µs), Timestamp(µs, UTC) |
//! | `time` | Duration(µs): it may be negative and longer than a day |
//! | `char`, `varchar`, the `text` family, `enum`, `set`, `uuid`, `inet4`, `inet6` | Utf8 |
//! | `json` | Utf8 with the extension name `arrow.json` |
//! | `binary`, `varbinary`, the `blob` family, `vector` | Binary |
//! | geometries | Binary, well-known binary in its extended form when there is a reference system |

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DECIMAL128_MAX_PRECISION, DataType, Field, TimeUnit};
use mysql_common::constants::{ColumnFlags, ColumnType};
use mysql_common::packets::Column;
use towpath_core::{Error, Result};

use super::{EXTENSION_KEY, JSON_EXTENSION, TYPE_KEY};
use crate::config::{Tinyint1, ZeroDates};

/// The character set of bytes that are no text.
const BINARY: u16 = 63;
/// The number of decimals of a float, and of a time from an expression.
const NOT_FIXED: u8 = 31;
/// The most digits of a decimal.
const MAX_PRECISION: u8 = 65;
/// The bytes that a character may take in `utf8mb4`.
const CHARACTER: u32 = 4;

/// How a value is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float32,
    Float64,
    Decimal128 { precision: u8, scale: i8 },
    Decimal256 { precision: u8, scale: i8 },
    Bit,
    Year,
    Date,
    Datetime,
    Timestamp,
    Time,
    Text,
    Json,
    Binary,
    Geometry,
}

/// Options that change types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypeOptions {
    pub(crate) tinyint1: Tinyint1,
    pub(crate) zero_dates: ZeroDates,
}

/// What the catalog tells of a column beside what the wire tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    /// The type as the server writes it.
    pub(crate) type_name: String,
    pub(crate) is_nullable: bool,
    /// Whether it is known to hold JSON although its type does not say so.
    pub(crate) is_json: bool,
}

/// A column as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceColumn {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    type_name: String,
    is_nullable: bool,
}

impl SourceColumn {
    /// A column as the server describes it, and as it is declared if it is one of a table.
    pub(crate) fn new(
        column: &Column,
        declaration: Option<&Declaration>,
        options: TypeOptions,
    ) -> Result<Self> {
        let name = column.name_str().into_owned();
        let declared = declaration.map(|declaration| declaration.type_name.as_str());
        let mut kind = kind(column, declared, options).ok_or_else(|| {
            Error::unsupported(format!(
                "the column `{name}` has a type that is not known: {:?}",
                column.column_type()
            ))
            .connector(crate::NAME)
            .help("cast it to another type in a `query`")
        })?;
        if declaration.is_some_and(|declaration| declaration.is_json) && kind == Kind::Text {
            kind = Kind::Json;
        }
        let has_zero_dates = matches!(kind, Kind::Date | Kind::Datetime | Kind::Timestamp);
        let type_name = match declared {
            Some(declared) if !(kind == Kind::Json) => declared.to_owned(),
            _ => type_name(column, kind),
        };
        Ok(Self {
            name,
            kind,
            type_name,
            is_nullable: declaration.is_none_or(|declaration| declaration.is_nullable)
                || (has_zero_dates && options.zero_dates == ZeroDates::Null),
        })
    }

    /// The field in Arrow.
    pub(crate) fn field(&self) -> Field {
        let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), self.type_name.clone())]);
        if self.kind == Kind::Json {
            metadata.insert(EXTENSION_KEY.to_owned(), JSON_EXTENSION.to_owned());
        }
        Field::new(&self.name, self.kind.data_type(), self.is_nullable).with_metadata(metadata)
    }

    /// The type as the server writes it.
    pub(crate) fn type_name(&self) -> &str {
        &self.type_name
    }
}

impl Kind {
    /// The type in Arrow.
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int16 | Self::Year => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::UInt8 => DataType::UInt8,
            Self::UInt16 => DataType::UInt16,
            Self::UInt32 => DataType::UInt32,
            Self::UInt64 | Self::Bit => DataType::UInt64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal128 { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(precision, scale),
            Self::Date => DataType::Date32,
            Self::Datetime => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC"))),
            Self::Time => DataType::Duration(TimeUnit::Microsecond),
            Self::Text | Self::Json => DataType::Utf8,
            Self::Binary | Self::Geometry => DataType::Binary,
        }
    }
}

fn kind(column: &Column, declared: Option<&str>, options: TypeOptions) -> Option<Kind> {
    use ColumnType as T;
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    Some(match column.column_type() {
        T::MYSQL_TYPE_TINY if is_tinyint1(column, declared) && options.tinyint1 == Tinyint1::Bool => {
            Kind::Boolean
        }
        T::MYSQL_TYPE_TINY if is_unsigned => Kind::UInt8,
        T::MYSQL_TYPE_TINY => Kind::Int8,
        T::MYSQL_TYPE_SHORT if is_unsigned => Kind::UInt16,
        T::MYSQL_TYPE_SHORT => Kind::Int16,
        T::MYSQL_TYPE_LONG | T::MYSQL_TYPE_INT24 if is_unsigned => Kind::UInt32,
        T::MYSQL_TYPE_LONG | T::MYSQL_TYPE_INT24 => Kind::Int32,
        T::MYSQL_TYPE_LONGLONG if is_unsigned => Kind::UInt64,
        T::MYSQL_TYPE_LONGLONG => Kind::Int64,
        T::MYSQL_TYPE_FLOAT => Kind::Float32,
        T::MYSQL_TYPE_DOUBLE => Kind::Float64,
        T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL => decimal(column, is_unsigned),
        T::MYSQL_TYPE_BIT => Kind::Bit,
        T::MYSQL_TYPE_YEAR => Kind::Year,
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => Kind::Date,
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_DATETIME2 => Kind::Datetime,
        T::MYSQL_TYPE_TIMESTAMP | T::MYSQL_TYPE_TIMESTAMP2 => Kind::Timestamp,
        T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2 => Kind::Time,
        T::MYSQL_TYPE_JSON => Kind::Json,
        T::MYSQL_TYPE_GEOMETRY => Kind::Geometry,
        T::MYSQL_TYPE_ENUM | T::MYSQL_TYPE_SET | T::MYSQL_TYPE_NULL => Kind::Text,
        T::MYSQL_TYPE_VARCHAR
        | T::MYSQL_TYPE_VAR_STRING
        | T::MYSQL_TYPE_STRING
        | T::MYSQL_TYPE_TINY_BLOB
        | T::MYSQL_TYPE_MEDIUM_BLOB
        | T::MYSQL_TYPE_LONG_BLOB
        | T::MYSQL_TYPE_BLOB => {
            // MariaDB sends these as text that it calls binary.
            let is_text = declared.is_some_and(|declared| matches!(declared, "uuid" | "inet4" | "inet6"));
            if column.character_set() == BINARY && !is_text { Kind::Binary } else { Kind::Text }
        }
        T::MYSQL_TYPE_VECTOR => Kind::Binary,
        T::MYSQL_TYPE_UNKNOWN | T::MYSQL_TYPE_TYPED_ARRAY => return None,
    })
}

fn is_tinyint1(column: &Column, declared: Option<&str>) -> bool {
    match declared {
        Some(declared) => declared.eq_ignore_ascii_case("tinyint(1)"),
        None => column.column_length() == 1 && !column.flags().contains(ColumnFlags::UNSIGNED_FLAG),
    }
}

/// The length counts the sign and the point as well.
fn decimal(column: &Column, is_unsigned: bool) -> Kind {
    let scale = column.decimals().min(MAX_PRECISION);
    let marks = u32::from(!is_unsigned) + u32::from(scale > 0);
    let digits = column.column_length().saturating_sub(marks).clamp(1, u32::from(MAX_PRECISION));
    let precision = u8::try_from(digits).unwrap_or(MAX_PRECISION).max(scale);
    let scale = i8::try_from(scale).unwrap_or(0);
    if precision <= DECIMAL128_MAX_PRECISION {
        Kind::Decimal128 { precision, scale }
    } else {
        Kind::Decimal256 { precision, scale }
    }
}

/// The type of an expression, as a table's column would be declared.
fn type_name(column: &Column, kind: Kind) -> String {
    let is_unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    let sign = if is_unsigned { " unsigned" } else { "" };
    let integer = match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY if is_tinyint1(column, None) => Some("tinyint(1)"),
        ColumnType::MYSQL_TYPE_TINY => Some("tinyint"),
        ColumnType::MYSQL_TYPE_SHORT => Some("smallint"),
        ColumnType::MYSQL_TYPE_INT24 => Some("mediumint"),
        ColumnType::MYSQL_TYPE_LONG => Some("int"),
        ColumnType::MYSQL_TYPE_LONGLONG => Some("bigint"),
        _ => None,
    };
    if let Some(integer) = integer {
        return format!("{integer}{sign}");
    }
    match kind {
        Kind::Float32 => format!("float{sign}"),
        Kind::Float64 => format!("double{sign}"),
        Kind::Decimal128 { precision, scale } | Kind::Decimal256 { precision, scale } => {
            format!("decimal({precision},{scale}){sign}")
        }
        Kind::Bit => format!("bit({})", column.column_length().clamp(1, 64)),
        Kind::Year => "year(4)".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Datetime => format!("datetime{}", fraction(column)),
        Kind::Timestamp => format!("timestamp{}", fraction(column)),
        Kind::Time => format!("time{}", fraction(column)),
        Kind::Json => "json".to_owned(),
        Kind::Geometry => "geometry".to_owned(),
        Kind::Binary => bytes_type(column),
        _ => text_type(column),
    }
}

fn fraction(column: &Column) -> String {
    match column.decimals() {
        0 => String::new(),
        NOT_FIXED => "(6)".to_owned(),
        digits => format!("({})", digits.min(6)),
    }
}

fn is_blob(column: &Column) -> bool {
    matches!(
        column.column_type(),
        ColumnType::MYSQL_TYPE_TINY_BLOB
            | ColumnType::MYSQL_TYPE_BLOB
            | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
            | ColumnType::MYSQL_TYPE_LONG_BLOB
    )
}

fn text_type(column: &Column) -> String {
    let characters = column.column_length() / CHARACTER;
    if is_blob(column) {
        return format!("{}text", size(column.column_length()));
    }
    match column.column_type() {
        ColumnType::MYSQL_TYPE_STRING if characters <= 255 => format!("char({characters})"),
        _ => format!("varchar({characters})"),
    }
}

fn bytes_type(column: &Column) -> String {
    let length = column.column_length();
    if is_blob(column) {
        return format!("{}blob", size(length));
    }
    match column.column_type() {
        ColumnType::MYSQL_TYPE_STRING if length <= 255 => format!("binary({length})"),
        _ => format!("varbinary({length})"),
    }
}

/// What stands before `text` and `blob` of this many bytes.
fn size(bytes: u32) -> &'static str {
    match bytes {
        0..=0xFF => "tiny",
        0x100..=0xFFFF => "",
        0x1_0000..=0xFF_FFFF => "medium",
        _ => "long",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: TypeOptions = TypeOptions { tinyint1: Tinyint1::Bool, zero_dates: ZeroDates::Reject };

    fn described(column: &Column) -> (DataType, String) {
        let column = SourceColumn::new(column, None, OPTIONS).unwrap();
        (column.kind.data_type(), column.type_name)
    }

    #[test]
    fn the_length_of_a_decimal_tells_its_digits() {
        let decimal = |length, decimals, unsigned| {
            let flags = if unsigned { ColumnFlags::UNSIGNED_FLAG } else { ColumnFlags::empty() };
            let column = Column::new(ColumnType::MYSQL_TYPE_NEWDECIMAL);
            described(&column.with_column_length(length).with_decimals(decimals).with_flags(flags)).0
        };
        assert_eq!(decimal(14, 2, false), DataType::Decimal128(12, 2));
        assert_eq!(decimal(13, 2, true), DataType::Decimal128(12, 2));
        assert_eq!(decimal(11, 0, false), DataType::Decimal128(10, 0));
        assert_eq!(decimal(67, 30, false), DataType::Decimal256(65, 30));
    }

    #[test]
    fn an_expression_gets_the_type_that_a_column_would_have() {
        for (column, name) in [
            (
                Column::new(ColumnType::MYSQL_TYPE_VAR_STRING).with_column_length(80).with_character_set(45),
                "varchar(20)",
            ),
            (
                Column::new(ColumnType::MYSQL_TYPE_STRING).with_column_length(16).with_character_set(63),
                "binary(16)",
            ),
            (
                Column::new(ColumnType::MYSQL_TYPE_BLOB).with_column_length(65535).with_character_set(63),
                "blob",
            ),
            (Column::new(ColumnType::MYSQL_TYPE_DATETIME).with_decimals(3), "datetime(3)"),
            (
                Column::new(ColumnType::MYSQL_TYPE_LONGLONG).with_flags(ColumnFlags::UNSIGNED_FLAG),
                "bigint unsigned",
            ),
        ] {
            assert_eq!(described(&column).1, name);
        }
    }
}
