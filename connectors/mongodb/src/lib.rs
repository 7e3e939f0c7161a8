//! MongoDB: collections, views, time series and pipelines, read as raw BSON straight into columns, and written.

mod client;
mod config;
mod convert;
#[cfg(test)]
mod corpus;
mod decode;
mod encode;
mod errors;
mod schema;
mod sink;
mod source;
mod uri;
mod wire;

use towpath_core::Connector;

pub use config::{
    DeleteMissing, DocumentForm, Lookback, MongodbSinkConfig, MongodbSourceConfig, Nulls, ReadConcernLevel,
    ReadFrom, SnapshotMode, SplitBy, Update,
};
pub use sink::{MongodbSink, MongodbWriter};
pub use source::MongodbSource;

/// The connector's name, in the pipeline and in errors.
const NAME: &str = "mongodb";

/// The connector, for the runner's list.
pub const CONNECTOR: Connector = Connector::new(
    NAME,
    "MongoDB: collections, views, time series and pipelines, read in parallel as of one moment, and written exactly once.",
)
.source::<MongodbSource>()
.sink::<MongodbSink>()
.uri(uri::SCHEMES, uri::options)
.example(EXAMPLE);

const EXAMPLE: &str = r#"name: shop
connections:
  shop:
    connector: mongodb
    url: ${SHOP_URL:-mongodb://mongo.example/shop?replicaSet=rs0}
    user: reader
    password: "${SHOP_PASSWORD:-}"
  lake:
    connector: file
sink: { connection: lake, path: "lake/{stream}/{part}.parquet" }
streams:
  customers:
    source: { connection: shop, collection: customers, projection: { password: 0 } }
    write_disposition: replace
  orders:
    source:
      connection: shop
      collection: orders
      filter: { state: { $in: [paid, shipped] } }
      columns: { total: "decimal(12,2)" }
    cursor: updated_at
  revenue:
    source:
      connection: shop
      collection: orders
      pipeline:
        - { $group: { _id: $customer, total: { $sum: $total } } }
    write_disposition: replace
"#;
