//! Decimals, which come as text also in the binary protocol.

use arrow::datatypes::i256;

/// The most digits that surely fit into 64 bits.
const FITS_64: usize = 18;
/// The most digits that surely fit into 128 bits.
const FITS_128: usize = 38;

/// A decimal of the declared scale as a whole number. `None` if it is no decimal or has more digits behind the point.
pub(super) fn parse_128(text: &[u8], scale: i8) -> Option<i128> {
    let (is_negative, digits) = sign(text);
    let mut small: i64 = 0;
    let mut large: i128 = 0;
    let mut count = 0;
    each_digit(digits, scale, |digit| {
        count += 1;
        if count <= FITS_64 {
            small = small * 10 + i64::from(digit);
        } else {
            if count == FITS_64 + 1 {
                large = small.into();
            }
            large = large * 10 + i128::from(digit);
        }
        count <= FITS_128
    })?;
    let value = if count <= FITS_64 { small.into() } else { large };
    Some(if is_negative { -value } else { value })
}

/// As [`parse_128`], with room for every decimal of a server.
pub(super) fn parse_256(text: &[u8], scale: i8) -> Option<i256> {
    let (is_negative, digits) = sign(text);
    let ten = i256::from_i128(10);
    let mut value = i256::ZERO;
    each_digit(digits, scale, |digit| {
        match value.checked_mul(ten).and_then(|value| value.checked_add(i256::from_i128(digit.into()))) {
            Some(next) => value = next,
            None => return false,
        }
        true
    })?;
    Some(if is_negative { value.wrapping_neg() } else { value })
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    }
}

/// Calls for each digit, leading zeros left out, and for the zeros that the scale has and the text has not.
fn each_digit(text: &[u8], scale: i8, mut take: impl FnMut(u8) -> bool) -> Option<()> {
    let scale = usize::try_from(scale).ok()?;
    let mut behind = None;
    let mut is_leading = true;
    let mut any = false;
    for &byte in text {
        match byte {
            b'0'..=b'9' => {
                any = true;
                if let Some(behind) = &mut behind {
                    *behind += 1;
                }
                is_leading &= byte == b'0';
                if !is_leading && !take(byte - b'0') {
                    return None;
                }
            }
            b'.' if behind.is_none() => behind = Some(0),
            _ => return None,
        }
    }
    let missing = scale.checked_sub(behind.unwrap_or(0)).filter(|_| any)?;
    for _ in 0..if is_leading { 0 } else { missing } {
        if !take(0) {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_become_whole_numbers_of_their_scale() {
        for (text, scale, value) in [
            ("0.00", 2, 0),
            ("123.45", 2, 12_345),
            ("-0.01", 2, -1),
            ("7", 3, 7_000),
            ("-.5", 1, -5),
            ("000999999999999999999", 0, 999_999_999_999_999_999),
            ("1234567890123456789.0", 1, 12_345_678_901_234_567_890),
            ("99999999999999999999999999999999999999", 0, 99_999_999_999_999_999_999_999_999_999_999_999_999),
        ] {
            assert_eq!(parse_128(text.as_bytes(), scale), Some(value), "{text}");
            assert_eq!(parse_256(text.as_bytes(), scale), Some(i256::from_i128(value)), "{text}");
        }
        let longest = "9".repeat(65);
        assert_eq!(parse_256(longest.as_bytes(), 0).unwrap().to_string(), longest);
    }

    #[test]
    fn what_is_no_decimal_of_this_scale_is_refused() {
        for text in ["", "-", ".", "1e5", "1.2.3", "1.234", "NaN"] {
            assert_eq!(parse_128(text.as_bytes(), 2), None, "{text}");
            assert_eq!(parse_256(text.as_bytes(), 2), None, "{text}");
        }
        assert_eq!(parse_128("1".repeat(39).as_bytes(), 0), None);
    }
}
