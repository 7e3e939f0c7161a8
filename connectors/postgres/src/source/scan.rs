//! What one split selects, as SQL.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use towpath_core::{CursorRange, Json, Predicate, Result};
use towpath_sql::{ColumnKind, CursorOptions, Dialect, Lookback, TableName, condition, cursor_condition};

use super::Shape;
use crate::config::What;
use crate::errors::config;
use crate::types::{Column, Described, cast_name};

/// The payload of a split: all that is needed to read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scan {
    /// The relation whose own rows are read, where it is not the whole of what the source reads: a partition.
    pub(super) only: Option<TableName>,
    pub(super) piece: Piece,
    /// All columns for `None`.
    pub(super) columns: Option<Vec<String>>,
    pub(super) cursor: Option<CursorRange>,
    pub(super) filter: Option<Predicate>,
    /// How many rows are enough.
    pub(super) limit: Option<u64>,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Piece {
    /// All of them.
    Whole,
    /// Those that lie in the blocks from the first up to, and without, the second.
    Blocks(u64, u64),
    /// Those whose key is at least `from` and less than `to`, in its order.
    Keys { column: String, from: Option<Json>, to: Option<Json> },
}

/// What is selected, and how its columns are read.
pub(super) struct Selected {
    pub(super) sql: String,
    pub(super) columns: Vec<Column>,
    /// Where the key stands among the columns.
    pub(super) key: Option<usize>,
    /// Whether the key was not asked for, and is the last column.
    pub(super) key_is_extra: bool,
}

impl Scan {
    /// The statement. `after`: rows with greater keys only. `skip`: so many rows less.
    pub(super) fn select(
        &self,
        what: &What,
        shape: &Shape,
        options: &CursorOptions,
        after: Option<&Json>,
        skip: u64,
    ) -> Result<Selected> {
        let mut columns = shape.wanted(self.columns.as_deref());
        let (mut key, mut key_is_extra) = (None, false);
        let mut conditions = Vec::new();
        let mut order = String::new();
        match &self.piece {
            Piece::Whole => {}
            Piece::Blocks(from, to) => {
                conditions.push(format!("ctid >= '({from},0)'::tid AND ctid < '({to},0)'::tid"));
            }
            Piece::Keys { column, from, to } => {
                let described = known(shape, column)?;
                let name = Dialect::Postgres.identifier(column);
                let bound = |sign: &str, value: &Json| format!("{name} {sign} {}", literal(value, described));
                let is_certain = shape.has_certain_keys();
                // Where two rows may have the same key, that of the last row must be seen again to find out.
                let behind = if is_certain { ">" } else { ">=" };
                let lower =
                    after.map(|after| bound(behind, after)).or(from.as_ref().map(|from| bound(">=", from)));
                conditions.extend(match lower {
                    // A row without a key must be seen to be refused. It is the last in order.
                    Some(lower) if to.is_none() && !is_certain => Some(format!("{lower} OR {name} IS NULL")),
                    lower => lower,
                });
                conditions.extend(to.as_ref().map(|to| bound("<", to)));
                order = format!(" ORDER BY {name}");
                key = columns.iter().position(|known| known.field.name() == column);
                if key.is_none() {
                    columns.extend(shape.column(column).cloned());
                    (key, key_is_extra) = (Some(columns.len() - 1), true);
                }
            }
        }
        if let Some(range) = &self.cursor {
            let described = known(shape, &range.field)?;
            let name = Dialect::Postgres.identifier(&range.field);
            conditions.extend(cursor_condition(
                range,
                options,
                &name,
                |value| literal(value, described),
                |value, lookback| earlier(&value, lookback),
            ));
        }
        if let Some(filter) = &self.filter {
            conditions.extend(condition(filter, Dialect::Postgres, &|column| shape.kind(column)));
        }
        let from = match (&self.only, what) {
            (Some(only), _) => format!("ONLY {}", only.sql(Dialect::Postgres)),
            (None, what) => what.from(),
        };
        let selects: Vec<_> = columns.iter().map(|column| column.select.as_str()).collect();
        let conditions: Vec<_> = conditions.iter().map(|condition| format!("({condition})")).collect();
        let wheres = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let limit =
            self.limit.map(|limit| format!(" LIMIT {}", limit.saturating_sub(skip))).unwrap_or_default();
        let offset = if skip > 0 { format!(" OFFSET {skip}") } else { String::new() };
        let sql = format!("SELECT {} FROM {from}{wheres}{order}{limit}{offset}", selects.join(", "));
        Ok(Selected { sql, columns, key, key_is_extra })
    }
}

/// A column that is there.
fn known<'a>(shape: &'a Shape, column: &str) -> Result<&'a Described> {
    shape.described(column).ok_or_else(|| {
        let names: Vec<_> = shape.described.iter().map(|described| described.name.as_str()).collect();
        config(format!("there is no column `{column}`")).help(format!("the columns are {}", names.join(", ")))
    })
}

/// A value of this column as SQL.
pub(super) fn literal(value: &Json, described: &Described) -> String {
    let text = match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("{}::{}", Dialect::Postgres.literal(&text), cast_name(&described.data_type))
}

/// What lies so far before a value.
fn earlier(value: &str, lookback: Lookback) -> String {
    match lookback {
        Lookback::Number(number) => format!("({value} - {number})"),
        Lookback::Duration(duration) => {
            let seconds = duration.get().as_secs_f64();
            // A date minus a time is a timestamp, and is compared as one.
            format!("({value} - make_interval(secs => {seconds}))")
        }
    }
}

/// What is known of a column that a condition names.
pub(super) fn kind(described: &Described, column: &Column) -> Option<ColumnKind> {
    Some(match described.data_type {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 => ColumnKind::Number,
        // Where a number becomes text, conditions on it are conditions on text.
        Type::NUMERIC if column.field.data_type().is_numeric() => ColumnKind::Number,
        Type::BOOL => ColumnKind::Bool,
        Type::TEXT | Type::VARCHAR => ColumnKind::Text,
        Type::DATE => ColumnKind::Date,
        Type::TIMESTAMP => ColumnKind::Timestamp,
        Type::TIMESTAMPTZ => ColumnKind::Instant,
        // Among them enums, where a value that the type does not have would be an error.
        _ => return None,
    })
}
