//! The incremental range: `after < column <= until`.

use arrow::array::{Array, Date32Array, TimestampMicrosecondArray};
use towpath_core::{CursorRange, Error, Json, Pushdown, Result, json_value};
use towpath_sql::{CursorOptions, Lookback, cursor_condition};

use super::axis;
use super::key::literal;
use crate::errors::config;
use crate::sql::{bytes, from_hex, identifier};
use crate::types::source::{Kind, SourceColumn};

/// How well the server itself can keep to a range of the column.
pub(crate) fn pushdown(kind: Kind) -> Pushdown {
    match kind {
        // The server compares a float with more digits than it has.
        Kind::Float32
        | Kind::Boolean
        | Kind::Bit
        | Kind::Time
        | Kind::Json
        | Kind::Binary
        | Kind::Geometry => Pushdown::Unsupported,
        _ => Pushdown::Exact,
    }
}

/// What the server compares: texts by their bytes, as the engine does, and not by their collation.
fn compared(column: &SourceColumn) -> String {
    let name = identifier(&column.name);
    match column.kind {
        Kind::Text => format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)"),
        _ => name,
    }
}

/// The condition of a range. Rows without a value belong to the first run.
pub(crate) fn condition(
    range: &CursorRange,
    column: &SourceColumn,
    options: &CursorOptions,
) -> Result<Option<String>> {
    check_lookback(column, options)?;
    if pushdown(column.kind) == Pushdown::Unsupported {
        return Ok(None);
    }
    if let Some(value) = range.after.iter().chain(&range.until).find(|value| operand(column, value).is_none())
    {
        return Err(Error::schema(format!(
            "the cursor value `{value}` does not fit the column `{}`",
            column.name
        ))
        .connector(crate::NAME)
        .help("`towpath state reset` loads the stream from its beginning"));
    }
    let written = |value: &Json| operand(column, value).expect("both values were just written");
    let earlier = |value, lookback| match lookback {
        Lookback::Number(number) => format!("{value} - {number}"),
        Lookback::Duration(duration) => {
            format!("CAST({value} AS DATETIME(6)) - INTERVAL {} MICROSECOND", duration.get().as_micros())
        }
    };
    Ok(cursor_condition(range, options, &compared(column), written, earlier))
}

fn check_lookback(column: &SourceColumn, options: &CursorOptions) -> Result<()> {
    let is_moment = matches!(column.kind, Kind::Date | Kind::Datetime | Kind::Timestamp);
    match options.lookback {
        None => Ok(()),
        Some(Lookback::Duration(_)) if is_moment => Ok(()),
        Some(Lookback::Duration(_)) => {
            Err(config(format!("`lookback` is a time, and the cursor `{}` is none", column.name))
                .help("write a number"))
        }
        Some(Lookback::Number(_)) if !is_moment && column.kind != Kind::Text => Ok(()),
        Some(Lookback::Number(_)) => {
            Err(config(format!("`lookback` is a number, and the cursor `{}` is none", column.name))
                .help("write a time, such as `10m`"))
        }
    }
}

/// What to select for the greatest value, as [`greatest`] reads it.
pub(crate) fn select_greatest(column: &SourceColumn) -> String {
    let greatest = format!("MAX({})", compared(column));
    if column.kind == Kind::Text { format!("HEX({greatest})") } else { greatest }
}

/// The greatest value as the engine keeps cursors.
pub(crate) fn greatest(column: &SourceColumn, value: &str) -> Option<Json> {
    match column.kind {
        Kind::Text => String::from_utf8(from_hex(value)?).ok().map(Json::from),
        Kind::Date => json(&Date32Array::from(vec![axis::date(value)?])),
        Kind::Datetime => json(&TimestampMicrosecondArray::from(vec![axis::moment(value)?])),
        Kind::Timestamp => {
            json(&TimestampMicrosecondArray::from(vec![axis::moment(value)?]).with_timezone("UTC"))
        }
        Kind::Decimal128 { .. } | Kind::Decimal256 { .. } => Some(Json::from(value)),
        _ => serde_json::from_str(value).ok(),
    }
}

fn json(array: &dyn Array) -> Option<Json> {
    json_value(array, 0).ok()
}

fn operand(column: &SourceColumn, value: &Json) -> Option<String> {
    let plain = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = match column.kind {
        Kind::Text => return Some(bytes(plain.as_bytes())),
        Kind::Date => axis::value(Kind::Date, axis::date(&plain)?.into())?,
        Kind::Datetime | Kind::Timestamp => axis::moment_text(axis::moment(&plain)?)?,
        _ => plain,
    };
    literal(column.kind, &text).ok()
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::ColumnType;
    use mysql_common::packets::Column;
    use serde_json::json;

    use super::*;
    use crate::config::{Tinyint1, ZeroDates};
    use crate::types::source::TypeOptions;

    fn column(column_type: ColumnType) -> SourceColumn {
        let options = TypeOptions { tinyint1: Tinyint1::Bool, zero_dates: ZeroDates::Reject };
        let column = Column::new(column_type).with_name(b"c").with_character_set(45);
        SourceColumn::new(&column, None, options).unwrap()
    }

    fn sql(column_type: ColumnType, after: Json, options: Json) -> Result<Option<String>> {
        let options = serde_json::from_value(options).unwrap();
        condition(&CursorRange::new("c", Some(after), None), &column(column_type), &options)
    }

    #[test]
    fn a_cursor_is_compared_by_its_type() {
        let at =
            |after| sql(ColumnType::MYSQL_TYPE_TIMESTAMP, after, json!({"lookback": "1s"})).unwrap().unwrap();
        assert_eq!(
            at(json!("2024-01-31T12:00:00.5Z")),
            "`c` >= CAST('2024-01-31 12:00:00.500000' AS DATETIME(6)) - INTERVAL 1000000 MICROSECOND"
        );
        let number = sql(ColumnType::MYSQL_TYPE_LONG, json!(7), json!({"lookback": 3})).unwrap().unwrap();
        assert_eq!(number, "`c` >= 7 - 3");
        let text = sql(ColumnType::MYSQL_TYPE_VAR_STRING, json!("'"), json!({})).unwrap().unwrap();
        assert_eq!(text, "CAST(CONVERT(`c` USING utf8mb4) AS BINARY) > x'27'");
        assert_eq!(sql(ColumnType::MYSQL_TYPE_FLOAT, json!(1), json!({})).unwrap(), None);
    }

    #[test]
    fn a_value_or_lookback_of_another_type_is_refused() {
        let refused = |column_type, after, options| sql(column_type, after, options).unwrap_err().to_string();
        assert!(refused(ColumnType::MYSQL_TYPE_LONG, json!("1 OR 1"), json!({})).contains("does not fit"));
        assert!(refused(ColumnType::MYSQL_TYPE_DATE, json!("soon"), json!({})).contains("state reset"));
        assert!(
            refused(ColumnType::MYSQL_TYPE_LONG, json!(1), json!({"lookback": "1s"})).contains("a number")
        );
        assert!(
            refused(ColumnType::MYSQL_TYPE_DATE, json!("2024-01-01"), json!({"lookback": 1})).contains("10m")
        );
    }
}
