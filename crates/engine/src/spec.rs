//! A pipeline as the engine runs it. The runner makes it from a pipeline file.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{ByteSize, Connector, HumanDuration, Json, Outside, WriteDisposition};
use towpath_layers::{LayerSettings, LimitSettings};
use towpath_transform::Step;

use crate::MissingParent;

/// Streams that run together under common limits.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Names the checkpoints.
    pub name: String,
    /// How many requests are in flight at once, over all connections; reading and writing are counted apart.
    pub max_in_flight: NonZeroUsize,
    /// The budget for batches that were decoded and not yet written.
    pub memory: ByteSize,
    /// Threads for CPU work.
    pub threads: NonZeroUsize,
    /// Where the checkpoints of sinks are kept that cannot remember.
    pub state_dir: PathBuf,
    /// What was filled into the pipeline file from outside, and may be secret.
    pub outside: Outside,
    /// The connections that streams name.
    pub connections: Vec<ConnectionSpec>,
    /// The streams.
    pub streams: Vec<StreamSpec>,
}

/// A connection: the limits that its streams share.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSpec {
    /// Its name, unique in the pipeline.
    pub name: String,
    /// How many at once, how many per second.
    pub limits: LimitSettings,
    /// Retries and timeouts.
    pub layers: LayerSettings,
}

/// A logical data set that flows from a source through transforms into a sink.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// Its name, unique in the pipeline. With `datasets`, a template that holds `{dataset}`.
    pub name: String,
    /// Patterns of data sets of the source, each of which becomes a stream; see [`expand`](crate::expand()). Empty for a
    /// stream that is just one.
    pub datasets: Vec<String>,
    /// Where rows come from.
    pub source: SourceSpec,
    /// The stream for each of whose rows this one is read.
    pub for_each: Option<ForEachSpec>,
    /// Where rows go.
    pub sink: SinkSpec,
    /// Steps from batch to batch.
    pub transform: Vec<Step>,
    /// The column by which the stream is read incrementally.
    pub cursor: Option<String>,
    /// The columns that identify a row, for `merge`.
    pub key: Vec<String>,
    /// How rows land; `None` for the sink's default.
    pub write_disposition: Option<WriteDisposition>,
    /// What happens when columns change.
    pub schema_contract: SchemaContract,
    /// What happens when a row or a split fails.
    pub on_error: OnError,
    /// Where rows go that did not make it.
    pub dead_letter: Option<SinkSpec>,
    /// When staged rows are committed.
    pub commit: CommitPolicy,
}

/// The parent of a stream, and what becomes of its rows.
#[derive(Debug, Clone)]
pub struct ForEachSpec {
    /// The parent. Its source, its transforms and its own parent count, and nothing else.
    pub stream: Box<StreamSpec>,
    /// The columns that the child's rows get, with the fields of the parent's row that they come from.
    pub include: Vec<(String, String)>,
    /// What happens with rows that cannot be used.
    pub missing: MissingParent,
    /// Whether a run reads only for those rows of the parent that are new since the last one, by the parent's `cursor`
    /// or by what its source keeps in mind.
    pub incremental: bool,
}

impl StreamSpec {
    /// Its parent, the parent's parent and so on.
    pub fn parents(&self) -> impl Iterator<Item = &StreamSpec> {
        std::iter::successors(self.parent(), |spec| spec.parent())
    }

    fn parent(&self) -> Option<&StreamSpec> {
        self.for_each.as_ref().map(|for_each| &*for_each.stream)
    }
}

impl SinkSpec {
    /// A sink that is never opened, of a stream that is only looked into or read for others.
    pub fn never_opened(connection: &str) -> Self {
        Self {
            connector: Connector::new("nothing", "Takes nothing."),
            connection: connection.to_owned(),
            options: Json::Null,
        }
    }
}

/// A source: the connector, the connection that it uses, and its options.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// The connector.
    pub connector: Connector,
    /// The name of a [`ConnectionSpec`].
    pub connection: String,
    /// The connector's options.
    pub options: Json,
}

/// A sink: the connector, the connection that it uses, and its options.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// The connector.
    pub connector: Connector,
    /// The name of a [`ConnectionSpec`].
    pub connection: String,
    /// The connector's options.
    pub options: Json,
}

/// What happens when a row or a split fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The stream ends. What was committed stays; other streams go on.
    #[default]
    Fail,
    /// The row goes to the dead letter and the split is left for the next run; the rest goes on.
    Continue,
}

/// What happens when columns change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchemaContract {
    /// New columns are added and types widened: int, float, string.
    #[default]
    Evolve,
    /// Any change ends the stream.
    Freeze,
    /// Rows with a value in a new column, or one that does not fit its type, are rejected.
    DiscardRow,
    /// Such values are left out: new columns are dropped, values that do not fit become null.
    DiscardValue,
}

/// When the rows of a writer are committed, for `append` and `merge`: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommitPolicy {
    /// After so many rows.
    pub rows: u64,
    /// After so many bytes, as the batches hold them in memory.
    pub bytes: ByteSize,
    /// After so long.
    pub interval: HumanDuration,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self { rows: 5_000_000, bytes: ByteSize::mib(1024), interval: Duration::from_secs(30).into() }
    }
}
