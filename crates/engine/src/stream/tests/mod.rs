//! What a stream promises, with a source and a sink in memory, and faults at exact calls.

mod contract;
mod failures;
mod harness;
mod resume;
mod write;
