//! The layers around small sources and sinks in memory, in paused time.

mod layers;
mod limits;
mod limits_drop;
mod metrics;
mod retry_sink;
mod retry_source;
mod servers;
mod support;
mod timeout;
