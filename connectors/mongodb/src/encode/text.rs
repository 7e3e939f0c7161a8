//! Texts that stand for values of other types.

use arrow_schema::Field;
use bson::Bson;

use super::Unfit;
use super::cell::Element;
use crate::schema::{TYPE_KEY, is_json, names};
use crate::wire::{UUID_SUBTYPE, tag};

/// What the texts of a column stand for. One that does not is a string: the column has values of several types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextForm {
    String,
    ObjectId,
    Uuid,
    Decimal,
    Regex,
    Code,
    Symbol,
    Json,
}

impl TextForm {
    pub(super) fn of(field: &Field) -> Self {
        match field.metadata().get(TYPE_KEY).map(String::as_str) {
            Some(names::OBJECT_ID) => Self::ObjectId,
            Some(names::UUID) => Self::Uuid,
            Some(names::DECIMAL) => Self::Decimal,
            Some(names::REGEX) => Self::Regex,
            Some(names::CODE) => Self::Code,
            Some(names::SYMBOL) => Self::Symbol,
            Some(names::JSON) => Self::Json,
            // Of another database.
            None if is_json(field) => Self::Json,
            _ => Self::String,
        }
    }
}

pub(super) fn write_text(
    element: &Element<'_>,
    form: TextForm,
    text: &str,
    out: &mut Vec<u8>,
) -> Result<(), Unfit> {
    match form {
        TextForm::String => element.string(tag::STRING, text, out),
        TextForm::Code => element.string(tag::CODE, text, out),
        TextForm::Symbol => element.string(tag::SYMBOL, text, out),
        TextForm::ObjectId => match bson::oid::ObjectId::parse_str(text) {
            Ok(id) => {
                element.begin(tag::OBJECT_ID, out)?;
                out.extend(id.bytes());
                Ok(())
            }
            Err(_) => element.string(tag::STRING, text, out),
        },
        TextForm::Uuid => match bson::Uuid::parse_str(text) {
            Ok(uuid) => element.binary(UUID_SUBTYPE, &uuid.bytes(), out),
            Err(_) => element.string(tag::STRING, text, out),
        },
        TextForm::Decimal => write_number_text(element, text, out),
        TextForm::Regex => match text.strip_prefix('/').and_then(|text| text.rsplit_once('/')) {
            Some((pattern, options)) if !text.contains('\0') => {
                element.begin(tag::REGEX, out)?;
                for part in [pattern, options] {
                    out.extend(part.as_bytes());
                    out.push(0);
                }
                Ok(())
            }
            _ => element.string(tag::STRING, text, out),
        },
        TextForm::Json => {
            let value = serde_json::from_str::<serde_json::Value>(text)
                .ok()
                .and_then(|json| Bson::try_from(json).ok());
            match value {
                Some(value) => write_bson(element, value, out),
                None => element.string(tag::STRING, text, out),
            }
        }
    }
}

/// A number with any digits: a decimal, or text where a decimal has not as many.
pub(super) fn write_number_text(element: &Element<'_>, text: &str, out: &mut Vec<u8>) -> Result<(), Unfit> {
    match text.parse::<bson::Decimal128>() {
        Ok(decimal) => {
            element.begin(tag::DECIMAL, out)?;
            out.extend(decimal.bytes());
            Ok(())
        }
        Err(_) => element.string(tag::STRING, text, out),
    }
}

fn write_bson(element: &Element<'_>, value: Bson, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let mut document = bson::Document::new();
    document.insert("v", value);
    let bytes = bson::serialize_to_vec(&document).map_err(|error| error.to_string())?;
    // Length, type, `v` and a zero stand in front, and a zero behind.
    element.begin(bytes[4], out)?;
    out.extend(&bytes[7..bytes.len() - 1]);
    Ok(())
}
