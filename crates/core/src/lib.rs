//! The contract between Towpath's engine and its connectors.
//!
//! A *connector* reads from (a [`Source`]) or writes to (a [`Sink`]) one kind of system. Authors implement these
//! typed traits; the engine and the layers use their boxed forms [`DynSource`] and [`DynSink`], which one blanket
//! adapter provides. This crate knows columns (Arrow) and configuration (serde, schemars), and neither a runtime,
//! nor a driver, nor the engine.
//!
//! The life of a stream, in the order of the calls:
//!
//! ```text
//! Sink::begin ─> Source::plan ─> Source::read (many splits at once) ─> Sink::evolve ─> Sink::writer
//!                                   │                                                    │
//!                                   └── batches, each with the position after it ──> Writer::write
//!                                                                                    Writer::finish ─> Sink::commit
//! ```
//!
//! Everything that outlives a process is serializable and carries a version: [`Split`], [`Position`], [`Begun`],
//! [`Staged`], [`CommitToken`] and [`Checkpoint`].

mod align;
mod boxed;
mod cancellation;
mod checkpoint;
mod chunks;
mod column_type;
mod columns;
mod connection;
mod connector;
mod context;
mod error;
mod json;
mod limiter;
mod metrics;
mod realm;
mod rejected;
mod secret;
mod sink;
mod source;
mod traffic;
mod units;

pub use align::{conform, conform_array, merge_schemas, widen};
pub use boxed::{DynSink, DynSource, DynWriter};
pub use cancellation::Cancellation;
pub use checkpoint::{
    Advance, Applied, Checkpoint, CommitToken, Finished, Progress, SplitAdvance, SplitProgress,
};
pub use chunks::{CHUNK_BYTES, chunk_schema, is_chunks, reference_schema};
pub use column_type::{ColumnType, TypeFamily};
pub use columns::Columns;
pub use connection::Connection;
pub use connector::{Connector, OptionError, SinkEntry, SourceEntry};
pub use context::{Clock, Context, ContextBuilder, CpuPool, Job, PermitWaits};
pub use error::{Error, ErrorKind, Result, ResultExt, Retry};
pub use json::{json_row, json_value};
pub use limiter::{Limiter, Outcome, Permit, Unlimited};
pub use metrics::{Metrics, MetricsSnapshot};
pub use realm::Realm;
pub use rejected::Rejected;
pub use secret::{Outside, Secret};
pub use sink::{
    Begun, Committed, Delivery, LoadSpec, Sink, SinkCapabilities, Staged, Takes, WriteDisposition, Writer,
};
pub use source::{
    Batch, BatchStream, Comparison, CursorRange, Dataset, Estimate, Parent, PlanStream, Planned, Position,
    Predicate, Pushdown, Resume, ScanPlan, ScanRequest, Source, SourceCapabilities, Split, SplitId,
};
pub use traffic::{Answered, Exchange, Piece, Recorder, Recording, Then, Traffic};
pub use units::{ByteSize, HumanDuration, Rate};

/// JSON, the form of everything that is opaque to the engine: split payloads, positions, configuration.
pub type Json = serde_json::Value;
