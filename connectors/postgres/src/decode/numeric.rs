//! `numeric`: digits in base 10000.
//!
//! `numeric_send` of `src/backend/utils/adt/numeric.c`: the number of digits, the weight of the first, the sign, the number
//! of decimal digits behind the point, the digits.

use std::fmt::Write;

use super::Refusal;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// A `numeric` as it came.
pub(super) struct Numeric<'a> {
    /// The power of 10000 that the first digit counts.
    weight: i16,
    sign: u16,
    /// Decimal digits behind the point.
    scale: u16,
    digits: &'a [u8],
}

impl<'a> Numeric<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (head, digits) = bytes.split_first_chunk::<8>()?;
        let at = |index: usize| u16::from_be_bytes([head[index], head[index + 1]]);
        let weight = i16::from_be_bytes([head[2], head[3]]);
        (digits.len() == 2 * usize::from(at(0))).then_some(Self { weight, sign: at(4), scale: at(6), digits })
    }

    fn digits(&self) -> impl Iterator<Item = u16> + '_ {
        self.digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    fn count(&self) -> usize {
        self.digits.len() / 2
    }

    /// `NaN` or an infinity.
    fn special(&self) -> Option<&'static str> {
        match self.sign {
            NAN => Some("NaN"),
            INFINITY => Some("Infinity"),
            NEGATIVE_INFINITY => Some("-Infinity"),
            _ => None,
        }
    }

    /// The value times 10 to the power of `scale`.
    pub(super) fn unscaled(&self, scale: i8) -> Result<i128, Refusal> {
        if let Some(special) = self.special() {
            return Err(Refusal::new(
                special,
                "a decimal cannot hold it; read the column with `numeric: text` or `float64`",
            ));
        }
        // How many decimal digits the last one of base 10000 is away from the wanted scale.
        let last = i32::from(self.weight) + 1 - i32::try_from(self.count()).unwrap_or(i32::MAX);
        let shift = last.saturating_mul(4).saturating_add(i32::from(scale));
        let magnitude = if shift >= 0 {
            self.raised(shift.unsigned_abs())?
        } else {
            self.cut(shift.unsigned_abs(), scale)?
        };
        Ok(if self.sign == NEGATIVE { -magnitude } else { magnitude })
    }

    /// The digits as a number, times a power of ten.
    fn raised(&self, power: u32) -> Result<i128, Refusal> {
        let magnitude = sum(self.digits()).ok_or_else(|| self.too_large())?;
        if magnitude == 0 {
            return Ok(0);
        }
        let factor = 10_i128.checked_pow(power).ok_or_else(|| self.too_large())?;
        magnitude.checked_mul(factor).ok_or_else(|| self.too_large())
    }

    /// The digits as a number, without so many decimal digits at its end, which must be zeros.
    fn cut(&self, places: u32, scale: i8) -> Result<i128, Refusal> {
        let too_fine =
            || Refusal::new(self.text(), format!("it has more than {scale} digits behind the point"));
        // Most values have four digits or less, and fit a machine word.
        if self.count() <= 4 && places < 4 {
            let magnitude = self.digits().fold(0_u64, |sum, digit| sum * 10_000 + u64::from(digit));
            let power = 10_u64.pow(places);
            return if magnitude % power == 0 { Ok((magnitude / power).into()) } else { Err(too_fine()) };
        }
        let dropped = (places / 4) as usize;
        let kept = self.count().saturating_sub(dropped);
        if self.digits().skip(kept).any(|digit| digit != 0) {
            return Err(too_fine());
        }
        let Some(last) = kept.checked_sub(1) else { return Ok(0) };
        let whole = sum(self.digits().take(last)).ok_or_else(|| self.too_large())?;
        let digit = self.digits().nth(last).map_or(0, i128::from);
        let power = 10_i128.pow(places % 4);
        if digit % power != 0 {
            return Err(too_fine());
        }
        let joined = whole.checked_mul(10_000 / power).and_then(|whole| whole.checked_add(digit / power));
        joined.ok_or_else(|| self.too_large())
    }

    fn too_large(&self) -> Refusal {
        Refusal::new(self.text(), "it has more digits than the column declares")
    }

    /// The value as Postgres writes it.
    pub(super) fn text(&self) -> String {
        if let Some(special) = self.special() {
            return special.to_owned();
        }
        let digit = |power: i32| {
            let index = i32::from(self.weight) - power;
            usize::try_from(index).ok().and_then(|index| self.digits().nth(index)).unwrap_or(0)
        };
        let mut text = String::from(if self.sign == NEGATIVE { "-" } else { "" });
        let first = i32::from(self.weight).max(0);
        text.push_str(&digit(first).to_string());
        for power in (0..first).rev() {
            write!(text, "{:04}", digit(power)).expect("a String takes all text");
        }
        if self.scale > 0 {
            let groups = i32::from(self.scale.div_ceil(4));
            let behind: String =
                (1..=groups).map(|power| format!("{:04}", digit(-power))).collect::<Vec<_>>().concat();
            text.push('.');
            text.push_str(&behind[..usize::from(self.scale)]);
        }
        text
    }
}

/// Digits in base 10000 as one number.
fn sum(mut digits: impl Iterator<Item = u16>) -> Option<i128> {
    digits.try_fold(0_i128, |sum, digit| sum.checked_mul(10_000)?.checked_add(digit.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = u16::try_from(digits.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        for value in [sign, scale].iter().chain(digits) {
            bytes.extend(value.to_be_bytes());
        }
        bytes
    }

    #[test]
    fn digits_become_text_and_decimals() {
        for (weight, sign, scale, digits, text, unscaled) in [
            (0, 0, 2, vec![12, 3400], "12.34", Some(1_234)),
            (1, NEGATIVE, 2, vec![1, 2345, 6700], "-12345.67", Some(-1_234_567)),
            (0, 0, 0, vec![], "0", Some(0)),
            (0, 0, 2, vec![], "0.00", Some(0)),
            (-1, 0, 2, vec![100], "0.01", Some(1)),
            (-2, 0, 6, vec![1], "0.000000", None),
            (2, 0, 0, vec![5], "500000000", Some(50_000_000_000)),
            (-1, NEGATIVE, 4, vec![1], "-0.0001", None),
        ] {
            let bytes = wire(weight, sign, scale, &digits);
            let numeric = Numeric::read(&bytes).unwrap();
            assert_eq!(numeric.text(), text);
            assert_eq!(numeric.unscaled(2).ok(), unscaled, "{text}");
        }
    }

    #[test]
    fn the_largest_decimal_fits_and_larger_ones_are_refused() {
        let nines = wire(9, 0, 0, &[99, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999]);
        assert_eq!(Numeric::read(&nines).unwrap().unscaled(0).unwrap(), 10_i128.pow(38) - 1);
        let larger = wire(9, 0, 0, &[9999; 10]);
        assert!(Numeric::read(&larger).unwrap().unscaled(0).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused_by_name() {
        for (sign, name) in [(NAN, "NaN"), (INFINITY, "Infinity"), (NEGATIVE_INFINITY, "-Infinity")] {
            let bytes = wire(0, sign, 0, &[]);
            let numeric = Numeric::read(&bytes).unwrap();
            assert_eq!(numeric.text(), name);
            assert_eq!(numeric.unscaled(2).unwrap_err().value, name);
        }
        assert!(Numeric::read(&[0, 1, 0, 0, 0, 0, 0, 0]).is_none());
    }
}
