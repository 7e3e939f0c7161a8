//! Dates and times from text. The usual forms are read here, since nearly all values have them; the rest by Arrow.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime, string_to_time_nanoseconds};
use arrow::datatypes::Date32Type;
use arrow_schema::TimeUnit;
use chrono::{DateTime, TimeZone, Utc};
use towpath_core::HumanDuration;

use super::value::{Accept, integer};

/// `2024-02-29`, in days since 1970.
pub(crate) fn date(text: &str, accept: Accept) -> Option<i32> {
    let text = accept.trim(text);
    let bytes = text.as_bytes();
    if bytes.len() == 10 && is_dashed(bytes) {
        return i32::try_from(days(bytes)?).ok();
    }
    if accept == Accept::Lenient && bytes.len() < 10 { Date32Type::parse(text) } else { None }
}

fn is_dashed(bytes: &[u8]) -> bool {
    bytes[4] == b'-' && bytes[7] == b'-'
}

/// The number that these bytes are the digits of.
#[inline]
fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then_some(value * 10 + i64::from(digit))
    })
}

/// The days since 1970 of `2024-02-29...`, in the Gregorian calendar.
#[inline]
fn days(bytes: &[u8]) -> Option<i64> {
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// The seconds of `2024-02-29T09:26:56...`, as if it were in UTC.
#[inline]
fn seconds(bytes: &[u8]) -> Option<i64> {
    let usual = matches!(bytes[10], b'T' | b't' | b' ') && bytes[13] == b':' && bytes[16] == b':';
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    let fits = usual && hour < 24 && minute < 60 && second < 60;
    fits.then_some(days(bytes)? * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `09:26:56.123456`, in microseconds.
pub(crate) fn time(text: &str, accept: Accept) -> Option<i64> {
    let nanos = string_to_time_nanoseconds(accept.trim(text)).ok()?;
    (nanos % 1_000 == 0).then_some(nanos / 1_000)
}

/// `1h30m`, or a number of microseconds.
pub(crate) fn duration(text: &str, accept: Accept) -> Option<i64> {
    let text = accept.trim(text);
    integer(text, accept).or_else(|| {
        let duration = text.parse::<HumanDuration>().ok()?.get();
        i64::try_from(duration.as_micros()).ok()
    })
}

/// What stands behind the time of day.
enum Offset {
    None,
    Utc,
    /// East of Greenwich, in seconds.
    Seconds(i64),
    /// The name of a zone.
    Named,
}

impl Offset {
    /// `Z`, `+01:00`, `+0100` or `+01`.
    fn of(bytes: &[u8]) -> Self {
        let (sign, hours, minutes) = match bytes {
            [] => return Self::None,
            [b'Z' | b'z'] => return Self::Utc,
            [sign, hours @ ..] if hours.len() == 2 => (sign, hours, &b"00"[..]),
            [sign, clock @ ..] if clock.len() == 4 => (sign, &clock[..2], &clock[2..]),
            [sign, clock @ ..] if clock.len() == 5 && clock[2] == b':' => (sign, &clock[..2], &clock[3..]),
            _ => return Self::Named,
        };
        match (sign, digits(hours), digits(minutes)) {
            (b'+', Some(hours), Some(minutes)) if hours < 24 && minutes < 60 => {
                Self::Seconds(hours * 3_600 + minutes * 60)
            }
            (b'-', Some(hours), Some(minutes)) if hours < 24 && minutes < 60 => {
                Self::Seconds(-hours * 3_600 - minutes * 60)
            }
            _ => Self::Named,
        }
    }
}

/// `2024-02-29T09:26:56.123456+01:00`. A column without a zone takes no offset, except (if declared) `Z`; a column with
/// a zone takes texts without one as local time, if declared. Digits beyond the unit must be zeros.
pub(crate) fn timestamp(text: &str, unit: TimeUnit, zone: Option<Tz>, accept: Accept) -> Option<i64> {
    let text = accept.trim(text);
    let bytes = text.as_bytes();
    if bytes.len() < 10 || !bytes.is_ascii() || !is_dashed(bytes) {
        return None;
    }
    let rest = bytes.get(19..).unwrap_or_default();
    if bytes.len() > 10 && (bytes.len() < 19 || bytes[13] != b':') {
        return None;
    }
    let fraction = match rest {
        [b'.', digits @ ..] => digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let kept = places(unit);
    if fraction > kept && rest[1 + kept..=fraction].iter().any(|digit| *digit != b'0') {
        return None;
    }
    let behind = fraction + usize::from(fraction > 0);
    let offset = Offset::of(rest.get(behind..).unwrap_or_default());
    let lenient = accept == Accept::Lenient;
    match (zone, &offset) {
        (None, Offset::Seconds(_) | Offset::Named) => return None,
        // Names of zones mean different offsets at different times: only if declared.
        (None, Offset::Utc) | (Some(_), Offset::None | Offset::Named) if !lenient => return None,
        _ => {}
    }
    let east = match (zone, offset) {
        (None, _) | (_, Offset::Utc) => 0,
        (_, Offset::Seconds(east)) => east,
        (Some(zone), _) => return in_unit(&string_to_datetime(&zone, text).ok()?, unit),
    };
    let usual = if bytes.len() == 10 { days(bytes).map(|days| days * 86_400) } else { seconds(bytes) };
    match usual {
        Some(seconds) => {
            let digits_kept = digits(&rest[usize::from(fraction > 0)..][..fraction.min(kept)])?;
            let missing = u32::try_from(kept.saturating_sub(fraction)).ok()?;
            let scale = 10_i128.pow(u32::try_from(kept).ok()?);
            // The earliest nanoseconds fit only together with their fraction.
            let units = i128::from(seconds - east) * scale + i128::from(digits_kept * 10_i64.pow(missing));
            i64::try_from(units).ok()
        }
        // Leap seconds, and what is no time at all.
        None => in_unit(&string_to_datetime(&Utc, text).ok()?, unit),
    }
}

/// How many digits of a fraction of a second a unit holds.
fn places(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn in_unit<Z: TimeZone>(time: &DateTime<Z>, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => Some(time.timestamp()),
        TimeUnit::Millisecond => Some(time.timestamp_millis()),
        TimeUnit::Microsecond => Some(time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_read_as_arrow_reads_them() {
        for day in [
            "0000-01-01",
            "0001-03-01",
            "1582-10-15",
            "1899-12-31",
            "1900-02-28",
            "1969-12-31",
            "1970-01-01",
            "2000-02-29",
            "2023-02-28",
            "2024-12-31",
            "9999-12-31",
        ] {
            assert_eq!(date(day, Accept::Canonical), Date32Type::parse(day), "{day}");
            for time in [
                "",
                "T00:00:00",
                " 23:59:59",
                "T12:34:56.7",
                "t01:02:03.000001",
                " 04:05:06.123456000",
                "T23:59:60",
            ] {
                let text = format!("{day}{time}");
                let arrow = string_to_datetime(&Utc, &text).unwrap();
                for unit in [TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                    let own = timestamp(&text, unit, None, Accept::Canonical);
                    assert_eq!(own, in_unit(&arrow, unit), "{text} in {unit:?}");
                }
                for offset in ["Z", "+01:00", "-0230", "+14"] {
                    let text = format!("{text}{offset}");
                    if time.is_empty() {
                        assert_eq!(
                            timestamp(&text, TimeUnit::Microsecond, utc(), Accept::Canonical),
                            None,
                            "{text}"
                        );
                        continue;
                    }
                    let arrow = string_to_datetime(&Utc, &text).unwrap();
                    let own = timestamp(&text, TimeUnit::Microsecond, utc(), Accept::Canonical);
                    assert_eq!(own, in_unit(&arrow, TimeUnit::Microsecond), "{text}");
                }
            }
        }
        for wrong in
            ["2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "2024-04-31", "2024-1x-01", "2024/01/01"]
        {
            assert_eq!(date(wrong, Accept::Canonical), None, "{wrong}");
            assert_eq!(timestamp(wrong, TimeUnit::Second, None, Accept::Lenient), None, "{wrong}");
        }
        for wrong in [
            "T24:00:00",
            "T12:60:00",
            "T1:02:03",
            "T12:00:00.",
            "T12:00:00+25:00",
            "T12:00:00+1",
            "x12:00:00",
        ] {
            let wrong = format!("2024-02-29{wrong}");
            assert_eq!(timestamp(&wrong, TimeUnit::Microsecond, utc(), Accept::Canonical), None, "{wrong}");
            assert_eq!(timestamp(&wrong, TimeUnit::Microsecond, None, Accept::Lenient), None, "{wrong}");
        }
    }

    #[test]
    fn the_first_and_the_last_nanosecond_fit_and_those_beyond_do_not() {
        let nano = |text| timestamp(text, TimeUnit::Nanosecond, None, Accept::Canonical);
        assert_eq!(nano("1677-09-21T00:12:43.145224192"), Some(i64::MIN));
        assert_eq!(nano("2262-04-11T23:47:16.854775807"), Some(i64::MAX));
        assert_eq!(nano("1677-09-21T00:12:43.145224191"), None);
        assert_eq!(nano("2262-04-11T23:47:16.854775808"), None);
    }

    fn utc() -> Option<Tz> {
        "UTC".parse().ok()
    }

    #[test]
    fn a_zone_is_neither_invented_nor_lost() {
        let micro = |text: &str, zone: Option<&str>, accept| {
            timestamp(text, TimeUnit::Microsecond, zone.map(|zone| zone.parse().unwrap()), accept)
        };
        let noon = Some(1_709_208_000_000_000);
        assert_eq!(micro("2024-02-29T12:00:00", None, Accept::Canonical), noon);
        assert_eq!(micro("2024-02-29T12:00:00Z", None, Accept::Canonical), None);
        assert_eq!(micro("2024-02-29T12:00:00Z", None, Accept::Lenient), noon);
        assert_eq!(micro("2024-02-29T12:00:00+01:00", None, Accept::Lenient), None);
        assert_eq!(micro("2024-02-29T13:00:00+01:00", Some("UTC"), Accept::Canonical), noon);
        assert_eq!(micro("2024-02-29T13:00:00", Some("Europe/Berlin"), Accept::Lenient), noon);
        assert_eq!(micro("2024-02-29T13:00:00", Some("Europe/Berlin"), Accept::Canonical), None);
        assert_eq!(micro("2024-02-29T12:00:00.1234567", None, Accept::Lenient), None);
        assert_eq!(micro("2024-02-29T12:00:00.0000000", None, Accept::Lenient), noon);
    }
}
