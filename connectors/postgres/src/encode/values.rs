//! The values of a column, ready to be put one by one.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "types were chosen so that their values fit, and offsets are not negative"
)]

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, ListArray,
    PrimitiveArray, StringArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};
use bytes::BufMut;
use towpath_core::{Error, Result};

use super::Refusal;
use super::numeric::{put_i128, put_i256};
use crate::types::Wire;

/// Days and microseconds between 1970, where Arrow counts from, and 2000, where Postgres does.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// The first and the last day behind what Postgres holds, from 2000 on: 4714-11-24 BC and 5874897-12-31.
const DATES: std::ops::Range<i32> = -2_451_507..2_145_031_949;
/// The same for timestamps, in microseconds: 4714-11-24 BC and 294276-12-31.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

type Put = std::result::Result<(), Refusal>;

/// The values of a column, borrowed.
pub(super) struct Values<'a> {
    array: &'a dyn Array,
    nullable: bool,
    /// Whether a zero byte is anywhere near, so that each text has to be looked through.
    zeros: bool,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Bool(&'a BooleanArray),
    Int2(Integers<'a>),
    Int4(Integers<'a>),
    Int8(Integers<'a>),
    Oid(&'a PrimitiveArray<UInt32Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
    Float4As8(&'a PrimitiveArray<Float32Type>),
    Decimal128(&'a Decimal128Array, u16),
    Decimal256(&'a Decimal256Array, u16),
    IntegerNumeric(Integers<'a>),
    Text(&'a StringArray),
    Jsonb(&'a StringArray),
    Uuid(&'a StringArray),
    Bytes(&'a BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(Moments<'a>),
    Timestamp(Moments<'a>),
    Array(Lists<'a>),
}

/// Integers of any width.
enum Integers<'a> {
    I8(&'a PrimitiveArray<Int8Type>),
    I16(&'a PrimitiveArray<Int16Type>),
    I32(&'a PrimitiveArray<Int32Type>),
    I64(&'a PrimitiveArray<Int64Type>),
    U8(&'a PrimitiveArray<UInt8Type>),
    U16(&'a PrimitiveArray<UInt16Type>),
    U32(&'a PrimitiveArray<UInt32Type>),
    U64(&'a PrimitiveArray<UInt64Type>),
}

impl Integers<'_> {
    #[inline]
    fn at(&self, row: usize) -> i128 {
        match self {
            Self::I8(array) => array.value(row).into(),
            Self::I16(array) => array.value(row).into(),
            Self::I32(array) => array.value(row).into(),
            Self::I64(array) => array.value(row).into(),
            Self::U8(array) => array.value(row).into(),
            Self::U16(array) => array.value(row).into(),
            Self::U32(array) => array.value(row).into(),
            Self::U64(array) => array.value(row).into(),
        }
    }
}

/// Times or timestamps of any unit, as microseconds.
struct Moments<'a> {
    values: MomentValues<'a>,
    /// What a value is multiplied with.
    factor: i64,
}

enum MomentValues<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
    Nanoseconds(&'a [i64]),
}

/// Lists, and lists of lists.
struct Lists<'a> {
    /// From the outermost to the innermost.
    levels: Vec<&'a ListArray>,
    items: Box<Values<'a>>,
    item_type: u32,
}

impl<'a> Values<'a> {
    pub(super) fn new(array: &'a ArrayRef, wire: &Wire) -> Result<Self> {
        let array: &'a dyn Array = array.as_ref();
        let kind = kind(array, wire)?;
        let zeros = match kind {
            Kind::Text(array) | Kind::Jsonb(array) => array.value_data().contains(&0),
            _ => false,
        };
        Ok(Self { array, nullable: array.null_count() > 0, zeros, kind })
    }

    /// Puts a value with its length, or null.
    #[inline]
    pub(super) fn put(&self, row: usize, buffer: &mut Vec<u8>) -> Put {
        if self.nullable && self.array.is_null(row) {
            buffer.put_i32(-1);
            return Ok(());
        }
        match &self.kind {
            Kind::Bool(array) => put(buffer, [u8::from(array.value(row))]),
            // These types were chosen so that every value fits.
            Kind::Int2(integers) => put(buffer, (integers.at(row) as i16).to_be_bytes()),
            Kind::Int4(integers) => put(buffer, (integers.at(row) as i32).to_be_bytes()),
            Kind::Int8(integers) => put(buffer, (integers.at(row) as i64).to_be_bytes()),
            Kind::Oid(array) => put(buffer, array.value(row).to_be_bytes()),
            Kind::Float4(array) => put(buffer, array.value(row).to_be_bytes()),
            Kind::Float8(array) => put(buffer, array.value(row).to_be_bytes()),
            Kind::Float4As8(array) => put(buffer, f64::from(array.value(row)).to_be_bytes()),
            Kind::Decimal128(array, scale) => put_i128(array.value(row), *scale, buffer),
            Kind::Decimal256(array, scale) => put_i256(array.value(row), *scale, buffer),
            Kind::IntegerNumeric(integers) => put_i128(integers.at(row), 0, buffer),
            Kind::Text(array) => put_slice(self.text(array, row)?.as_bytes(), buffer)?,
            Kind::Jsonb(array) => put_jsonb(self.text(array, row)?, buffer)?,
            Kind::Uuid(array) => {
                let text = array.value(row);
                let uuid =
                    towpath_sql::parse_uuid(text).ok_or_else(|| Refusal::new(text, "it is no UUID"))?;
                put(buffer, uuid.to_be_bytes());
            }
            Kind::Bytes(array) => put_slice(array.value(row), buffer)?,
            Kind::Date(array) => put(buffer, date(array.value(row))?.to_be_bytes()),
            Kind::Time(moments) => put(buffer, moments.at(row)?.to_be_bytes()),
            Kind::Timestamp(moments) => put(buffer, timestamp(moments.at(row)?)?.to_be_bytes()),
            Kind::Array(lists) => return lists.put(row, buffer),
        }
        Ok(())
    }

    #[inline]
    fn text(&self, array: &'a StringArray, row: usize) -> std::result::Result<&'a str, Refusal> {
        let text = array.value(row);
        if self.zeros && text.as_bytes().contains(&0) {
            let shown = text.replace('\0', "\u{2400}");
            return Err(Refusal::new(shown, "Postgres holds no text with a zero byte"));
        }
        Ok(text)
    }
}

fn kind<'a>(array: &'a dyn Array, wire: &Wire) -> Result<Kind<'a>> {
    let data_type = array.data_type();
    let mismatch =
        || Error::unexpected(format!("{data_type} cannot be written as {wire:?}")).connector(crate::NAME);
    let integers = || integers(array).ok_or_else(mismatch);
    Ok(match (wire, data_type) {
        (Wire::Bool, DataType::Boolean) => Kind::Bool(array.as_boolean()),
        (Wire::Int2, _) => Kind::Int2(integers()?),
        (Wire::Int4, _) => Kind::Int4(integers()?),
        (Wire::Int8, _) => Kind::Int8(integers()?),
        (Wire::Oid, DataType::UInt32) => Kind::Oid(array.as_primitive()),
        (Wire::Float4, DataType::Float32) => Kind::Float4(array.as_primitive()),
        (Wire::Float8, DataType::Float64) => Kind::Float8(array.as_primitive()),
        (Wire::Float8, DataType::Float32) => Kind::Float4As8(array.as_primitive()),
        (Wire::Numeric, DataType::Decimal128(_, scale)) => {
            Kind::Decimal128(array.as_primitive(), u16::try_from(*scale).map_err(|_| mismatch())?)
        }
        (Wire::Numeric, DataType::Decimal256(_, scale)) => {
            Kind::Decimal256(array.as_primitive(), u16::try_from(*scale).map_err(|_| mismatch())?)
        }
        (Wire::Numeric, _) => Kind::IntegerNumeric(integers()?),
        (Wire::Text | Wire::Literal, DataType::Utf8) => Kind::Text(array.as_string()),
        (Wire::Jsonb, DataType::Utf8) => Kind::Jsonb(array.as_string()),
        (Wire::Uuid, DataType::Utf8) => Kind::Uuid(array.as_string()),
        (Wire::Bytes, DataType::Binary) => Kind::Bytes(array.as_binary()),
        (Wire::Date, DataType::Date32) => Kind::Date(array.as_primitive()),
        (Wire::Time, _) => Kind::Time(moments(array).ok_or_else(mismatch)?),
        (Wire::Timestamp, _) => Kind::Timestamp(moments(array).ok_or_else(mismatch)?),
        (Wire::Array { item_type, item }, DataType::List(_)) => Kind::Array(lists(array, *item_type, item)?),
        _ => return Err(mismatch()),
    })
}

fn integers(array: &dyn Array) -> Option<Integers<'_>> {
    Some(match array.data_type() {
        DataType::Int8 => Integers::I8(array.as_primitive()),
        DataType::Int16 => Integers::I16(array.as_primitive()),
        DataType::Int32 => Integers::I32(array.as_primitive()),
        DataType::Int64 => Integers::I64(array.as_primitive()),
        DataType::UInt8 => Integers::U8(array.as_primitive()),
        DataType::UInt16 => Integers::U16(array.as_primitive()),
        DataType::UInt32 => Integers::U32(array.as_primitive()),
        DataType::UInt64 => Integers::U64(array.as_primitive()),
        _ => return None,
    })
}

fn moments(array: &dyn Array) -> Option<Moments<'_>> {
    fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> &[T::Native] {
        array.as_primitive::<T>().values()
    }
    let (values, factor) = match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            (MomentValues::Narrow(values::<Time32SecondType>(array)), 1_000_000)
        }
        DataType::Time32(_) => (MomentValues::Narrow(values::<Time32MillisecondType>(array)), 1_000),
        DataType::Time64(TimeUnit::Microsecond) => {
            (MomentValues::Wide(values::<Time64MicrosecondType>(array)), 1)
        }
        DataType::Time64(_) => (MomentValues::Nanoseconds(values::<Time64NanosecondType>(array)), 1),
        DataType::Timestamp(TimeUnit::Second, _) => {
            (MomentValues::Wide(values::<TimestampSecondType>(array)), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (MomentValues::Wide(values::<TimestampMillisecondType>(array)), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (MomentValues::Wide(values::<TimestampMicrosecondType>(array)), 1)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (MomentValues::Nanoseconds(values::<TimestampNanosecondType>(array)), 1)
        }
        _ => return None,
    };
    Some(Moments { values, factor })
}

impl Moments<'_> {
    #[inline]
    fn at(&self, row: usize) -> std::result::Result<i64, Refusal> {
        let (value, factor) = match &self.values {
            MomentValues::Narrow(values) => (i64::from(values[row]), self.factor),
            MomentValues::Wide(values) => (values[row], self.factor),
            MomentValues::Nanoseconds(values) => {
                let nanoseconds = values[row];
                if nanoseconds % 1_000 != 0 {
                    return Err(Refusal::new(
                        format!("{nanoseconds} ns"),
                        "Postgres holds no parts of a microsecond; cast the column to microseconds",
                    ));
                }
                return Ok(nanoseconds / 1_000);
            }
        };
        value
            .checked_mul(factor)
            .ok_or_else(|| Refusal::new(value.to_string(), "Postgres holds no moment so far away"))
    }
}

/// The least and the greatest day are infinities, here as there.
fn date(days: i32) -> std::result::Result<i32, Refusal> {
    if days == i32::MIN || days == i32::MAX {
        return Ok(days);
    }
    let days = days.checked_sub(EPOCH_DAYS).filter(|days| DATES.contains(days));
    days.ok_or_else(|| Refusal::new("a date", "Postgres holds no date so far away"))
}

/// The least and the greatest moment are infinities, here as there.
fn timestamp(microseconds: i64) -> std::result::Result<i64, Refusal> {
    if microseconds == i64::MIN || microseconds == i64::MAX {
        return Ok(microseconds);
    }
    let moment = microseconds.checked_sub(EPOCH_MICROSECONDS).filter(|moment| TIMESTAMPS.contains(moment));
    moment.ok_or_else(|| Refusal::new(microseconds.to_string(), "Postgres holds no moment so far away"))
}

/// A value that is no longer than sixteen bytes, behind its length, by one copy.
#[inline]
fn put<const N: usize>(buffer: &mut Vec<u8>, value: [u8; N]) {
    let mut field = [0; 20];
    field[..4].copy_from_slice(&(N as i32).to_be_bytes());
    field[4..4 + N].copy_from_slice(&value);
    buffer.extend_from_slice(&field[..4 + N]);
}

fn put_slice(value: &[u8], buffer: &mut Vec<u8>) -> Put {
    let length = i32::try_from(value.len())
        .map_err(|_| Refusal::new("a value", "Postgres holds no more than 1 GB"))?;
    buffer.reserve(4 + value.len());
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(value);
    Ok(())
}

/// In front of the text of `jsonb` stands the version of its form.
fn put_jsonb(text: &str, buffer: &mut Vec<u8>) -> Put {
    let length = i32::try_from(text.len() + 1)
        .map_err(|_| Refusal::new("a value", "Postgres holds no more than 1 GB"))?;
    buffer.put_i32(length);
    buffer.put_u8(1);
    buffer.put_slice(text.as_bytes());
    Ok(())
}

fn lists<'a>(array: &'a dyn Array, item_type: u32, item: &Wire) -> Result<Lists<'a>> {
    let mut levels = vec![array.as_list::<i32>()];
    loop {
        let values = levels[levels.len() - 1].values();
        if !matches!(values.data_type(), DataType::List(_)) {
            return Ok(Lists { items: Box::new(Values::new(values, item)?), levels, item_type });
        }
        levels.push(values.as_list::<i32>());
    }
}

impl Lists<'_> {
    /// Dimensions, whether there are nulls, the type of items; for each dimension its length and first index; the items in
    /// row-major order.
    fn put(&self, row: usize, buffer: &mut Vec<u8>) -> Put {
        let lengths = self.lengths(row)?;
        let start = buffer.len();
        buffer.put_i32(0);
        let is_empty = lengths.contains(&0);
        buffer.put_i32(if is_empty { 0 } else { lengths.len() as i32 });
        buffer.put_i32(1);
        buffer.put_u32(self.item_type);
        if !is_empty {
            for length in &lengths {
                buffer.put_i32(*length);
                buffer.put_i32(1);
            }
            let (mut from, mut to) = (row, row + 1);
            for level in &self.levels {
                let offsets = level.value_offsets();
                (from, to) = (offsets[from] as usize, offsets[to] as usize);
            }
            for item in from..to {
                self.items.put(item, buffer)?;
            }
        }
        let length = i32::try_from(buffer.len() - start - 4);
        let length = length.map_err(|_| Refusal::new("an array", "Postgres holds no more than 1 GB"))?;
        buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// The length of each dimension, which must be the same everywhere.
    fn lengths(&self, row: usize) -> std::result::Result<Vec<i32>, Refusal> {
        let ragged =
            || Refusal::new("an array", "all lists of one level must be equally long, and none may be null");
        let mut lengths = Vec::with_capacity(self.levels.len());
        let (mut from, mut to) = (row, row + 1);
        for (depth, level) in self.levels.iter().enumerate() {
            let offsets = &level.value_offsets()[from..=to];
            let mut all = offsets.windows(2).map(|pair| pair[1] - pair[0]);
            let first = all.next().unwrap_or(0);
            let has_null = depth > 0 && (from..to).any(|list| level.is_null(list));
            if has_null || all.any(|length| length != first) {
                return Err(ragged());
            }
            lengths.push(first);
            (from, to) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        }
        Ok(lengths)
    }
}
