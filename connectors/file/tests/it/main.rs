//! Files, read and written for real.

mod archives;
mod bytes;
mod conformance;
mod sink;
mod source;
mod support;
mod trouble;
