//! Values written in an expression.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, new_null_array};
use arrow::compute::cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::NaiveDate;
use towpath_core::conform_array;

/// A value. Numbers, dates and timestamps keep their text, which is exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    Date(String),
    Timestamp(String),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Date(text) => write!(f, "date {}", quoted(text)),
            Self::Timestamp(text) => write!(f, "timestamp {}", quoted(text)),
        }
    }
}

impl Literal {
    /// The value as an array of one, of the type that it has by itself.
    ///
    /// # Errors
    /// A message when the text is not what it claims to be.
    pub(crate) fn array(&self) -> Result<ArrayRef, String> {
        match self {
            Self::Null => Ok(new_null_array(&DataType::Null, 1)),
            Self::Bool(value) => Ok(Arc::new(BooleanArray::from(vec![*value]))),
            Self::Number(number) => self.parsed(number, &number_type(number)),
            Self::Text(text) => Ok(text_array(text)),
            Self::Date(text) if NaiveDate::parse_from_str(text, "%Y-%m-%d").is_err() => {
                Err(format!("{self} is not a date: write for example date '2024-01-31'"))
            }
            Self::Date(text) => self.parsed(text, &DataType::Date32),
            Self::Timestamp(text) => self.parsed(text, &timestamp_type(text)).map_err(|_| {
                format!("{self} is not a timestamp: write for example timestamp '2024-01-31T12:00:00Z'")
            }),
        }
    }

    fn parsed(&self, text: &str, data_type: &DataType) -> Result<ArrayRef, String> {
        conform_array(&text_array(text), data_type).map_err(|_| format!("{self} is out of range"))
    }

    /// The value for a comparison with a column: of the column's type if that loses nothing, so that the column need not
    /// be cast.
    pub(crate) fn array_beside(&self, column: &DataType) -> Result<ArrayRef, String> {
        match self {
            // A text in quotes is whatever the column is, as in SQL.
            Self::Text(text) if typed_by_text(column) => {
                // A time of day must not be cut off.
                let data_type = match column {
                    DataType::Date32 | DataType::Date64 if text.len() > "2024-01-31".len() => {
                        &timestamp_type(text)
                    }
                    other => other,
                };
                conform_array(&text_array(text), data_type).map_err(|_| {
                    format!("{self} is not {}", towpath_core::ColumnType::from(data_type.clone()))
                })
            }
            Self::Number(number) if column.is_floating() => {
                let float = number.parse::<f64>().map_err(|_| format!("{self} is out of range"))?;
                let array: ArrayRef = Arc::new(Float64Array::from(vec![float]));
                cast(&array, column).map_err(|error| error.to_string())
            }
            Self::Number(_) if column.is_numeric() => {
                let array = self.array()?;
                Ok(exactly(&array, column).unwrap_or(array))
            }
            _ => self.array(),
        }
    }
}

fn text_array(text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

/// Whether a text beside a column of this type is to be read as that type.
fn typed_by_text(column: &DataType) -> bool {
    let text = matches!(column, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    !text && !column.is_nested() && *column != DataType::Null
}

/// The value in another type, if it is the same value there.
fn exactly(value: &ArrayRef, data_type: &DataType) -> Option<ArrayRef> {
    let there = cast(value, data_type).ok()?;
    let back = cast(&there, value.data_type()).ok()?;
    (there.null_count() == 0 && back.as_ref() == value.as_ref()).then_some(there)
}

/// The type of a number by how it is written: `int64`, then `uint64`, then the decimal of its digits, then `float64`.
fn number_type(number: &str) -> DataType {
    let digits = number.trim_start_matches('-');
    if digits.contains(['e', 'E']) {
        return DataType::Float64;
    }
    if number.parse::<i64>().is_ok() {
        return DataType::Int64;
    }
    if number.parse::<u64>().is_ok() {
        return DataType::UInt64;
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = i8::try_from(fraction.len()).unwrap_or(i8::MAX);
    match u8::try_from(whole.len() + fraction.len()) {
        Ok(precision @ 0..=38) => DataType::Decimal128(precision, scale),
        Ok(precision @ 39..=76) => DataType::Decimal256(precision, scale),
        _ => DataType::Float64,
    }
}

/// With a zone where the text has one, in nanoseconds where it has that many digits.
fn timestamp_type(text: &str) -> DataType {
    let time = text.get("2024-01-31T".len()..).unwrap_or_default();
    let zoned = time.contains(['+', '-']) || time.contains(|c: char| c.is_ascii_alphabetic());
    let fraction = time.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
    let unit = if digits > 6 { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
    DataType::Timestamp(unit, zoned.then(|| "UTC".into()))
}
