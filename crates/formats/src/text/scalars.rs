//! Columns of single values, built from their text.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
    StringBuilder,
};
use arrow::array::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};
use towpath_core::{ColumnType, Error, Result};

use super::cells::Cells;
use super::value::{self, Accept};

/// A text that does not fit a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit;

/// A column of single values that grows by text.
pub(crate) trait Scalars: Send {
    fn push(&mut self, text: &str) -> Result<(), Unfit>;
    fn push_null(&mut self);
    /// Forgets all rows from here on.
    fn truncate(&mut self, len: usize);
    /// Appends what an array of the column's own type holds.
    fn load(&mut self, array: &dyn Array);
    /// Appends all rows, with null where a text does not fit, and gives the rows where it does not. Stops at the
    /// first one if it is told so.
    fn extend(&mut self, cells: &Cells<'_>, stop_at_first: bool) -> Vec<usize>;
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// A column of this type. `accept` says how strictly texts are taken.
///
/// # Errors
/// `Config` for a type that text cannot hold.
pub(crate) fn scalars(data_type: &DataType, accept: Accept) -> Result<Box<dyn Scalars>> {
    macro_rules! integer {
        ($type:ty) => {
            primitive::<$type, _>(data_type, move |text| value::integer(text, accept))
        };
    }
    Ok(match data_type {
        DataType::Boolean => Box::new(Bools { accept, values: BooleanBufferBuilder::new(0), nulls: nulls() }),
        DataType::Utf8 => Box::new(Strings { builder: StringBuilder::new() }),
        DataType::Binary => Box::new(Binaries { offsets: vec![0], data: Vec::new(), nulls: nulls() }),
        DataType::Int8 => integer!(Int8Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int64 => integer!(Int64Type),
        DataType::UInt8 => integer!(UInt8Type),
        DataType::UInt16 => integer!(UInt16Type),
        DataType::UInt32 => integer!(UInt32Type),
        DataType::UInt64 => integer!(UInt64Type),
        #[expect(clippy::cast_possible_truncation, reason = "a column of single precision was asked for")]
        DataType::Float32 => {
            primitive::<Float32Type, _>(data_type, move |text| value::float(text, accept).map(|v| v as f32))
        }
        DataType::Float64 => primitive::<Float64Type, _>(data_type, move |text| value::float(text, accept)),
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            primitive::<Decimal128Type, _>(data_type, move |text| {
                value::decimal128(text, precision, scale, accept)
            })
        }
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            primitive::<Decimal256Type, _>(data_type, move |text| {
                value::decimal256(text, precision, scale, accept)
            })
        }
        DataType::Date32 => primitive::<Date32Type, _>(data_type, move |text| value::date(text, accept)),
        DataType::Time64(TimeUnit::Microsecond) => {
            primitive::<Time64MicrosecondType, _>(data_type, move |text| value::time(text, accept))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            primitive::<DurationMicrosecondType, _>(data_type, move |text| value::duration(text, accept))
        }
        DataType::Timestamp(unit, zone) => timestamps(data_type, *unit, zone.as_deref(), accept)?,
        other => {
            let shown = ColumnType::from(other.clone());
            return Err(Error::config(format!("a column of type {shown} cannot be read from text"))
                .help("declare it as string and cast it"));
        }
    })
}

fn timestamps(
    data_type: &DataType,
    unit: TimeUnit,
    zone: Option<&str>,
    accept: Accept,
) -> Result<Box<dyn Scalars>> {
    let zone: Option<Tz> = zone
        .map(|zone| {
            zone.parse().map_err(|_| {
                Error::config(format!(
                    "`{zone}` is not a time zone; write for example UTC, +02:00 or Europe/Berlin"
                ))
            })
        })
        .transpose()?;
    let parse = move |text: &str| value::timestamp(text, unit, zone, accept);
    Ok(match unit {
        TimeUnit::Second => primitive::<TimestampSecondType, _>(data_type, parse),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType, _>(data_type, parse),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType, _>(data_type, parse),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType, _>(data_type, parse),
    })
}

fn nulls() -> NullBufferBuilder {
    NullBufferBuilder::new(0)
}

/// Values of a fixed width, with what reads them.
struct Primitives<T: ArrowPrimitiveType, F> {
    data_type: DataType,
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    parse: F,
}

fn primitive<T, F>(data_type: &DataType, parse: F) -> Box<dyn Scalars>
where
    T: ArrowPrimitiveType,
    F: Fn(&str) -> Option<T::Native> + Send + 'static,
{
    Box::new(Primitives::<T, F> { data_type: data_type.clone(), values: Vec::new(), nulls: nulls(), parse })
}

impl<T, F> Scalars for Primitives<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&str) -> Option<T::Native> + Send,
{
    fn push(&mut self, text: &str) -> Result<(), Unfit> {
        self.values.push((self.parse)(text).ok_or(Unfit)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn load(&mut self, array: &dyn Array) {
        self.values.extend_from_slice(array.as_primitive::<T>().values());
        load_nulls(&mut self.nulls, array);
    }

    fn extend(&mut self, cells: &Cells<'_>, stop_at_first: bool) -> Vec<usize> {
        self.values.reserve(cells.len());
        extend_each(self, cells, stop_at_first)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        let array = PrimitiveArray::<T>::try_new(values, self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

struct Bools {
    accept: Accept,
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Scalars for Bools {
    fn push(&mut self, text: &str) -> Result<(), Unfit> {
        self.values.append(value::boolean(text, self.accept).ok_or(Unfit)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }

    fn load(&mut self, array: &dyn Array) {
        self.values.append_buffer(array.as_boolean().values());
        load_nulls(&mut self.nulls, array);
    }

    fn extend(&mut self, cells: &Cells<'_>, stop_at_first: bool) -> Vec<usize> {
        extend_each(self, cells, stop_at_first)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish())))
    }
}

struct Strings {
    builder: StringBuilder,
}

impl Scalars for Strings {
    fn push(&mut self, text: &str) -> Result<(), Unfit> {
        self.builder.append_value(text);
        Ok(())
    }

    fn push_null(&mut self) {
        self.builder.append_null();
    }

    fn truncate(&mut self, len: usize) {
        let kept = self.builder.finish().slice(0, len);
        self.load(&kept);
    }

    fn load(&mut self, array: &dyn Array) {
        for value in array.as_string::<i32>() {
            self.builder.append_option(value);
        }
    }

    fn extend(&mut self, cells: &Cells<'_>, _: bool) -> Vec<usize> {
        for row in 0..cells.len() {
            // An empty text is null only where it stood without quotes.
            match cells.get(row).filter(|(text, quoted)| *quoted || !text.is_empty()) {
                None => self.builder.append_null(),
                Some((text, _)) => self.builder.append_value(text),
            }
        }
        Vec::new()
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array: StringArray = self.builder.finish();
        Ok(Arc::new(array))
    }
}

/// Bytes, in text as hexadecimal digits.
struct Binaries {
    offsets: Vec<i32>,
    data: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Binaries {
    fn close(&mut self) {
        self.offsets.push(i32::try_from(self.data.len()).expect("blocks are far smaller than 2 GiB"));
    }
}

impl Scalars for Binaries {
    fn push(&mut self, text: &str) -> Result<(), Unfit> {
        self.data.extend(value::hexadecimal(text).ok_or(Unfit)?);
        self.close();
        self.nulls.append_non_null();
        Ok(())
    }

    fn push_null(&mut self) {
        self.close();
        self.nulls.append_null();
    }

    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data.truncate(usize::try_from(self.offsets[len]).expect("offsets only grow"));
        self.nulls.truncate(len);
    }

    fn load(&mut self, array: &dyn Array) {
        for value in array.as_binary::<i32>() {
            self.data.extend_from_slice(value.unwrap_or_default());
            self.close();
            self.nulls.append(value.is_some());
        }
    }

    fn extend(&mut self, cells: &Cells<'_>, stop_at_first: bool) -> Vec<usize> {
        extend_each(self, cells, stop_at_first)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let data = Buffer::from_vec(std::mem::take(&mut self.data));
        Ok(Arc::new(BinaryArray::try_new(offsets, data, self.nulls.finish())?))
    }
}

/// Generic, so that each type has a loop of its own.
fn extend_each<S: Scalars>(scalars: &mut S, cells: &Cells<'_>, stop_at_first: bool) -> Vec<usize> {
    let mut unfit = Vec::new();
    for row in 0..cells.len() {
        // Nothing but quotes can be text alone.
        match cells.get(row).filter(|(text, _)| !text.is_empty()) {
            None => scalars.push_null(),
            Some((text, _)) => {
                if scalars.push(text).is_err() {
                    scalars.push_null();
                    unfit.push(row);
                    if stop_at_first {
                        break;
                    }
                }
            }
        }
    }
    unfit
}

fn load_nulls(nulls: &mut NullBufferBuilder, array: &dyn Array) {
    match array.nulls() {
        Some(known) => nulls.append_buffer(known),
        None => nulls.append_n_non_nulls(array.len()),
    }
}
