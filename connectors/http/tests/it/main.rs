//! The connector against servers in the process: each option changes what happens.

mod asking;
mod auth;
mod bodies;
mod conformance;
mod documents;
mod downloads;
mod failures;
mod limits;
mod pages;
mod redirects;
mod requests;
mod sessions;
mod signatures;
mod sink;
mod sink_rows;
mod support;
mod tls;
mod turns;
mod web_tokens;
mod windows;
