//! The options, as pipeline files write them.

#[macro_use]
mod connection;
mod source;

pub(crate) use connection::{ConnectionOptions, Host, Raw};
pub use connection::{Tls, TlsMode};
pub use source::{SnapshotMode, SourceConfig, SplitBy, Tinyint1, ZeroDates};
