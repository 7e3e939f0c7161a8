//! What people write.

#[macro_use]
mod connection;
mod sink;
mod source;

pub(crate) use connection::{ConnectionOptions, Raw};
pub use sink::{DeleteMissing, MongodbSinkConfig, Nulls, Update};
pub(crate) use source::Order;
pub use source::{
    DocumentForm, Lookback, MongodbSourceConfig, ReadConcernLevel, ReadFrom, SnapshotMode, SplitBy,
};
