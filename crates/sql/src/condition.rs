//! Conditions of the pipeline as SQL.

use towpath_core::{Comparison, Json, Predicate};

use crate::Dialect;

/// What is known of a column that a condition names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Integers, decimals and floats.
    Number,
    /// `true` and `false`.
    Bool,
    /// Texts whose order and equality is that of their bytes.
    BytewiseText,
    /// Texts that are equal if their bytes are, and otherwise compared in an order of their own.
    Text,
    /// Dates.
    Date,
    /// Times without a zone.
    Timestamp,
    /// Instants, in a session whose zone is UTC.
    Instant,
}

/// A condition that is true for every row for which the predicate is true, and perhaps for more. `None` where that would be
/// no restriction. `kind` tells what is known of a column; `None` leaves out what names it.
///
/// ```
/// use serde_json::json;
/// use towpath_core::{Comparison, Predicate};
/// use towpath_sql::{ColumnKind, Dialect, condition};
///
/// let adults = Predicate::Compare {
///     column: "age".into(),
///     comparison: Comparison::GreaterOrEqual,
///     value: json!(18),
/// };
/// let sql = condition(&adults, Dialect::Postgres, &|_| Some(ColumnKind::Number));
/// assert_eq!(sql.as_deref(), Some(r#""age" >= 18"#));
/// ```
pub fn condition(
    predicate: &Predicate,
    dialect: Dialect,
    kind: &dyn Fn(&str) -> Option<ColumnKind>,
) -> Option<String> {
    match predicate {
        Predicate::Compare { column, comparison, value } => {
            let value = comparable(kind(column)?, *comparison, value, dialect)?;
            Some(format!("{} {} {value}", dialect.identifier(column), symbol(*comparison)))
        }
        Predicate::In { column, values } => {
            let kind = kind(column)?;
            let values: Option<Vec<_>> =
                values.iter().map(|value| comparable(kind, Comparison::Equal, value, dialect)).collect();
            let values = values.filter(|values| !values.is_empty())?;
            Some(format!("{} IN ({})", dialect.identifier(column), values.join(", ")))
        }
        Predicate::IsNull(column) => kind(column).map(|_| format!("{} IS NULL", dialect.identifier(column))),
        Predicate::IsNotNull(column) => {
            kind(column).map(|_| format!("{} IS NOT NULL", dialect.identifier(column)))
        }
        Predicate::And(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(|part| condition(part, dialect, kind)).collect();
            (!parts.is_empty()).then(|| joined(&parts, " AND "))
        }
        Predicate::Or(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| condition(part, dialect, kind)).collect();
            parts.filter(|parts| !parts.is_empty()).map(|parts| joined(&parts, " OR "))
        }
    }
}

fn joined(parts: &[String], word: &str) -> String {
    if parts.len() == 1 { parts[0].clone() } else { format!("({})", parts.join(word)) }
}

/// The value as SQL, if the database compares it with such a column as Arrow does, or lets through more.
fn comparable(kind: ColumnKind, comparison: Comparison, value: &Json, dialect: Dialect) -> Option<String> {
    let tagged = |tag: &str| value.get(tag).and_then(Json::as_str);
    match (kind, value) {
        (ColumnKind::Number, Json::Number(number)) => Some(number.to_string()),
        (ColumnKind::Bool, Json::Bool(value)) => Some(if *value { "TRUE" } else { "FALSE" }.to_owned()),
        (ColumnKind::BytewiseText, Json::String(text)) => text_literal(text, dialect),
        // Where case does not count, more is equal; so less is not equal.
        (ColumnKind::Text, Json::String(text)) if comparison == Comparison::Equal => {
            text_literal(text, dialect)
        }
        (ColumnKind::Date | ColumnKind::Timestamp | ColumnKind::Instant, Json::Object(_)) => {
            let text = tagged("date").or_else(|| tagged("timestamp"))?;
            moment(text).map(|text| moment_literal(kind, &text, dialect))
        }
        _ => None,
    }
}

/// No database holds a text with a zero byte, and some cut it there.
fn text_literal(text: &str, dialect: Dialect) -> Option<String> {
    (!text.contains('\0')).then(|| dialect.literal(text))
}

/// A date or time in the form that every database reads, in UTC; `None` for anything else.
fn moment(text: &str) -> Option<String> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:. Tt".contains(&byte));
    let year_first = text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    // A dash behind the date would be a zone.
    let no_zone = !text.get(10..).unwrap_or_default().contains('-');
    (plain && year_first && no_zone).then(|| text.replace(['T', 't'], " "))
}

fn moment_literal(kind: ColumnKind, text: &str, dialect: Dialect) -> String {
    let literal = dialect.literal(text);
    match (dialect, kind) {
        // With a time of day, a date is compared as the midnight that it begins with.
        (Dialect::Postgres, ColumnKind::Instant) => format!("TIMESTAMPTZ {literal}"),
        (Dialect::Postgres, _) => format!("TIMESTAMP {literal}"),
        (Dialect::MySql, _) => format!("CAST({literal} AS DATETIME(6))"),
    }
}

const fn symbol(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(column: &str) -> Option<ColumnKind> {
        Some(match column {
            "n" => ColumnKind::Number,
            "b" => ColumnKind::Bool,
            "t" => ColumnKind::Text,
            "c" => ColumnKind::BytewiseText,
            "d" => ColumnKind::Date,
            "at" => ColumnKind::Instant,
            _ => return None,
        })
    }

    fn compare(column: &str, comparison: Comparison, value: Json) -> Predicate {
        Predicate::Compare { column: column.into(), comparison, value }
    }

    fn postgres(predicate: &Predicate) -> Option<String> {
        condition(predicate, Dialect::Postgres, &kind)
    }

    #[test]
    fn values_are_compared_only_with_columns_of_their_kind() {
        use Comparison::{Equal, Greater, NotEqual};
        assert_eq!(postgres(&compare("n", Greater, json!(1.5))).unwrap(), "\"n\" > 1.5");
        assert_eq!(postgres(&compare("n", Greater, json!("1"))), None);
        assert_eq!(postgres(&compare("b", Equal, json!(true))).unwrap(), "\"b\" = TRUE");
        assert_eq!(postgres(&compare("c", Greater, json!("x"))).unwrap(), "\"c\" > 'x'");
        assert_eq!(postgres(&compare("t", Equal, json!("x"))).unwrap(), "\"t\" = 'x'");
        assert_eq!(postgres(&compare("t", NotEqual, json!("x"))), None);
        assert_eq!(postgres(&compare("t", Greater, json!("x"))), None);
        assert_eq!(postgres(&compare("unknown", Equal, json!(1))), None);
    }

    #[test]
    fn dates_are_compared_as_moments() {
        let from = |value: Json| compare("at", Comparison::GreaterOrEqual, value);
        let sql = postgres(&from(json!({"timestamp": "2024-01-31T12:00:00Z"}))).unwrap();
        assert_eq!(sql, "\"at\" >= TIMESTAMPTZ '2024-01-31 12:00:00'");
        let date = compare("d", Comparison::Less, json!({"date": "2024-01-31"}));
        assert_eq!(postgres(&date).unwrap(), "\"d\" < TIMESTAMP '2024-01-31'");
        let sql = condition(&date, Dialect::MySql, &kind).unwrap();
        assert_eq!(sql, "`d` < CAST('2024-01-31' AS DATETIME(6))");
        assert_eq!(postgres(&from(json!({"timestamp": "2024-01-31T12:00:00+02:00"}))), None);
        assert_eq!(postgres(&from(json!({"timestamp": "'; drop table x; --"}))), None);
    }

    #[test]
    fn and_leaves_out_what_cannot_be_told_and_or_is_left_out_with_it() {
        let (known, unknown) = (compare("n", Comparison::Equal, json!(1)), Predicate::IsNull("x".into()));
        let both = vec![known.clone(), unknown.clone()];
        assert_eq!(postgres(&Predicate::And(both.clone())).unwrap(), "\"n\" = 1");
        assert_eq!(postgres(&Predicate::Or(both)), None);
        assert_eq!(postgres(&Predicate::And(vec![unknown])), None);
        let sql = postgres(&Predicate::Or(vec![known, Predicate::IsNotNull("b".into())])).unwrap();
        assert_eq!(sql, "(\"n\" = 1 OR \"b\" IS NOT NULL)");
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        let list = Predicate::In { column: "t".into(), values: vec![json!("a"), json!("'; drop --")] };
        assert_eq!(postgres(&list).unwrap(), "\"t\" IN ('a', '''; drop --')");
        let sql = condition(&list, Dialect::MySql, &kind).unwrap();
        assert_eq!(sql, "`t` IN ('a', '''; drop --')");
        assert_eq!(postgres(&compare("t", Comparison::Equal, json!("a\0b"))), None);
    }
}
