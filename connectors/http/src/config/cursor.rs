//! The last value of the stream's cursor as the value of a parameter.

use serde::Deserialize;
use serde_json::Value as Json;

use super::times::{Lookback, TimeFormat, time};
use super::values::Scalar;

/// The last value of the stream's cursor, less the lookback, in some format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorValue {
    pub(super) lookback: Option<Lookback>,
    format: Option<TimeFormat>,
    /// What a request gets: that of a first run until a run resolves it.
    value: Option<Scalar>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorForm {
    cursor: bool,
    #[serde(default)]
    initial: Option<Scalar>,
    #[serde(default)]
    pub(super) lookback: Option<Lookback>,
    #[serde(default)]
    format: Option<TimeFormat>,
}

impl TryFrom<CursorForm> for CursorValue {
    type Error = String;

    fn try_from(form: CursorForm) -> Result<Self, String> {
        let CursorForm { cursor, initial, lookback, format } = form;
        if !cursor {
            return Err("`cursor: false` has no meaning; write `cursor: true`, or another value".to_owned());
        }
        let value = match (initial, &format) {
            (Some(initial), Some(format)) if !initial.bare => {
                let micros = time(&initial.text).ok_or_else(|| {
                    format!(
                        "`initial: {}` is neither a date nor an RFC 3339 time, and has a `format`",
                        initial.text
                    )
                })?;
                Some(written(micros, format))
            }
            (initial, _) => initial,
        };
        Ok(Self { lookback, format, value })
    }
}

impl CursorValue {
    /// The value of a run behind the cursor's last value.
    ///
    /// # Errors
    /// When the last value is not one that `lookback` and `format` fit.
    pub(crate) fn resolve(&mut self, after: Option<&Json>) -> Result<(), String> {
        let Some(after) = after else { return Ok(()) };
        let Some(format) = &self.format else {
            let back = self.lookback.map(|lookback| lookback.before(after, None)).transpose()?;
            self.value = Some(plain(back.as_ref().unwrap_or(after)));
            return Ok(());
        };
        let micros = format.read(after).ok_or_else(|| {
            format!(
                "the cursor's last value {after} is no time that `format` could write; numbers are times with the \
                 formats unix and unix_ms only"
            )
        })?;
        if let Some(number @ Lookback::Number(_)) = self.lookback {
            // Refuses it, unless the time is a number.
            let back = number.before(after, Some(format))?;
            self.value = Some(plain(&back));
            return Ok(());
        }
        let back = micros.saturating_sub(self.lookback.map_or(0, Lookback::micros));
        self.value = Some(written(back, format));
        Ok(())
    }

    /// Where it is earlier than the last value: the value behind which rows are wanted.
    pub(super) fn reaches_back_to(&self, after: &Json) -> Option<(Lookback, Json)> {
        let lookback = self.lookback?;
        Some((lookback, lookback.before(after, self.format.as_ref()).ok()?))
    }

    /// What a request gets; nothing in a first run without an initial value.
    pub(super) fn value(&self) -> Option<&Scalar> {
        self.value.as_ref()
    }
}

fn written(micros: i64, format: &TimeFormat) -> Scalar {
    Scalar { text: format.write(micros), bare: format.is_bare() }
}

fn plain(value: &Json) -> Scalar {
    match value {
        Json::String(text) => Scalar { text: text.clone(), bare: false },
        other => Scalar { text: other.to_string(), bare: true },
    }
}
