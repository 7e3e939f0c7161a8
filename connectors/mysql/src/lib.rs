//! MySQL and MariaDB, read and written.
//!
//! Source and sink stand on one client of the protocol, which hands on rows as they came and loads from memory.

mod catalog;
mod client;
mod config;
mod decode;
mod encode;
mod errors;
mod pool;
mod sink;
mod source;
mod sql;
mod types;
mod uri;

use towpath_core::Connector;

pub use config::{
    DeleteMissing, Index, LoadBy, SinkConfig, SnapshotMode, SourceConfig, SplitBy, Tinyint1, Tls, TlsMode,
    ZeroDates,
};
pub use sink::{MysqlSink, MysqlWriter};
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

const EXAMPLE: &str = r#"name: shop
connections:
  shop:
    connector: mysql
    host: db.shop.example
    user: towpath
    password: "${SHOP_PASSWORD}"
    database: shop
  lake:
    connector: file
sink: { connection: lake, path: "lake/{stream}/{part}.parquet" }
streams:
  customers:
    source: { connection: shop, table: customers }
    write_disposition: replace
  orders:
    source: { connection: shop, table: orders, lookback: 10m, zero_dates: null }
    cursor: updated_at
  revenue:
    source:
      connection: shop
      query: SELECT day, SUM(price) AS price FROM orders GROUP BY day
    write_disposition: replace
"#;
