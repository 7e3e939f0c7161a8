//! Objects, read from a real server.

mod check;
mod conformance;
mod listing;
mod source;
mod support;
mod trouble;
