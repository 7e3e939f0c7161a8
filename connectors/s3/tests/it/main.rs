//! Objects, read from a real server.

mod bytes;
mod check;
mod conformance;
mod listing;
mod sink;
mod sink_conformance;
mod source;
mod support;
mod trouble;
mod written;
