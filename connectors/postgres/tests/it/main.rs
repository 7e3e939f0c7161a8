//! The connector against a real server.

mod conformance_sink;
mod conformance_source;
mod support;
