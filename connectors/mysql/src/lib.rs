//! MySQL and MariaDB, read and written.
//!
//! Source and sink stand on one [client](client) of the protocol, which hands on rows as they came and loads from memory.

mod catalog;
mod client;
mod config;
mod decode;
mod errors;
mod pool;
mod sink;
mod source;
mod sql;
mod types;
mod uri;

use towpath_core::Connector;

pub use config::{SnapshotMode, SourceConfig, SplitBy, Tinyint1, Tls, TlsMode, ZeroDates};
pub use sink::{MysqlSink, MysqlWriter, SinkConfig};
pub use source::MysqlSource;

/// The connector's name, in the pipeline and in errors.
const NAME: &str = "mysql";

/// The connector, for the runner's list.
pub const CONNECTOR: Connector = Connector::new(
    NAME,
    "MySQL and MariaDB: tables, views and queries, read in parallel; tables written by LOAD DATA.",
)
.source::<MysqlSource>()
.sink::<MysqlSink>()
.uri(uri::SCHEMES, uri::options)
.example(EXAMPLE);

const EXAMPLE: &str = "\
name: example
streams:
  rows:
    source: { connector: mysql, url: \"mysql://localhost\" }
    sink: { connector: mysql, url: \"mysql://localhost\" }
";
