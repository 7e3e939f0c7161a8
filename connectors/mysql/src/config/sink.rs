//! The options of the sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

with_connection_options! {
    /// Where rows go: a table, which is made and altered as the columns need it.
    pub struct SinkConfig {
        /// The table: `orders`, `shop.orders`. `{stream}` stands for the name of the stream, and `{pipeline}` for that of the
        /// pipeline. A database or a table that is not there is made. A timestamp with a zone becomes a `timestamp`, an
        /// instant for every session, which lies between 1970 and 2038; rows with others are rejected. Cast such a column
        /// to `timestamp` without a zone under `transform`, and it becomes a `datetime` in UTC, from year 1 to 9999.
        #[serde(default = "default_table")]
        pub table: String,
        /// Whether a table that is made gets a primary key of the stream's `key`. `merge` always has one.
        #[serde(default)]
        pub primary_key: bool,
        /// Indexes that a table that is made gets. Texts in them are `varchar(255)`, or shorter where there are several.
        #[serde(default)]
        pub indexes: Vec<Index>,
        /// Statements that run once a run has begun, before its first rows. They may run again when beginning is retried.
        #[serde(default)]
        pub pre_sql: Vec<String>,
        /// Statements that run behind the last commit of a run. They may run again when the answer to them is lost.
        #[serde(default)]
        pub post_sql: Vec<String>,
        /// For `merge`: what becomes of rows whose key did not come in a whole run.
        #[serde(default)]
        pub delete_missing: DeleteMissing,
        /// For `merge`: a column that says what became of a row. `d`, `D`, `delete` and `DELETE` delete the row with that
        /// key; every other value writes it. The column itself is not written.
        #[serde(default)]
        pub operation_column: Option<String>,
        /// How rows get to the server.
        #[serde(default)]
        pub load_by: LoadBy,
    }
}

/// What becomes of rows whose key did not come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeleteMissing {
    /// They stay.
    #[default]
    No,
    /// The time is noted in the column `deleted_at`, which is made. It is null again when the key comes again.
    Soft,
    /// They are deleted.
    Hard,
}

/// How rows get to the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadBy {
    /// By `LOAD DATA LOCAL`, or by `INSERT` where the server forbids the former, which the report then says.
    #[default]
    Auto,
    /// By `LOAD DATA LOCAL`, or not at all.
    LoadData,
    /// By `INSERT`.
    Insert,
}

/// An index: columns, and whether their values are unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The columns.
    pub columns: Vec<String>,
    /// Whether no two rows may have the same values.
    #[serde(default)]
    pub unique: bool,
}

/// The default of `table`.
fn default_table() -> String {
    "{stream}".to_owned()
}
