//! Values of parameters: one, a list, a range. Numbers and booleans count as the text that a URL shows.

use std::borrow::Cow;
use std::fmt;

use super::cursor::{CursorForm, CursorValue};
use super::times::Lookback;
use super::window::{WindowForm, Windows};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// These.
    List(Vec<Scalar>),
    /// Whole numbers from the first to the last.
    Range {
        /// The first.
        from: i64,
        /// The last, unless a step leads past it.
        to: i64,
        /// The distance; negative to count down.
        step: i64,
    },
    /// Windows of time.
    Windows(Windows),
    /// The last value of the stream's cursor.
    Cursor(CursorValue),
}

/// One value or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

/// A value, as the text that a URL shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Whether it was written as a number or boolean, which JSON bodies keep.
    pub bare: bool,
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::List(values) => values.len() as u64,
            Self::Range { from, to, step } => {
                let distance = i128::from(*to) - i128::from(*from);
                let steps = distance / i128::from(*step);
                // Deserializing made sure that the step leads from the first to the last.
                u64::try_from(steps).unwrap_or(u64::MAX).saturating_add(1)
            }
            Self::Windows(windows) => windows.len(),
            Self::Cursor(_) => 1,
        }
    }

    /// What is behind one of them: the end of a window.
    pub(crate) fn end(&self, index: u64) -> Option<String> {
        match self {
            Self::Windows(windows) => Some(windows.end_of(index)),
            _ => None,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn get(&self, index: u64) -> Cow<'_, str> {
        match self {
            Self::List(values) => usize::try_from(index).map_or("", |index| &values[index].text).into(),
            Self::Range { from, step, .. } => {
                (i128::from(*from) + i128::from(index) * i128::from(*step)).to_string().into()
            }
            Self::Windows(windows) => windows.start_of(index).into(),
            Self::Cursor(cursor) => cursor.value().map_or("", |value| &value.text).into(),
        }
    }
}

impl Values {
    /// Whether one of them is a number or a boolean.
    pub(crate) fn is_bare(&self, index: u64) -> bool {
        match self {
            Self::List(values) => usize::try_from(index).is_ok_and(|index| values[index].bare),
            Self::Range { .. } => true,
            Self::Windows(windows) => windows.is_bare(),
            Self::Cursor(cursor) => cursor.value().is_some_and(|value| value.bare),
        }
    }

    /// Whether there is nothing to fill in: the cursor of a first run without an initial value.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Cursor(cursor) if cursor.value().is_none())
    }

    /// Whether it is the cursor's last value.
    pub(crate) fn is_cursor(&self) -> bool {
        matches!(self, Self::Cursor(_))
    }

    /// Whether they depend on when a run begins, and on what the last one has read.
    pub(crate) fn is_of_the_moment(&self) -> bool {
        matches!(self, Self::Windows(_) | Self::Cursor(_))
    }

    /// Fills in what a run that begins now reads behind the cursor's last value.
    ///
    /// # Errors
    /// When that value does not fit.
    pub(crate) fn resolve(&mut self, now: i64, after: Option<&serde_json::Value>) -> Result<(), String> {
        match self {
            Self::Windows(windows) => windows.resolve(now, after),
            Self::Cursor(cursor) => cursor.resolve(after)?,
            Self::List(_) | Self::Range { .. } => {}
        }
        Ok(())
    }

    /// How far they look back before the cursor's last value, and the value that is there.
    pub(crate) fn reaches_back_to(&self, after: &serde_json::Value) -> Option<(Lookback, serde_json::Value)> {
        match self {
            Self::Windows(windows) => windows.reaches_back_to(after),
            Self::Cursor(cursor) => cursor.reaches_back_to(after),
            Self::List(_) | Self::Range { .. } => None,
        }
    }
}

impl Scalar {
    fn text(text: &str) -> Self {
        Self { text: text.to_owned(), bare: false }
    }

    fn bare(value: impl fmt::Display) -> Self {
        Self { text: value.to_string(), bare: true }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RangeForm {
    from: i64,
    to: i64,
    #[serde(default)]
    step: Option<i64>,
}

impl RangeForm {
    fn into_values<E: Error>(self) -> Result<Values, E> {
        let Self { from, to, step } = self;
        let step = step.unwrap_or(if to < from { -1 } else { 1 });
        if step == 0 || (to > from && step < 0) || (to < from && step > 0) {
            return Err(E::custom(format!("a step of {step} does not lead from {from} to {to}")));
        }
        Ok(Values::Range { from, to, step })
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar::text(value))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::bare(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar::bare(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar::bare(value))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar::bare(value))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Reads a scalar, a list of scalars, and (for [`Values`]) a range.
struct ValuesVisitor {
    ranges: bool,
}

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ranges {
            "a value, a list of values, or a range such as `{ from: 1, to: 10 }`"
        } else {
            "a value or a list of values"
        })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Values, E> {
        Ok(Values::List(vec![Scalar::text(value)]))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Values, E> {
        Ok(Values::List(vec![Scalar::bare(value)]))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Values, E> {
        Ok(Values::List(vec![Scalar::bare(value)]))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Values, E> {
        Ok(Values::List(vec![Scalar::bare(value)]))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Values, E> {
        Ok(Values::List(vec![Scalar::bare(value)]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Values::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Values, A::Error> {
        if !self.ranges {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let form = serde_json::Value::deserialize(MapAccessDeserializer::new(map))?;
        if form.get("start").is_some() {
            let form = serde_json::from_value::<WindowForm>(form).map_err(A::Error::custom)?;
            return form.try_into().map(Values::Windows).map_err(A::Error::custom);
        }
        if form.get("cursor").is_some() {
            let form = serde_json::from_value::<CursorForm>(form).map_err(A::Error::custom)?;
            return form.try_into().map(Values::Cursor).map_err(A::Error::custom);
        }
        serde_json::from_value::<RangeForm>(form).map_err(A::Error::custom)?.into_values()
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor { ranges: true })
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ValuesVisitor { ranges: false })? {
            Values::List(values) => Ok(Self(values.into_iter().map(|value| value.text).collect())),
            _ => Err(D::Error::custom("a range is not possible here")),
        }
    }
}

fn scalar_schema() -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

impl JsonSchema for Values {
    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value, a list of values, a range of whole numbers, windows of time, or the last value of the stream's cursor",
            "anyOf": [
                scalar_schema(),
                { "type": "array", "items": scalar_schema() },
                {
                    "type": "object",
                    "properties": {
                        "from": { "type": "integer" },
                        "to": { "type": "integer" },
                        "step": { "type": "integer" },
                    },
                    "required": ["from", "to"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "start": { "type": "string" },
                        "end": { "type": "string" },
                        "step": { "type": "string" },
                        "lookback": { "type": "string" },
                        "format": { "type": "string" },
                    },
                    "required": ["start"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "cursor": { "type": "boolean", "description": "`true`: the last value of the stream's cursor" },
                        "initial": {
                            "type": ["string", "number", "boolean"],
                            "description": "What a first run sends. Without it, query parameters and headers that need it are left out"
                        },
                        "lookback": {
                            "type": ["string", "integer"],
                            "description": "How far before the last value: a duration such as `1d` for times, a number for numbers"
                        },
                        "format": {
                            "type": "string",
                            "description": "How a time is written; by default as the cursor has it"
                        },
                    },
                    "required": ["cursor"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value or a list of values",
            "anyOf": [scalar_schema(), { "type": "array", "items": scalar_schema() }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(json: serde_json::Value) -> Result<Values, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_counts_up_and_down() {
        let down = values(json!({"from": 5, "to": 1, "step": -2})).unwrap();
        assert_eq!((0..down.len()).map(|i| down.get(i).into_owned()).collect::<Vec<_>>(), ["5", "3", "1"]);
        assert_eq!(values(json!({"from": 3, "to": 3})).unwrap().len(), 1);
        assert_eq!(values(json!({"from": 1, "to": 10, "step": 4})).unwrap().len(), 3);
    }

    #[test]
    fn a_range_that_never_ends_is_refused() {
        let error = values(json!({"from": 1, "to": 3, "step": -1})).unwrap_err();
        assert!(error.contains("a step of -1 does not lead from 1 to 3"), "{error}");
        assert!(values(json!({"from": 1, "to": 3, "step": 0})).is_err());
    }

    #[test]
    fn something_else_is_refused_with_what_is_expected() {
        let error = values(json!(null)).unwrap_err();
        assert!(error.contains("a value, a list of values, or a range"), "{error}");
        let error = serde_json::from_value::<OneOrMany>(json!({"from": 1})).unwrap_err().to_string();
        assert!(error.contains("a value or a list of values"), "{error}");
    }
}
