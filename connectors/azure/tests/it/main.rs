//! Blobs, read from and written to a real server.

mod account;
mod check;
mod conformance;
mod copies;
mod credentials;
mod discover;
mod options;
mod sink;
mod source;
mod support;
