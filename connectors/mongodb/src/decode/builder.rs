//! A column under construction.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, NullArray, PrimitiveBuilder, StringArray,
    StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType, UInt64Type};
use arrow_schema::DataType;
use towpath_core::{ColumnType, Error, Result};

use super::nested::{DocumentBuilder, ListBuilder};
use super::{Refusal, Trouble, shortened, shown};
use crate::schema::Kind;
use crate::wire::{
    UUID_SUBTYPE, Value, decimal_text, is_exact, tag, uuid, with_object_id, write_json, write_scalar,
};

/// Values of one kind.
pub(super) enum Builder {
    Null(usize),
    Bool(BooleanBuilder),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Double(PrimitiveBuilder<Float64Type>),
    Date(PrimitiveBuilder<TimestampMillisecondType>),
    Timestamp(PrimitiveBuilder<UInt64Type>),
    Binary(BinaryBuilder, Option<u8>),
    /// Text, which is checked at the end, and how values become text.
    Text(BinaryBuilder, Texts),
    List(Box<ListBuilder>),
    Document(Box<DocumentBuilder>),
    /// A declared type.
    Declared(Box<Builder>),
    /// Text that is cast at the end.
    Cast(StringBuilder, DataType),
}

/// What texts hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// Strings, code and so on: values of this type alone.
    Of(u8),
    Uuids,
    /// Whatever has a text.
    Scalars,
    Json,
}

/// Rows of a column that turned out to be no values of its type.
pub(super) type Late = Vec<(usize, Refusal)>;

impl Builder {
    pub(super) fn new(kind: &Kind, rows: usize) -> Self {
        let text = |texts| Self::Text(BinaryBuilder::with_capacity(rows, 16 * rows), texts);
        match kind {
            Kind::Null => Self::Null(0),
            Kind::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            Kind::Int32 => Self::Int32(PrimitiveBuilder::with_capacity(rows)),
            Kind::Int64 => Self::Int64(PrimitiveBuilder::with_capacity(rows)),
            Kind::Double => Self::Double(PrimitiveBuilder::with_capacity(rows)),
            Kind::Date => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            Kind::Timestamp => Self::Timestamp(PrimitiveBuilder::with_capacity(rows)),
            Kind::Binary(subtype) => {
                Self::Binary(BinaryBuilder::with_capacity(rows, 16 * rows), Some(*subtype))
            }
            Kind::Decimal => text(Texts::Of(tag::DECIMAL)),
            Kind::String => text(Texts::Of(tag::STRING)),
            Kind::ObjectId => text(Texts::Of(tag::OBJECT_ID)),
            Kind::Regex => text(Texts::Of(tag::REGEX)),
            Kind::Code => text(Texts::Of(tag::CODE)),
            Kind::Symbol => text(Texts::Of(tag::SYMBOL)),
            Kind::Uuid => text(Texts::Uuids),
            Kind::Text => text(Texts::Scalars),
            Kind::Json => text(Texts::Json),
            Kind::Document(fields) if fields.is_empty() => text(Texts::Json),
            Kind::Document(fields) => Self::Document(Box::new(DocumentBuilder::new(fields, rows))),
            Kind::Array(item) => Self::List(Box::new(ListBuilder::new(item, rows))),
            Kind::Declared(kind) => Self::Declared(Box::new(Self::of_declared(kind, rows))),
            Kind::Cast(data_type) => {
                Self::Cast(StringBuilder::with_capacity(rows, 16 * rows), data_type.clone())
            }
        }
    }

    fn of_declared(kind: &Kind, rows: usize) -> Self {
        match kind {
            // Bytes were declared without a subtype.
            Kind::Binary(_) => Self::Binary(BinaryBuilder::with_capacity(rows, 16 * rows), None),
            other => Self::new(other, rows),
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Null(rows) => *rows += 1,
            Self::Bool(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Binary(builder, _) | Self::Text(builder, _) => builder.append_null(),
            Self::Cast(builder, _) => builder.append_null(),
            Self::List(builder) => builder.append_null(),
            Self::Document(builder) => builder.append_null(),
            Self::Declared(builder) => builder.append_null(),
        }
    }

    /// Appends a value. One that a declared column refuses leaves a null and its reason.
    pub(super) fn append(&mut self, value: Value<'_>, refusal: &mut Option<Refusal>) -> Result<(), Trouble> {
        if value.tag == tag::NULL {
            self.append_null();
            return Ok(());
        }
        match self {
            Self::List(builder) => builder.append(value, refusal),
            Self::Document(builder) if value.tag == tag::DOCUMENT => builder.append(value.bytes, refusal),
            Self::Document(_) => Err(Trouble::Misfit),
            Self::Declared(builder) => match builder.append(value, refusal) {
                Err(Trouble::Misfit) => {
                    let reason = "it does not fit the declared type".to_owned();
                    refusal.get_or_insert(Refusal { column: String::new(), value: shown(value), reason });
                    builder.append_null();
                    Ok(())
                }
                other => other,
            },
            scalar => scalar.append_scalar(value),
        }
    }

    #[inline]
    fn append_scalar(&mut self, value: Value<'_>) -> Result<(), Trouble> {
        match (self, value.tag) {
            (Self::Bool(builder), tag::BOOL) => builder.append_value(value.truth()?),
            (Self::Int32(builder), tag::INT32) => builder.append_value(i32::from_le_bytes(value.fixed()?)),
            (Self::Int64(builder), tag::INT64) => builder.append_value(i64::from_le_bytes(value.fixed()?)),
            (Self::Int64(builder), tag::INT32) => {
                builder.append_value(i32::from_le_bytes(value.fixed()?).into());
            }
            (Self::Double(builder), tag::DOUBLE) => {
                builder.append_value(f64::from_le_bytes(value.fixed()?));
            }
            (Self::Double(builder), tag::INT32) => {
                builder.append_value(i32::from_le_bytes(value.fixed()?).into());
            }
            (Self::Double(builder), tag::INT64) => {
                builder.append_value(exact(i64::from_le_bytes(value.fixed()?)).ok_or(Trouble::Misfit)?);
            }
            (Self::Date(builder), tag::DATE) => builder.append_value(i64::from_le_bytes(value.fixed()?)),
            (Self::Timestamp(builder), tag::TIMESTAMP) => {
                builder.append_value(u64::from_le_bytes(value.fixed()?));
            }
            (Self::Binary(builder, subtype), tag::BINARY) => match value.binary()? {
                (seen, bytes) if subtype.is_none_or(|known| known == seen && is_plain(seen, bytes)) => {
                    builder.append_value(bytes);
                }
                _ => return Err(Trouble::Misfit),
            },
            (Self::Text(builder, texts), _) => append_text(builder, *texts, value)?,
            (Self::Cast(builder, _), _) => builder.append_value(scalar_text(value)?),
            _ => return Err(Trouble::Misfit),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(ArrayRef, Late)> {
        let array: ArrayRef = match self {
            Self::Null(rows) => Arc::new(NullArray::new(rows)),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Binary(mut builder, _) => Arc::new(builder.finish()),
            Self::Text(mut builder, _) => return Ok(texts(&builder.finish())),
            Self::List(builder) => return builder.finish(),
            Self::Document(builder) => return builder.finish_struct(),
            Self::Declared(builder) => return builder.finish(),
            Self::Cast(mut builder, data_type) => {
                return cast(&(Arc::new(builder.finish()) as ArrayRef), &data_type);
            }
        };
        Ok((array, Vec::new()))
    }
}

/// Sixteen bytes of the subtype of UUIDs are one.
fn is_plain(subtype: u8, bytes: &[u8]) -> bool {
    subtype != UUID_SUBTYPE || bytes.len() != 16
}

/// An integer as a double that is the same number.
fn exact(number: i64) -> Option<f64> {
    is_exact(number).then_some(number as f64)
}

fn append_text(builder: &mut BinaryBuilder, texts: Texts, value: Value<'_>) -> Result<(), Trouble> {
    match texts {
        Texts::Of(tag) if tag != value.tag => return Err(Trouble::Misfit),
        Texts::Of(tag::STRING | tag::CODE | tag::SYMBOL) => builder.append_value(value.string()?),
        Texts::Of(tag::OBJECT_ID) => with_object_id(value.fixed()?, |digits| builder.append_value(digits)),
        Texts::Of(tag::DECIMAL) => {
            builder.append_value(decimal_text(u128::from_le_bytes(value.fixed()?)));
        }
        Texts::Uuids if value.tag == tag::BINARY => match value.binary()? {
            (UUID_SUBTYPE, bytes) => {
                builder.append_value(uuid(bytes.try_into().map_err(|_| Trouble::Misfit)?));
            }
            _ => return Err(Trouble::Misfit),
        },
        Texts::Uuids => return Err(Trouble::Misfit),
        Texts::Of(_) | Texts::Scalars => builder.append_value(scalar_text(value)?),
        Texts::Json => {
            let mut text = String::new();
            write_json(value, &mut text)?;
            builder.append_value(text);
        }
    }
    Ok(())
}

fn scalar_text(value: Value<'_>) -> Result<String, Trouble> {
    let mut text = String::new();
    if !write_scalar(value, &mut text)? {
        text.clear();
        write_json(value, &mut text)?;
    }
    Ok(text)
}

/// Values as texts. All are looked at together, and one by one only if some are no UTF-8: these are refused.
fn texts(values: &BinaryArray) -> (ArrayRef, Late) {
    if let Ok(texts) = StringArray::try_from_binary(values.clone()) {
        return (Arc::new(texts), Vec::new());
    }
    let mut late = Vec::new();
    let checked = values.iter().enumerate().map(|(row, value)| {
        let value = value?;
        let text = std::str::from_utf8(value);
        if text.is_err() {
            let value = shortened(String::from_utf8_lossy(value).into_owned());
            let reason = "the document is no BSON: a text is no UTF-8".to_owned();
            late.push((row, Refusal { column: String::new(), value, reason }));
        }
        text.ok()
    });
    let texts: StringArray = checked.collect();
    (Arc::new(texts), late)
}

/// Texts as a declared type. What is none is refused.
fn cast(texts: &ArrayRef, to: &DataType) -> Result<(ArrayRef, Late)> {
    let array = cast_with_options(texts, to, &CastOptions::default()).map_err(|error| {
        Error::config(format!("no value of MongoDB becomes {}", ColumnType::from(to.clone())))
            .connector(crate::NAME)
            .source(error)
            .help("declare another type under `columns`")
    })?;
    if array.null_count() == texts.null_count() {
        return Ok((array, Vec::new()));
    }
    let lost = (0..texts.len()).filter(|&row| texts.is_valid(row) && array.is_null(row));
    let late = lost.map(|row| {
        let value = arrow::array::AsArray::as_string::<i32>(texts).value(row).to_owned();
        let reason = format!("it is no {}", ColumnType::from(to.clone()));
        (row, Refusal { column: String::new(), value, reason })
    });
    let late = late.collect();
    Ok((array, late))
}
