//! Options that have a short form beside the full one: `explode: items` is `explode: {column: items}`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use towpath_core::Json;

/// What may stand in place of a map of options.
pub(crate) enum Short {
    Text(String),
    List(Vec<String>),
    /// A number, `true`, `false` or `null`.
    Scalar(Json),
}

/// Options that a text, a list or a scalar can stand for.
pub(crate) trait FromShort: Sized {
    /// What is allowed, for the error: `a column or its options`.
    const EXPECTED: &'static str;

    /// The options that the short form stands for; none when this short form means nothing here.
    ///
    /// # Errors
    /// A message when the form is right and its value is not.
    fn from_short(short: Short) -> Result<Option<Self>, String>;

    /// The JSON Schema of the short form.
    fn short_schema() -> Schema;
}

/// Reads the short or the full form.
pub(crate) struct ShortOrFull<T>(T);

/// For `#[serde(deserialize_with)]` on one value.
pub(crate) fn one<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: FromShort + Deserialize<'de>,
{
    ShortOrFull::deserialize(deserializer).map(|value| value.0)
}

/// For `#[serde(deserialize_with)]` on a map of values.
pub(crate) fn map<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: FromShort + Deserialize<'de>,
{
    let values = BTreeMap::<String, ShortOrFull<T>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|(name, value)| (name, value.0)).collect())
}

impl<'de, T: FromShort + Deserialize<'de>> Deserialize<'de> for ShortOrFull<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShortVisitor(PhantomData)).map(Self)
    }
}

impl<T: FromShort + JsonSchema> JsonSchema for ShortOrFull<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ShortOr{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [T::short_schema(), generator.subschema_for::<T>()] })
    }
}

struct ShortVisitor<T>(PhantomData<T>);

impl<T: FromShort> ShortVisitor<T> {
    fn short<E: de::Error>(short: Short, found: de::Unexpected<'_>) -> Result<T, E> {
        T::from_short(short).map_err(E::custom)?.ok_or_else(|| E::invalid_type(found, &T::EXPECTED))
    }
}

impl<'de, T: FromShort + Deserialize<'de>> Visitor<'de> for ShortVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Self::short(Short::Text(text.to_owned()), de::Unexpected::Str(text))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Self::short(Short::Scalar(value.into()), de::Unexpected::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        Self::short(Short::Scalar(value.into()), de::Unexpected::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        Self::short(Short::Scalar(value.into()), de::Unexpected::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        Self::short(Short::Scalar(value.into()), de::Unexpected::Float(value))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Self::short(Short::Scalar(Json::Null), de::Unexpected::Unit)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        let list = Vec::<String>::deserialize(SeqAccessDeserializer::new(items))?;
        Self::short(Short::List(list), de::Unexpected::Seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, options: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(options))
    }
}
