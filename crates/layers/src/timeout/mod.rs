//! Ends what takes too long.
//!
//! Time in which the connector waits for a permit of its limiter does not count: then it is our own limit, or a pause
//! that the server asked for, and not a server that is silent.

mod sink;
mod source;
mod watch;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::HumanDuration;

pub use sink::TimeoutSink;
pub use source::TimeoutSource;

/// How long an operation may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutSettings {
    /// The longest time for one call, such as planning, writing a batch or committing. Not set, a call may take as long
    /// as it needs: how long a commit takes depends on how much it commits.
    pub operation: Option<HumanDuration>,
    /// The longest wait for the next batch of a read or the next split of a plan. `null` for no bound.
    pub idle: Option<HumanDuration>,
}

impl Default for TimeoutSettings {
    fn default() -> Self {
        Self { operation: None, idle: Some(Duration::from_mins(5).into()) }
    }
}
