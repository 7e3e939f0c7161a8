//! A column that grows by many values at once.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder, ListArray,
    NullBufferBuilder, PrimitiveBuilder, StringBuilder, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type, i256,
};
use towpath_core::{Error, Result};

use super::numeric::Numeric;
use super::text::TextBuilder;
use super::{Reader, Refusal};
use crate::types::{Decode, list_item, struct_fields};

/// Days and microseconds between 1970, where Arrow counts from, and 2000, where Postgres does.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

type Appended = std::result::Result<(), Refusal>;

/// A column that grows by many values at once. A value that is refused is null in it.
pub(super) enum Builder {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Oid(PrimitiveBuilder<UInt32Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    NumericText(StringBuilder),
    Text(TextBuilder),
    Jsonb(StringBuilder),
    Uuid(StringBuilder),
    Bytes(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>, Option<Arc<str>>),
    List(ListBuilder),
    Struct(StructBuilder),
}

/// A list of lists, as deep as `offsets` are.
pub(super) struct ListBuilder {
    /// Where the items of each list begin and end, from the outermost to the innermost.
    offsets: Vec<Vec<i32>>,
    nulls: NullBufferBuilder,
    items: Box<Builder>,
}

pub(super) struct StructBuilder {
    fields: Vec<(String, Decode)>,
    builders: Vec<Builder>,
    nulls: NullBufferBuilder,
}

impl Builder {
    pub(super) fn new(decode: &Decode, rows: usize) -> Self {
        let text = || StringBuilder::with_capacity(rows, 16 * rows);
        match decode {
            Decode::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Decode::Int2 => Self::Int2(PrimitiveBuilder::with_capacity(rows)),
            Decode::Int4 => Self::Int4(PrimitiveBuilder::with_capacity(rows)),
            Decode::Int8 => Self::Int8(PrimitiveBuilder::with_capacity(rows)),
            Decode::Oid => Self::Oid(PrimitiveBuilder::with_capacity(rows)),
            Decode::Float4 => Self::Float4(PrimitiveBuilder::with_capacity(rows)),
            Decode::Float8 => Self::Float8(PrimitiveBuilder::with_capacity(rows)),
            Decode::Decimal128 { precision, scale } => {
                Self::Decimal128(Decimal128Builder::with_capacity(rows), *precision, *scale)
            }
            Decode::Decimal256 { precision, scale } => {
                Self::Decimal256(Decimal256Builder::with_capacity(rows), *precision, *scale)
            }
            Decode::NumericText => Self::NumericText(text()),
            Decode::Text => Self::Text(TextBuilder::with_capacity(rows)),
            Decode::Jsonb => Self::Jsonb(text()),
            Decode::Uuid => Self::Uuid(StringBuilder::with_capacity(rows, 36 * rows)),
            Decode::Bytes => Self::Bytes(BinaryBuilder::with_capacity(rows, 16 * rows)),
            Decode::Date => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            Decode::Time => Self::Time(PrimitiveBuilder::with_capacity(rows)),
            Decode::Timestamp => Self::Timestamp(PrimitiveBuilder::with_capacity(rows), None),
            Decode::TimestampTz => Self::Timestamp(PrimitiveBuilder::with_capacity(rows), Some("UTC".into())),
            Decode::List { item, dimensions } => Self::List(ListBuilder {
                offsets: vec![vec![0]; *dimensions],
                nulls: NullBufferBuilder::new(rows),
                items: Box::new(Self::new(item, rows)),
            }),
            Decode::Struct(fields) => Self::Struct(StructBuilder {
                fields: fields.clone(),
                builders: fields.iter().map(|(_, decode)| Self::new(decode, rows)).collect(),
                nulls: NullBufferBuilder::new(rows),
            }),
        }
    }

    /// Appends values. One that is refused leaves a null, or a list or struct with a null in it, and `refuse` is told which
    /// it was and why.
    pub(super) fn append_all<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a [u8]>> + Clone,
        refuse: &mut dyn FnMut(usize, Refusal),
    ) {
        // What a value is read as is decided once for all of them.
        match self {
            Self::Bool(builder) => {
                let read = |bytes| Ok(fixed::<1>(bytes)? != [0]);
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Int2(builder) => numbers(builder, values, refuse, i16::from_be_bytes),
            Self::Int4(builder) => numbers(builder, values, refuse, i32::from_be_bytes),
            Self::Int8(builder) => numbers(builder, values, refuse, i64::from_be_bytes),
            Self::Oid(builder) => numbers(builder, values, refuse, u32::from_be_bytes),
            Self::Float4(builder) => numbers(builder, values, refuse, f32::from_be_bytes),
            Self::Float8(builder) => numbers(builder, values, refuse, f64::from_be_bytes),
            Self::Time(builder) => numbers(builder, values, refuse, i64::from_be_bytes),
            Self::Date(builder) => {
                let read = |bytes| date(i32::from_be_bytes(fixed(bytes)?));
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Timestamp(builder, _) => {
                let read = |bytes| timestamp(i64::from_be_bytes(fixed(bytes)?));
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Decimal128(builder, _, scale) => {
                let read = |bytes| numeric(bytes)?.unscaled(*scale);
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Decimal256(builder, precision, scale) => {
                let read = |bytes| decimal256(bytes, *precision, *scale);
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::NumericText(builder) => {
                let read = |bytes| Ok(numeric(bytes)?.text());
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Text(builder) => builder.append_all(values, refuse),
            Self::Jsonb(builder) => each(values, refuse, jsonb, |value| builder.append_option(value)),
            Self::Uuid(builder) => {
                let read = |bytes| Ok(towpath_sql::format_uuid(u128::from_be_bytes(fixed(bytes)?)));
                each(values, refuse, read, |value| builder.append_option(value));
            }
            Self::Bytes(builder) => each(values, refuse, Ok, |value| builder.append_option(value)),
            Self::List(list) => nested(values, refuse, |value| list.append(value)),
            Self::Struct(fields) => nested(values, refuse, |value| fields.append(value)),
        }
    }

    /// Appends one value, as [`append_all`](Self::append_all) does.
    fn append(&mut self, value: Option<&[u8]>) -> Appended {
        let mut appended = Ok(());
        self.append_all(std::iter::once(value), &mut |_, refusal| appended = Err(refusal));
        appended
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int2(mut builder) => Arc::new(builder.finish()),
            Self::Int4(mut builder) => Arc::new(builder.finish()),
            Self::Int8(mut builder) => Arc::new(builder.finish()),
            Self::Oid(mut builder) => Arc::new(builder.finish()),
            Self::Float4(mut builder) => Arc::new(builder.finish()),
            Self::Float8(mut builder) => Arc::new(builder.finish()),
            Self::Decimal128(mut builder, precision, scale) => {
                Arc::new(builder.finish().with_precision_and_scale(precision, scale)?)
            }
            Self::Decimal256(mut builder, precision, scale) => {
                Arc::new(builder.finish().with_precision_and_scale(precision, scale)?)
            }
            Self::Text(builder) => builder.finish()?,
            Self::NumericText(mut builder) | Self::Jsonb(mut builder) | Self::Uuid(mut builder) => {
                Arc::new(builder.finish())
            }
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Time(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder, zone) => Arc::new(builder.finish().with_timezone_opt(zone)),
            Self::List(list) => list.finish()?,
            Self::Struct(fields) => fields.finish()?,
        })
    }
}

impl ListBuilder {
    fn append_null(&mut self) {
        self.close(0);
        self.nulls.append_null();
    }

    /// Ends a list of the outermost dimension that has so many more parts.
    fn close(&mut self, parts: i32) {
        let end = self.offsets[0].last().copied().unwrap_or(0);
        self.offsets[0].push(end + parts);
    }

    fn append(&mut self, value: Option<&[u8]>) -> Appended {
        let Some(bytes) = value else {
            self.append_null();
            return Ok(());
        };
        let array = match WireArray::read(bytes).and_then(|array| self.fits(array)) {
            Ok(array) => array,
            Err(refusal) => {
                self.append_null();
                return Err(refusal);
            }
        };
        self.nulls.append_non_null();
        if array.lengths.is_empty() {
            // An empty array has no dimensions.
            self.close(0);
            return Ok(());
        }
        let mut lists = 1;
        for (offsets, length) in self.offsets.iter_mut().zip(&array.lengths) {
            for _ in 0..lists {
                let end = offsets.last().copied().unwrap_or(0);
                offsets.push(end + length);
            }
            lists *= length;
        }
        let mut appended = Ok(());
        self.items.append_all(array.items.into_iter(), &mut |_, refusal| {
            if appended.is_ok() {
                appended = Err(refusal);
            }
        });
        appended
    }

    /// Whether the array has the dimensions of the column, and offsets have room for it.
    fn fits<'a>(&self, array: WireArray<'a>) -> std::result::Result<WireArray<'a>, Refusal> {
        let dimensions = array.lengths.len();
        if dimensions != 0 && dimensions != self.offsets.len() {
            let declared = self.offsets.len();
            let reason = format!("the column declares {declared}; read it with `arrays: text`");
            return Err(Refusal::new(format!("an array of {dimensions} dimensions"), reason));
        }
        let innermost = self.offsets.last().and_then(|offsets| offsets.last()).copied().unwrap_or(0);
        match i32::try_from(array.items.len()).ok().and_then(|items| innermost.checked_add(items)) {
            Some(_) => Ok(array),
            None => Err(Refusal::new("an array", "a batch cannot hold so many items")),
        }
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let mut array = self.items.finish()?;
        let outermost = self.nulls.finish();
        for (depth, offsets) in self.offsets.into_iter().enumerate().rev() {
            let nulls = if depth == 0 { outermost.clone() } else { None };
            let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
            array =
                Arc::new(ListArray::try_new(list_item(array.data_type().clone()), offsets, array, nulls)?);
        }
        Ok(array)
    }
}

impl StructBuilder {
    fn append_null(&mut self) {
        for builder in &mut self.builders {
            // Nothing is refused of a null.
            let _ = builder.append(None);
        }
        self.nulls.append_null();
    }

    fn append(&mut self, value: Option<&[u8]>) -> Appended {
        let Some(bytes) = value else {
            self.append_null();
            return Ok(());
        };
        let Some(values) = self.values(bytes) else {
            self.append_null();
            return Err(unknown_form(bytes));
        };
        self.nulls.append_non_null();
        let mut appended = Ok(());
        for (builder, value) in self.builders.iter_mut().zip(values) {
            appended = appended.and(builder.append(value));
        }
        appended
    }

    /// A composite: the number of its fields, and of each its type and value.
    fn values<'a>(&self, bytes: &'a [u8]) -> Option<Vec<Option<&'a [u8]>>> {
        let mut reader = Reader { rest: bytes };
        let count = usize::try_from(reader.i32().ok()?).ok()?;
        let value = |_| {
            reader.take(4).ok()?;
            reader.field().ok()
        };
        (count == self.builders.len()).then(|| (0..count).map(value).collect())?
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let arrays = self.builders.into_iter().map(Builder::finish).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new(struct_fields(&self.fields), arrays, self.nulls.finish())?))
    }
}

/// An array as it came.
struct WireArray<'a> {
    lengths: Vec<i32>,
    items: Vec<Option<&'a [u8]>>,
}

impl<'a> WireArray<'a> {
    /// Dimensions, whether it has nulls, the type of its items; for each dimension its length and first index; then the
    /// items in row-major order.
    fn read(bytes: &'a [u8]) -> std::result::Result<Self, Refusal> {
        let broken = |_: Error| unknown_form(bytes);
        let mut reader = Reader { rest: bytes };
        let dimensions = reader.i32().map_err(broken)?;
        reader.take(8).map_err(broken)?;
        let mut lengths = Vec::new();
        let mut count = 1_usize;
        for _ in 0..dimensions {
            let (length, first) = (reader.i32().map_err(broken)?, reader.i32().map_err(broken)?);
            if first != 1 {
                let value = format!("an array whose first index is {first}");
                return Err(Refusal::new(value, "lists begin with 1; read the column with `arrays: text`"));
            }
            lengths.push(length);
            let length = usize::try_from(length).map_err(|_| unknown_form(bytes))?;
            count = count.checked_mul(length).ok_or_else(|| unknown_form(bytes))?;
        }
        if lengths.is_empty() {
            return Ok(Self { lengths, items: Vec::new() });
        }
        let items = (0..count).map(|_| reader.field()).collect::<Result<_>>().map_err(broken)?;
        Ok(Self { lengths, items })
    }
}

/// Reads each value and appends it; nothing for one that is refused.
fn each<'a, V>(
    values: impl Iterator<Item = Option<&'a [u8]>>,
    refuse: &mut dyn FnMut(usize, Refusal),
    read: impl Fn(&'a [u8]) -> std::result::Result<V, Refusal>,
    mut append: impl FnMut(Option<V>),
) {
    for (index, value) in values.enumerate() {
        append(value.map(&read).transpose().unwrap_or_else(|refusal| {
            refuse(index, refusal);
            None
        }));
    }
}

fn numbers<'a, T: ArrowPrimitiveType, const N: usize>(
    builder: &mut PrimitiveBuilder<T>,
    values: impl Iterator<Item = Option<&'a [u8]>>,
    refuse: &mut dyn FnMut(usize, Refusal),
    read: impl Fn([u8; N]) -> T::Native,
) {
    each(values, refuse, |bytes| fixed(bytes).map(&read), |value| builder.append_option(value));
}

/// Appends values that have parts. What is appended for one that is refused is decided there.
fn nested<'a>(
    values: impl Iterator<Item = Option<&'a [u8]>>,
    refuse: &mut dyn FnMut(usize, Refusal),
    mut append: impl FnMut(Option<&'a [u8]>) -> Appended,
) {
    for (index, value) in values.enumerate() {
        if let Err(refusal) = append(value) {
            refuse(index, refusal);
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> std::result::Result<[u8; N], Refusal> {
    bytes.try_into().map_err(|_| unknown_form(bytes))
}

fn numeric(bytes: &[u8]) -> std::result::Result<Numeric<'_>, Refusal> {
    Numeric::read(bytes).ok_or_else(|| unknown_form(bytes))
}

pub(super) fn text(bytes: &[u8]) -> std::result::Result<&str, Refusal> {
    std::str::from_utf8(bytes).map_err(|_| {
        Refusal::new(String::from_utf8_lossy(bytes), "it is no UTF-8; give the database an encoding")
    })
}

/// The first byte is the version of the form.
fn jsonb(bytes: &[u8]) -> std::result::Result<&str, Refusal> {
    match bytes {
        [1, json @ ..] => text(json),
        _ => Err(unknown_form(bytes)),
    }
}

fn decimal256(bytes: &[u8], precision: u8, scale: i8) -> std::result::Result<i256, Refusal> {
    let text = numeric(bytes)?.text();
    parse_decimal::<Decimal256Type>(&text, precision, scale)
        .map_err(|_| Refusal::new(text, "a decimal cannot hold it; read it with `numeric: text`"))
}

fn unknown_form(bytes: &[u8]) -> Refusal {
    Refusal::new(format!("{} bytes", bytes.len()), "the server sent it in a form that is not known")
}

/// The least and the greatest day are infinities, here as there.
fn date(days: i32) -> std::result::Result<i32, Refusal> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        days => days
            .checked_add(EPOCH_DAYS)
            .ok_or_else(|| Refusal::new(format!("day {days}"), "no date can hold it")),
    }
}

/// The least and the greatest moment are infinities, here as there.
fn timestamp(microseconds: i64) -> std::result::Result<i64, Refusal> {
    match microseconds {
        i64::MIN | i64::MAX => Ok(microseconds),
        microseconds => microseconds.checked_add(EPOCH_MICROSECONDS).ok_or_else(|| {
            Refusal::new(format!("{microseconds} microseconds behind 2000"), "no timestamp can hold it")
        }),
    }
}
