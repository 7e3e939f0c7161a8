//! Decimals, which must not lose a digit.

use arrow::datatypes::i256;

use super::form::Form;
use crate::types::target::TargetType;

/// The digits of the values, and those that the column has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Behind the point of the values; below zero, so many zeros follow.
    scale: i8,
    /// Before and behind the point of the column, if it is a decimal.
    column: Option<(usize, usize)>,
}

impl Limits {
    pub(super) fn new(scale: i8, target: &TargetType) -> Self {
        let column = match target {
            TargetType::Decimal { precision, scale, .. } => {
                Some((usize::from(precision.saturating_sub(*scale)), usize::from(*scale)))
            }
            _ => None,
        };
        Self { scale, column }
    }

    pub(super) fn write<F: Form>(&self, out: &mut Vec<u8>, value: i128) -> Result<(), String> {
        // Most fit, and are written much faster.
        match u64::try_from(value.unsigned_abs()) {
            Ok(small) => self.digits::<F>(out, value < 0, itoa::Buffer::new().format(small)),
            Err(_) => self.digits::<F>(out, value < 0, itoa::Buffer::new().format(value.unsigned_abs())),
        }
    }

    pub(super) fn write_wide<F: Form>(&self, out: &mut Vec<u8>, value: i256) -> Result<(), String> {
        if let Some(narrow) = value.to_i128() {
            return self.write::<F>(out, narrow);
        }
        let text = value.to_string();
        let digits = text.strip_prefix('-');
        self.digits::<F>(out, digits.is_some(), digits.unwrap_or(&text))
    }

    fn digits<F: Form>(&self, out: &mut Vec<u8>, is_negative: bool, digits: &str) -> Result<(), String> {
        let behind = usize::try_from(self.scale).unwrap_or(0);
        let zeros = usize::from(self.scale.min(0).unsigned_abs());
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(behind));
        if let Some((most, finest)) = self.column {
            let whole_digits = if whole == "0" || whole.is_empty() { 0 } else { whole.len() + zeros };
            if whole_digits > most {
                return Err(format!("it has more than {most} digits before the point"));
            }
            // Leading zeros of the fraction are not among the digits.
            let needed = behind - (digits.len() - digits.trim_end_matches('0').len()).min(behind);
            if needed > finest && digits != "0" {
                return Err(format!("it has more than {finest} digits behind the point"));
            }
        }
        F::plain(out, |out| {
            if is_negative {
                out.push(b'-');
            }
            out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
            out.extend(std::iter::repeat_n(b'0', if whole == "0" { 0 } else { zeros }));
            let shown = self.column.map_or(behind, |(_, finest)| behind.min(finest));
            if shown > 0 {
                out.push(b'.');
                let padding = behind - fraction.len();
                out.extend(std::iter::repeat_n(b'0', padding.min(shown)));
                out.extend_from_slice(&fraction.as_bytes()[..shown.saturating_sub(padding)]);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::form::Load;
    use super::*;

    fn written(value: i128, scale: i8, column: (u8, u8)) -> Result<String, String> {
        let target = TargetType::Decimal { precision: column.0, scale: column.1, unsigned: false };
        let mut out = Vec::new();
        Limits::new(scale, &target).write::<Load>(&mut out, value)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_point_stands_where_the_scale_says() {
        assert_eq!(written(12345, 2, (12, 2)).unwrap(), "123.45");
        assert_eq!(written(-5, 2, (12, 2)).unwrap(), "-0.05");
        assert_eq!(written(0, 2, (12, 2)).unwrap(), "0.00");
        assert_eq!(written(7, 0, (12, 0)).unwrap(), "7");
        assert_eq!(written(7, -3, (12, 0)).unwrap(), "7000");
        assert_eq!(written(0, -3, (12, 0)).unwrap(), "0");
        assert_eq!(written(i128::MAX, 10, (65, 10)).unwrap(), "17014118346046923173168730371.5884105727");
    }

    #[test]
    fn a_digit_that_the_column_does_not_have_rejects_the_row() {
        assert_eq!(written(12300, 4, (12, 2)).unwrap(), "1.23");
        assert_eq!(written(12340, 4, (12, 2)).unwrap_err(), "it has more than 2 digits behind the point");
        assert_eq!(written(12345, 2, (4, 2)).unwrap_err(), "it has more than 2 digits before the point");
        assert_eq!(written(1, 6, (4, 2)).unwrap_err(), "it has more than 2 digits behind the point");
        assert_eq!(written(10_000, 6, (4, 2)).unwrap(), "0.01");
    }
}
