//! A writer for each pair of an Arrow type and a column type.

use std::io::Write;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, Field, TimeUnit};
use towpath_core::{ColumnType, Error, Result};

use super::form::Form;
use super::{decimal, geometry, nested, temporal};
use crate::types::target::TargetType;

/// Writes the values of one array.
pub(super) trait Cell<F>: Send + Sync {
    fn is_null(&self, row: usize) -> bool;
    /// Writes a value that is not null, or says why the column cannot hold it.
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String>;
}

/// An array and how its values are written.
struct Values<W> {
    nulls: Option<NullBuffer>,
    write: W,
}

impl<F, W: Fn(usize, &mut Vec<u8>) -> Result<(), String> + Send + Sync> Cell<F> for Values<W> {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        (self.write)(row, out)
    }
}

fn boxed<F: Form>(
    array: &dyn Array,
    write: impl Fn(usize, &mut Vec<u8>) -> Result<(), String> + Send + Sync + 'static,
) -> Box<dyn Cell<F>> {
    Box::new(Values { nulls: array.logical_nulls(), write })
}

/// A column of primitive values.
fn primitive<F: Form, T: ArrowPrimitiveType>(
    array: &ArrayRef,
    write: impl Fn(T::Native, &mut Vec<u8>) -> Result<(), String> + Send + Sync + 'static,
) -> Box<dyn Cell<F>> {
    let values: PrimitiveArray<T> = array.as_primitive::<T>().clone();
    boxed(array, move |row, out| write(values.value(row), out))
}

fn integer<F: Form, T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn Cell<F>>
where
    T::Native: itoa::Integer,
{
    primitive::<F, T>(array, |value, out| {
        F::plain(out, |out| out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()));
        Ok(())
    })
}

fn float<F: Form, T: ArrowPrimitiveType>(array: &ArrayRef) -> Box<dyn Cell<F>>
where
    T::Native: Into<f64> + std::fmt::Debug,
{
    primitive::<F, T>(array, |value, out| {
        if !value.into().is_finite() {
            return Err("MySQL has neither NaN nor infinity".to_owned());
        }
        // The shortest text that reads back as the same number, with an exponent where it helps.
        F::plain(out, |out| write!(out, "{value:?}").expect("memory takes what is written"));
        Ok(())
    })
}

fn time<F: Form, T: ArrowPrimitiveType>(array: &ArrayRef, per_second: i64, digits: u8) -> Box<dyn Cell<F>>
where
    T::Native: ArrowNativeType + Into<i64>,
{
    primitive::<F, T>(array, move |value, out| temporal::time::<F>(out, value.into(), per_second, digits))
}

fn timestamp<F: Form, T>(array: &ArrayRef, per_second: i64, target: &TargetType) -> Box<dyn Cell<F>>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let (digits, is_timestamp) = match target {
        TargetType::Datetime(digits) => (*digits, false),
        TargetType::Timestamp(digits) => (*digits, true),
        _ => (9, false),
    };
    primitive::<F, T>(array, move |value, out| {
        temporal::timestamp::<F>(out, value, per_second, digits, is_timestamp)
    })
}

fn duration<F: Form, T>(array: &ArrayRef, per_second: i64, target: &TargetType) -> Box<dyn Cell<F>>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    match target {
        TargetType::Time(digits) => time::<F, T>(array, per_second, *digits),
        _ => integer::<F, T>(array),
    }
}

/// The writer of an array for a column.
///
/// # Errors
/// `Unsupported` for an Arrow type that cannot be written.
pub(super) fn cell<F: Form>(
    array: &ArrayRef,
    field: &Field,
    target: &TargetType,
) -> Result<Box<dyn Cell<F>>> {
    Ok(match array.data_type() {
        DataType::Null => boxed(array, |_, _| Ok(())),
        DataType::Boolean => {
            let values = array.as_boolean().clone();
            boxed(array, move |row, out| {
                F::number(out, values.value(row).into());
                Ok(())
            })
        }
        DataType::Int8 => integer::<F, Int8Type>(array),
        // The text `0` would be the year 2000.
        DataType::Int16 if matches!(target, TargetType::Year) => {
            primitive::<F, Int16Type>(array, |year, out| {
                F::plain(out, |out| write!(out, "{year:04}").expect("memory takes what is written"));
                Ok(())
            })
        }
        DataType::Int16 => integer::<F, Int16Type>(array),
        DataType::Int32 => integer::<F, Int32Type>(array),
        DataType::Int64 => integer::<F, Int64Type>(array),
        DataType::UInt8 => integer::<F, UInt8Type>(array),
        DataType::UInt16 => integer::<F, UInt16Type>(array),
        DataType::UInt32 => integer::<F, UInt32Type>(array),
        // In quotes the digits would become bits.
        DataType::UInt64 if matches!(target, TargetType::Bit(_)) => {
            primitive::<F, UInt64Type>(array, |value, out| {
                F::number(out, value);
                Ok(())
            })
        }
        DataType::UInt64 => integer::<F, UInt64Type>(array),
        DataType::Float16 => return converted(array, field, &DataType::Float32, target),
        DataType::Float32 => float::<F, Float32Type>(array),
        DataType::Float64 => float::<F, Float64Type>(array),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            return converted(array, field, &DataType::Decimal128(*precision, *scale), target);
        }
        DataType::Decimal128(_, scale) => {
            let limits = decimal::Limits::new(*scale, target);
            primitive::<F, Decimal128Type>(array, move |value, out| limits.write::<F>(out, value))
        }
        DataType::Decimal256(_, scale) => {
            let limits = decimal::Limits::new(*scale, target);
            primitive::<F, Decimal256Type>(array, move |value, out| limits.write_wide::<F>(out, value))
        }
        data_type if data_type.is_temporal() => temporal_cell(array, target),
        DataType::Utf8 => {
            let values = array.as_string::<i32>().clone();
            text(array, target, move |row, write| write(values.value(row).as_bytes()))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>().clone();
            text(array, target, move |row, write| write(values.value(row).as_bytes()))
        }
        DataType::Utf8View => {
            let values = array.as_string_view().clone();
            text(array, target, move |row, write| write(values.value(row).as_bytes()))
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>().clone();
            bytes(array, target, move |row, write| write(values.value(row)))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>().clone();
            bytes(array, target, move |row, write| write(values.value(row)))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view().clone();
            bytes(array, target, move |row, write| write(values.value(row)))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary().clone();
            bytes(array, target, move |row, write| write(values.value(row)))
        }
        DataType::Dictionary(_, value) => return converted(array, field, value, target),
        DataType::RunEndEncoded(_, value) => return converted(array, field, value.data_type(), target),
        _ => {
            let values = array.clone();
            boxed(array, move |row, out| nested::write::<F>(out, &values, row))
        }
    })
}

/// The writer of dates, times, moments and durations.
fn temporal_cell<F: Form>(array: &ArrayRef, target: &TargetType) -> Box<dyn Cell<F>> {
    let fraction = if let TargetType::Time(digits) = target { *digits } else { 9 };
    match array.data_type() {
        DataType::Date32 => {
            primitive::<F, Date32Type>(array, |days, out| temporal::date::<F>(out, days.into()))
        }
        DataType::Date64 => primitive::<F, Date64Type>(array, temporal::date_of_milliseconds::<F>),
        DataType::Time32(TimeUnit::Second) => time::<F, Time32SecondType>(array, 1, fraction),
        DataType::Time32(_) => time::<F, Time32MillisecondType>(array, 1_000, fraction),
        DataType::Time64(TimeUnit::Microsecond) => {
            time::<F, Time64MicrosecondType>(array, 1_000_000, fraction)
        }
        DataType::Time64(_) => time::<F, Time64NanosecondType>(array, 1_000_000_000, fraction),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => timestamp::<F, TimestampSecondType>(array, 1, target),
            TimeUnit::Millisecond => timestamp::<F, TimestampMillisecondType>(array, 1_000, target),
            TimeUnit::Microsecond => timestamp::<F, TimestampMicrosecondType>(array, 1_000_000, target),
            TimeUnit::Nanosecond => timestamp::<F, TimestampNanosecondType>(array, 1_000_000_000, target),
        },
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => duration::<F, DurationSecondType>(array, 1, target),
            TimeUnit::Millisecond => duration::<F, DurationMillisecondType>(array, 1_000, target),
            TimeUnit::Microsecond => duration::<F, DurationMicrosecondType>(array, 1_000_000, target),
            TimeUnit::Nanosecond => duration::<F, DurationNanosecondType>(array, 1_000_000_000, target),
        },
        _ => {
            let values = array.clone();
            boxed(array, move |row, out| nested::write::<F>(out, &values, row))
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

/// Texts. Into a column of bytes they go as they are.
fn text<F: Form>(
    array: &ArrayRef,
    target: &TargetType,
    value: impl Fn(usize, Sink<'_>) -> Result<(), String> + Send + Sync + 'static,
) -> Box<dyn Cell<F>> {
    // The server would take the characters for bits.
    if matches!(target, TargetType::Bit(_)) {
        return boxed(array, move |row, out| {
            value(row, &mut |text: &[u8]| {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
                F::number(out, number.ok_or("it is no number")?);
                Ok(())
            })
        });
    }
    boxed(array, move |row, out| {
        value(row, &mut |text| {
            F::text(out, text);
            Ok(())
        })
    })
}

fn bytes<F: Form>(
    array: &ArrayRef,
    target: &TargetType,
    value: impl Fn(usize, Sink<'_>) -> Result<(), String> + Send + Sync + 'static,
) -> Box<dyn Cell<F>> {
    if matches!(target, TargetType::Geometry(_)) {
        return boxed(array, move |row, out| {
            value(row, &mut |wkb| {
                F::bytes(out, &geometry::internal(wkb)?);
                Ok(())
            })
        });
    }
    boxed(array, move |row, out| {
        value(row, &mut |bytes| {
            F::bytes(out, bytes);
            Ok(())
        })
    })
}

/// The writer of the same values in another Arrow type.
fn converted<F: Form>(
    array: &ArrayRef,
    field: &Field,
    to: &DataType,
    target: &TargetType,
) -> Result<Box<dyn Cell<F>>> {
    let plain = cast(array, to).map_err(|error| {
        let column_type = ColumnType::from(array.data_type().clone());
        Error::unsupported(format!("column `{}` of type {column_type} cannot be written", field.name()))
            .connector(crate::NAME)
            .help("cast or drop it under `transform`")
            .source(error)
    })?;
    cell(&plain, field, target)
}
