//! Values that must never be printed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A password, token or key: `Debug` and `Display` show `***`, and it cannot be serialized.
///
/// ```
/// use towpath_core::Secret;
///
/// let token: Secret = serde_json::from_str("\"s3cret\"").unwrap();
/// assert_eq!(format!("{token:?} {token}"), "*** ***");
/// assert_eq!(token.expose(), "s3cret");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret<T = String>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Call it where the value goes on the wire and nowhere else.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Secret<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Secret_{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.insert("writeOnly".into(), true.into());
        schema
    }
}

/// What was filled into the pipeline file from outside, by name: from variables of the environment, and from files.
///
/// Any of it may be a secret, wherever the pipeline uses it, and whatever the option is called. A connector shows it in no
/// text that it does not need it for, and keeps it in no recording.
///
/// ```
/// use towpath_core::Outside;
///
/// let outside = Outside::new([("SHOP_TENANT".to_owned(), "acme-4711".to_owned())]);
/// assert_eq!(format!("{outside:?}"), r#"Outside({"SHOP_TENANT": ***})"#);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside(Arc<BTreeMap<String, Secret>>);

impl Outside {
    /// These values, by their names.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(Arc::new(values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()))
    }

    /// The names with the values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}
