//! The postgres connector.

mod sink;
mod source;

use towpath_core::Connector;

pub use sink::{PostgresSink, PostgresWriter, SinkConfig};
pub use source::{PostgresSource, SourceConfig};

/// The connector's name, in the pipeline and in errors.
const NAME: &str = "postgres";

/// The connector, for the runner's list.
pub const CONNECTOR: Connector = Connector::new(NAME, "Say in one sentence what postgres is.")
    .source::<PostgresSource>()
    .sink::<PostgresSink>()
    .example(EXAMPLE);

const EXAMPLE: &str = "\
name: example
streams:
  rows:
    source: { connector: postgres, url: \"postgres://localhost\" }
    sink: { connector: postgres, url: \"postgres://localhost\" }
";
