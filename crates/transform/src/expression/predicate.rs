//! What of an expression a source can apply by itself.

use serde_json::json;
use towpath_core::{Comparison as Compared, Json, Predicate};

use super::{Comparison, Expression, Literal, Node};

/// Digits that a 64-bit float keeps in any case.
const EXACT_DIGITS: usize = 15;

/// A condition that is true wherever the expression is, and as often false otherwise as a source could tell. `None` where
/// that would be always true.
pub(crate) fn predicate(expression: &Expression) -> Option<Predicate> {
    match &expression.node {
        // A part that cannot be told is left out: the rest lets through more rows, not fewer.
        Node::And(parts) => all(parts.iter().filter_map(predicate).collect()),
        Node::Or(parts) => parts.iter().map(predicate).collect::<Option<Vec<_>>>().map(Predicate::Or),
        Node::Compare { left, operator, right } => match (&left.node, &right.node) {
            (Node::Column(path), Node::Literal(value)) => compare(path, *operator, value),
            (Node::Literal(value), Node::Column(path)) => compare(path, operator.flipped(), value),
            _ => None,
        },
        Node::In { value, items, negated: false } => {
            let values: Option<Vec<Json>> = items.iter().map(literal).collect();
            Some(Predicate::In { column: column(value)?, values: values? })
        }
        Node::Between { value, low, high, negated: false } => {
            let column = column(value)?;
            let bound = |comparison, value| {
                Some(Predicate::Compare { column: column.clone(), comparison, value: literal(value)? })
            };
            let bounds = [bound(Compared::GreaterOrEqual, low), bound(Compared::LessOrEqual, high)];
            all(bounds.into_iter().flatten().collect())
        }
        Node::IsNull { value, negated } => {
            let column = column(value)?;
            Some(if *negated { Predicate::IsNotNull(column) } else { Predicate::IsNull(column) })
        }
        _ => None,
    }
}

fn all(mut parts: Vec<Predicate>) -> Option<Predicate> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(Predicate::And(parts)),
    }
}

fn compare(path: &[String], operator: Comparison, value: &Literal) -> Option<Predicate> {
    let comparison = match operator {
        Comparison::Equal => Compared::Equal,
        Comparison::NotEqual => Compared::NotEqual,
        Comparison::Less => Compared::Less,
        Comparison::LessOrEqual => Compared::LessOrEqual,
        Comparison::Greater => Compared::Greater,
        Comparison::GreaterOrEqual => Compared::GreaterOrEqual,
    };
    Some(Predicate::Compare { column: top_level(path)?, comparison, value: json_of(value)? })
}

fn column(expression: &Expression) -> Option<String> {
    match &expression.node {
        Node::Column(path) => top_level(path),
        _ => None,
    }
}

fn top_level(path: &[String]) -> Option<String> {
    match path {
        [column] => Some(column.clone()),
        _ => None,
    }
}

fn literal(expression: &Expression) -> Option<Json> {
    match &expression.node {
        Node::Literal(value) => json_of(value),
        _ => None,
    }
}

fn json_of(value: &Literal) -> Option<Json> {
    match value {
        Literal::Null => None,
        Literal::Bool(value) => Some(json!(value)),
        Literal::Number(text) => number(text),
        Literal::Text(text) => Some(json!(text)),
        Literal::Date(text) => Some(json!({ "date": text })),
        Literal::Timestamp(text) => Some(json!({ "timestamp": text })),
    }
}

/// The number, if JSON holds it exactly.
fn number(text: &str) -> Option<Json> {
    let number: serde_json::Number = text.parse().ok()?;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (!number.is_f64() || digits <= EXACT_DIGITS).then_some(Json::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::parse;

    fn pushed(text: &str) -> Json {
        serde_json::to_value(predicate(&parse(text).unwrap())).unwrap()
    }

    fn compared(column: &str, comparison: &str, value: impl Into<Json>) -> Json {
        let value = value.into();
        json!({"compare": {"column": column, "comparison": comparison, "value": value}})
    }

    #[test]
    fn comparisons_are_pushed_with_the_column_on_either_side() {
        assert_eq!(pushed("a >= 3"), compared("a", "greater_or_equal", 3));
        assert_eq!(pushed("3 < a"), compared("a", "greater", 3));
        assert_eq!(pushed("a != 'x'"), compared("a", "not_equal", "x"));
        assert_eq!(pushed("at < date '2024-01-31'"), compared("at", "less", json!({"date": "2024-01-31"})));
    }

    #[test]
    fn what_cannot_be_told_is_left_out_of_and_and_spoils_or() {
        assert_eq!(pushed("a = 1 and b like 'x%'"), compared("a", "equal", 1));
        assert_eq!(pushed("a = 1 or b like 'x%'"), Json::Null);
        assert_eq!(pushed("not a = 1"), Json::Null);
        assert_eq!(pushed("a = b"), Json::Null);
        assert_eq!(pushed("a.b = 1"), Json::Null);
        assert_eq!(pushed("a = null"), Json::Null);
    }

    #[test]
    fn lists_ranges_and_nulls_are_pushed() {
        assert_eq!(pushed("a in (1, 2)"), json!({"in": {"column": "a", "values": [1, 2]}}));
        assert_eq!(pushed("a not in (1, 2)"), Json::Null);
        assert_eq!(
            pushed("a is null or a is not null"),
            json!({"or": [{"is_null": "a"}, {"is_not_null": "a"}]})
        );
        let range = [compared("a", "greater_or_equal", 1), compared("a", "less_or_equal", 2)];
        assert_eq!(pushed("a between 1 and 2"), json!({ "and": range }));
    }

    #[test]
    fn a_number_that_json_would_round_is_not_pushed() {
        assert_eq!(pushed("a > 0.1"), compared("a", "greater", 0.1));
        assert_eq!(pushed("a > 0.1234567890123456789"), Json::Null);
        assert_eq!(pushed("a > 9007199254740993"), compared("a", "greater", 9_007_199_254_740_993_i64));
    }
}
