//! Numbers as text.

use std::fmt::Write as _;

/// Writes a finite double so that it is read back as the same, and as no integer.
pub(crate) fn write_double(number: f64, text: &mut String) {
    write!(text, "{number:?}").expect("writing to a String cannot fail");
}

/// Whether a double holds the integer exactly.
pub(crate) fn is_exact(number: i64) -> bool {
    const EXACT: i64 = 1 << 53;
    (-EXACT..=EXACT).contains(&number) || {
        let digits = number.unsigned_abs();
        64 - digits.leading_zeros() - digits.trailing_zeros() <= 53
    }
}

/// The exponent that stands for zero.
const BIAS: i32 = 6176;
/// The most digits of a decimal.
const DIGITS: i32 = 34;
/// The largest coefficient; those above stand for zero.
const LARGEST: u128 = 10_u128.pow(34) - 1;

/// A decimal of 128 bits as text, from which it is read back with all its zeros.
///
/// <https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md>
pub(crate) fn decimal_text(bits: u128) -> String {
    let sign = if bits >> 127 == 1 { "-" } else { "" };
    match (bits >> 122) & 0b1_1111 {
        0b1_1111 => return "NaN".to_owned(),
        0b1_1110 => return format!("{sign}Infinity"),
        _ => {}
    }
    // With both of these bits set the coefficient is larger than any that is valid, and so zero.
    let (exponent, coefficient) = if (bits >> 125) & 0b11 == 0b11 {
        ((bits >> 111) & 0x3fff, 0)
    } else {
        ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1))
    };
    let coefficient = if coefficient > LARGEST { 0 } else { coefficient };
    let exponent = i32::try_from(exponent).expect("14 bits fit") - BIAS;
    format!("{sign}{}", digits_text(&coefficient.to_string(), exponent))
}

fn digits_text(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(DIGITS);
    let scientific = exponent + count - 1;
    if exponent > 0 || scientific < -6 {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{first}{point}{rest}E{scientific:+}");
    }
    if exponent == 0 {
        return digits.to_owned();
    }
    let whole = count + exponent;
    match usize::try_from(whole) {
        Ok(whole) if whole > 0 => format!("{}.{}", &digits[..whole], &digits[whole..]),
        _ => format!("0.{}{digits}", "0".repeat(usize::try_from(-whole).unwrap_or(0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_they_are_read() {
        for text in [
            "0",
            "-0",
            "1",
            "12.50",
            "0.001",
            "1E+3",
            "-1.5E+10",
            "1E-6176",
            "9.999999999999999999999999999999999E+6144",
            "1234567890123456789012345678901234",
            "0.000001234",
            "1.234E-7",
            "NaN",
            "Infinity",
            "-Infinity",
            "0E+5",
            "0.00",
        ] {
            let decimal: bson::Decimal128 = text.parse().unwrap();
            assert_eq!(decimal_text(u128::from_le_bytes(decimal.bytes())), text);
        }
    }

    #[test]
    fn integers_that_a_double_would_change_are_told_apart() {
        for (number, exact) in [
            (0, true),
            (1 << 53, true),
            ((1 << 53) + 1, false),
            (1 << 60, true),
            (i64::MIN, true),
            (i64::MAX, false),
        ] {
            assert_eq!(is_exact(number), exact, "{number}");
        }
    }

    #[test]
    fn a_whole_double_does_not_look_like_an_integer() {
        let mut text = String::new();
        write_double(5.0, &mut text);
        write_double(-0.0, &mut text);
        write_double(1e300, &mut text);
        assert_eq!(text, "5.0-0.01e300");
    }
}
