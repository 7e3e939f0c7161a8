//! Filters as conditions of SQL, where the server compares as Arrow does.

use towpath_core::Predicate;
use towpath_sql::{ColumnKind, Dialect};

use crate::config::ZeroDates;
use crate::types::source::{Kind, SourceColumn};

/// A condition that is true at least for all rows for which the filter is; `None` if there is none.
pub(crate) fn condition(
    filter: &Predicate,
    columns: &[SourceColumn],
    zero_dates: ZeroDates,
) -> Option<String> {
    let kind = |name: &str| {
        let column = columns.iter().find(|column| column.name == name)?;
        column_kind(column.kind, zero_dates)
    };
    towpath_sql::condition(filter, Dialect::MySql, &kind)
}

fn column_kind(kind: Kind, zero_dates: ZeroDates) -> Option<ColumnKind> {
    match kind {
        Kind::Boolean => Some(ColumnKind::Bool),
        Kind::Int8
        | Kind::Int16
        | Kind::Int32
        | Kind::Int64
        | Kind::UInt8
        | Kind::UInt16
        | Kind::UInt32
        | Kind::UInt64
        | Kind::Year
        | Kind::Float64
        | Kind::Decimal128 { .. }
        | Kind::Decimal256 { .. } => Some(ColumnKind::Number),
        // A collation may hold for equal what differs.
        Kind::Text => Some(ColumnKind::Text),
        // What is null to us may be a date with zeros to the server.
        Kind::Date | Kind::Datetime | Kind::Timestamp if zero_dates == ZeroDates::Null => None,
        Kind::Date => Some(ColumnKind::Date),
        Kind::Datetime => Some(ColumnKind::Timestamp),
        Kind::Timestamp => Some(ColumnKind::Instant),
        // The server compares a float with more digits than it has.
        Kind::Float32 | Kind::Bit | Kind::Time | Kind::Json | Kind::Binary | Kind::Geometry => None,
    }
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::ColumnType;
    use mysql_common::packets::Column;
    use serde_json::json;
    use towpath_core::Json;

    use super::*;
    use crate::config::Tinyint1;
    use crate::types::source::TypeOptions;

    fn sql(filter: Json, zero_dates: ZeroDates) -> Option<String> {
        let options = TypeOptions { tinyint1: Tinyint1::Bool, zero_dates };
        let column = |name: &str, column: Column| {
            SourceColumn::new(&column.with_name(name.as_bytes()).with_character_set(45), None, options)
                .unwrap()
        };
        let columns = [
            column("n", Column::new(ColumnType::MYSQL_TYPE_LONG)),
            column("t", Column::new(ColumnType::MYSQL_TYPE_VAR_STRING)),
            column("d", Column::new(ColumnType::MYSQL_TYPE_DATE)),
            column("f", Column::new(ColumnType::MYSQL_TYPE_FLOAT)),
        ];
        condition(&serde_json::from_value(filter).unwrap(), &columns, zero_dates)
    }

    fn compared(column: &str, comparison: &str, value: &Json) -> Json {
        json!({"compare": {"column": column, "comparison": comparison, "value": value}})
    }

    #[test]
    fn what_the_server_compares_alike_is_pushed_down_and_the_rest_is_not() {
        let keep = ZeroDates::Reject;
        assert_eq!(sql(compared("n", "greater", &json!(5)), keep).as_deref(), Some("`n` > 5"));
        assert_eq!(sql(compared("t", "equal", &json!("it's")), keep).as_deref(), Some("`t` = 'it''s'"));
        assert_eq!(sql(compared("t", "less", &json!("b")), keep), None);
        assert_eq!(sql(compared("f", "equal", &json!(0.1)), keep), None);
        assert_eq!(sql(json!({"is_null": "d"}), keep).as_deref(), Some("`d` IS NULL"));
        assert_eq!(sql(json!({"is_null": "d"}), ZeroDates::Null), None);
    }
}
