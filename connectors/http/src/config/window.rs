//! Windows of time as values of a parameter.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::Value as Json;
use towpath_core::HumanDuration;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Windows of time, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    start: i64,
    /// `None` for now.
    end: Option<i64>,
    step: Option<i64>,
    lookback: i64,
    format: TimeFormat,
    /// What is read, in microseconds: the first, and what is behind the last. Until a run resolves it, one window.
    span: (i64, i64),
}

/// How a time is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum TimeFormat {
    #[default]
    Rfc3339,
    Date,
    Unix,
    UnixMs,
    Strftime(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowForm {
    start: String,
    #[serde(default)]
    end: Option<String>,
    #[serde(default)]
    step: Option<HumanDuration>,
    #[serde(default)]
    lookback: Option<HumanDuration>,
    #[serde(default)]
    format: TimeFormat,
}

impl TryFrom<String> for TimeFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "rfc3339" => Ok(Self::Rfc3339),
            "date" => Ok(Self::Date),
            "unix" => Ok(Self::Unix),
            "unix_ms" => Ok(Self::UnixMs),
            pattern
                if pattern.contains('%')
                    && StrftimeItems::new(pattern).all(|item| !matches!(item, Item::Error)) =>
            {
                Ok(Self::Strftime(text))
            }
            _ => Err(format!(
                "`{text}` is no format of a time: write rfc3339, date, unix, unix_ms, or a pattern such as %Y%m%d"
            )),
        }
    }
}

impl TryFrom<WindowForm> for Windows {
    type Error = String;

    fn try_from(form: WindowForm) -> Result<Self, String> {
        let WindowForm { start, end, step, lookback, format } = form;
        let parse =
            |text: &str| time(text).ok_or_else(|| format!("`{text}` is neither a date nor an RFC 3339 time"));
        let length = |duration: HumanDuration| i64::try_from(duration.get().as_micros()).unwrap_or(i64::MAX);
        let start = parse(&start)?;
        let end = end.filter(|end| end != "now").map(|end| parse(&end)).transpose()?;
        if end.is_some_and(|end| end <= start) {
            return Err("the `end` of windows is not behind their `start`".to_owned());
        }
        let step = step.map(length);
        if step.is_some_and(|step| step < SECOND) {
            return Err("the `step` of windows has to be a second or more".to_owned());
        }
        let span = (start, start.saturating_add(step.unwrap_or(DAY)));
        Ok(Self { start, end, step, lookback: lookback.map_or(0, length), format, span })
    }
}

impl Windows {
    /// The windows of a run that begins now, behind the cursor's last value.
    pub(crate) fn resolve(&mut self, now: i64, after: Option<&Json>) {
        let end = self.end.map_or(now, |end| end.min(now));
        let after = after.and_then(|after| self.read(after));
        let mut start = after.map_or(self.start, |after| after.saturating_sub(self.lookback).max(self.start));
        if self.format == TimeFormat::Date {
            start = start.div_euclid(DAY) * DAY;
        }
        self.span = (start, end.max(start));
    }

    /// A value of the cursor as a time. Others, such as ids, say nothing about windows.
    fn read(&self, value: &Json) -> Option<i64> {
        match (value, &self.format) {
            (Json::String(text), _) => time(text),
            (Json::Number(number), TimeFormat::Unix) => number.as_i64()?.checked_mul(SECOND),
            (Json::Number(number), TimeFormat::UnixMs) => number.as_i64()?.checked_mul(1_000),
            _ => None,
        }
    }

    pub(super) fn len(&self) -> u64 {
        let length = u64::try_from(self.span.1 - self.span.0).unwrap_or_default();
        match self.step {
            None => u64::from(length > 0),
            Some(step) => length.div_ceil(step.unsigned_abs()),
        }
    }

    /// Where a window begins, as it is written.
    pub(super) fn start_of(&self, index: u64) -> String {
        self.write(self.begin(index))
    }

    /// What is behind a window.
    pub(super) fn end_of(&self, index: u64) -> String {
        self.write(self.begin(index.saturating_add(1)))
    }

    fn begin(&self, index: u64) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        match self.step {
            Some(step) => self.span.0.saturating_add(index.saturating_mul(step)).min(self.span.1),
            None if index == 0 => self.span.0,
            None => self.span.1,
        }
    }

    /// Whether times are numbers.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.format, TimeFormat::Unix | TimeFormat::UnixMs)
    }

    fn write(&self, micros: i64) -> String {
        let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
        match &self.format {
            TimeFormat::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            TimeFormat::Date => time.format("%Y-%m-%d").to_string(),
            TimeFormat::Unix => time.timestamp().to_string(),
            TimeFormat::UnixMs => time.timestamp_millis().to_string(),
            TimeFormat::Strftime(pattern) => time.format(pattern).to_string(),
        }
    }
}

/// A date or time in UTC, in microseconds.
fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let found = naive.iter().find_map(|pattern| NaiveDateTime::parse_from_str(text, pattern).ok());
    found.map(|time| time.and_utc().timestamp_micros())
}
