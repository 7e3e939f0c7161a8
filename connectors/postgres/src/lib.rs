//! PostgreSQL: tables, views and queries, read and written as binary `COPY`.

mod catalog;
mod config;
mod connect;
mod decode;
mod driver;
mod encode;
mod errors;
mod pool;
mod sink;
mod snapshot;
mod socket;
mod source;
mod tls;
mod types;
mod uri;
mod wire;

use towpath_core::Connector;

pub use config::{PostgresSinkConfig, PostgresSourceConfig};
pub use sink::{PostgresSink, PostgresWriter};
pub use source::PostgresSource;

/// The connector's name, in the pipeline and in errors.
const NAME: &str = "postgres";

/// The connector, for the runner's list.
pub const CONNECTOR: Connector = Connector::new(
    NAME,
    "PostgreSQL: tables, views and queries, read in parallel as of one moment, and written exactly once.",
)
.source::<PostgresSource>()
.sink::<PostgresSink>()
.uri(&["postgres", "postgresql"], uri::options)
.example(EXAMPLE);

const EXAMPLE: &str = "\
name: warehouse
connections:
  shop:
    connector: postgres
    url: ${SHOP_URL:-postgres://reader@shop.example/shop}
    password: ${SHOP_PASSWORD:-}
  warehouse:
    connector: postgres
    host: warehouse.example
    database: warehouse
    user: loader
    password: ${WAREHOUSE_PASSWORD:-}
sink: { connection: warehouse, table: \"shop.{stream}\" }
streams:
  orders:
    source: { connection: shop, table: orders }
    cursor: updated_at
    write_disposition: merge
    key: [id]
  customers:
    source: { connection: shop, query: \"SELECT id, lower(email) AS email FROM customers\" }
    write_disposition: replace
";
