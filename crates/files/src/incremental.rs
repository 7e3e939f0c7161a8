//! How files that were read before are told from new ones.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use towpath_core::HumanDuration;

/// How late a file may come by default, by its time of modification.
const WINDOW: Duration = Duration::from_hours(1);

/// Whether only new files are read, and by what they are told from those that were read before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Incremental {
    /// All files are read.
    #[default]
    Off,
    /// Every file that was read is remembered.
    Seen,
    /// The names of new files come behind those of all others.
    Name,
    /// New files were last written after all others, or within the window before.
    Modified {
        /// How late a file may come.
        window: HumanDuration,
    },
}

/// `{ by: modified, window: 2h }`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    by: By,
    #[serde(default)]
    window: Option<HumanDuration>,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Name,
    Modified,
}

impl Incremental {
    fn new(by: By, window: Option<HumanDuration>) -> Result<Self, &'static str> {
        match (by, window) {
            (By::Name, None) => Ok(Self::Name),
            (By::Name, Some(_)) => Err("`window` goes with `by: modified` only"),
            (By::Modified, window) => Ok(Self::Modified { window: window.unwrap_or(WINDOW.into()) }),
        }
    }
}

impl<'de> Deserialize<'de> for Incremental {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Incremental;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false`, `name`, `modified` or `{ by: modified, window: 1h }`")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Incremental, E> {
                Ok(if value { Incremental::Seen } else { Incremental::Off })
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Incremental, E> {
                let by = match value {
                    "name" => By::Name,
                    "modified" => By::Modified,
                    _ => return Err(E::invalid_value(de::Unexpected::Str(value), &self)),
                };
                Incremental::new(by, None).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Incremental, A::Error> {
                let Spelled { by, window } = Spelled::deserialize(MapAccessDeserializer::new(map))?;
                Incremental::new(by, window).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

impl JsonSchema for Incremental {
    fn schema_name() -> Cow<'static, str> {
        "Incremental".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "enum": [true, false, "name", "modified"] },
            {
                "type": "object",
                "properties": {
                    "by": { "enum": ["name", "modified"], "description": "What tells new files from others." },
                    "window": { "type": "string", "description": "How late a file may come; 1h by default." }
                },
                "required": ["by"],
                "additionalProperties": false
            }
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Incremental, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn each_form_has_its_meaning() {
        let within = |seconds| Incremental::Modified { window: Duration::from_secs(seconds).into() };
        for (value, expected) in [
            (json!(true), Incremental::Seen),
            (json!(false), Incremental::Off),
            (json!("name"), Incremental::Name),
            (json!("modified"), within(3600)),
            (json!({"by": "modified", "window": "2m"}), within(120)),
        ] {
            assert_eq!(read(value).unwrap(), expected);
        }
        assert!(read(json!("newest")).unwrap_err().contains("expected `true`"));
        assert!(read(json!({"by": "name", "window": "2m"})).unwrap_err().contains("`by: modified`"));
    }
}
