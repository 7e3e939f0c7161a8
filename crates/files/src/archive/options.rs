//! How a pipeline says that archives are folders.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use towpath_core::{Error, Result};

use super::wanted::Wanted;
use crate::Paths;

/// How many entries an archive may have by default.
const MAX_ENTRIES: u64 = 100_000;

/// That the files of a path are archives, whose entries are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// What archives they are.
    pub format: ArchiveFormat,
    /// The entries that are read.
    pub entries: Paths,
    /// The most entries that one archive may have.
    pub max_entries: u64,
}

/// What an archive is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    /// Told by the extension.
    #[default]
    Auto,
    /// A zip.
    Zip,
    /// A tar.
    Tar,
}

/// `{ format: zip, entries: "**/*.csv" }`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    #[serde(default)]
    format: ArchiveFormat,
    #[serde(default)]
    entries: Option<Paths>,
    #[serde(default)]
    max_entries: Option<u64>,
}

impl Archive {
    /// All entries of archives of a kind.
    pub fn new(format: ArchiveFormat) -> Self {
        Self { format, entries: Paths(vec!["**/*".to_owned()]), max_entries: MAX_ENTRIES }
    }

    /// Whether the options go together.
    ///
    /// # Errors
    /// `Config` names the option that is wrong.
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entries == 0 {
            return Err(Error::config("`archive.max_entries` must be above zero"));
        }
        Wanted::new(&self.entries).map(drop)
    }
}

impl<'de> Deserialize<'de> for Archive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Archive;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`auto`, `zip`, `tar` or `{ format: zip, entries: \"**/*.csv\" }`")
            }

            fn visit_str<E: serde::de::Error>(self, format: &str) -> Result<Archive, E> {
                ArchiveFormat::deserialize(StrDeserializer::new(format)).map(Archive::new)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Archive, A::Error> {
                let spelled = Spelled::deserialize(MapAccessDeserializer::new(map))?;
                let all = Archive::new(spelled.format);
                Ok(Archive {
                    entries: spelled.entries.unwrap_or(all.entries),
                    max_entries: spelled.max_entries.unwrap_or(all.max_entries),
                    ..all
                })
            }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

impl JsonSchema for Archive {
    fn schema_name() -> Cow<'static, str> {
        "Archive".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let paths = Paths::json_schema(generator);
        json_schema!({ "anyOf": [
            { "enum": ["auto", "zip", "tar"] },
            {
                "type": "object",
                "properties": {
                    "format": { "enum": ["auto", "zip", "tar"], "description": "What archives they are; told by the extension by default." },
                    "entries": { "anyOf": paths.get("anyOf"), "description": "The entries that are read: a name, a folder, or a glob; or a list of these. All by default." },
                    "max_entries": { "type": "integer", "minimum": 1, "description": "The most entries that one archive may have; 100,000 by default." }
                },
                "additionalProperties": false
            }
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Archive, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn each_form_has_its_meaning() {
        for (value, format) in [
            (json!("auto"), ArchiveFormat::Auto),
            (json!("zip"), ArchiveFormat::Zip),
            (json!({"format": "tar"}), ArchiveFormat::Tar),
            (json!({}), ArchiveFormat::Auto),
        ] {
            assert_eq!(read(value).unwrap(), Archive::new(format));
        }
        let some = read(json!({"entries": ["a.csv", "b/*.csv"], "max_entries": 3})).unwrap();
        assert_eq!((some.entries.0.len(), some.max_entries), (2, 3));
    }

    #[test]
    fn what_it_cannot_be_is_refused_with_what_it_can() {
        assert!(read(json!("rar")).unwrap_err().contains("expected one of `auto`, `zip`, `tar`"));
        assert!(read(json!({"entry": "a"})).unwrap_err().contains("unknown field `entry`"));
        assert!(read(json!(7)).unwrap_err().contains("expected `auto`, `zip`, `tar` or"));
        let none = read(json!({"max_entries": 0})).unwrap().check().unwrap_err().to_string();
        assert!(none.contains("`archive.max_entries`"), "{none}");
        let broken = read(json!({"entries": "[a"})).unwrap().check().unwrap_err().to_string();
        assert!(broken.contains("no valid glob") && broken.contains("[a"), "{broken}");
    }
}
