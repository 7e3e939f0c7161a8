//! The option for columns about answers.

use std::borrow::Cow;
use std::str::FromStr;

use reqwest::header::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use towpath_core::{Error, Result};

/// What a column tells of the answer that its row came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum MetadataField {
    /// The status.
    Status,
    /// The URL that was asked for, without its secrets.
    Url,
    /// The number of the page, from 1 on.
    Page,
    /// When the answer came.
    FetchedAt,
    /// A header.
    Header(String),
}

impl FromStr for MetadataField {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "status" => Self::Status,
            "url" => Self::Url,
            "page" => Self::Page,
            "fetched_at" => Self::FetchedAt,
            _ => {
                let name = text.strip_prefix("header:").and_then(|name| name.parse::<HeaderName>().ok());
                let name = name.ok_or_else(|| {
                    Error::config(format!(
                        "`{text}` is nothing that an answer has; write status, url, page, fetched_at or header:NAME"
                    ))
                })?;
                Self::Header(name.as_str().to_owned())
            }
        })
    }
}

impl<'de> Deserialize<'de> for MetadataField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for MetadataField {
    fn schema_name() -> Cow<'static, str> {
        "MetadataField".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(status|url|page|fetched_at|header:.+)$",
            "description": "`status`, `url`, `page`, `fetched_at` or `header:NAME`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_of_four_or_a_header() {
        assert_eq!("page".parse::<MetadataField>().unwrap(), MetadataField::Page);
        assert_eq!("header:ETag".parse::<MetadataField>().unwrap(), MetadataField::Header("etag".to_owned()));
        for wrong in ["header:", "header:a b", "size"] {
            let error = wrong.parse::<MetadataField>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{wrong}` is nothing that an answer has")), "{error}");
        }
    }
}
