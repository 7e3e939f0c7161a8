//! The options of the source.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use towpath_sql::{Lookback, TableName};

with_connection_options! {
    /// The options of a MySQL or MariaDB source.
    pub struct SourceConfig {
        /// The table or view to read: `orders`, `shop.orders`, with backquotes round a part that holds a dot.
        #[serde(default)]
        pub table: Option<TableName>,
        /// A query to read instead of a table.
        #[serde(default)]
        pub query: Option<String>,
        /// How the rows are cut into pieces that are read at once. `auto`, the default: a table by ranges of its primary key,
        /// or of a unique key without nulls, and a piece that breaks off goes on behind its last row; a query is one piece.
        /// `none`: one piece, for tables without a key. The name of a column: ranges of its values, for views, queries, and
        /// tables without a key. The latter two begin a piece anew when it breaks off.
        #[serde(default)]
        pub split_by: SplitBy,
        /// About how many rows a piece has; 250000 by default. There should be some more pieces than connections.
        #[serde(default = "default_split_size")]
        pub split_size: u64,
        /// Whether all pieces, and all streams of the connection, show the database at one moment.
        #[serde(default)]
        pub snapshot: SnapshotMode,
        /// The most rows of a batch; 32768 by default. Wide rows make smaller batches by themselves.
        #[serde(default = "default_batch_rows")]
        pub batch_rows: usize,
        /// What a `tinyint(1)` is.
        #[serde(default)]
        pub tinyint1: Tinyint1,
        /// What becomes of dates with zeros, such as `0000-00-00`.
        #[serde(default, deserialize_with = "null_is_a_choice")]
        #[schemars(with = "Option<ZeroDates>")]
        pub zero_dates: ZeroDates,
        /// Whether an incremental run reads the rows at the last cursor value again, for cursors that several rows share:
        /// with `write_disposition: merge`.
        #[serde(default)]
        pub cursor_inclusive: bool,
        /// How far an incremental run goes back behind the last cursor value, for rows that were committed late: `10m` for
        /// dates and times, a number for numbers. With `write_disposition: merge`.
        #[serde(default)]
        pub lookback: Option<Lookback>,
    }
}

/// The default of `split_size`.
fn default_split_size() -> u64 {
    250_000
}

/// The default of `batch_rows`.
fn default_batch_rows() -> usize {
    32_768
}

/// In YAML, a bare `null` is no text.
fn null_is_a_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ZeroDates, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(ZeroDates::Null))
}

/// How the rows are cut into pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub enum SplitBy {
    /// `auto`: a table by ranges of its primary key, or of a unique key without nulls, and each piece can go on where it
    /// broke off. A query is one piece.
    #[default]
    Auto,
    /// `none`: one piece, which begins anew when it breaks off. For tables without a key.
    None,
    /// The name of a column: ranges of its values, for views, queries, and tables without a key. A piece begins anew when
    /// it breaks off.
    Column(String),
}

impl From<String> for SplitBy {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "none" => Self::None,
            _ => Self::Column(text),
        }
    }
}

/// Whether all pieces show the database at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// If the user may hold all tables for an instant (`FLUSH TABLES WITH READ LOCK`, which takes the privilege RELOAD),
    /// or the server proves that no transaction came in between. Otherwise the report says that it is not so.
    #[default]
    Auto,
    /// Or the run fails.
    Required,
    /// No: each piece shows the database as it is when the piece is begun.
    Off,
}

/// What a `tinyint(1)` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tinyint1 {
    /// A truth value. A row with another number than 0 and 1 is rejected.
    #[default]
    Bool,
    /// A number.
    Int8,
}

/// What becomes of dates with zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZeroDates {
    /// The row is rejected.
    #[default]
    Reject,
    /// The date is null.
    Null,
}
