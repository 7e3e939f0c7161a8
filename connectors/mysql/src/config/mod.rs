//! The options, as pipeline files write them.

#[macro_use]
mod connection;
mod sink;
mod source;

pub(crate) use connection::{ConnectionOptions, Host, Raw};
pub use connection::{Tls, TlsMode};
pub use sink::{DeleteMissing, Index, LoadBy, SinkConfig};
pub use source::{SnapshotMode, SourceConfig, SplitBy, Tinyint1, ZeroDates};
