//! Writing files: each is staged, and a commit makes all of a commit's files visible together with the checkpoint.
//!
//! ```text
//! RowWriter ── Encoder ──> Staging (how bytes of a file are staged) ── receipts ──> Destination::commit
//! ```
//!
//! A connector brings a [`Destination`] and its [`Staging`]; [`RowSink`] is the sink for rows. Where a connector takes files
//! as they are too, [`FileSink`] is the one of the two that the options ask for.

mod assemble;
mod bytes;
mod destination;
mod either;
mod form;
mod in_use;
mod options;
mod partial;
mod partition;
mod rows;
mod staging;
mod target;
mod template;
mod types;
mod writer;

pub use bytes::ByteFolder;
pub use destination::{Commit, Destination, Old};
pub use either::{FileSink, FileWriter};
pub use in_use::InUse;
pub use options::{SinkOptions, WritesFiles};
pub use partial::{Partial, PartialReceipt, Partials, key};
pub use rows::{RowSink, no_merge};
pub use staging::{Receipt, Role, StagedFile, Staging};
pub use target::{Target, needs_part};
pub use template::{FileName, Template};
pub use writer::RowWriter;
