//! S3, and what speaks its protocol.
//!
//! The source lists by globs, only the prefixes that it needs, and reads objects by ranges, so that a large one is read in
//! parallel and a reader that stops wastes little. The SDK of AWS says who we are and does what only S3 can;
//! `object_store` moves the data. Both send through one client, within the limits of the connection.

mod config;
mod credentials;
mod extras;
mod place;
mod sdk;
mod session;
mod sink;
mod store;
mod uri;
mod wire;

pub use config::{AssumeRole, SinkConfig, SourceConfig};
pub use sink::{Encryption, S3Writes};
pub use store::S3Objects;

use towpath_core::Connector;
use towpath_files::sink::RowSink;
use towpath_objects::sink::{ByteSink, ObjectDestination};

/// Reads objects.
pub type S3Source = towpath_files::FileSource<S3Objects>;

/// Writes objects.
pub type S3Sink = towpath_files::sink::FileSink<RowSink<ObjectDestination<S3Writes>>, ByteSink<S3Writes>>;

/// S3.
pub const CONNECTOR: Connector =
    Connector::new("s3", "S3 and what speaks its protocol: files of all formats in buckets.")
        .source::<S3Source>()
        .sink::<S3Sink>()
        .uri(&["s3"], uri::options)
        .example(EXAMPLE);

const EXAMPLE: &str = r#"name: sales
streams:
  sales:
    source:
      connector: s3
      path: "s3://landing/sales/**/*.{csv,csv.gz}"
      region: eu-west-1
      columns: { id: int64, amount: "decimal(12,2)" }
      incremental: true
    sink:
      connector: s3
      path: "s3://lake/{stream}/{part}.parquet"
      region: eu-west-1
      partition_by: [country]
      storage_class: INTELLIGENT_TIERING
    write_disposition: append
"#;
