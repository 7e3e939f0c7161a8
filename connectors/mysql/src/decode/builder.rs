//! One column as it is built.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder,
    DurationMicrosecondBuilder, PrimitiveBuilder, StringArray, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::decimal::{parse_128, parse_256};
use super::temporal::{self, Moment};
use crate::client::length_encoded;
use crate::config::ZeroDates;
use crate::types::source::{Kind, SourceColumn};

/// How much of a value that cannot be read is shown.
const SHOWN: usize = 200;

/// What became of a value.
pub(super) enum Cell {
    Read,
    /// It came whole and cannot be used. It is null in its column.
    Faulty {
        value: String,
        reason: String,
    },
    /// It did not come whole.
    Malformed,
}

/// A column as it is built.
pub(super) struct Builder {
    values: Values,
    zero_dates: ZeroDates,
}

enum Values {
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal128(Decimal128Builder, i8),
    Decimal256(Decimal256Builder, i8),
    Bit(PrimitiveBuilder<UInt64Type>),
    Date(PrimitiveBuilder<Date32Type>),
    Datetime(TimestampMicrosecondBuilder),
    Time(DurationMicrosecondBuilder),
    /// Checked to be UTF-8 at once when it is finished.
    Text(BinaryBuilder),
    Binary(BinaryBuilder),
    Geometry(BinaryBuilder),
}

impl Builder {
    pub(super) fn new(column: &SourceColumn, rows: usize, bytes: usize, zero_dates: ZeroDates) -> Self {
        let values = match column.kind {
            Kind::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Int8 => Values::Int8(PrimitiveBuilder::with_capacity(rows)),
            // A year takes two bytes on the wire.
            Kind::Int16 | Kind::Year => Values::Int16(PrimitiveBuilder::with_capacity(rows)),
            Kind::Int32 => Values::Int32(PrimitiveBuilder::with_capacity(rows)),
            Kind::Int64 => Values::Int64(PrimitiveBuilder::with_capacity(rows)),
            Kind::UInt8 => Values::UInt8(PrimitiveBuilder::with_capacity(rows)),
            Kind::UInt16 => Values::UInt16(PrimitiveBuilder::with_capacity(rows)),
            Kind::UInt32 => Values::UInt32(PrimitiveBuilder::with_capacity(rows)),
            Kind::UInt64 => Values::UInt64(PrimitiveBuilder::with_capacity(rows)),
            Kind::Float32 => Values::Float32(PrimitiveBuilder::with_capacity(rows)),
            Kind::Float64 => Values::Float64(PrimitiveBuilder::with_capacity(rows)),
            Kind::Decimal128 { scale, .. } => {
                let builder = Decimal128Builder::with_capacity(rows).with_data_type(column.kind.data_type());
                Values::Decimal128(builder, scale)
            }
            Kind::Decimal256 { scale, .. } => {
                let builder = Decimal256Builder::with_capacity(rows).with_data_type(column.kind.data_type());
                Values::Decimal256(builder, scale)
            }
            Kind::Bit => Values::Bit(PrimitiveBuilder::with_capacity(rows)),
            Kind::Date => Values::Date(PrimitiveBuilder::with_capacity(rows)),
            Kind::Datetime | Kind::Timestamp => {
                let builder = TimestampMicrosecondBuilder::with_capacity(rows);
                Values::Datetime(builder.with_data_type(column.kind.data_type()))
            }
            Kind::Time => Values::Time(DurationMicrosecondBuilder::with_capacity(rows)),
            Kind::Text | Kind::Json => Values::Text(BinaryBuilder::with_capacity(rows, bytes)),
            Kind::Binary => Values::Binary(BinaryBuilder::with_capacity(rows, bytes)),
            Kind::Geometry => Values::Geometry(BinaryBuilder::with_capacity(rows, bytes)),
        };
        Self { values, zero_dates }
    }

    pub(super) fn append_null(&mut self) {
        match &mut self.values {
            Values::Boolean(builder) => builder.append_null(),
            Values::Int8(builder) => builder.append_null(),
            Values::Int16(builder) => builder.append_null(),
            Values::Int32(builder) => builder.append_null(),
            Values::Int64(builder) => builder.append_null(),
            Values::UInt8(builder) => builder.append_null(),
            Values::UInt16(builder) => builder.append_null(),
            Values::UInt32(builder) => builder.append_null(),
            Values::UInt64(builder) | Values::Bit(builder) => builder.append_null(),
            Values::Float32(builder) => builder.append_null(),
            Values::Float64(builder) => builder.append_null(),
            Values::Decimal128(builder, _) => builder.append_null(),
            Values::Decimal256(builder, _) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Datetime(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::Text(builder) | Values::Binary(builder) | Values::Geometry(builder) => {
                builder.append_null();
            }
        }
    }

    /// Takes the next value from the front of the row.
    #[inline]
    pub(super) fn append(&mut self, rest: &mut &[u8]) -> Cell {
        let zero_dates = self.zero_dates;
        match &mut self.values {
            Values::Boolean(builder) => boolean(builder, rest),
            Values::Int8(builder) => number(builder, rest, i8::from_le_bytes),
            Values::Int16(builder) => number(builder, rest, i16::from_le_bytes),
            Values::Int32(builder) => number(builder, rest, i32::from_le_bytes),
            Values::Int64(builder) => number(builder, rest, i64::from_le_bytes),
            Values::UInt8(builder) => number(builder, rest, u8::from_le_bytes),
            Values::UInt16(builder) => number(builder, rest, u16::from_le_bytes),
            Values::UInt32(builder) => number(builder, rest, u32::from_le_bytes),
            Values::UInt64(builder) => number(builder, rest, u64::from_le_bytes),
            Values::Float32(builder) => number(builder, rest, f32::from_le_bytes),
            Values::Float64(builder) => number(builder, rest, f64::from_le_bytes),
            Values::Decimal128(builder, scale) => {
                let Some(text) = bytes(rest) else { return Cell::Malformed };
                let value = parse_128(text, *scale);
                builder.append_option(value);
                if value.is_some() { Cell::Read } else { no_decimal(text) }
            }
            Values::Decimal256(builder, scale) => {
                let Some(text) = bytes(rest) else { return Cell::Malformed };
                let value = parse_256(text, *scale);
                builder.append_option(value);
                if value.is_some() { Cell::Read } else { no_decimal(text) }
            }
            Values::Bit(builder) => {
                let Some(bits) = bytes(rest).filter(|bits| bits.len() <= 8) else { return Cell::Malformed };
                builder.append_value(bits.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)));
                Cell::Read
            }
            Values::Date(builder) => {
                let Some(text) = bytes(rest) else { return Cell::Malformed };
                let Some(moment) = temporal::date(text) else { return Cell::Malformed };
                let (value, cell) = judge(moment, text, zero_dates);
                builder.append_option(value);
                cell
            }
            Values::Datetime(builder) => {
                let Some(text) = bytes(rest) else { return Cell::Malformed };
                let Some(moment) = temporal::datetime(text) else { return Cell::Malformed };
                let (value, cell) = judge(moment, text, zero_dates);
                builder.append_option(value);
                cell
            }
            Values::Time(builder) => {
                let Some(value) = bytes(rest).and_then(temporal::time) else { return Cell::Malformed };
                builder.append_value(value);
                Cell::Read
            }
            Values::Text(builder) | Values::Binary(builder) => {
                let Some(value) = bytes(rest) else { return Cell::Malformed };
                builder.append_value(value);
                Cell::Read
            }
            Values::Geometry(builder) => geometry(builder, rest),
        }
    }

    /// The column. Texts that are none are told, and null.
    pub(super) fn finish(self, fault: impl FnMut(usize, String, String)) -> ArrayRef {
        match self.values {
            Values::Boolean(mut builder) => Arc::new(builder.finish()),
            Values::Int8(mut builder) => Arc::new(builder.finish()),
            Values::Int16(mut builder) => Arc::new(builder.finish()),
            Values::Int32(mut builder) => Arc::new(builder.finish()),
            Values::Int64(mut builder) => Arc::new(builder.finish()),
            Values::UInt8(mut builder) => Arc::new(builder.finish()),
            Values::UInt16(mut builder) => Arc::new(builder.finish()),
            Values::UInt32(mut builder) => Arc::new(builder.finish()),
            Values::UInt64(mut builder) | Values::Bit(mut builder) => Arc::new(builder.finish()),
            Values::Float32(mut builder) => Arc::new(builder.finish()),
            Values::Float64(mut builder) => Arc::new(builder.finish()),
            Values::Decimal128(mut builder, _) => Arc::new(builder.finish()),
            Values::Decimal256(mut builder, _) => Arc::new(builder.finish()),
            Values::Date(mut builder) => Arc::new(builder.finish()),
            Values::Datetime(mut builder) => Arc::new(builder.finish()),
            Values::Time(mut builder) => Arc::new(builder.finish()),
            Values::Text(mut builder) => text(&builder.finish(), fault),
            Values::Binary(mut builder) | Values::Geometry(mut builder) => Arc::new(builder.finish()),
        }
    }
}

#[inline]
fn number<T, const WIDTH: usize>(
    builder: &mut PrimitiveBuilder<T>,
    rest: &mut &[u8],
    read: fn([u8; WIDTH]) -> T::Native,
) -> Cell
where
    T: ArrowPrimitiveType,
{
    let Some((value, behind)) = rest.split_first_chunk::<WIDTH>() else { return Cell::Malformed };
    *rest = behind;
    builder.append_value(read(*value));
    Cell::Read
}

#[inline]
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(length_encoded(rest)?).ok()?;
    let (value, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(value)
}

fn boolean(builder: &mut BooleanBuilder, rest: &mut &[u8]) -> Cell {
    let Some((&value, behind)) = rest.split_first() else { return Cell::Malformed };
    *rest = behind;
    if value <= 1 {
        builder.append_value(value == 1);
        return Cell::Read;
    }
    builder.append_null();
    Cell::Faulty {
        value: value.cast_signed().to_string(),
        reason: "a tinyint(1) that is neither 0 nor 1; set `tinyint1: int8` to read it as a number"
            .to_owned(),
    }
}

fn no_decimal(text: &[u8]) -> Cell {
    Cell::Faulty { value: shown(text), reason: "a decimal that its declared type cannot hold".to_owned() }
}

fn judge<T>(moment: Moment<T>, bytes: &[u8], zero_dates: ZeroDates) -> (Option<T>, Cell) {
    let reason = match moment {
        Moment::At(value) => return (Some(value), Cell::Read),
        Moment::Zero if zero_dates == ZeroDates::Null => return (None, Cell::Read),
        Moment::Zero => "a date with zeros, which is no date; set `zero_dates: null` to read it as null",
        Moment::Impossible => "a day that the calendar does not have",
    };
    (None, Cell::Faulty { value: temporal::text(bytes), reason: reason.to_owned() })
}

/// The bit in the type of a geometry that says that the number of its reference system follows.
const HAS_SRID: u32 = 0x2000_0000;

/// A geometry is the number of its reference system and well-known binary.
fn geometry(builder: &mut BinaryBuilder, rest: &mut &[u8]) -> Cell {
    let Some(value) = bytes(rest) else { return Cell::Malformed };
    let parts = value.split_first_chunk::<4>().and_then(|(srid, wkb)| {
        let (order, behind) = wkb.split_first()?;
        let (kind, _) = behind.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*srid), *order, *kind, wkb))
    });
    let Some((srid, order, kind, wkb)) = parts else {
        builder.append_null();
        return Cell::Faulty { value: shown(value), reason: "a geometry that breaks off".to_owned() };
    };
    if srid == 0 {
        builder.append_value(wkb);
        return Cell::Read;
    }
    let is_little = order == 1;
    let kind = HAS_SRID | if is_little { u32::from_le_bytes(kind) } else { u32::from_be_bytes(kind) };
    let number = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
    builder.append_value([&[order][..], &number(kind), &number(srid), &wkb[5..]].concat());
    Cell::Read
}

fn text(array: &BinaryArray, mut fault: impl FnMut(usize, String, String)) -> ArrayRef {
    if let Ok(texts) = StringArray::try_from_binary(array.clone()) {
        return Arc::new(texts);
    }
    let texts = array.iter().enumerate().map(|(row, value)| {
        let value = value?;
        let text = std::str::from_utf8(value).ok();
        if text.is_none() {
            fault(row, shown(value), "a text that is not UTF-8".to_owned());
        }
        text
    });
    Arc::new(texts.collect::<StringArray>())
}

/// The beginning of a value, with what is not text replaced.
fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned()
}
