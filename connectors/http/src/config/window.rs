//! Windows of time as values of a parameter.

use serde::Deserialize;
use serde_json::Value as Json;
use towpath_core::HumanDuration;

use super::times::{DAY, Lookback, SECOND, TimeFormat, micros, time};

/// Windows of time, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    start: i64,
    /// `None` for now.
    end: Option<i64>,
    step: Option<i64>,
    pub(super) lookback: Option<HumanDuration>,
    format: TimeFormat,
    /// What is read, in microseconds: the first, and what is behind the last. Until a run resolves it, one window.
    span: (i64, i64),
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
    pub(super) lookback: Option<HumanDuration>,
    #[serde(default)]
    format: TimeFormat,
}

impl TryFrom<WindowForm> for Windows {
    type Error = String;

    fn try_from(form: WindowForm) -> Result<Self, String> {
        let WindowForm { start, end, step, lookback, format } = form;
        let parse =
            |text: &str| time(text).ok_or_else(|| format!("`{text}` is neither a date nor an RFC 3339 time"));
        let start = parse(&start)?;
        let end = end.filter(|end| end != "now").map(|end| parse(&end)).transpose()?;
        if end.is_some_and(|end| end <= start) {
            return Err("the `end` of windows is not behind their `start`".to_owned());
        }
        let step = step.map(micros);
        if step.is_some_and(|step| step < SECOND) {
            return Err("the `step` of windows has to be a second or more".to_owned());
        }
        let span = (start, start.saturating_add(step.unwrap_or(DAY)));
        Ok(Self { start, end, step, lookback, format, span })
    }
}

impl Windows {
    /// The windows of a run that begins now, behind the cursor's last value.
    pub(crate) fn resolve(&mut self, now: i64, after: Option<&Json>) {
        let end = self.end.map_or(now, |end| end.min(now));
        let after = after.and_then(|after| self.format.read(after));
        let lookback = self.lookback.map_or(0, micros);
        let mut start = after.map_or(self.start, |after| after.saturating_sub(lookback).max(self.start));
        if self.format == TimeFormat::Date {
            start = start.div_euclid(DAY) * DAY;
        }
        self.span = (start, end.max(start));
    }

    /// The value of the cursor behind which rows are wanted, where that is earlier than the last value. Ids and other
    /// values that are no times say nothing about windows.
    pub(super) fn reaches_back_to(&self, after: &Json) -> Option<(Lookback, Json)> {
        self.format.read(after)?;
        let lookback = Lookback::Time(self.lookback?);
        Some((lookback, lookback.before(after, Some(&self.format)).ok()?))
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
        self.format.write(self.begin(index))
    }

    /// What is behind a window.
    pub(super) fn end_of(&self, index: u64) -> String {
        self.format.write(self.begin(index.saturating_add(1)))
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
        self.format.is_bare()
    }
}
