//! `numeric`: digits in base 10000, as `numeric_recv` of `src/backend/utils/adt/numeric.c` reads them.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "digits are less than 10000, and there are no more than twenty"
)]

use arrow::datatypes::i256;

const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;
const BASE: u128 = 10_000;
/// Digits in base 10000 of the greatest decimal with 76 digits, and one more for a scale that is no multiple of four.
const MOST: usize = 21;
/// What stands in front of the digits: the length of all, their number, weight, sign and scale.
const HEAD: usize = 12;

/// Puts a value with its length.
pub(super) fn put_i128(value: i128, scale: u16, buffer: &mut Vec<u8>) {
    let sign = if value < 0 { NEGATIVE } else { POSITIVE };
    // The last digit in base 10000 must end where a multiple of four decimal digits does.
    let padding = padding(scale);
    let mut digits = Digits::default();
    let magnitude = value.unsigned_abs();
    let small = u64::try_from(magnitude).ok().and_then(|small| small.checked_mul(10_u64.pow(padding)));
    if let Some(mut small) = small {
        while small > 0 {
            digits.push((small % 10_000) as u16);
            small /= 10_000;
        }
    } else {
        // Below the point of the padding first, so that nothing overflows.
        let power = 10_u128.pow(4 - padding);
        let (mut rest, last) = (magnitude / power, magnitude % power);
        digits.push((last * 10_u128.pow(padding)) as u16);
        while rest > 0 {
            digits.push((rest % BASE) as u16);
            rest /= BASE;
        }
    }
    digits.put(sign, scale, buffer);
}

/// As [`put_i128`], for decimals with up to 76 digits.
pub(super) fn put_i256(value: i256, scale: u16, buffer: &mut Vec<u8>) {
    if let Some(small) = value.to_i128() {
        return put_i128(small, scale, buffer);
    }
    let sign = if value.is_negative() { NEGATIVE } else { POSITIVE };
    let text = value.to_string();
    let decimal = text.trim_start_matches('-').as_bytes();
    let mut digits = Digits::default();
    let mut end = decimal.len();
    let mut width = 4 - padding(scale) as usize;
    let mut factor = 10_u16.pow(padding(scale));
    while end > 0 {
        let start = end.saturating_sub(width);
        let group = decimal[start..end].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        digits.push(group * factor);
        (end, width, factor) = (start, 4, 1);
    }
    digits.put(sign, scale, buffer);
}

/// How many decimal zeros make the scale a multiple of four.
fn padding(scale: u16) -> u32 {
    u32::from((4 - scale % 4) % 4)
}

/// Digits in base 10000, the least first.
#[derive(Default)]
struct Digits {
    digits: [u16; MOST],
    count: usize,
}

impl Digits {
    fn push(&mut self, digit: u16) {
        if let Some(slot) = self.digits.get_mut(self.count) {
            *slot = digit;
            self.count += 1;
        }
    }

    /// Number of digits, weight of the first, sign, decimal digits behind the point, digits from the greatest to the least.
    fn put(&self, sign: u16, scale: u16, buffer: &mut Vec<u8>) {
        let all = &self.digits[..self.count];
        let end = all.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        // Zeros at the end are not sent.
        let start = all.iter().position(|digit| *digit != 0).unwrap_or(0).min(end);
        let sent = &all[start..end];
        let weight = end as i16 - 1 - (scale.div_ceil(4) as i16);
        let count = sent.len() as u16;
        let (weight, sign) = if sent.is_empty() { (0, POSITIVE) } else { (weight, sign) };
        // Put together first, and copied as a whole, which is cheaper than to copy as much as there is.
        let mut field = [0; HEAD + 2 * MOST];
        field[..4].copy_from_slice(&(8 + 2 * i32::from(count)).to_be_bytes());
        field[4..6].copy_from_slice(&count.to_be_bytes());
        field[6..8].copy_from_slice(&weight.to_be_bytes());
        field[8..10].copy_from_slice(&sign.to_be_bytes());
        field[10..HEAD].copy_from_slice(&scale.to_be_bytes());
        for (place, digit) in field[HEAD..].chunks_exact_mut(2).zip(sent.iter().rev()) {
            place.copy_from_slice(&digit.to_be_bytes());
        }
        let end = buffer.len() + HEAD + 2 * sent.len();
        buffer.extend_from_slice(&field);
        buffer.truncate(end);
    }
}
