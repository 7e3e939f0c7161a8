//! Plans, schedules, bounds, commits and reports the streams of a pipeline.
//!
//! ```text
//! plan ──> splits ──> readers ──> transforms, schema contract ──> [queue] ──> writers ──> commit
//!           │          ▲  a lease on the memory budget for each batch, from decoded to written
//!           └ resumes  └ permits of the connection's limiter, as many splits at once as the limits allow
//! ```
//!
//! One [`Engine`] runs one pipeline. [`Engine::run`] overlaps everything: all streams, and within a stream planning,
//! reading, transforming, writing and committing. The engine knows the contract of `towpath-core` and no connector.

mod contract;
mod cursor;
mod dead_letter;
mod engine;
mod expand;
mod for_each;
mod inspect;
mod ledger;
mod memory;
mod progress;
mod report;
mod request;
mod shutdown;
mod spec;
mod state;
mod stream;
mod value;

pub use engine::Engine;
pub use expand::{DATASET, expand};
pub use for_each::MissingParent;
pub use inspect::{Checked, PlannedStream, Preview};
pub use ledger::{Advice, Ledger};
pub use progress::{RunProgress, StreamProgress, StreamState};
pub use report::{Failure, LimitCourse, RunReport, RunStatus, StreamReport, StreamStatus};
pub use shutdown::Shutdown;
pub use spec::{
    CommitPolicy, ConnectionSpec, ForEachSpec, OnError, Pipeline, SchemaContract, SinkSpec, SourceSpec,
    StreamSpec,
};
