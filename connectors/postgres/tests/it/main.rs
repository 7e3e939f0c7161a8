//! The connector against a real server.

mod conformance_source;
mod support;
