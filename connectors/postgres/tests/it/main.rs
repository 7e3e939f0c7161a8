//! The postgres connector against a real server.

mod conformance;
