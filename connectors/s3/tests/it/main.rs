//! Objects, read from a real server.

mod check;
mod conformance;
mod copies;
mod credentials;
mod discover;
mod options;
mod region;
mod sink;
mod source;
mod support;
