//! The connector against servers in the process: each option changes what happens.

mod asking;
mod auth;
mod bodies;
mod budgets;
mod conformance;
mod documents;
mod failures;
mod limits;
mod network;
mod pages;
mod redirects;
mod requests;
mod rotation;
mod sessions;
mod signatures;
mod sink;
mod sink_rows;
mod support;
mod tls;
mod token_files;
mod turns;
mod web_tokens;
mod windows;
