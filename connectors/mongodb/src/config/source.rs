//! The options of the source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use towpath_core::{Columns, HumanDuration, Json, Result};

use crate::errors::config;

with_connection_options! {
    /// The options of a source of documents.
    pub struct MongodbSourceConfig {
        /// The collection, view or time series to read.
        #[serde(default)]
        pub collection: Option<String>,
        /// An aggregation pipeline over the collection, whose results are read: a list of stages, in extended JSON.
        #[serde(default)]
        pub pipeline: Option<Vec<Map<String, Json>>>,
        /// Which documents are read: a filter as `find` takes it, in extended JSON, such as `{ state: paid }` or
        /// `{ at: { $gte: { $date: "2024-01-01T00:00:00Z" } } }`.
        #[serde(default)]
        pub filter: Option<Map<String, Json>>,
        /// Which fields are read, as `find` takes it: `{ name: 1, "address.city": 1 }` or `{ blob: 0 }`.
        #[serde(default)]
        pub projection: Option<Map<String, Json>>,
        /// The order in which documents come, as `find` takes it: `{ at: 1 }`. The collection is then read in one piece.
        #[serde(default)]
        pub sort: Option<Map<String, Json>>,
        /// The index by which the server finds the documents: its name, or its keys as an object. The collection is then read
        /// in one piece, unless `split_by` names a field.
        #[serde(default)]
        pub hint: Option<Json>,
        /// How texts are compared by `filter`, `sort` and `pipeline`: `{ locale: de, strength: 1 }`. The collection is then
        /// read in one piece, unless `split_by` names a field.
        #[serde(default)]
        pub collation: Option<Map<String, Json>>,
        /// Reads the documents with the greatest cursor of the last run again, for cursors that several documents may share.
        /// With `append` they come twice; use `merge`.
        #[serde(default)]
        pub cursor_inclusive: bool,
        /// Reads so far back behind the greatest cursor of the last run, for documents that come late: a duration such as
        /// `10m` for dates, timestamps and ids of the server's kind, a number for numbers. With `append` they come twice; use `merge`.
        #[serde(default)]
        pub lookback: Option<Lookback>,
        /// How many documents the server sends at once; as many as make about 2 MiB by default.
        #[serde(default)]
        pub batch_size: Option<u32>,
        /// Which members of a replica set are read from.
        #[serde(default)]
        pub read_preference: ReadFrom,
        /// What reads see, where it is no snapshot; as the server is set by default.
        #[serde(default)]
        pub read_concern: Option<ReadConcernLevel>,
        /// How long one query may work before the server ends it; no limit by default.
        #[serde(default)]
        pub max_time: Option<HumanDuration>,
        /// How documents are cut into pieces that are read at once. `auto`, the default: a collection by ranges of `_id`,
        /// whatever types that has, and a piece that breaks off goes on behind its last document; what has an order or a
        /// pipeline is one piece. For a `replace` without `filter` and `cursor`, a collection is read in the order in which
        /// it lies, which takes the server less than half the work: all of it from one member of a replica set, whatever
        /// becomes its role, in one snapshot. Sharded, clustered and capped collections, and servers without snapshots,
        /// stay with `_id`. `none`: one piece. The name of a field: ranges of its values, for views, time series, and
        /// pipelines that treat each document by itself. The latter two begin a piece anew when it breaks off.
        #[serde(default)]
        pub split_by: SplitBy,
        /// About how many documents a piece has; by default a quarter of what each reader gets, and in the order in which
        /// they lie 32 MiB, or an eighth of the collection. There are at most 256 pieces.
        #[serde(default)]
        pub split_size: Option<u64>,
        /// Whether all pieces show the collection at one moment.
        #[serde(default)]
        pub snapshot: SnapshotMode,
        /// How many documents are looked at for the first columns; 1000 by default. Later documents bring more columns and wider
        /// types all the same.
        #[serde(default = "default_sample_size")]
        pub sample_size: u32,
        /// How many levels of documents and arrays become structs and lists; 8 by default. What lies deeper is JSON, in text.
        #[serde(default = "default_max_depth")]
        pub max_depth: usize,
        /// Columns whose types are declared, such as `{ price: "decimal(12,2)", day: date }`. A document with a value that does
        /// not fit is rejected. The types of all others are seen.
        #[serde(default)]
        pub columns: Columns,
        /// What documents become.
        #[serde(default)]
        pub documents: DocumentForm,
    }
}

/// The default of `sample_size`.
fn default_sample_size() -> u32 {
    1_000
}

/// The default of `max_depth`.
fn default_max_depth() -> usize {
    8
}

/// How far back.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Lookback {
    /// For numbers.
    Number(u32),
    /// For moments.
    Duration(HumanDuration),
}

/// How documents are cut into pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub enum SplitBy {
    /// By `_id`, and what has an order or a pipeline not at all.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// By ranges of this field.
    Field(String),
}

impl From<String> for SplitBy {
    fn from(text: String) -> Self {
        match text.as_str() {
            "auto" => Self::Auto,
            "none" => Self::None,
            _ => Self::Field(text),
        }
    }
}

/// Which members of a replica set are read from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// As the URL says; the primary by default.
    #[default]
    Default,
    /// The primary.
    Primary,
    /// The primary if there is one, else a secondary.
    PrimaryPreferred,
    /// A secondary.
    Secondary,
    /// A secondary if there is one, else the primary.
    SecondaryPreferred,
    /// The nearest member.
    Nearest,
}

/// What reads see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadConcernLevel {
    /// What this member has.
    Local,
    /// What this member has, of a sharded cluster also what is being moved.
    Available,
    /// What most members have.
    Majority,
    /// What most members had when the query began.
    Linearizable,
}

impl ReadConcernLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Available => "available",
            Self::Majority => "majority",
            Self::Linearizable => "linearizable",
        }
    }
}

/// Whether all pieces show the collection at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotMode {
    /// If the server can: a replica set or sharded cluster since version 5, and not longer than it keeps history
    /// (`minSnapshotHistoryWindowInSeconds`, 5 minutes by default). Otherwise the report says that it is not so. With
    /// `read_concern` set there is none.
    #[default]
    Auto,
    /// Or the run fails.
    Required,
    /// No: each piece shows the collection as it is while the piece is read.
    Off,
}

/// What documents become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentForm {
    /// A column for each field.
    #[default]
    Columns,
    /// The columns `_id` and `document`, the latter with the document as it came. A MongoDB sink writes it back byte by byte:
    /// with the order of its fields, and with those that are null told from those that are missing.
    Whole,
}

/// How a collection is gone through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// By `_id`, along its index.
    Id,
    /// By ranges of a field, each in any order.
    Field(String),
    /// In one piece.
    Whole,
}

impl MongodbSourceConfig {
    /// How the collection is gone through, if the options fit together.
    pub(crate) fn order(&self) -> Result<Order> {
        self.validate()?;
        let is_ordered =
            self.pipeline.is_some() || self.sort.is_some() || self.hint.is_some() || self.collation.is_some();
        Ok(match &self.split_by {
            SplitBy::Auto if !is_ordered => Order::Id,
            SplitBy::Auto | SplitBy::None => Order::Whole,
            SplitBy::Field(field) => Order::Field(field.clone()),
        })
    }

    fn validate(&self) -> Result<()> {
        let of_find = [
            ("filter", self.filter.is_some()),
            ("projection", self.projection.is_some()),
            ("sort", self.sort.is_some()),
        ];
        if self.pipeline.is_some()
            && let Some((option, _)) = of_find.iter().find(|(_, is_set)| *is_set)
        {
            return Err(config(format!("`{option}` and `pipeline` exclude each other"))
                .help("write `$match`, `$project` and `$sort` as stages of the pipeline"));
        }
        if self.sort.is_some() && matches!(self.split_by, SplitBy::Field(_)) {
            return Err(config(
                "`sort` and `split_by` exclude each other: pieces are read at once, in no order",
            ));
        }
        if self.read_concern.is_some() && self.snapshot == SnapshotMode::Required {
            return Err(config("`read_concern` and `snapshot: required` exclude each other"));
        }
        for (option, is_zero) in [
            ("batch_size", self.batch_size == Some(0)),
            ("split_size", self.split_size == Some(0)),
            ("sample_size", self.sample_size == 0),
        ] {
            if is_zero {
                return Err(config(format!("`{option}` must be above zero")));
            }
        }
        if !matches!(&self.hint, None | Some(Json::String(_) | Json::Object(_))) {
            return Err(config("`hint` must be the name of an index, or its keys as an object"));
        }
        Ok(())
    }
}
