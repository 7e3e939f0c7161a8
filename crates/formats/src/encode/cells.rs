//! Columns whose values are written as text: numbers, dates, times, binary. Each format adds its quotes and nulls.

use std::io::Write as _;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, BooleanArray, GenericByteArray, PrimitiveArray,
    downcast_integer_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ByteArrayType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, GenericBinaryType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Offset, TimeZone};
use towpath_core::{ColumnType, Error, Result};

use super::time;

/// A column that can write its values.
pub(super) trait Cells {
    /// Appends the value of a row.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()>;
}

/// What the text of a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number or a boolean.
    Bare,
    /// A date, a time, bytes: JSON quotes it.
    Text,
}

/// What a format makes of a column.
pub(super) trait Visitor<'a> {
    type Output;

    fn visit(self, cells: impl Cells + 'a, kind: Kind) -> Self::Output;
}

/// Hands the column's writer to the visitor. `not_finite` is written for floating numbers that are not finite; `None`
/// for their names.
///
/// # Errors
/// `SchemaMismatch` for nested columns, strings and unions, which are no cells.
pub(super) fn visit<'a, V: Visitor<'a>>(
    array: &'a dyn Array,
    not_finite: Option<&'static str>,
    visitor: V,
) -> Result<V::Output> {
    downcast_integer_array! {
        array => Ok(visitor.visit(Integers(array.values()), Kind::Bare)),
        DataType::Boolean => Ok(visitor.visit(Booleans(array.as_boolean()), Kind::Bare)),
        DataType::Float16 => {
            Ok(visitor.visit(Halves { array: array.as_primitive(), not_finite }, Kind::Bare))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Ok(visitor.visit(Floats { values: values.values(), not_finite }, Kind::Bare))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Ok(visitor.visit(Floats { values: values.values(), not_finite }, Kind::Bare))
        }
        DataType::Decimal32(_, scale) => Ok(decimals(array.as_primitive::<Decimal32Type>(), *scale, visitor)),
        DataType::Decimal64(_, scale) => Ok(decimals(array.as_primitive::<Decimal64Type>(), *scale, visitor)),
        DataType::Decimal128(_, scale) => Ok(decimals(array.as_primitive::<Decimal128Type>(), *scale, visitor)),
        DataType::Decimal256(_, scale) => Ok(decimals(array.as_primitive::<Decimal256Type>(), *scale, visitor)),
        DataType::Binary => Ok(visitor.visit(Hex(array.as_binary::<i32>()), Kind::Text)),
        DataType::LargeBinary => Ok(visitor.visit(Hex(array.as_binary::<i64>()), Kind::Text)),
        DataType::FixedSizeBinary(_) => Ok(visitor.visit(array.as_fixed_size_binary(), Kind::Text)),
        DataType::Timestamp(unit, zone) => timestamps(array, *unit, zone.as_deref(), visitor),
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) => {
            dates_and_times(array, visitor)
        }
        DataType::Interval(_) => {
            Ok(visitor.visit(Formatted(ArrayFormatter::try_new(array, &FormatOptions::new())?), Kind::Text))
        }
        other => Err(Error::schema(format!("{} is not a scalar", ColumnType::from(other.clone())))),
    }
}

fn timestamps<'a, V: Visitor<'a>>(
    array: &'a dyn Array,
    unit: TimeUnit,
    zone: Option<&str>,
    visitor: V,
) -> Result<V::Output> {
    let zone = Zone::new(zone)?;
    let values = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
    };
    Ok(visitor.visit(Timestamps { values, per_second: per_second(unit), zone }, Kind::Text))
}

fn dates_and_times<'a, V: Visitor<'a>>(array: &'a dyn Array, visitor: V) -> Result<V::Output> {
    Ok(match array.data_type() {
        DataType::Date32 => visitor.visit(Dates(array.as_primitive::<Date32Type>().values()), Kind::Text),
        DataType::Date64 => {
            let values = array.as_primitive::<Date64Type>().values();
            visitor.visit(Timestamps { values, per_second: 1_000, zone: Zone::None }, Kind::Text)
        }
        DataType::Time32(unit @ TimeUnit::Second) => {
            let values = array.as_primitive::<Time32SecondType>().values();
            visitor.visit(Times { values, per_second: per_second(*unit) }, Kind::Text)
        }
        DataType::Time32(unit) => {
            let values = array.as_primitive::<Time32MillisecondType>().values();
            visitor.visit(Times { values, per_second: per_second(*unit) }, Kind::Text)
        }
        DataType::Time64(unit @ TimeUnit::Microsecond) => {
            let values = array.as_primitive::<Time64MicrosecondType>().values();
            visitor.visit(Times { values, per_second: per_second(*unit) }, Kind::Text)
        }
        DataType::Time64(unit) => {
            let values = array.as_primitive::<Time64NanosecondType>().values();
            visitor.visit(Times { values, per_second: per_second(*unit) }, Kind::Text)
        }
        DataType::Duration(unit) => {
            let values = match unit {
                TimeUnit::Second => array.as_primitive::<DurationSecondType>().values(),
                TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().values(),
                TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().values(),
                TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().values(),
            };
            visitor.visit(Durations { values, per_second: per_second(*unit) }, Kind::Text)
        }
        other => return Err(Error::schema(format!("{other} is no date or time"))),
    })
}

fn decimals<'a, T, V>(array: &'a PrimitiveArray<T>, scale: i8, visitor: V) -> V::Output
where
    T: ArrowPrimitiveType<Native: Digits>,
    V: Visitor<'a>,
{
    visitor.visit(Decimals { values: array.values(), scale }, Kind::Bare)
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Seconds and nanoseconds of a value.
#[inline]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a remainder below a second")]
fn split(value: i64, per_second: i64) -> (i64, u32) {
    (value.div_euclid(per_second), (value.rem_euclid(per_second) * (1_000_000_000 / per_second)) as u32)
}

#[cold]
fn out_of_range(value: impl std::fmt::Display) -> Error {
    Error::data(format!("the value {value} is out of the range of dates and times"))
}

struct Integers<'a, T: arrow::datatypes::ArrowNativeType>(&'a ScalarBuffer<T>);

impl<T: arrow::datatypes::ArrowNativeType + itoa::Integer> Cells for Integers<'_, T> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(itoa::Buffer::new().format(self.0[row]).as_bytes());
        Ok(())
    }
}

struct Booleans<'a>(&'a BooleanArray);

impl Cells for Booleans<'_> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(if self.0.value(row) { b"true" } else { b"false" });
        Ok(())
    }
}

/// A floating number of any width.
trait Float: Copy {
    fn format(self, out: &mut Vec<u8>, not_finite: Option<&'static str>);
}

macro_rules! float {
    ($float:ty) => {
        impl Float for $float {
            #[inline]
            fn format(self, out: &mut Vec<u8>, not_finite: Option<&'static str>) {
                let mut buffer = zmij::Buffer::new();
                let text = if self.is_finite() {
                    buffer.format_finite(self)
                } else {
                    not_finite.unwrap_or_else(|| name_of(self.into()))
                };
                out.extend_from_slice(text.as_bytes());
            }
        }
    };
}
float!(f32);
float!(f64);

struct Halves<'a> {
    array: &'a PrimitiveArray<Float16Type>,
    not_finite: Option<&'static str>,
}

impl Cells for Halves<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.array.value(row).to_f32().format(out, self.not_finite);
        Ok(())
    }
}

fn name_of(value: f64) -> &'static str {
    match value {
        f64::INFINITY => "inf",
        f64::NEG_INFINITY => "-inf",
        _ => "NaN",
    }
}

struct Floats<'a, T: arrow::datatypes::ArrowNativeType> {
    values: &'a ScalarBuffer<T>,
    not_finite: Option<&'static str>,
}

impl<T: arrow::datatypes::ArrowNativeType + Float> Cells for Floats<'_, T> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.values[row].format(out, self.not_finite);
        Ok(())
    }
}

/// The unscaled value of a decimal, as text.
trait Digits: Copy {
    fn digits(self, write: impl FnOnce(&str));
}

macro_rules! digits {
    ($integer:ty) => {
        impl Digits for $integer {
            #[inline]
            fn digits(self, write: impl FnOnce(&str)) {
                write(itoa::Buffer::new().format(self));
            }
        }
    };
}
digits!(i32);
digits!(i64);
digits!(i128);

impl Digits for arrow::datatypes::i256 {
    fn digits(self, write: impl FnOnce(&str)) {
        write(&self.to_string());
    }
}

struct Decimals<'a, T: arrow::datatypes::ArrowNativeType> {
    values: &'a ScalarBuffer<T>,
    scale: i8,
}

impl<T: arrow::datatypes::ArrowNativeType + Digits> Cells for Decimals<'_, T> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.values[row].digits(|digits| point(digits, self.scale, out));
        Ok(())
    }
}

/// Puts the decimal point into digits.
fn point(digits: &str, scale: i8, out: &mut Vec<u8>) {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    out.extend_from_slice(sign.as_bytes());
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.resize(out.len() + places, b'0');
        }
    } else if digits.len() > places {
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.extend_from_slice(whole.as_bytes());
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + places - digits.len(), b'0');
        out.extend_from_slice(digits.as_bytes());
    }
}

struct Dates<'a>(&'a ScalarBuffer<i32>);

impl Cells for Dates<'_> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let value = self.0[row];
        if time::date(value.into(), out) { Ok(()) } else { Err(out_of_range(value)) }
    }
}

struct Times<'a, T: arrow::datatypes::ArrowNativeType> {
    values: &'a ScalarBuffer<T>,
    per_second: i64,
}

impl<T: arrow::datatypes::ArrowNativeType + Into<i64> + std::fmt::Display> Cells for Times<'_, T> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let value = self.values[row];
        let (seconds, nanos) = split(value.into(), self.per_second);
        if time::time(seconds, nanos, out) { Ok(()) } else { Err(out_of_range(value)) }
    }
}

struct Durations<'a> {
    values: &'a ScalarBuffer<i64>,
    per_second: i64,
}

impl Cells for Durations<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        time::duration(self.values[row], self.per_second, out);
        Ok(())
    }
}

struct Timestamps<'a> {
    values: &'a ScalarBuffer<i64>,
    per_second: i64,
    zone: Zone,
}

/// The zone of a column; UTC needs no look at the calendar.
enum Zone {
    None,
    Utc,
    Other(Tz),
}

impl Zone {
    fn new(name: Option<&str>) -> Result<Self> {
        Ok(match name {
            None => Self::None,
            Some("UTC" | "Z" | "+00:00" | "Etc/UTC") => Self::Utc,
            Some(name) => Self::Other(name.parse::<Tz>()?),
        })
    }

    /// The offset in minutes at an instant. Old local times have offsets with seconds, which RFC 3339 cannot say.
    #[inline]
    fn offset(&self, seconds: i64) -> Option<i32> {
        match self {
            Self::None => None,
            Self::Utc => Some(0),
            Self::Other(zone) => {
                let instant = DateTime::from_timestamp(seconds, 0)?.naive_utc();
                let offset = zone.offset_from_utc_datetime(&instant).fix().local_minus_utc();
                Some((offset + 30).div_euclid(60))
            }
        }
    }
}

impl Cells for Timestamps<'_> {
    #[inline]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let value = self.values[row];
        let (seconds, nanos) = split(value, self.per_second);
        let offset = self.zone.offset(seconds);
        if time::datetime(seconds, nanos, offset, out) { Ok(()) } else { Err(out_of_range(value)) }
    }
}

/// Binary as hexadecimal digits.
struct Hex<'a, T: ByteArrayType>(&'a GenericByteArray<T>);

impl<O: arrow::array::OffsetSizeTrait> Cells for Hex<'_, GenericBinaryType<O>> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        hex(self.0.value(row), out);
        Ok(())
    }
}

impl Cells for &arrow::array::FixedSizeBinaryArray {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        hex(self.value(row), out);
        Ok(())
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// What Arrow prints, for rare types.
struct Formatted<'a>(ArrayFormatter<'a>);

impl Cells for Formatted<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        write!(out, "{}", self.0.value(row)).map_err(|_| out_of_range("of this row"))
    }
}
