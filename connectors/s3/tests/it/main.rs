//! Objects, read from a real server.

mod check;
mod conformance;
mod credentials;
mod discover;
mod listing;
mod options;
mod source;
mod support;
mod trouble;
