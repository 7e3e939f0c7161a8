//! Times as APIs write them.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value as Json;
use towpath_core::HumanDuration;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// Times without a zone, as texts hold them.
const NAIVE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];

/// How a time is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum TimeFormat {
    #[default]
    Rfc3339,
    Date,
    Unix,
    UnixMs,
    HttpDate,
    Strftime(String),
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub(crate) enum Lookback {
    /// For numbers.
    Number(u32),
    /// For dates and times.
    Time(HumanDuration),
}

impl TryFrom<String> for TimeFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "rfc3339" => Ok(Self::Rfc3339),
            "date" => Ok(Self::Date),
            "unix" => Ok(Self::Unix),
            "unix_ms" => Ok(Self::UnixMs),
            "http_date" => Ok(Self::HttpDate),
            pattern
                if pattern.contains('%')
                    && StrftimeItems::new(pattern).all(|item| !matches!(item, Item::Error)) =>
            {
                Ok(Self::Strftime(text))
            }
            _ => Err(format!(
                "`{text}` is no format of a time: write rfc3339, date, unix, unix_ms, http_date, or a pattern such as %Y%m%d"
            )),
        }
    }
}

impl TimeFormat {
    /// A value of a cursor as a time in microseconds. Others, such as ids, are none.
    pub(super) fn read(&self, value: &Json) -> Option<i64> {
        match (value, self) {
            (Json::String(text), _) => time(text),
            (Json::Number(number), Self::Unix) => number.as_i64()?.checked_mul(SECOND),
            (Json::Number(number), Self::UnixMs) => number.as_i64()?.checked_mul(1_000),
            _ => None,
        }
    }

    /// A time in microseconds as it is written.
    pub(super) fn write(&self, micros: i64) -> String {
        let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
        match self {
            Self::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::Date => time.format("%Y-%m-%d").to_string(),
            Self::Unix => time.timestamp().to_string(),
            Self::UnixMs => time.timestamp_millis().to_string(),
            Self::HttpDate => time.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
            Self::Strftime(pattern) => time.format(pattern).to_string(),
        }
    }

    /// Whether times are numbers.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self, Self::Unix | Self::UnixMs)
    }
}

impl Lookback {
    /// In microseconds; nothing for numbers.
    pub(super) fn micros(self) -> i64 {
        match self {
            Self::Number(_) => 0,
            Self::Time(duration) => micros(duration),
        }
    }

    /// The value of a cursor so far back, in the form that it has. `format` tells which times numbers are.
    ///
    /// # Errors
    /// When it is no such value.
    pub(super) fn before(self, value: &Json, format: Option<&TimeFormat>) -> Result<Json, String> {
        let found = match (value, self) {
            (Json::Number(number), Self::Number(by)) => match number.as_i64() {
                Some(number) => number.checked_sub(by.into()).map(Json::from),
                None => number.as_f64().map(|number| Json::from(number - f64::from(by))),
            },
            // Decimals come as texts.
            (Json::String(text), Self::Number(by)) => {
                let number = text.parse::<i128>().ok();
                number.map(|number| Json::from((number - i128::from(by)).to_string()))
            }
            (Json::Number(number), Self::Time(by)) => {
                let unit = match format {
                    Some(TimeFormat::Unix) => Some(SECOND),
                    Some(TimeFormat::UnixMs) => Some(1_000),
                    _ => None,
                };
                let by = unit.map(|unit| micros(by) / unit);
                number.as_i64().and_then(|number| number.checked_sub(by?)).map(Json::from)
            }
            (Json::String(text), Self::Time(by)) => earlier(text, micros(by)).map(Json::from),
            _ => None,
        };
        found.ok_or_else(|| match self {
            Self::Number(by) => format!(
                "the cursor's last value {value} is no number, and `lookback: {by}` is one; write a duration such as 1h"
            ),
            Self::Time(by) => format!(
                "the cursor's last value {value} is no time, and `lookback: {by}` is one; write a number, or for seconds \
                 and milliseconds since 1970 set `format: unix` or `unix_ms`"
            ),
        })
    }
}

/// A text that holds a time, so much earlier and in the same form.
fn earlier(text: &str, by: i64) -> Option<String> {
    let by = TimeDelta::microseconds(by);
    if let Ok(date) = text.parse::<NaiveDate>() {
        // Rounded down, to reach far enough.
        return Some((date.and_hms_opt(0, 0, 0)?.checked_sub_signed(by)?).format("%Y-%m-%d").to_string());
    }
    let before = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.checked_sub_signed(by)?.naive_local(),
        Err(_) => naive(text)?.checked_sub_signed(by)?,
    };
    let separator = text.get(10..11)?;
    let behind_seconds = text.get(19..)?;
    let digits = behind_seconds.strip_prefix('.').unwrap_or_default();
    let digits = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let fraction = if digits == 0 {
        String::new()
    } else {
        let nanos = before.format("%9f").to_string();
        format!(".{}", nanos.chars().chain("0".repeat(digits).chars()).take(digits).collect::<String>())
    };
    let zone = &behind_seconds[fraction.len()..];
    Some(format!("{}{separator}{}{fraction}{zone}", before.format("%Y-%m-%d"), before.format("%H:%M:%S")))
}

/// A date or time in UTC, in microseconds.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
    }
    naive(text).map(|time| time.and_utc().timestamp_micros())
}

fn naive(text: &str) -> Option<NaiveDateTime> {
    NAIVE.iter().find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok())
}

/// A duration in microseconds.
pub(super) fn micros(duration: HumanDuration) -> i64 {
    i64::try_from(duration.get().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn before(value: &Json, by: &Json, format: Option<&TimeFormat>) -> Result<Json, String> {
        let by: Lookback = serde_json::from_value(by.clone()).unwrap();
        by.before(value, format)
    }

    #[test]
    fn a_value_so_far_back_has_the_form_of_the_value() {
        for (value, by, expected) in [
            (json!("2024-01-04T06:00:00Z"), json!("1h"), json!("2024-01-04T05:00:00Z")),
            (json!("2024-01-04T00:30:00.250+02:00"), json!("1h"), json!("2024-01-03T23:30:00.250+02:00")),
            (json!("2024-01-04 00:00:00.5"), json!("250ms"), json!("2024-01-04 00:00:00.2")),
            (json!("2024-01-04 00:00:00.5"), json!("1s"), json!("2024-01-03 23:59:59.5")),
            (json!("2024-01-04"), json!("1h"), json!("2024-01-03")),
            (json!("2024-01-04"), json!("2d"), json!("2024-01-02")),
            (json!(17), json!(5), json!(12)),
            (json!(1.5), json!(1), json!(0.5)),
            (json!("17"), json!(5), json!("12")),
        ] {
            assert_eq!(before(&value, &by, None), Ok(expected), "{value} {by}");
        }
        assert_eq!(before(&json!(1000), &json!("1m"), Some(&TimeFormat::Unix)), Ok(json!(940)));
        assert_eq!(before(&json!(70_000), &json!("1m"), Some(&TimeFormat::UnixMs)), Ok(json!(10_000)));
    }

    #[test]
    fn a_lookback_of_another_kind_is_refused() {
        let error = before(&json!(17), &json!("1h"), None).unwrap_err();
        assert!(error.contains("17 is no time"), "{error}");
        let error = before(&json!("2024-01-04"), &json!(3), None).unwrap_err();
        assert!(error.contains("is no number"), "{error}");
    }
}
