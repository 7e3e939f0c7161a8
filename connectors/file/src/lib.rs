//! Local files, read and written.
//!
//! The source lists files by globs, lazily and in a fixed order, and cuts large ones so that one huge file is read in
//! parallel. The sink writes exactly one file, or as many as a template and its partitions ask for. It stages them in a
//! hidden folder beside the target, and renames them when they are complete, under a manifest that remembers the
//! checkpoint: readers never see half a file, and a run that was killed anywhere goes on without loss or doubles.

mod blocking;
mod config;
mod errors;
mod input;
mod list;
mod sink;
mod store;
mod uri;

pub use config::{SinkConfig, SourceConfig};

pub use sink::FileSink;
pub use store::LocalFiles;

use towpath_core::Connector;

/// Reads files.
pub type FileSource = towpath_files::FileSource<LocalFiles>;

/// Local files.
pub const CONNECTOR: Connector =
    Connector::new("file", "Local files: CSV, JSON, Parquet, Arrow and Avro, and any files as they are.")
        .source::<FileSource>()
        .sink::<FileSink>()
        .uri(&["file"], uri::options)
        .example(EXAMPLE);

const EXAMPLE: &str = r#"name: sales
streams:
  sales:
    source:
      connector: file
      path: "landing/sales/**/*.{csv,csv.gz}"
      columns: { id: int64, amount: "decimal(12,2)" }
      incremental: true
    sink:
      connector: file
      path: "lake/{stream}/{part}.parquet"
      partition_by: [country]
    write_disposition: append
"#;
