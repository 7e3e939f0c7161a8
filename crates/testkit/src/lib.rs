//! What the tests of Towpath's connectors and engine share: the conformance suite, deterministic faults, reference
//! implementations of the contract in memory, and small servers. A dev-dependency only.
//!
//! - [`context()`] and [`paused_context`]: surroundings for a connector under test.
//! - [`memory`]: a source and a sink that keep the contract to the letter.
//! - [`faults`]: wrappers that fail, stall or kill at an exact call.
//! - [`conformance`]: the promises of the contract, one named test each.
//! - [`http`] and [`proxy`]: servers that delay, throttle, fail, lie and cut.
//! - `archives`, with the feature `archives`: zips and tars of given files.
//! - `gcs`, with the feature `google`: Google Cloud Storage, as its documentation describes it.
//! - `objects`, with the feature `objects`: what all stores of objects have to do, one named test each.
//! - [`types`]: a column of each Arrow type.
//! - [`steps`]: the contract step by step, as the engine calls it.
//! - [`rows`]: batches from literals, rows as JSON, readable differences.

#[cfg(feature = "archives")]
pub mod archives;
pub mod conformance;
mod context;
pub mod faults;
#[cfg(feature = "google")]
pub mod gcs;
pub mod http;
pub mod memory;
#[cfg(feature = "objects")]
pub mod objects;
pub mod proxy;
pub mod rows;
pub mod steps;
pub mod types;

pub use context::{context, context_with, paused_context};
