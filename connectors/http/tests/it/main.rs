//! The connector against servers in the process: each option changes what happens.

mod asking;
mod bodies;
mod conformance;
mod failures;
mod limits;
mod pages;
mod redirects;
mod requests;
mod sink;
mod support;
mod tls;
mod turns;
mod windows;
