//! Single values from text, exactly or not at all.

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::parse_decimal;
use arrow::datatypes::{Decimal256Type, i256};
use arrow_schema::{DataType, TimeUnit};

pub(crate) use super::time::{date, duration, time, timestamp};

/// How strictly a text is taken for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    /// For inferred types: only texts from which nobody would read more than the value. `00501` is no number.
    Canonical,
    /// For declared types: all that means such a value, with spaces round it.
    Lenient,
}

impl Accept {
    pub(crate) fn trim(self, text: &str) -> &str {
        match self {
            Self::Canonical => text,
            Self::Lenient => text.trim(),
        }
    }
}

/// The narrowest type of a text that has no type yet.
pub(crate) fn infer(text: &str) -> DataType {
    let canonical = Accept::Canonical;
    match text.as_bytes() {
        [b'-' | b'0'..=b'9', ..] => {
            if integer::<i64>(text, canonical).is_some() {
                DataType::Int64
            } else if decimal128(text, 38, 0, canonical).is_some() {
                DataType::Decimal128(38, 0)
            } else if text.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
                // More digits than any number here can keep.
                DataType::Utf8
            } else if float(text, canonical).is_some() {
                DataType::Float64
            } else if date(text, canonical).is_some() {
                DataType::Date32
            } else {
                infer_timestamp(text)
            }
        }
        _ if boolean(text, canonical).is_some() => DataType::Boolean,
        _ if float(text, canonical).is_some() => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// Whether a text is canonical for a type that [`infer`] may give.
pub(crate) fn fits(text: &str, data_type: &DataType) -> bool {
    let canonical = Accept::Canonical;
    match data_type {
        DataType::Utf8 => true,
        DataType::Boolean => boolean(text, canonical).is_some(),
        DataType::Int64 => integer::<i64>(text, canonical).is_some(),
        DataType::Float64 => float(text, canonical).is_some(),
        DataType::Decimal128(precision, scale) => decimal128(text, *precision, *scale, canonical).is_some(),
        DataType::Date32 => date(text, canonical).is_some(),
        DataType::Timestamp(unit, zone) => {
            timestamp(text, *unit, zone.as_ref().and_then(|zone| zone.parse().ok()), canonical).is_some()
        }
        _ => false,
    }
}

fn infer_timestamp(text: &str) -> DataType {
    for unit in [TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        if timestamp(text, unit, None, Accept::Canonical).is_some() {
            return DataType::Timestamp(unit, None);
        }
        if timestamp(text, unit, utc(), Accept::Canonical).is_some() {
            return DataType::Timestamp(unit, Some("UTC".into()));
        }
    }
    DataType::Utf8
}

fn utc() -> Option<Tz> {
    "UTC".parse().ok()
}

/// An integer of any width.
pub(crate) trait Integer: Sized + Copy {
    fn from_i128(value: i128) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Integer for $type {
            fn from_i128(value: i128) -> Option<Self> {
                value.try_into().ok()
            }
        })*
    };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

#[inline]
pub(crate) fn integer<T: Integer>(text: &str, accept: Accept) -> Option<T> {
    let text = accept.trim(text);
    let (negative, digits) = sign(text, accept)?;
    if digits.len() > 20 || (accept == Accept::Canonical && has_leading_zero(digits, negative)) {
        return None;
    }
    let mut value = 0_i128;
    if digits.len() <= 18 {
        // Nearly all integers: no overflow is possible.
        let mut short = 0_i64;
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            short = short * 10 + i64::from(digit);
        }
        value += i128::from(short);
    } else {
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i128::from(digit);
        }
    }
    T::from_i128(if negative { -value } else { value })
}

/// Whether there is a minus, and the rest, which is not empty.
#[inline]
fn sign(text: &str, accept: Accept) -> Option<(bool, &[u8])> {
    let bytes = text.as_bytes();
    let (negative, rest) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] if accept == Accept::Lenient => (false, rest),
        rest => (false, rest),
    };
    (!rest.is_empty()).then_some((negative, rest))
}

/// `007` and `-0` are more than numbers: as numbers they would lose something.
#[inline]
fn has_leading_zero(digits: &[u8], negative: bool) -> bool {
    digits[0] == b'0' && (negative || digits.len() > 1)
}

pub(crate) fn float(text: &str, accept: Accept) -> Option<f64> {
    let text = accept.trim(text);
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    match digits {
        [b'0'..=b'9' | b'.', ..] => {
            let zeros = matches!(digits, [b'0', b'0'..=b'9', ..]);
            if accept == Accept::Canonical && zeros {
                return None;
            }
            let value: f64 = text.parse().ok()?;
            // An overflow would lose the number.
            value.is_finite().then_some(value)
        }
        b"NaN" | b"nan" | b"inf" | b"Infinity" => text.parse().ok(),
        [b'+', ..] if accept == Accept::Lenient => float(&text[1..], accept),
        _ => None,
    }
}

pub(crate) fn boolean(text: &str, accept: Accept) -> Option<bool> {
    let text = accept.trim(text);
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Some(false);
    }
    if accept == Accept::Canonical {
        return None;
    }
    match text.to_ascii_lowercase().as_str() {
        "t" | "yes" | "y" | "1" => Some(true),
        "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// The digits of a number as one integer, and how many of them stand behind the point.
struct Number {
    negative: bool,
    digits: Vec<u8>,
    scale: i32,
}

fn number_digits(text: &str, accept: Accept) -> Option<Number> {
    let text = accept.trim(text);
    let (negative, rest) = sign(text, accept)?;
    if accept == Accept::Canonical && matches!(rest, [b'0', b'0'..=b'9', ..]) {
        return None;
    }
    let exponent_at = rest.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        None => (rest, 0),
        Some(at) => {
            let exponent: i32 = std::str::from_utf8(&rest[at + 1..]).ok()?.parse().ok()?;
            (&rest[..at], exponent)
        }
    };
    let mut digits = Vec::with_capacity(mantissa.len());
    let mut point = None;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => digits.push(byte - b'0'),
            b'.' if point.is_none() => point = Some(digits.len()),
            _ => return None,
        }
    }
    let is_minus_zero = negative && digits.iter().all(|digit| *digit == 0);
    if digits.is_empty() || exponent.abs() > 100 || (accept == Accept::Canonical && is_minus_zero) {
        return None;
    }
    let behind = digits.len() - point.unwrap_or(digits.len());
    Some(Number { negative, scale: i32::try_from(behind).ok()? - exponent, digits })
}

impl Number {
    /// The digits at another scale, if none but zeros are lost and the precision holds them.
    fn at_scale(mut self, precision: u8, scale: i8) -> Option<(bool, Vec<u8>)> {
        let missing = i32::from(scale) - self.scale;
        if missing >= 0 {
            self.digits.extend(std::iter::repeat_n(0, usize::try_from(missing).ok()?));
        } else {
            for _ in missing..0 {
                if self.digits.pop().is_some_and(|digit| digit != 0) {
                    return None;
                }
            }
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        (self.digits.len() <= usize::from(precision)).then_some((self.negative, self.digits))
    }
}

/// Exactly this number, or none: digits are never rounded away.
pub(crate) fn decimal128(text: &str, precision: u8, scale: i8, accept: Accept) -> Option<i128> {
    let (negative, digits) = number_digits(text, accept)?.at_scale(precision, scale)?;
    let value = digits.iter().fold(0_i128, |value, digit| value * 10 + i128::from(*digit));
    Some(if negative { -value } else { value })
}

/// As [`decimal128`], for up to 76 digits.
pub(crate) fn decimal256(text: &str, precision: u8, scale: i8, accept: Accept) -> Option<i256> {
    let (negative, digits) = number_digits(text, accept)?.at_scale(precision, scale)?;
    let mut plain = String::with_capacity(digits.len() + 1);
    if negative {
        plain.push('-');
    }
    plain.extend(digits.iter().map(|digit| char::from(b'0' + digit)));
    if digits.is_empty() {
        return Some(i256::ZERO);
    }
    parse_decimal::<Decimal256Type>(&plain, precision, 0).ok()
}

pub(crate) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::ColumnType;

    #[test]
    fn a_text_has_the_narrowest_type_that_keeps_it() {
        for (text, data_type) in [
            ("0", "int64"),
            ("-17", "int64"),
            ("00501", "string"),
            ("-0", "string"),
            ("+1", "string"),
            (" 1", "string"),
            ("9223372036854775807", "int64"),
            ("9223372036854775808", "decimal(38,0)"),
            ("123456789012345678901234567890123456789", "string"),
            ("1.50", "float64"),
            ("-2e-3", "float64"),
            ("007.5", "string"),
            ("1e999", "string"),
            ("NaN", "float64"),
            ("True", "bool"),
            ("yes", "string"),
            ("2024-02-29", "date"),
            ("2023-02-29", "string"),
            ("20240229", "int64"),
            ("2024-02-29T09:26:56", "timestamp"),
            ("2024-02-29 09:26:56.123456", "timestamp"),
            ("2024-02-29 09:26:56.123456789", "timestamp(ns)"),
            ("2024-02-29T09:26:56Z", "timestamp(us, UTC)"),
            ("2024-02-29 09:26:56+01:00", "timestamp(us, UTC)"),
            ("2024-02-29 09:26:56 Europe/Berlin", "string"),
            ("2024-02-29 09:26", "string"),
            ("1.2.3", "string"),
            ("-", "string"),
            ("é", "string"),
        ] {
            assert_eq!(ColumnType::from(infer(text)).to_string(), data_type, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let lenient = Accept::Lenient;
        for (text, value) in [
            ("1.1", Some(110)),
            ("-0.01", Some(-1)),
            (" 12 ", Some(1200)),
            ("+3.10", Some(310)),
            ("1.100", Some(110)),
            ("1.101", None),
            ("12e-1", Some(120)),
            ("1e2", Some(10000)),
            ("99999999.99", Some(9_999_999_999)),
            ("100000000.00", None),
            ("0000100000000", None),
            ("", None),
            (".", None),
            ("x", None),
        ] {
            assert_eq!(decimal128(text, 10, 2, lenient), value, "{text}");
            assert_eq!(decimal256(text, 10, 2, lenient), value.map(i256::from_i128), "{text}");
        }
        let many = "1234567890123456789012345678901234567890123456789012345678901234567890.123456";
        let exact = i256::from_string(&many.replace('.', "")).unwrap();
        assert_eq!(decimal256(many, 76, 6, lenient), Some(exact));
    }

    #[test]
    fn declared_types_take_what_means_such_a_value() {
        let lenient = Accept::Lenient;
        assert_eq!(integer::<i32>(" +007 ", lenient), Some(7));
        assert_eq!(integer::<u8>("256", lenient), None);
        assert_eq!(integer::<u64>("18446744073709551615", lenient), Some(u64::MAX));
        assert_eq!(integer::<i64>("-9223372036854775808", lenient), Some(i64::MIN));
        assert_eq!(boolean("yes", lenient), Some(true));
        assert_eq!(date("2024-2-9", lenient), Some(19762));
        assert_eq!(date("2024-02-09T00:00:00", lenient), None);
        assert_eq!(time("23:59:59.123456", lenient), Some(86_399_123_456));
        assert_eq!(time("23:59:59.1234567", lenient), None);
        assert_eq!(duration("1m30s", lenient), Some(90_000_000));
        assert_eq!(hexadecimal("00ff"), Some(vec![0, 255]));
        assert_eq!(hexadecimal("0"), None);
    }
}
