//! The options of source and sink.

mod connection;
mod passfile;
mod sink;
mod source;
mod url;

pub(crate) use connection::{ConnectionOptions, Host, Raw, SslMode, TargetSessionAttrs};
pub(crate) use sink::DeleteMissing;
pub use sink::PostgresSinkConfig;
pub use source::PostgresSourceConfig;
pub(crate) use source::{Arrays, Numeric, SplitBy, What};
pub(crate) use url::{Target, split_target};
