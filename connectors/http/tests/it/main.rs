//! The connector against servers in the process: each option changes what happens.

mod answers;
mod asking;
mod auth;
mod bodies;
mod conditional;
mod conformance;
mod documents;
mod downloads;
mod failures;
mod lies;
mod limits;
mod metadata;
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
