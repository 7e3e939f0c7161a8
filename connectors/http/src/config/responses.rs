//! The options of rules for answers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use reqwest::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, de};
use towpath_core::{Error, HumanDuration, Json};
use towpath_formats::json::JsonPath;

/// What is done with answers of a kind: those with a status, with a body, or both.
///
/// A condition on the body holds for refusals and successes alike. It sees whole pages; of refusals, and of bodies that
/// are streamed, it sees those up to 64KiB.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseRule {
    /// The status: a number, a class such as `5xx`, a range such as `500-599`, or a list of these; any by default.
    #[serde(default)]
    pub status: Option<Statuses>,
    /// `JSONPath` into the body, such as `$.error.code`. There has to be a value that is not null.
    #[serde(default)]
    pub json: Option<JsonPath>,
    /// The value that has to be at `json`, or a list of such values.
    #[serde(default)]
    pub equals: Option<Json>,
    /// With `false`, there must be no value at `json`, or null.
    #[serde(default)]
    pub exists: Option<bool>,
    /// A text that has to be in the body.
    #[serde(default)]
    pub contains: Option<String>,
    /// A regular expression that has to fit somewhere in the body.
    #[serde(default)]
    pub matches: Option<String>,
    /// What is done.
    pub action: ResponseAction,
    /// How long `retry` waits; by default as long as the server says, else as the retries back off.
    #[serde(default)]
    pub wait: Option<HumanDuration>,
    /// What the error of `fail` says.
    #[serde(default)]
    pub message: Option<String>,
}

/// What is done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseAction {
    /// The request is sent again, as often as the connection's retries allow.
    Retry,
    /// The page is left out, with a warning in the report. The pages behind it are read where they are known.
    Skip,
    /// The read fails.
    Fail,
    /// The URL ends before this page, as if that were its end.
    Stop,
    /// It counts as a page without records.
    Empty,
}

/// Some statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Whether a status is one of them.
    pub(crate) fn has(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

/// A status, class or range.
#[derive(Deserialize)]
#[serde(untagged)]
enum One {
    Number(u16),
    Text(String),
}

impl One {
    fn range(&self) -> Result<(u16, u16), Error> {
        match self {
            Self::Number(status) => range(*status, *status),
            Self::Text(text) => text.parse::<Range>().map(|Range(first, last)| (first, last)),
        }
    }
}

struct Range(u16, u16);

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong(text));
        let (first, last) = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => {
                let class = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class));
                let first = class.ok_or_else(|| wrong(text))? * 100;
                (first, first + 99)
            }
            (None, Some((first, last))) => (number(first)?, number(last)?),
            (None, None) => (number(text)?, number(text)?),
        };
        range(first, last).map(|(first, last)| Self(first, last))
    }
}

fn range(first: u16, last: u16) -> Result<(u16, u16), Error> {
    if (100..=999).contains(&first) && (first..=999).contains(&last) {
        Ok((first, last))
    } else if first == last {
        Err(wrong(first))
    } else {
        Err(wrong(format!("{first}-{last}")))
    }
}

fn wrong(text: impl fmt::Display) -> Error {
    Error::config(format!("`{text}` is no status; write for example 404, 5xx or 500-599"))
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Many(Vec<One>),
            One(One),
        }
        let form = Form::deserialize(deserializer)
            .map_err(|_| D::Error::custom("a status is a number, `5xx`, `500-599`, or a list of these"))?;
        let all = match form {
            Form::Many(all) => all,
            Form::One(one) => vec![one],
        };
        all.iter().map(One::range).collect::<Result<_, _>>().map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": ["integer", "string"] });
        json_schema!({
            "description": "A status, a class such as `5xx`, a range such as `500-599`, or a list of these",
            "anyOf": [one.clone(), { "type": "array", "items": one }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn has(statuses: Json, status: u16) -> bool {
        let statuses: Statuses = serde_json::from_value(statuses).unwrap();
        statuses.has(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn a_status_is_a_number_a_class_a_range_or_several() {
        assert!(has(json!(404), 404) && !has(json!(404), 403));
        assert!(has(json!("404"), 404));
        assert!(has(json!("5xx"), 500) && has(json!("5xx"), 599) && !has(json!("5xx"), 499));
        assert!(has(json!("500-503"), 503) && !has(json!("500-503"), 504));
        assert!(has(json!([404, "5xx"]), 502) && has(json!([404, "5xx"]), 404));
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for (statuses, text) in [
            (json!("xx"), "`xx` is no status; write for example 404, 5xx or 500-599"),
            (json!(7), "`7` is no status; write for example 404, 5xx or 500-599"),
            (json!("503-500"), "`503-500` is no status; write for example 404, 5xx or 500-599"),
            (json!(true), "a status is a number, `5xx`, `500-599`, or a list of these"),
        ] {
            let error = serde_json::from_value::<Statuses>(statuses).unwrap_err().to_string();
            assert!(error.ends_with(text), "{error}");
        }
    }
}
