//! Dates and times of the binary protocol.

/// A date or a time, or why it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment<T> {
    /// Whole days or microseconds.
    At(T),
    /// A zero as year, month or day.
    Zero,
    /// A day that the calendar does not have.
    Impossible,
}

const MICROS: i64 = 1_000_000;
const DAY: i64 = 24 * 60 * 60;

/// Days since 1970 of a date's bytes; what comes behind the date does not matter.
pub(super) fn date(bytes: &[u8]) -> Option<Moment<i32>> {
    let Some((&[low, high, month, day], _)) = bytes.split_first_chunk::<4>() else {
        // A date of zeros is left out.
        return bytes.is_empty().then_some(Moment::Zero);
    };
    let year = u16::from_le_bytes([low, high]);
    if month == 0 || day == 0 {
        return Some(Moment::Zero);
    }
    if month > 12 || day > days_of(year, month) {
        return Some(Moment::Impossible);
    }
    Some(Moment::At(days_since_epoch(year.into(), month.into(), day.into())))
}

/// Microseconds since 1970.
pub(super) fn datetime(bytes: &[u8]) -> Option<Moment<i64>> {
    let days = match date(bytes)? {
        Moment::At(days) => i64::from(days),
        Moment::Zero => return Some(Moment::Zero),
        Moment::Impossible => return Some(Moment::Impossible),
    };
    let seconds = days * DAY + seconds_of(bytes.get(4..7));
    Some(Moment::At(seconds * MICROS + micros_of(bytes.get(7..11))))
}

/// Microseconds of a length of time, which may be negative.
pub(super) fn time(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() {
        return Some(0);
    }
    let (&negative, rest) = bytes.split_first()?;
    let days = u32::from_le_bytes(*rest.first_chunk()?);
    let seconds = i64::from(days) * DAY + seconds_of(rest.get(4..7));
    let micros = seconds.checked_mul(MICROS)?.checked_add(micros_of(rest.get(7..11)))?;
    Some(if negative == 1 { -micros } else { micros })
}

/// How a date with zeros looks as text.
pub(super) fn text(bytes: &[u8]) -> String {
    let part = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let year = u16::from_le_bytes([part(0), part(1)]);
    let date = format!("{year:04}-{:02}-{:02}", part(2), part(3));
    if bytes.len() <= 4 {
        return date;
    }
    format!("{date} {:02}:{:02}:{:02}", part(4), part(5), part(6))
}

fn seconds_of(parts: Option<&[u8]>) -> i64 {
    match parts {
        Some(&[hours, minutes, seconds]) => {
            i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds)
        }
        _ => 0,
    }
}

fn micros_of(parts: Option<&[u8]>) -> i64 {
    parts.and_then(|parts| parts.try_into().ok()).map_or(0, |parts| u32::from_le_bytes(parts).into())
}

fn days_of(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01, in years that begin with March, so that the leap day is the last one.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(year: u16, month: u8, day: u8) -> Vec<u8> {
        [&year.to_le_bytes()[..], &[month, day]].concat()
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (year, month, day, days) in [
            (1970, 1, 1, 0),
            (1969, 12, 31, -1),
            (2000, 2, 29, 11_016),
            (2024, 12, 31, 20_088),
            (1000, 1, 1, -354_285),
            (9999, 12, 31, 2_932_896),
            (0, 3, 1, -719_468),
        ] {
            assert_eq!(date(&bytes(year, month, day)), Some(Moment::At(days)), "{year}-{month}-{day}");
        }
    }

    #[test]
    fn zeros_and_impossible_days_are_told_apart() {
        assert_eq!(date(&[]), Some(Moment::Zero));
        assert_eq!(date(&bytes(2024, 0, 1)), Some(Moment::Zero));
        assert_eq!(date(&bytes(2023, 2, 29)), Some(Moment::Impossible));
        assert_eq!(date(&bytes(1900, 2, 29)), Some(Moment::Impossible));
        assert_eq!(date(&[1, 2]), None);
        assert_eq!(text(&bytes(2024, 0, 7)), "2024-00-07");
    }

    #[test]
    fn times_may_be_negative_and_long() {
        assert_eq!(time(&[]), Some(0));
        assert_eq!(time(&[1, 34, 0, 0, 0, 22, 59, 59]), Some(-(838 * 3600 + 59 * 60 + 59) * MICROS));
        assert_eq!(time(&[0, 0, 0, 0, 0, 0, 0, 1, 7, 0, 0, 0]), Some(MICROS + 7));
        assert_eq!(time(&[0, 1]), None);
    }
}
