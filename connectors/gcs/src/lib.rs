//! Google Cloud Storage.
//!
//! The source lists by globs, only the prefixes that it needs, and reads objects by ranges, so that a large one is read in
//! parallel and a reader that stops wastes little. `object_store` moves the data by the XML API; what it lacks, such as a
//! project that pays, keys of KMS and lists of uploads, is added here. Both send through one client, within the limits of
//! the connection.

mod config;
mod credentials;
mod extras;
mod federation;
mod session;
mod sink;
mod store;
mod tokens;
mod uri;
mod wire;
mod xml;

pub use config::{SinkConfig, SourceConfig};
pub use sink::GcsWrites;
pub use store::GcsObjects;

use towpath_core::Connector;
use towpath_files::sink::RowSink;
use towpath_objects::sink::{ByteSink, ObjectDestination};

/// Reads objects.
pub type GcsSource = towpath_files::FileSource<GcsObjects>;

/// Writes objects.
pub type GcsSink = towpath_files::sink::FileSink<RowSink<ObjectDestination<GcsWrites>>, ByteSink<GcsWrites>>;

/// Google Cloud Storage.
pub const CONNECTOR: Connector =
    Connector::new("gcs", "Google Cloud Storage: files of all formats in buckets.")
        .source::<GcsSource>()
        .sink::<GcsSink>()
        .uri(&["gs", "gcs"], uri::options)
        .example(EXAMPLE);

const EXAMPLE: &str = r#"name: sales
streams:
  sales:
    source:
      connector: gcs
      path: "gs://landing/sales/**/*.{csv,csv.gz}"
      columns: { id: int64, amount: "decimal(12,2)" }
      incremental: true
    sink:
      connector: gcs
      path: "gs://lake/{stream}/{part}.parquet"
      partition_by: [country]
      storage_class: NEARLINE
    write_disposition: append
"#;
