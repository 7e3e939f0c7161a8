//! The testkit is held to the promises that it proves for others.

mod broken_sinks;
mod broken_sources;
mod faults;
mod http;
mod memory;
mod proxy;
mod reference;
