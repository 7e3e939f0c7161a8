//! The mysql connector.

mod client;
mod config;
mod errors;
mod pool;
mod sink;
mod source;
mod uri;

use towpath_core::Connector;

pub use sink::{MysqlSink, MysqlWriter, SinkConfig};
pub use source::{MysqlSource, SourceConfig};

/// The connector's name, in the pipeline and in errors.
const NAME: &str = "mysql";

/// The connector, for the runner's list.
pub const CONNECTOR: Connector = Connector::new(NAME, "Say in one sentence what mysql is.")
    .source::<MysqlSource>()
    .sink::<MysqlSink>()
    .example(EXAMPLE);

const EXAMPLE: &str = "\
name: example
streams:
  rows:
    source: { connector: mysql, url: \"mysql://localhost\" }
    sink: { connector: mysql, url: \"mysql://localhost\" }
";
