//! Objects, read from a real server.

mod check;
mod bytes;
mod conformance;
mod sink;
mod sink_conformance;
mod listing;
mod source;
mod support;
mod written;
mod trouble;
