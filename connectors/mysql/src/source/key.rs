//! Keys: where a row stands, and conditions on it.

use arrow::array::{Array, AsArray, RecordBatch};
use serde::{Deserialize, Serialize};
use towpath_core::{Error, Result, json_value};

use crate::errors::config;
use crate::sql::{bytes, from_hex, identifier, text};
use crate::types::source::Kind;

/// The values of a key, or of its first columns, as texts: digits, ISO dates with a space, hexadecimal bytes.
pub(crate) type KeyValues = Vec<String>;

/// A column by which rows are ordered or cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// Whether the order of the server and of conditions is the same, and values come back exactly.
pub(crate) fn can_be_key(kind: Kind, type_name: &str) -> bool {
    match kind {
        // The server orders these by their number and compares them by their text.
        Kind::Text => !type_name.starts_with("enum(") && !type_name.starts_with("set("),
        Kind::Float32 | Kind::Float64 | Kind::Bit | Kind::Time | Kind::Json | Kind::Geometry => false,
        _ => true,
    }
}

/// Whether ranges of the column can be asked for.
pub(crate) fn can_be_cut(kind: Kind) -> bool {
    !matches!(kind, Kind::Bit | Kind::Time | Kind::Json | Kind::Geometry)
}

/// What to select so that a value comes back as a text of [`KeyValues`].
pub(crate) fn selected(column: &KeyColumn) -> String {
    match column.kind {
        Kind::Binary => format!("HEX({})", identifier(&column.name)),
        _ => identifier(&column.name),
    }
}

/// A value as it stands in SQL.
pub(crate) fn literal(kind: Kind, value: &str) -> Result<String> {
    match kind {
        Kind::Text | Kind::Json | Kind::Date | Kind::Datetime | Kind::Timestamp | Kind::Time => {
            Ok(text(value))
        }
        Kind::Binary | Kind::Geometry => {
            from_hex(value).map(|value| bytes(&value)).ok_or_else(|| no_value(kind, value))
        }
        _ => {
            let is_number = value.parse::<f64>().is_ok_and(f64::is_finite)
                && value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            if is_number { Ok(value.to_owned()) } else { Err(no_value(kind, value)) }
        }
    }
}

fn no_value(kind: Kind, value: &str) -> Error {
    Error::data(format!("`{value}` is no value of a column of {}", kind.data_type())).connector(crate::NAME)
}

/// How the columns of a row compare with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Behind them.
    Greater,
    /// At them or behind them.
    GreaterOrEqual,
    /// Before them.
    Less,
}

/// A condition on the first columns of a key. It is written so that an index can be used: servers do not for a comparison
/// of rows.
pub(crate) fn condition(columns: &[KeyColumn], values: &[String], order: Order) -> Result<String> {
    if values.is_empty() || values.len() > columns.len() {
        return Err(config("a position does not fit the table's key any more")
            .help("`towpath state reset` loads the stream from its beginning"));
    }
    let last = values.len() - 1;
    let mut sql = String::new();
    for (index, (column, value)) in columns.iter().zip(values).enumerate().rev() {
        let (name, value) = (identifier(&column.name), literal(column.kind, value)?);
        let strict = if order == Order::Less { '<' } else { '>' };
        sql = if index == last {
            let or_equal = if order == Order::GreaterOrEqual { "=" } else { "" };
            format!("{name} {strict}{or_equal} {value}")
        } else {
            format!("{name} {strict}= {value} AND ({name} {strict} {value} OR {sql})")
        };
    }
    Ok(sql)
}

/// The rows from one bound to another. The lower one belongs to them, the upper one does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lower: Option<KeyValues>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upper: Option<KeyValues>,
}

impl Range {
    /// The conditions that it means. Rows without a value are before all others.
    pub(crate) fn conditions(&self, columns: &[KeyColumn], may_be_null: bool) -> Result<Vec<String>> {
        let mut conditions = Vec::new();
        if let Some(lower) = &self.lower {
            conditions.push(condition(columns, lower, Order::GreaterOrEqual)?);
        }
        if let Some(upper) = &self.upper {
            let below = condition(columns, upper, Order::Less)?;
            let is_first = may_be_null && self.lower.is_none();
            conditions.push(match columns.first() {
                Some(first) if is_first => format!("{below} OR {} IS NULL", identifier(&first.name)),
                _ => below,
            });
        }
        Ok(conditions)
    }

    /// Its name among the ranges of a plan.
    pub(crate) fn id(&self) -> String {
        match &self.lower {
            None => "first".to_owned(),
            Some(values) => format!("from {}", serde_json::Value::from(values.clone())),
        }
    }
}

/// The key of the last row of a batch.
pub(crate) fn key_of(row: &RecordBatch, columns: &[KeyColumn]) -> Result<KeyValues> {
    columns.iter().map(|column| value_of(row, column)).collect()
}

fn value_of(row: &RecordBatch, column: &KeyColumn) -> Result<String> {
    let array = row.column_by_name(&column.name).filter(|array| !array.is_empty() && array.is_valid(0));
    let Some(array) = array else {
        return Err(Error::data(format!(
            "the key column `{}` holds a value that cannot be read",
            column.name
        ))
        .connector(crate::NAME)
        .help("set `split_by: none`, which reads the table without its key"));
    };
    Ok(match column.kind {
        Kind::Boolean => u8::from(array.as_boolean().value(0)).to_string(),
        Kind::Text => array.as_string::<i32>().value(0).to_owned(),
        _ => match json_value(array, 0)? {
            serde_json::Value::String(text) => {
                text.replacen('T', " ", usize::from(is_moment(column.kind))).trim_end_matches('Z').to_owned()
            }
            number => number.to_string(),
        },
    })
}

fn is_moment(kind: Kind) -> bool {
    matches!(kind, Kind::Datetime | Kind::Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<KeyColumn> {
        let column = |name: &str, kind| KeyColumn { name: name.to_owned(), kind };
        vec![column("a", Kind::Int64), column("b`", Kind::Text), column("c", Kind::Binary)]
    }

    fn values(values: &[&str]) -> KeyValues {
        values.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows_behind_a_key_are_asked_for_column_by_column() {
        let columns = columns();
        assert_eq!(condition(&columns, &values(&["7"]), Order::GreaterOrEqual).unwrap(), "`a` >= 7");
        assert_eq!(
            condition(&columns, &values(&["-7", "it's", "0aFF"]), Order::Greater).unwrap(),
            "`a` >= -7 AND (`a` > -7 OR `b``` >= 'it''s' AND (`b``` > 'it''s' OR `c` > x'0aff'))"
        );
        assert_eq!(
            condition(&columns, &values(&["7", "x"]), Order::Less).unwrap(),
            "`a` <= 7 AND (`a` < 7 OR `b``` < 'x')"
        );
    }

    #[test]
    fn values_that_are_none_of_their_type_are_refused() {
        for (kind, value) in [
            (Kind::Int64, "1 OR 1=1"),
            (Kind::Int64, ""),
            (Kind::Int64, "NaN"),
            (Kind::Binary, "0g"),
            (Kind::Binary, "abc"),
            (Kind::Binary, "'"),
        ] {
            assert!(literal(kind, value).is_err(), "{value}");
        }
        assert!(condition(&columns(), &[], Order::Less).is_err());
    }

    #[test]
    fn rows_without_a_value_belong_to_the_first_range() {
        let columns = &columns()[..1];
        let first = Range { lower: None, upper: Some(values(&["5"])) };
        assert_eq!(first.conditions(columns, true).unwrap(), ["`a` < 5 OR `a` IS NULL"]);
        assert_eq!(first.conditions(columns, false).unwrap(), ["`a` < 5"]);
        let second = Range { lower: Some(values(&["5"])), upper: Some(values(&["9"])) };
        assert_eq!(second.conditions(columns, true).unwrap(), ["`a` >= 5", "`a` < 9"]);
    }
}
