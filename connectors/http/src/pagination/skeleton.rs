//! A JSON document without what is in its arrays: enough to see how it speaks of pages, and never large.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

/// Reads it. What is no JSON is null.
pub(crate) fn skeleton(body: &[u8]) -> Json {
    serde_json::from_slice::<Skeleton>(body).map_or(Json::Null, |found| found.0)
}

struct Skeleton(Json);

struct SkeletonVisitor;

impl<'de> Deserialize<'de> for Skeleton {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SkeletonVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for SkeletonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Null)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut fields = Map::new();
        while let Some((name, Skeleton(value))) = map.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrays_are_left_out() {
        let body = br#"{"data": [{"a": 1}], "meta": {"n": 1.5, "x": [1], "s": "t"}, "ok": true, "no": null}"#;
        assert_eq!(
            skeleton(body),
            json!({"data": null, "meta": {"n": 1.5, "x": null, "s": "t"}, "ok": true, "no": null})
        );
        assert_eq!(skeleton(b"a,b"), Json::Null);
    }
}
