//! Azure Blob Storage.
//!
//! The source lists by globs, only the prefixes that it needs, and reads blobs by ranges, so that a large one is read in
//! parallel and a reader that stops wastes little. `object_store` moves the data and finds credentials; what it lacks are
//! signed requests of our own (`rest`): listings, and blocks that say which upload they are of. Both send through one client,
//! within the limits of the connection.

mod blocks;
mod config;
mod container;
mod credentials;
mod extras;
mod listing;
mod place;
mod rest;
mod session;
mod sink;
mod store;
mod uri;
mod xml;

pub use config::{SinkConfig, SourceConfig};
pub use sink::AzureWrites;
pub use store::AzureBlobs;

use towpath_core::Connector;
use towpath_files::sink::RowSink;
use towpath_objects::sink::{ByteSink, ObjectDestination};

/// Reads blobs.
pub type AzureSource = towpath_files::FileSource<AzureBlobs>;

/// Writes blobs.
pub type AzureSink =
    towpath_files::sink::FileSink<RowSink<ObjectDestination<AzureWrites>>, ByteSink<AzureWrites>>;

/// Azure Blob Storage.
pub const CONNECTOR: Connector =
    Connector::new("azure", "Azure Blob Storage and Data Lake Storage: files of all formats in containers.")
        .source::<AzureSource>()
        .sink::<AzureSink>()
        .uri(uri::SCHEMES, uri::options)
        .example(EXAMPLE);

const EXAMPLE: &str = r#"name: sales
streams:
  sales:
    source:
      connector: azure
      path: "abfss://landing@lake.dfs.core.windows.net/sales/**/*.{csv,csv.gz}"
      columns: { id: int64, amount: "decimal(12,2)" }
      incremental: true
    sink:
      connector: azure
      account: lake
      path: "az://curated/{stream}/{part}.parquet"
      partition_by: [country]
      access_tier: Cool
    write_disposition: append
"#;
