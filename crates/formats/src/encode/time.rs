//! Dates and times as text, in ISO 8601 and RFC 3339: what Arrow prints, without a formatter between.

use chrono::{DateTime, NaiveDate};

/// The digits of 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 1;
    while value < 100 {
        let [tens, ones] = pairs[value - 1];
        pairs[value] = if ones == b'9' { [tens + 1, b'0'] } else { [tens, ones + 1] };
        value += 1;
    }
    pairs
};

/// Days of the years 0 to 9999, which have four digits and no sign.
const FOUR_DIGIT_YEARS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

const SECONDS_OF_DAY: i64 = 86_400;

/// A text of known maximum length on the stack, so that the output grows once for each value.
struct Text {
    bytes: [u8; 48],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    fn pair(&mut self, value: u32) {
        self.bytes[self.length..self.length + 2].copy_from_slice(&PAIRS[value as usize % 100]);
        self.length += 2;
    }

    /// A date of a year with four digits.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the caller has checked the range"
    )]
    fn date(&mut self, days: i64) {
        // The civil calendar counts from March, so that leap days come last; 400 years repeat.
        let shifted = (days + 719_468 + 146_097) as u32;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let year = era * 400 + year_of_era + next_year - 400;
        self.pair(year / 100);
        self.pair(year % 100);
        self.push(b'-');
        self.pair(month);
        self.push(b'-');
        self.pair(day);
    }

    #[inline]
    fn time(&mut self, second: u32, nanos: u32) {
        self.pair(second / 3_600);
        self.push(b':');
        self.pair(second / 60 % 60);
        self.push(b':');
        self.pair(second % 60);
        self.fraction(nanos);
    }

    /// Nothing, or as many digits as are needed: three, six or nine.
    #[inline]
    fn fraction(&mut self, nanos: u32) {
        if nanos == 0 {
            return;
        }
        self.push(b'.');
        self.three(nanos / 1_000_000);
        if !nanos.is_multiple_of(1_000_000) {
            self.three(nanos / 1_000 % 1_000);
            if !nanos.is_multiple_of(1_000) {
                self.three(nanos % 1_000);
            }
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a digit")]
    fn three(&mut self, value: u32) {
        self.push(b'0' + (value / 100) as u8);
        self.pair(value % 100);
    }

    /// `Z`, or hours and minutes.
    #[inline]
    fn offset(&mut self, minutes: i32) {
        if minutes == 0 {
            return self.push(b'Z');
        }
        self.push(if minutes < 0 { b'-' } else { b'+' });
        self.pair(minutes.unsigned_abs() / 60);
        self.push(b':');
        self.pair(minutes.unsigned_abs() % 60);
    }

    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.length]);
    }
}

/// Writes a date; `false` when no calendar has it.
#[inline]
pub(super) fn date(days: i64, out: &mut Vec<u8>) -> bool {
    if FOUR_DIGIT_YEARS.contains(&days) {
        let mut text = Text::new();
        text.date(days);
        text.append_to(out);
        return true;
    }
    let Some(date) = far_date(days) else { return false };
    out.extend_from_slice(format!("{date:?}").as_bytes());
    true
}

/// Writes a date and time, with an offset in minutes where there is a zone; `false` when no calendar has it.
#[inline]
pub(super) fn datetime(seconds: i64, nanos: u32, offset: Option<i32>, out: &mut Vec<u8>) -> bool {
    let Some(local) = seconds.checked_add(i64::from(offset.unwrap_or(0)) * 60) else { return false };
    let days = local.div_euclid(SECONDS_OF_DAY);
    if !FOUR_DIGIT_YEARS.contains(&days) {
        let Some(date) = far_date(days) else { return false };
        out.extend_from_slice(format!("{date:?}").as_bytes());
    }
    let mut text = Text::new();
    if FOUR_DIGIT_YEARS.contains(&days) {
        text.date(days);
    }
    text.push(b'T');
    text.time(second_of_day(local), nanos);
    if let Some(offset) = offset {
        text.offset(offset);
    }
    text.append_to(out);
    true
}

/// Writes a time of day; `false` when a day has no such second.
#[inline]
pub(super) fn time(seconds: i64, nanos: u32, out: &mut Vec<u8>) -> bool {
    if !(0..SECONDS_OF_DAY).contains(&seconds) {
        return false;
    }
    let mut text = Text::new();
    text.time(second_of_day(seconds), nanos);
    text.append_to(out);
    true
}

/// Writes a duration in seconds, such as `PT90.5S`.
pub(super) fn duration(value: i64, per_second: i64, out: &mut Vec<u8>) {
    if value == 0 {
        return out.extend_from_slice(b"P0D");
    }
    let (value, per_second) = (i128::from(value), i128::from(per_second));
    out.extend_from_slice(if value < 0 { b"-PT" } else { b"PT" });
    let (whole, rest) = (value.abs() / per_second, value.abs() % per_second);
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    if rest > 0 {
        let digits = format!(".{:09}", rest * (1_000_000_000 / per_second));
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    out.push(b'S');
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "below the seconds of a day")]
fn second_of_day(seconds: i64) -> u32 {
    seconds.rem_euclid(SECONDS_OF_DAY) as u32
}

/// A date whose year has a sign or more than four digits.
fn far_date(days: i64) -> Option<NaiveDate> {
    Some(DateTime::from_timestamp(days.checked_mul(SECONDS_OF_DAY)?, 0)?.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_date_is_as_the_calendar_has_it() {
        for days in (-800_000_i64..3_000_000).step_by(7).chain([-719_529, -719_528, 2_932_896, 2_932_897]) {
            let expected = format!("{:?}", far_date(days).unwrap());
            assert_eq!(text(|out| date(days, out)).unwrap(), expected, "{days}");
        }
        assert_eq!(text(|out| date(i64::from(i32::MAX), out)), None);
    }

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        for (second, nanos) in [
            (0, 0),
            (-1, 999_999_999),
            (1_700_000_000, 500_000_000),
            (1_700_000_000, 123_456_000),
            (-62_167_219_200, 1),
            (253_402_300_800, 1_000_000),
        ] {
            let expected = DateTime::from_timestamp(second, nanos).unwrap();
            let zoned = expected.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            assert_eq!(text(|out| datetime(second, nanos, Some(0), out)).unwrap(), zoned);
            let naive = format!("{:?}", expected.naive_utc());
            assert_eq!(text(|out| datetime(second, nanos, None, out)).unwrap(), naive);
        }
        assert_eq!(text(|out| datetime(0, 0, Some(-210), out)).unwrap(), "1969-12-31T20:30:00-03:30");
        assert_eq!(text(|out| datetime(i64::MAX, 0, Some(60), out)), None);
        assert_eq!(text(|out| time(86_399, 1_000, out)).unwrap(), "23:59:59.000001");
        assert_eq!(text(|out| time(86_400, 0, out)), None);
    }

    #[test]
    fn durations_are_seconds() {
        let text = |value, per_second| {
            text(|out| {
                duration(value, per_second, out);
                true
            })
        };
        assert_eq!(text(0, 1).unwrap(), "P0D");
        assert_eq!(text(-1_500, 1_000).unwrap(), "-PT1.5S");
        assert_eq!(text(i64::MIN, 1_000_000_000).unwrap(), "-PT9223372036.854775808S");
        assert_eq!(text(3_600, 1).unwrap(), "PT3600S");
    }
}
