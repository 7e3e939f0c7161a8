//! How a column that is there takes values of another type.

use super::target::{Fit, Length, TargetType};

/// The digits that integers of so many bits can have.
fn digits(bits: u8, unsigned: bool) -> u8 {
    match (bits, unsigned) {
        (8, _) => 3,
        (16, _) => 5,
        (24, _) => 8,
        (32, _) => 10,
        (_, false) => 19,
        (_, true) => 20,
    }
}

/// How `there` takes what would go into `wanted`. With `is_ours`, nobody else has decided on its type, so it may become
/// text; otherwise the server has to read the texts.
pub(crate) fn fit(there: &TargetType, wanted: &TargetType, is_ours: bool) -> Fit {
    use TargetType as T;
    if keeps(there, wanted) {
        return Fit::Keeps;
    }
    match (there, wanted) {
        (T::Boolean, T::Integer { .. }) => fit_integers((8, false), wanted),
        (T::Integer { bits, unsigned }, T::Boolean | T::Integer { .. }) => {
            fit_integers((*bits, *unsigned), wanted)
        }
        (T::Boolean | T::Integer { .. }, T::Decimal { .. }) | (T::Decimal { .. }, _) if is_exact(wanted) => {
            fit_decimals(there, wanted)
        }
        (T::Boolean | T::Integer { .. } | T::Decimal { .. } | T::Float, number) if is_number(number) => {
            Fit::Widens(T::Double)
        }
        (T::Date, T::Datetime(digits)) => Fit::Widens(T::Datetime(*digits)),
        (T::Datetime(has), T::Datetime(wants) | T::Timestamp(wants)) => {
            finer(*has, *wants, T::Datetime, is_ours)
        }
        (T::Timestamp(has), T::Datetime(wants) | T::Timestamp(wants)) => {
            finer(*has, *wants, T::Timestamp, is_ours)
        }
        (T::Time(has), T::Time(wants)) => finer(*has, *wants, T::Time, is_ours),
        (T::Text(_), T::Bytes(_) | T::Geometry(_)) | (T::Geometry(_), _) => Fit::Never,
        (T::Text(length), wanted) if is_ours => longer(*length, wanted),
        (T::Enum(_) | T::Set(_), T::Enum(_) | T::Set(_)) if is_ours => Fit::Widens(wanted.clone()),
        (_, T::Text(_)) if is_ours => Fit::Widens(T::Text(Length::Long)),
        // The server reads the texts, strictly.
        (T::Text(_), _) | (_, T::Text(_)) | (T::Enum(_), T::Enum(_)) | (T::Set(_), T::Set(_)) => Fit::Keeps,
        _ => Fit::Never,
    }
}

/// Whether a column takes all that would go into the other one, or the encoder rejects what it does not take.
fn keeps(there: &TargetType, wanted: &TargetType) -> bool {
    use TargetType as T;
    let numbers = matches!((there, wanted), (T::Double, number) if is_number(number));
    numbers
        || there == wanted
        || matches!(
            (there, wanted),
            (T::Bit(_) | T::Year, T::Boolean | T::Integer { .. } | T::Bit(_) | T::Year)
                | (T::Integer { .. } | T::Boolean, T::Bit(_) | T::Year)
                | (T::Float, T::Boolean)
                | (T::Datetime(_) | T::Timestamp(_), T::Date)
                | (T::Bytes(_), T::Bytes(_) | T::Text(_) | T::Json | T::Geometry(_))
                | (T::Geometry(_), T::Bytes(_) | T::Geometry(_))
                | (T::Other, _)
        )
}

fn is_exact(wanted: &TargetType) -> bool {
    matches!(wanted, TargetType::Boolean | TargetType::Integer { .. } | TargetType::Decimal { .. })
}

fn is_number(wanted: &TargetType) -> bool {
    is_exact(wanted) || matches!(wanted, TargetType::Float | TargetType::Double)
}

fn fit_integers((bits, unsigned): (u8, bool), wanted: &TargetType) -> Fit {
    let TargetType::Integer { bits: wanted, unsigned: wants_unsigned } = *wanted else { return Fit::Keeps };
    let widened = match (unsigned, wants_unsigned) {
        (false, false) | (true, true) if wanted <= bits => return Fit::Keeps,
        (false, true) if wanted < bits => return Fit::Keeps,
        (false, false) | (true, true) => TargetType::Integer { bits: wanted, unsigned },
        // A signed type that also holds the unsigned one.
        (true, false) | (false, true) => {
            let of_unsigned = if unsigned { bits } else { wanted };
            match of_unsigned.max(wanted).max(bits) {
                _ if of_unsigned == 64 => TargetType::Decimal { precision: 20, scale: 0, unsigned: false },
                8 => TargetType::Integer { bits: 16, unsigned: false },
                16 | 24 if of_unsigned <= 16 => TargetType::Integer { bits: 32, unsigned: false },
                _ => TargetType::Integer { bits: 64, unsigned: false },
            }
        }
    };
    Fit::Widens(widened)
}

/// Digits before and behind the point, and whether there is no sign.
fn parts(exact: &TargetType) -> (u8, u8, bool) {
    match *exact {
        TargetType::Decimal { precision, scale, unsigned } => {
            (precision.saturating_sub(scale), scale, unsigned)
        }
        TargetType::Integer { bits, unsigned } => (digits(bits, unsigned), 0, unsigned),
        _ => (1, 0, false),
    }
}

fn fit_decimals(there: &TargetType, wanted: &TargetType) -> Fit {
    let ((before, behind, unsigned), (wants_before, wants_behind, wants_unsigned)) =
        (parts(there), parts(wanted));
    let holds = before >= wants_before && behind >= wants_behind && (!unsigned || wants_unsigned);
    if holds && matches!(there, TargetType::Decimal { .. }) {
        return Fit::Keeps;
    }
    let scale = behind.max(wants_behind).min(30);
    // Rows that need more digits than there can be are rejected.
    let precision = before.max(wants_before).saturating_add(scale).min(65);
    let widened = TargetType::Decimal { precision, scale, unsigned: unsigned && wants_unsigned };
    if widened == *there { Fit::Keeps } else { Fit::Widens(widened) }
}

/// Fewer digits of a second that somebody else has decided on stay; rows that need more are rejected.
fn finer(has: u8, wants: u8, make: fn(u8) -> TargetType, is_ours: bool) -> Fit {
    if has >= wants || !is_ours { Fit::Keeps } else { Fit::Widens(make(wants)) }
}

fn longer(has: Length, wanted: &TargetType) -> Fit {
    let TargetType::Text(wants) = wanted else { return Fit::Keeps };
    let size = |length| match length {
        Length::Fixed(length) | Length::Varying(length) => u64::from(length),
        Length::Tiny => 255 / 4,
        Length::Normal => 65_535 / 4,
        Length::Medium => 0xFF_FFFF / 4,
        Length::Long => u64::MAX,
    };
    if size(has) >= size(*wants) { Fit::Keeps } else { Fit::Widens(wanted.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(there: &str, wanted: &str, is_ours: bool) -> String {
        let (there, wanted) = (TargetType::from_catalog(there), TargetType::from_catalog(wanted));
        match fit(&there, &wanted, is_ours) {
            Fit::Keeps => "keeps".to_owned(),
            Fit::Widens(widened) => widened.to_string(),
            Fit::Never => "never".to_owned(),
        }
    }

    #[test]
    fn numbers_become_as_wide_as_both() {
        for (there, wanted, becomes) in [
            ("int", "bigint", "bigint"),
            ("bigint", "int", "keeps"),
            ("int unsigned", "int", "bigint"),
            ("smallint", "tinyint unsigned", "keeps"),
            ("tinyint", "smallint unsigned", "int"),
            ("bigint", "bigint unsigned", "decimal(20,0)"),
            ("bigint", "double", "double"),
            ("double", "decimal(20,2)", "keeps"),
            ("float", "double", "double"),
            ("int", "decimal(10,2)", "decimal(12,2)"),
            ("decimal(10,2)", "decimal(8,4)", "decimal(12,4)"),
            ("decimal(30,2)", "bigint", "keeps"),
            ("tinyint(1)", "bigint", "bigint"),
        ] {
            assert_eq!(fits(there, wanted, true), becomes, "{there} and {wanted}");
        }
    }

    #[test]
    fn a_column_that_somebody_else_made_keeps_its_kind() {
        for (there, wanted) in [
            ("datetime", "datetime(6)"),
            ("time", "longtext"),
            ("int", "longtext"),
            ("varchar(20)", "longtext"),
            ("enum('a')", "longtext"),
            ("bit(8)", "bigint unsigned"),
            ("longtext", "int"),
        ] {
            assert_eq!(fits(there, wanted, false), "keeps", "{there} and {wanted}");
        }
        assert_eq!(fits("int", "longtext", true), "longtext");
        assert_eq!(fits("json", "longtext", true), "longtext");
        assert_eq!(fits("datetime(0)", "datetime(6)", true), "datetime(6)");
        assert_eq!(fits("date", "datetime(6)", false), "datetime(6)");
    }

    #[test]
    fn what_has_no_common_form_is_never_taken() {
        for (there, wanted) in
            [("date", "int"), ("int", "date"), ("longtext", "longblob"), ("point", "longtext")]
        {
            assert_eq!(fits(there, wanted, false), "never", "{there} and {wanted}");
        }
    }
}
