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
mod store;
mod uri;

pub use config::{AssumeRole, SourceConfig};
pub use store::S3Objects;

use towpath_core::Connector;

/// Reads objects.
pub type S3Source = towpath_files::FileSource<S3Objects>;

/// S3.
pub const CONNECTOR: Connector =
    Connector::new("s3", "S3 and what speaks its protocol: files of all formats in buckets.")
        .source::<S3Source>()
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
      connector: file
      path: "lake/{stream}/{part}.parquet"
    write_disposition: append
"#;
