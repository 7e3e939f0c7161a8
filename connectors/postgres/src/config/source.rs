//! The options of the source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{ByteSize, Result};
use towpath_sql::{CursorOptions, Dialect, Lookback, TableName};

use super::connection::with_connection_options;
use crate::errors::config;

with_connection_options! {
    /// Where rows come from: a table, a view, or a query.
    pub struct PostgresSourceConfig {
        /// The table or view: `orders`, `sales.orders`. Partitions and descendants of a table belong to it.
        #[serde(default)]
        pub table: Option<TableName>,
        /// A query instead of a table. It is read as one split, unless `split_by` names one of its columns.
        #[serde(default)]
        pub query: Option<String>,
        /// How the rows are cut into splits that are read at once: `auto`, `ctid` (by where rows lie in the table's file),
        /// `none`, or the name of a column with a unique value in each row, such as the primary key. By `auto`, tables are
        /// cut by `ctid`, and views, foreign tables and queries are not, nor is a table of which the server would find the
        /// wanted rows by an index. With a column, a run that was killed goes on in the middle of a split.
        #[serde(default = "auto")]
        pub split_by: String,
        /// How much of the table one split holds.
        #[serde(default = "default_split_size")]
        pub split_size: ByteSize,
        /// How many bytes of rows one batch holds at the least, as they come over the wire.
        #[serde(default = "default_batch_size")]
        pub batch_size: ByteSize,
        /// Whether all splits, and all streams of the connection, are read as of one moment. One of the `max_connections`
        /// holds it, which keeps the server from cleaning up old rows meanwhile.
        #[serde(default = "yes")]
        pub snapshot: bool,
        /// What becomes of `numeric`: `exact` (a decimal where precision and scale are declared, else text), `text`, or
        /// `float64`.
        #[serde(default)]
        pub numeric: Numeric,
        /// What becomes of arrays: `list`, nested as deep as the column declares, or `text` as Postgres writes it. A value
        /// that does not fit a list, such as one whose first index is not 1, is rejected.
        #[serde(default)]
        pub arrays: Arrays,
        /// Reads the rows with the greatest cursor of the last run again, for cursors that several rows may share. With
        /// `append` they come twice; use `merge`.
        #[serde(default)]
        pub cursor_inclusive: bool,
        /// Reads so far back behind the greatest cursor of the last run, for rows that come late: a duration such as `10m`
        /// for dates and times, a number for numbers. With `append` rows come twice; use `merge`.
        #[serde(default)]
        pub lookback: Option<Lookback>,
    }
}

/// What becomes of `numeric`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Numeric {
    /// A decimal where precision and scale are declared, else text.
    #[default]
    Exact,
    /// Text, which also holds `NaN` and `Infinity`.
    Text,
    /// A float, with some fifteen digits.
    Float64,
}

/// What becomes of arrays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrays {
    /// Lists.
    #[default]
    List,
    /// Text as Postgres writes it.
    Text,
}

/// How rows are cut into splits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SplitBy {
    Auto,
    Ctid,
    Nothing,
    Column(String),
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Table(TableName),
    Query(String),
}

impl What {
    /// What is selected from.
    pub(crate) fn from(&self) -> String {
        match self {
            Self::Table(table) => table.sql(Dialect::Postgres),
            // The line break ends a comment at the end of the query.
            Self::Query(query) => format!("({query}\n) AS query"),
        }
    }
}

impl PostgresSourceConfig {
    /// The table or query. A source without any can only be asked what there is.
    pub(crate) fn what(&self) -> Result<Option<What>> {
        match (&self.table, &self.query) {
            (Some(_), Some(_)) => Err(config("`table` and `query` exclude each other")),
            (Some(table), None) => Ok(Some(What::Table(table.clone()))),
            (None, Some(query)) => Ok(Some(What::Query(query.trim().trim_end_matches(';').to_owned()))),
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn split_by(&self) -> Result<SplitBy> {
        let split_by = match self.split_by.as_str() {
            "" => return Err(config("`split_by` must be `auto`, `ctid`, `none` or a column")),
            "auto" => SplitBy::Auto,
            "ctid" => SplitBy::Ctid,
            "none" => SplitBy::Nothing,
            column => SplitBy::Column(column.to_owned()),
        };
        if split_by == SplitBy::Ctid && self.query.is_some() {
            return Err(config("a query has no `ctid` to be split by")
                .help("name a unique column of the query, or leave `split_by` out"));
        }
        Ok(split_by)
    }

    pub(crate) fn cursor_options(&self) -> CursorOptions {
        CursorOptions { cursor_inclusive: self.cursor_inclusive, lookback: self.lookback }
    }
}

fn auto() -> String {
    "auto".to_owned()
}

fn default_split_size() -> ByteSize {
    ByteSize::mib(64)
}

fn default_batch_size() -> ByteSize {
    ByteSize::mib(1)
}

const fn yes() -> bool {
    true
}
