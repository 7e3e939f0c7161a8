//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of a thing: `1 row`, `2 rows`.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1234567` as `1.2 MB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let (mut value, mut unit) = (number as f64 / 1000.0, 0);
    // 999.95 would be shown as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Seconds as `3.2s`, `4m05s` or `2h03m`.
pub(crate) fn seconds(number: f64) -> String {
    // 59.95 would be shown as 60.0s.
    if number < 59.95 {
        return format!("{number:.1}s");
    }
    let whole = Duration::try_from_secs_f64(number.round()).map_or(u64::MAX, |duration| duration.as_secs());
    let (hours, minutes, rest) = (whole / 3600, whole % 3600 / 60, whole % 60);
    if hours == 0 { format!("{minutes}m{rest:02}s") } else { format!("{hours}h{minutes:02}m") }
}

/// How many of a number in a second, as a whole number; none where no time has passed.
pub(crate) fn per_second(number: u64, seconds: f64) -> Option<u64> {
    let rate = number as f64 / seconds;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is shown as a whole number"
    )]
    rate.is_finite().then_some(rate.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(2000, "row"), "2,000 rows");
    }

    #[test]
    fn bytes_have_the_greatest_unit_that_fits() {
        for (number, text) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_960, "1.0 MB"), (12_340_000_000, "12.3 GB")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn seconds_become_minutes_and_hours() {
        for (number, text) in
            [(0.04, "0.0s"), (59.94, "59.9s"), (59.96, "1m00s"), (3600.0, "1h00m"), (7384.0, "2h03m")]
        {
            assert_eq!(seconds(number), text);
        }
    }

    #[test]
    fn a_rate_needs_time() {
        assert_eq!(per_second(10, 4.0), Some(3));
        assert_eq!(per_second(10, 0.0), None);
    }
}
