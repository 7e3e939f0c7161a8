//! Blobs, read from and written to a real server.

mod account;
mod bytes;
mod check;
mod conformance;
mod copies;
mod credentials;
mod discover;
mod listing;
mod options;
mod sink;
mod sink_conformance;
mod source;
mod support;
mod trouble;
mod written;
