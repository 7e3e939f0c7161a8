//! Between JSON, in which options and positions are written, and BSON.

use bson::{Bson, Document};
use serde_json::Map;
use towpath_core::{Json, Result};

use crate::errors::config;
use crate::schema::Kind;

/// An option in extended JSON.
pub(crate) fn document(option: &str, json: &Map<String, Json>) -> Result<Document> {
    match Bson::try_from(Json::Object(json.clone())) {
        Ok(Bson::Document(document)) => Ok(document),
        Ok(_) => Err(config(format!("`{option}` is a value and no document"))),
        Err(error) => Err(config(format!("`{option}` is no extended JSON")).source(error)),
    }
}

/// A value as JSON from which it comes back as it was.
pub(crate) fn to_json(value: &Bson) -> Json {
    value.clone().into_canonical_extjson()
}

/// A value that [`to_json`] wrote.
pub(crate) fn from_json(json: &Json) -> Result<Bson> {
    Bson::try_from(json.clone()).map_err(|error| {
        towpath_core::Error::unsupported("a split or position cannot be read")
            .connector(crate::NAME)
            .source(error)
    })
}

/// A value of a cursor as the server compares it, if the column's values have one type.
pub(crate) fn cursor_value(kind: &Kind, value: &Json) -> Option<Bson> {
    Some(match (kind, value) {
        (Kind::Int32 | Kind::Int64, Json::Number(number)) => number.as_i64()?.into(),
        (Kind::Double, Json::Number(number)) => number.as_f64()?.into(),
        (Kind::String, Json::String(text)) => text.as_str().into(),
        (Kind::ObjectId, Json::String(text)) => bson::oid::ObjectId::parse_str(text).ok()?.into(),
        (Kind::Uuid, Json::String(text)) => bson::Uuid::parse_str(text).ok()?.into(),
        (Kind::Decimal, Json::String(text)) => text.parse::<bson::Decimal128>().ok()?.into(),
        (Kind::Date, Json::String(text)) => bson::DateTime::parse_rfc3339_str(text).ok()?.into(),
        (Kind::Timestamp, Json::Number(number)) => {
            let both = number.as_u64()?;
            let (time, increment) =
                (u32::try_from(both >> 32).ok()?, u32::try_from(both & 0xffff_ffff).ok()?);
            Bson::Timestamp(bson::Timestamp { time, increment })
        }
        _ => return None,
    })
}

/// The names by which the server knows the types of a cursor's values.
pub(crate) fn cursor_types(kind: &Kind) -> Option<&'static [&'static str]> {
    Some(match kind {
        Kind::Int32 | Kind::Int64 | Kind::Double | Kind::Decimal => &["number"],
        Kind::String => &["string"],
        Kind::ObjectId => &["objectId"],
        Kind::Uuid => &["binData"],
        Kind::Date => &["date"],
        Kind::Timestamp => &["timestamp"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_of_every_type_come_back_from_positions() {
        for value in [
            Bson::Null,
            1.into(),
            1_i64.into(),
            f64::NAN.into(),
            "a".into(),
            bson::oid::ObjectId::new().into(),
            bson::Uuid::new().into(),
            bson::DateTime::from_millis(-5).into(),
            bson::doc! { "a": 1, "b": "c" }.into(),
            true.into(),
            Bson::MinKey,
        ] {
            let back = from_json(&to_json(&value)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{value:?}"));
        }
    }

    #[test]
    fn cursor_values_are_read_as_their_column_has_them() {
        for (kind, value) in [
            (Kind::Int64, json!(5)),
            (Kind::Date, json!("2024-01-01T00:00:00.5Z")),
            (Kind::ObjectId, json!("0123456789abcdef01234567")),
            (Kind::Timestamp, json!(4_294_967_297_u64)),
        ] {
            assert!(cursor_value(&kind, &value).is_some(), "{value}");
        }
        assert!(cursor_value(&Kind::Text, &json!("a")).is_none());
        assert!(cursor_value(&Kind::Int64, &json!("a")).is_none());
    }
}
