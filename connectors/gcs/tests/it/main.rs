//! Objects of a server in this process, which answers as Google documents it.

mod bytes;
mod check;
mod conformance;
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
