//! Values that can be counted: ranges of them are cut by arithmetic.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};
use towpath_sql::between_integers;

use crate::types::source::Kind;

/// Whether values of the kind can be counted.
pub(crate) fn is_countable(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Int8
            | Kind::Int16
            | Kind::Int32
            | Kind::Int64
            | Kind::UInt8
            | Kind::UInt16
            | Kind::UInt32
            | Kind::UInt64
            | Kind::Year
            | Kind::Date
            | Kind::Datetime
            | Kind::Timestamp
    )
}

/// A value as a number: itself, days, or microseconds. `None` for what is none, such as a date with zeros.
pub(crate) fn number(kind: Kind, value: &str) -> Option<i128> {
    match kind {
        Kind::Date => date(value).map(i128::from),
        Kind::Datetime | Kind::Timestamp => moment(value).map(i128::from),
        _ => value.parse().ok(),
    }
}

/// A number as a value.
pub(crate) fn value(kind: Kind, number: i128) -> Option<String> {
    match kind {
        Kind::Date => {
            let days = i32::try_from(number).ok()?;
            Some(NaiveDate::from_epoch_days(days)?.to_string())
        }
        Kind::Datetime | Kind::Timestamp => moment_text(i64::try_from(number).ok()?),
        _ => Some(number.to_string()),
    }
}

/// Days since 1970.
pub(crate) fn date(value: &str) -> Option<i32> {
    Some(value.parse::<NaiveDate>().ok()?.to_epoch_days())
}

/// Microseconds since 1970, of a date and time with a space or a `T` between, and a `Z` behind or not.
pub(crate) fn moment(value: &str) -> Option<i64> {
    let value = value.trim_end_matches('Z').replacen(' ', "T", 1);
    Some(value.parse::<NaiveDateTime>().ok()?.and_utc().timestamp_micros())
}

/// A date and time as the server reads it.
pub(crate) fn moment_text(micros: i64) -> Option<String> {
    Some(DateTime::from_timestamp_micros(micros)?.naive_utc().format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// A span of numbers, cut into about equal pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    least: i128,
    greatest: i128,
    pieces: usize,
}

impl Span {
    /// A span that is to be cut into so many pieces.
    pub(crate) fn new(least: i128, greatest: i128, pieces: usize) -> Self {
        Self { least, greatest, pieces }
    }

    /// A span that is to be cut into pieces of about so many numbers, but not into too many.
    pub(crate) fn of_width(least: i128, greatest: i128, width: u64, most: usize) -> Self {
        let pieces = greatest.saturating_sub(least) / i128::from(width.max(1)) + 1;
        Self::new(least, greatest, usize::try_from(pieces).unwrap_or(most).clamp(1, most))
    }

    /// The least and the greatest number.
    pub(crate) fn ends(&self) -> (i128, i128) {
        (self.least, self.greatest)
    }

    /// Where each piece but the first begins.
    pub(crate) fn bounds(&self) -> Vec<i128> {
        between_integers(self.least, self.greatest, self.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_numbers_and_back() {
        for (kind, text) in [
            (Kind::Int64, "-9223372036854775808"),
            (Kind::UInt64, "18446744073709551615"),
            (Kind::Date, "1000-01-01"),
            (Kind::Date, "9999-12-31"),
            (Kind::Datetime, "1969-12-31 23:59:59.999999"),
            (Kind::Timestamp, "2038-01-19 03:14:07.000000"),
        ] {
            assert_eq!(value(kind, number(kind, text).unwrap()).unwrap(), text);
        }
        assert_eq!(number(Kind::Date, "0000-00-00"), None);
        assert_eq!(moment("2024-01-31T12:00:00Z"), moment("2024-01-31 12:00:00.0"));
    }

    #[test]
    fn a_span_is_cut_by_width_up_to_a_number_of_pieces() {
        assert_eq!(Span::of_width(1, 100, 25, 100).bounds().len(), 3);
        assert_eq!(Span::of_width(1, 1, 25, 100).bounds(), []);
        assert_eq!(Span::of_width(i128::from(i64::MIN), i128::from(u64::MAX), 1, 256).bounds().len(), 255);
    }
}
