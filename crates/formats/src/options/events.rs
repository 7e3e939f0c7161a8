//! The options of event streams.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::HumanDuration;

/// How `text/event-stream` is read: each event becomes a row with `id`, `event` and `data`.
///
/// Such a stream never ends. A run goes on until it is interrupted or a bound is reached, and commits as it goes; the next one
/// tells the server the last event (`Last-Event-ID`), to get those behind it. Where a server does not keep its events, those
/// between two runs are lost.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SseRead {
    /// What becomes of the data.
    pub data: EventData,
    /// How many events a run reads at most.
    pub max_events: Option<NonZeroU64>,
    /// How long a run reads at most.
    pub max_duration: Option<HumanDuration>,
    /// How long a run waits for the next event, at most.
    pub idle: Option<HumanDuration>,
}

/// What becomes of the data of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventData {
    /// It is text in the column `data`.
    #[default]
    Text,
    /// It is JSON in the column `data`. An event with something else is rejected.
    Json,
    /// It is a JSON object whose fields are columns, besides `_id` and `_event`. An event with something else is rejected.
    Columns,
}
