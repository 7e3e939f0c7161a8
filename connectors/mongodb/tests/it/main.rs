//! The connector against a real server.

mod conformance_sink;
mod conformance_source;
mod sink_failures;
mod sink_missing;
mod sink_rows;
mod sink_support;
mod source_alone;
mod source_connection;
mod source_faults;
mod source_options;
mod source_pushdown;
mod source_records;
mod source_types;
mod support;
