//! The connector against a real server.

mod conformance_sink;
mod conformance_source;
mod load;
mod sink_check;
mod sink_constraints;
mod sink_evolution;
mod sink_faults;
mod sink_options;
mod sink_replace;
mod source_options;
mod source_sessions;
mod source_tables;
mod source_types;
mod support;
mod types_round_trip;
