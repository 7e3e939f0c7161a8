//! The mysql connector against a real server.

mod conformance;
