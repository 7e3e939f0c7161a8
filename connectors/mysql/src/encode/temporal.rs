//! Dates and times, without ever rounding one.

use super::form::Form;

const DAY: i64 = 86_400;
/// The days of 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;
/// The seconds that a `timestamp` can be: zero is not among them.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = 1..=2_147_483_647;
/// The most hours of a `time`.
const HOURS: u64 = 838;

/// A date of days since 1970.
pub(super) fn date<F: Form>(out: &mut Vec<u8>, days: i64) -> Result<(), String> {
    if !DAYS.contains(&days) {
        return Err("a date lies between 0001-01-01 and 9999-12-31".to_owned());
    }
    F::plain(out, |out| day(out, days));
    Ok(())
}

pub(super) fn date_of_milliseconds<F: Form>(milliseconds: i64, out: &mut Vec<u8>) -> Result<(), String> {
    const MILLISECONDS: i64 = DAY * 1_000;
    if milliseconds % MILLISECONDS != 0 {
        return Err("it is no whole day, and a date would lose the time".to_owned());
    }
    date::<F>(out, milliseconds / MILLISECONDS)
}

/// A moment, of counts of which so many make a second.
pub(super) fn timestamp<F: Form>(
    out: &mut Vec<u8>,
    value: i64,
    per_second: i64,
    digits: u8,
    is_timestamp: bool,
) -> Result<(), String> {
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let days = seconds.div_euclid(DAY);
    if is_timestamp && !TIMESTAMP_SECONDS.contains(&seconds) {
        return Err(
            "a `timestamp` lies between 1970-01-01 00:00:01 and 2038-01-19 03:14:07; cast the column to a \
            timestamp without zone for a `datetime`"
                .to_owned(),
        );
    }
    if !DAYS.contains(&days) {
        return Err("a `datetime` lies between 0001-01-01 and 9999-12-31".to_owned());
    }
    let nanoseconds = fraction * (1_000_000_000 / per_second);
    check_fraction(nanoseconds, digits)?;
    F::plain(out, |out| {
        day(out, days);
        out.push(b' ');
        clock(out, seconds.rem_euclid(DAY).unsigned_abs());
        write_fraction(out, nanoseconds);
    });
    Ok(())
}

/// A time, which may be negative and longer than a day.
pub(super) fn time<F: Form>(
    out: &mut Vec<u8>,
    value: i64,
    per_second: i64,
    digits: u8,
) -> Result<(), String> {
    let per_second = per_second.unsigned_abs();
    let (seconds, fraction) = (value.unsigned_abs() / per_second, value.unsigned_abs() % per_second);
    if seconds / 3_600 > HOURS {
        return Err("a `time` lies between -838:59:59 and 838:59:59".to_owned());
    }
    let nanoseconds = i64::try_from(fraction * (1_000_000_000 / per_second)).unwrap_or(i64::MAX);
    check_fraction(nanoseconds, digits)?;
    F::plain(out, |out| {
        if value < 0 {
            out.push(b'-');
        }
        if seconds >= 360_000 {
            out.push(b'0' + digit(seconds / 360_000));
        }
        clock(out, seconds % 360_000);
        write_fraction(out, nanoseconds);
    });
    Ok(())
}

/// The server would round digits that the column does not have, and say nothing.
fn check_fraction(nanoseconds: i64, digits: u8) -> Result<(), String> {
    let finest = 10_i64.pow(9_u32.saturating_sub(digits.into()));
    if nanoseconds % finest == 0 {
        return Ok(());
    }
    Err(match digits {
        0 => "it has a fraction of a second, and the column has none".to_owned(),
        digits => format!("its fraction of a second has more than {digits} digits"),
    })
}

/// With as few digits as it needs.
fn write_fraction(out: &mut Vec<u8>, nanoseconds: i64) {
    if nanoseconds == 0 {
        return;
    }
    out.push(b'.');
    let mut divisor = 100_000_000;
    let mut rest = nanoseconds.unsigned_abs();
    while rest > 0 {
        out.push(b'0' + digit(rest / divisor));
        rest %= divisor;
        divisor = (divisor / 10).max(1);
    }
}

fn day(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    two(out, year / 100);
    two(out, year % 100);
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day);
}

fn clock(out: &mut Vec<u8>, seconds: u64) {
    two(out, seconds / 3_600);
    out.push(b':');
    two(out, seconds / 60 % 60);
    out.push(b':');
    two(out, seconds % 60);
}

fn two(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&[b'0' + digit(number / 10), b'0' + digit(number)]);
}

fn digit(number: u64) -> u8 {
    (number % 10) as u8
}

/// Year, month and day of the days since 1970 in the Gregorian calendar, counted in eras of 400 years that begin in March:
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(days: i64) -> (u64, u64, u64) {
    let shifted = (days + 719_468).unsigned_abs();
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::super::form::{Insert, Load};
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<String, String> {
        let mut out = Vec::new();
        write(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, date) in [
            (-719_162, "0001-01-01"),
            (-1, "1969-12-31"),
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(written(|out| super::date::<Load>(out, days)).unwrap(), date);
        }
        assert!(written(|out| super::date::<Load>(out, 2_932_897)).is_err());
        assert!(written(|out| super::date::<Load>(out, -719_163)).is_err());
        let calendar = |days: i64| {
            let date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + chrono::Duration::days(days);
            date.format("%Y-%m-%d").to_string()
        };
        for days in (-700_000..2_900_000).step_by(9_973) {
            assert_eq!(written(|out| super::date::<Load>(out, days)).unwrap(), calendar(days));
        }
    }

    #[test]
    fn moments_keep_every_digit_or_are_refused() {
        let at = |value, per_second, digits, is_timestamp| {
            written(|out| timestamp::<Insert>(out, value, per_second, digits, is_timestamp))
        };
        assert_eq!(at(-1, 1_000_000, 6, false).unwrap(), "'1969-12-31 23:59:59.999999'");
        assert_eq!(at(1_500, 1_000, 6, false).unwrap(), "'1970-01-01 00:00:01.5'");
        assert_eq!(at(1_000_000_120_000, 1_000_000_000, 6, true).unwrap(), "'1970-01-01 00:16:40.00012'");
        assert!(at(1, 1_000_000_000, 6, false).unwrap_err().contains("more than 6 digits"));
        assert!(at(1_500, 1_000, 0, false).unwrap_err().contains("the column has none"));
        assert!(at(0, 1, 6, true).unwrap_err().contains("between 1970-01-01 00:00:01"));
        assert!(at(i64::MIN, 1, 6, false).is_err());
    }

    #[test]
    fn times_are_negative_and_longer_than_a_day() {
        let of = |value, per_second, digits| written(|out| time::<Load>(out, value, per_second, digits));
        assert_eq!(of(-1, 1_000_000, 6).unwrap(), "-00:00:00.000001");
        assert_eq!(of(90_061, 1, 0).unwrap(), "25:01:01");
        assert_eq!(of(-3_020_399, 1, 6).unwrap(), "-838:59:59");
        assert!(of(3_020_400, 1, 6).is_err());
        assert!(of(i64::MIN, 1_000_000, 6).is_err());
        assert!(of(1, 1_000_000_000, 6).unwrap_err().contains("more than 6 digits"));
    }
}
