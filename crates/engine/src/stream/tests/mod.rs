//! What a stream promises, with a source and a sink in memory, and faults at exact calls.

mod contract;
mod failures;
mod for_each;
mod for_each_kept;
mod for_each_resume;
mod harness;
mod resume;
mod write;
