//! Tries again what failed for a while only.

mod policy;
mod sink;
mod source;

pub use policy::{RetryPolicy, RetrySettings};
pub use sink::RetrySink;
pub use source::RetrySource;
