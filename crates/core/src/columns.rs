//! Declared columns.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::ColumnType;

/// Column names with their declared types, in the order in which they were written.
///
/// ```
/// # use towpath_core::Columns;
/// let columns: Columns = serde_json::from_str(r#"{ "id": "int64", "price": "decimal(12,2)" }"#)?;
/// assert_eq!(columns.get("price").unwrap().to_string(), "decimal(12,2)");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns(pub Vec<(String, ColumnType)>);

impl Columns {
    /// The declared type of a column.
    pub fn get(&self, name: &str) -> Option<&ColumnType> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, column_type)| column_type)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("column names with types, such as `{ id: int64 }`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = map.next_entry()? {
                    columns.push(column);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let column_type = generator.subschema_for::<ColumnType>();
        schemars::json_schema!({
            "type": "object",
            "description": "Column names with types, such as `{ id: int64, price: \"decimal(12,2)\" }`",
            "additionalProperties": column_type,
        })
    }
}
