//! Objects of a server in this process, which answers as Google documents it.

mod check;
mod conformance;
mod credentials;
mod discover;
mod options;
mod sink;
mod source;
mod support;
