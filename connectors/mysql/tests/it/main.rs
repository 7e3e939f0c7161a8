//! The connector against a real server.

mod conformance_sink;
mod conformance_source;
mod consistency;
mod failures;
mod incremental;
mod options;
mod sink_failures;
mod sink_options;
mod sink_rows;
mod sink_support;
mod sink_tables;
mod splits;
mod support;
mod types_round_trip;
mod types_source;
