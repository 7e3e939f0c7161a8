//! Values as text that people read.

use std::fmt::Write as _;

use super::numbers::decimal_text;
use super::{Malformed, UUID_SUBTYPE, Value, tag, take_name, utf8};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// An id as 24 digits.
pub(crate) fn object_id(id: [u8; 12]) -> String {
    hex(&id)
}

/// Hands on an id as 24 digits, which are put together without an allocation.
#[inline]
pub(crate) fn with_object_id(id: [u8; 12], take: impl FnOnce(&str)) {
    let mut digits = [0; 24];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    take(std::str::from_utf8(&digits).expect("digits are ASCII"));
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// A UUID with its hyphens.
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let digits = hex(&bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Pattern and options of a regular expression.
pub(crate) fn regex_parts(value: Value<'_>) -> Result<(&str, &str), Malformed> {
    let (pattern, rest) = take_name(value.bytes)?;
    let (options, _) = take_name(rest)?;
    Ok((utf8(pattern)?, utf8(options)?))
}

/// Writes a moment in ISO form; `false` where it has none, because the year has more than four digits.
pub(crate) fn write_date(milliseconds: i64, text: &mut String) -> bool {
    const DAY: i64 = 86_400_000;
    let (days, time) = (milliseconds.div_euclid(DAY), milliseconds.rem_euclid(DAY));
    // As in <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return false;
    }
    let (seconds, fraction) = (time / 1_000, time % 1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let written = if fraction == 0 {
        write!(text, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z")
    } else {
        write!(text, "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{fraction:03}Z")
    };
    written.is_ok()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes in base 64.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = BASE64[usize::try_from(bits >> shift & 63).expect("six bits fit")];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Writes a value that is neither document nor array as people write it. `false` where it has no such form.
pub(crate) fn write_scalar(value: Value<'_>, text: &mut String) -> Result<bool, Malformed> {
    let written = match value.tag {
        tag::STRING | tag::CODE | tag::SYMBOL => {
            text.push_str(value.text()?);
            Ok(())
        }
        tag::INT32 => write!(text, "{}", i32::from_le_bytes(value.fixed()?)),
        tag::INT64 => write!(text, "{}", i64::from_le_bytes(value.fixed()?)),
        tag::DOUBLE => write!(text, "{:?}", f64::from_le_bytes(value.fixed()?)),
        tag::BOOL => write!(text, "{}", value.truth()?),
        tag::DECIMAL => write!(text, "{}", decimal_text(u128::from_le_bytes(value.fixed()?))),
        tag::OBJECT_ID => write!(text, "{}", object_id(value.fixed()?)),
        tag::TIMESTAMP => write!(text, "{}", u64::from_le_bytes(value.fixed()?)),
        tag::DATE => return Ok(write_date(i64::from_le_bytes(value.fixed()?), text)),
        tag::REGEX => {
            let (pattern, options) = regex_parts(value)?;
            write!(text, "/{pattern}/{options}")
        }
        tag::BINARY => match value.binary()? {
            (UUID_SUBTYPE, bytes) if bytes.len() == 16 => {
                write!(text, "{}", uuid(bytes.try_into().expect("its length was just looked at")))
            }
            _ => return Ok(false),
        },
        _ => return Ok(false),
    };
    Ok(written.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_iso_form() {
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
        ] {
            let mut text = String::new();
            assert!(write_date(milliseconds, &mut text));
            assert_eq!(text, expected);
        }
        assert!(!write_date(i64::MAX / 4, &mut String::new()));
    }

    #[test]
    fn both_ways_to_the_digits_of_an_id_are_the_same() {
        let id = [0, 1, 0x7f, 0x80, 0xff, 10, 20, 30, 40, 50, 60, 70];
        with_object_id(id, |digits| assert_eq!(digits, object_id(id)));
    }

    #[test]
    fn bytes_in_base_64_are_padded() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
        ] {
            assert_eq!(base64(bytes), expected);
        }
    }
}
