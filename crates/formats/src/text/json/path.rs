//! `JSONPath`, with a short way for the paths that nearly everybody writes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use towpath_core::{Error, Result};

use super::scan::{Cursor, Syntax};

/// A `JSONPath` (RFC 9535), such as `$.data`, `$.meta.next` or `$.items[?@.active]`.
///
/// ```
/// use towpath_formats::json::JsonPath;
///
/// let path: JsonPath = "$.meta.next".parse().unwrap();
/// assert_eq!(path.to_string(), "$.meta.next");
/// ```
#[derive(Clone)]
pub struct JsonPath {
    text: String,
    query: JpQuery,
    /// The steps of a path that names one value; `None` when it needs the whole document.
    steps: Option<Vec<Step>>,
}

/// A step down a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

impl JsonPath {
    /// The document itself: `$`.
    pub fn root() -> Self {
        Self { text: "$".to_owned(), query: JpQuery::new(Vec::new()), steps: Some(Vec::new()) }
    }

    /// The steps to the records, if the path leads to one value by names alone. A `[*]` at the end means the same.
    pub(crate) fn steps_to_records(&self) -> Option<Vec<Step>> {
        let segments = match self.query.segments.as_slice() {
            [path @ .., Segment::Selector(Selector::Wildcard)] | path => path,
        };
        steps(segments)
    }

    /// The one value that it names, read straight from the text: no value is built but the one that is asked for.
    pub fn value_in(&self, text: &str) -> Option<Value> {
        if let Some(steps) = &self.steps {
            let found = find(&mut Cursor::new(text), steps).ok()??;
            return serde_json::from_str(&text[found]).ok();
        }
        let document: Value = serde_json::from_str(text).ok()?;
        self.query(&document).first().map(|value| (*value).clone())
    }

    /// All values that it names.
    pub fn query<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        // A query over a document only ever gives references into it.
        let found = js_path_process(&self.query, document).unwrap_or_default();
        found.into_iter().map(jsonpath_rust::query::QueryRef::val).collect()
    }
}

fn steps(segments: &[Segment]) -> Option<Vec<Step>> {
    let step = |segment: &Segment| match segment {
        Segment::Selector(Selector::Name(name)) => Some(Step::Name(name.clone())),
        Segment::Selector(Selector::Index(index)) => Some(Step::Index(usize::try_from(*index).ok()?)),
        _ => None,
    };
    segments.iter().map(step).collect()
}

/// Where the value at the end of these steps stands.
pub(crate) fn find(cursor: &mut Cursor<'_>, steps: &[Step]) -> Result<Option<Range<usize>>, Syntax> {
    let Some((step, rest)) = steps.split_first() else { return cursor.skip().map(Some) };
    match (step, cursor.peek()) {
        (Step::Name(wanted), Some(b'{')) => {
            let mut found = None;
            cursor.object(|cursor| {
                let name = cursor.string()?;
                cursor.colon()?;
                if name == *wanted {
                    found = find(cursor, rest)?;
                    Ok(())
                } else {
                    cursor.skip().map(drop)
                }
            })?;
            Ok(found)
        }
        (Step::Index(wanted), Some(b'[')) => {
            let (mut found, mut index) = (None, 0);
            cursor.array(|cursor| {
                index += 1;
                if index == wanted + 1 {
                    found = find(cursor, rest)?;
                    Ok(())
                } else {
                    cursor.skip().map(drop)
                }
            })?;
            Ok(found)
        }
        _ => cursor.skip().map(|_| None),
    }
}

impl FromStr for JsonPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let query = parse_json_path(text).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches([' ', '=']).to_owned();
            Error::config(format!("`{text}` is not a JSONPath: {reason}"))
                .help("write for example $.data, $.meta.next or $.items[*]")
        })?;
        let steps = steps(&query.segments);
        Ok(Self { text: text.to_owned(), query, steps })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonPath({})", self.text)
    }
}

impl PartialEq for JsonPath {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<'de> Deserialize<'de> for JsonPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.text)
    }
}

impl JsonSchema for JsonPath {
    fn schema_name() -> Cow<'static, str> {
        "JsonPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^\\$",
            "description": "A JSONPath, such as `$.data` or `$.meta.next`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BODY: &str =
        r#"{"meta": {"next": "abc", "total": 3, "a b": true}, "data": [{"id": 1}, {"id": 2}], "none": null}"#;

    #[test]
    fn simple_and_other_paths_find_the_same_values() {
        for (path, value) in [
            ("$.meta.next", Some(json!("abc"))),
            ("$.meta.total", Some(json!(3))),
            ("$['meta']['a b']", Some(json!(true))),
            ("$.none", Some(json!(null))),
            ("$.missing.deeper", None),
            ("$.data[1].id", Some(json!(2))),
            ("$.data[-1].id", Some(json!(2))),
            ("$..next", Some(json!("abc"))),
            ("$.data[?@.id > 1].id", Some(json!(2))),
        ] {
            let path: JsonPath = path.parse().unwrap();
            assert_eq!(path.value_in(BODY), value, "{path}");
            let document = serde_json::from_str(BODY).unwrap();
            assert_eq!(path.query(&document).first().copied(), value.as_ref(), "{path}");
        }
    }

    #[test]
    fn a_wrong_path_is_named_with_examples() {
        let error = "data".parse::<JsonPath>().unwrap_err().to_string();
        assert!(error.starts_with("`data` is not a JSONPath: "), "{error}");
        assert!(error.ends_with("write for example $.data, $.meta.next or $.items[*]"), "{error}");
    }
}
