//! The pipeline file as types. Parser, JSON Schema and documentation all come from these.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{ByteSize, HumanDuration, Json, Rate, WriteDisposition};
use towpath_engine::{CommitPolicy, OnError, SchemaContract};

use super::for_each::ForEachPart;
use towpath_layers::{LayerSettings, LimitSettings, RetrySettings, TimeoutSettings};
use towpath_transform::{Columns, Step};

/// A pipeline: streams that run together, each from a source through transforms into a sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Towpath pipeline")]
#[expect(dead_code, reason = "the resolver reads sources and sinks from the tree, which knows the places")]
pub(crate) struct PipelineFile {
    /// Names the checkpoints. Keep it stable: under another name everything is loaded anew.
    pub(crate) name: String,
    /// How many requests are in flight at once, over all connections; reading and writing are counted apart.
    #[serde(default = "default_max_in_flight")]
    pub(crate) max_in_flight: NonZeroUsize,
    /// The budget for rows that were read and not yet written.
    #[serde(default = "default_memory")]
    pub(crate) memory: ByteSize,
    /// How many threads parse, transform and encode. As many as there are processors by default.
    #[serde(default)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// What happens when a row or a split fails, for streams that do not say it themselves.
    #[serde(default)]
    pub(crate) on_error: OnError,
    /// Where rows go that did not make it, for streams that do not say it themselves.
    #[serde(default)]
    pub(crate) dead_letter: Option<DeadLetterPart>,
    /// Systems with their credentials and limits, named once and shared by streams.
    #[serde(default)]
    pub(crate) connections: BTreeMap<String, ConnectionPart>,
    /// The sink of streams that have none of their own.
    #[serde(default)]
    pub(crate) sink: Option<SinkPart>,
    /// The streams by name.
    pub(crate) streams: BTreeMap<String, StreamFile>,
    /// The folder for the checkpoints of sinks that cannot remember themselves.
    #[serde(default = "default_state_dir")]
    pub(crate) state_dir: PathBuf,
}

/// A logical data set that flows from a source through transforms into a sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the resolver reads sources and sinks from the tree, which knows the places")]
pub(crate) struct StreamFile {
    /// Where rows come from.
    pub(crate) source: SourcePart,
    /// The stream for each of whose rows this one is read: its name, or a map with more.
    #[serde(default)]
    pub(crate) for_each: Option<ForEachPart>,
    /// Whether the stream is loaded. One that is not is only read for streams that name it in `for_each`, and needs no
    /// `sink`.
    #[serde(default = "yes")]
    pub(crate) load: bool,
    /// Patterns of data sets, such as `sales.*` or `!*_old`: each one that the source holds and that fits becomes a
    /// stream. The stream's name then holds `{dataset}`. `towpath discover` lists what there is.
    #[serde(default)]
    pub(crate) datasets: Vec<String>,
    /// Where rows go; the pipeline's `sink` by default.
    #[serde(default)]
    pub(crate) sink: Option<SinkPart>,
    /// Steps from batch to batch, in their order.
    #[serde(default)]
    pub(crate) transform: Vec<Step>,
    /// The column by which the stream is read incrementally, such as `updated_at`.
    #[serde(default)]
    pub(crate) cursor: Option<String>,
    /// The column or columns that identify a row. `write_disposition: merge` needs it.
    #[serde(default)]
    pub(crate) key: Option<Columns>,
    /// How rows land; by default what the sink does best.
    #[serde(default)]
    pub(crate) write_disposition: Option<WriteDisposition>,
    /// What happens when columns change.
    #[serde(default)]
    pub(crate) schema_contract: SchemaContract,
    /// What happens when a row or a split fails; what the pipeline says by default.
    #[serde(default)]
    pub(crate) on_error: Option<OnError>,
    /// Where rows go that did not make it; what the pipeline says by default.
    #[serde(default)]
    pub(crate) dead_letter: Option<DeadLetterPart>,
    /// When rows are committed, for `append` and `merge`.
    #[serde(default)]
    pub(crate) commit: CommitPolicy,
}

/// What a connection can say besides the options of its connector. A source or sink that names no connection can say
/// the same itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConnectionSettings {
    /// How many requests may be in flight at once. Without it, the number adapts to each server.
    pub(crate) max_in_flight: Option<NonZeroUsize>,
    /// How many requests may start in a time, for example `100/s` or `5000/h`.
    pub(crate) rate_limit: Option<Rate>,
    /// When and how often what failed is tried again.
    pub(crate) retry: RetrySettings,
    /// The longest time for one call, such as a batch that is written or a commit. No bound by default.
    pub(crate) operation_timeout: Option<HumanDuration>,
    /// The longest wait for the next rows of a read; `null` for no bound.
    pub(crate) idle_timeout: Option<HumanDuration>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        let TimeoutSettings { operation, idle } = TimeoutSettings::default();
        Self {
            max_in_flight: None,
            rate_limit: None,
            retry: RetrySettings::default(),
            operation_timeout: operation,
            idle_timeout: idle,
        }
    }
}

impl ConnectionSettings {
    /// How hard the connection may work.
    pub(crate) fn limits(&self) -> LimitSettings {
        LimitSettings { max_in_flight: self.max_in_flight, rate_limit: self.rate_limit }
    }

    /// Retries and timeouts.
    pub(crate) fn layers(&self) -> LayerSettings {
        LayerSettings {
            retry: self.retry.clone(),
            timeout: TimeoutSettings { operation: self.operation_timeout, idle: self.idle_timeout },
        }
    }
}

/// A map of options, which only their connector can read.
type Options = serde_json::Map<String, Json>;

/// A connection: a connector, its options and [`ConnectionSettings`].
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct ConnectionPart(#[expect(dead_code, reason = "checks that it is a map")] Options);

/// A source: a connection or a connector, and options.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct SourcePart(#[expect(dead_code, reason = "checks that it is a map")] Options);

/// A sink: a connection or a connector, and options.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct SinkPart(#[expect(dead_code, reason = "checks that it is a map")] Options);

/// A sink for rows that did not make it, or a path of files.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct DeadLetterPart(#[expect(dead_code, reason = "the resolver checks its form")] Json);

pub(crate) fn default_max_in_flight() -> NonZeroUsize {
    NonZeroUsize::new(64).expect("64 is not 0")
}

pub(crate) fn default_memory() -> ByteSize {
    ByteSize::mib(256)
}

fn yes() -> bool {
    true
}

fn default_state_dir() -> PathBuf {
    ".towpath".into()
}

/// The number of processors that this process may use.
pub(crate) fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_that_are_not_given_are_those_of_the_engine() {
        let settings = ConnectionSettings::default();
        assert_eq!(settings.layers(), LayerSettings::default());
        assert_eq!(settings.limits(), LimitSettings::default());
    }

    #[test]
    fn each_setting_reaches_its_layer() {
        let settings: ConnectionSettings = serde_json::from_value(serde_json::json!({
            "max_in_flight": 3, "rate_limit": "5/s", "retry": {"attempts": 2},
            "operation_timeout": "7s", "idle_timeout": null,
        }))
        .unwrap();
        assert_eq!(settings.limits().max_in_flight.map(NonZeroUsize::get), Some(3));
        assert_eq!(settings.limits().rate_limit, Some("5/s".parse().unwrap()));
        let layers = settings.layers();
        assert_eq!(layers.retry.attempts.get(), 2);
        assert_eq!(layers.timeout.operation, Some(Duration::from_secs(7).into()));
        assert_eq!(layers.timeout.idle, None);
    }
}
