//! The options of the sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

with_connection_options! {
    /// Where rows go: a collection.
    pub struct MongodbSinkConfig {
        /// The collection. `{stream}` stands for the name of the stream, and `{pipeline}` for that of the pipeline.
        #[serde(default = "default_collection")]
        pub collection: String,
        /// What becomes of nulls.
        #[serde(default)]
        pub nulls: Nulls,
        /// For `merge`: what becomes of a document whose key comes again.
        #[serde(default)]
        pub update: Update,
        /// For `merge`: what becomes of documents whose key did not come in a whole run.
        #[serde(default)]
        pub delete_missing: DeleteMissing,
        /// For `merge`: a column that says what became of a row. `d`, `D`, `delete` and `DELETE` delete the document with that
        /// key; every other value writes it. The column itself is not written.
        #[serde(default)]
        pub operation_column: Option<String>,
    }
}

/// The default of `collection`.
fn default_collection() -> String {
    "{stream}".to_owned()
}

/// What becomes of nulls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    /// The field is left out.
    #[default]
    Omit,
    /// The field is null.
    Write,
}

/// What becomes of a document whose key comes again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// The row takes its place; its `_id` stays.
    #[default]
    Replace,
    /// The fields that the row has are set, all others stay.
    Set,
}

/// What becomes of documents whose key did not come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeleteMissing {
    /// They stay.
    #[default]
    No,
    /// The time is noted in their field `deleted_at`. It is gone again when the key comes again.
    Soft,
    /// They are deleted.
    Hard,
}
