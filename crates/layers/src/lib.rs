//! Wrappers around any source or sink, and the runtime side of what a [`Context`](towpath_core::Context) offers.
//!
//! [`layer_source`] and [`layer_sink`] put the wrappers on, from the inside outwards:
//!
//! ```text
//! metrics ( retry ( timeout ( connector ) ) )
//! ```
//!
//! - **Timeout is inside retry**, so that an attempt that hangs ends and is tried again.
//! - **Metrics are outside of retry**, so that they count what the engine got, once, and the waits as the engine felt
//!   them, back-offs included.
//! - **Limits are no wrapper.** Only the connector knows when a request starts and when its last byte has come, so it
//!   asks [`Context::permit`](towpath_core::Context::permit), which the [`ConnectionLimiter`] answers.

mod clock;
mod cpu;
pub mod limits;
mod metrics;
mod retry;
mod timeout;
mod traffic;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{DynSink, DynSource};

pub use clock::TokioClock;
pub use cpu::RayonPool;
pub use limits::{ConnectionLimiter, LimitSettings, LimiterCourse, RunLimit};
pub use metrics::{MeterSink, MeterSource};
pub use retry::{RetryPolicy, RetrySettings, RetrySink, RetrySource};
pub use timeout::{TimeoutSettings, TimeoutSink, TimeoutSource};
pub use traffic::{FileRecorder, FileRecording};

/// What the layers do around a connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LayerSettings {
    /// When and how often a failed operation is tried again.
    pub retry: RetrySettings,
    /// How long an operation may take.
    pub timeout: TimeoutSettings,
}

/// A source with retries, timeouts and metrics.
pub fn layer_source(source: Arc<dyn DynSource>, settings: &LayerSettings) -> Arc<dyn DynSource> {
    Arc::new(MeterSource::new(layer_parent(source, settings)))
}

/// A source with retries and timeouts, whose rows are none of the stream's and are not counted.
pub fn layer_parent(source: Arc<dyn DynSource>, settings: &LayerSettings) -> Arc<dyn DynSource> {
    let source = Arc::new(TimeoutSource::new(source, &settings.timeout));
    Arc::new(RetrySource::new(source, RetryPolicy::new(&settings.retry)))
}

/// A sink with retries, timeouts and metrics.
pub fn layer_sink(sink: Arc<dyn DynSink>, settings: &LayerSettings) -> Arc<dyn DynSink> {
    let sink = Arc::new(TimeoutSink::new(sink, &settings.timeout));
    let sink = Arc::new(RetrySink::new(sink, RetryPolicy::new(&settings.retry)));
    Arc::new(MeterSink::new(sink))
}
