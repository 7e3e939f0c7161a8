//! HTTP: APIs, page by page or many pages at once, downloads, and a sink that posts rows.
//!
//! ```text
//! config ──> expand (templates and parameters to URLs) ──> source (a split for each URL)
//!                                                            │
//!            pagination (which page comes next) <── read (pages ahead and at once, streamed bodies)
//!                                                            │
//!            auth, redact, limits, errors  <──  client (permits, redirects, timeouts) ──> body
//! ```
//!
//! The retry layer tries again and resumes: here is no loop that does. Every request asks the connection's limits
//! first, holds its permit to the last byte of the answer, and tells how it went; so the limits learn what a server
//! takes. Credentials stay on the host that they are meant for, whatever redirects and next links say.
//!
//! `traffic` stands between client and servers: it keeps exchanges in a recording, or gives them back from one.
//!
//! Further schemes of authentication belong into `auth`, further ways through pages into `pagination`, further sources
//! of parameters into `expand`, as `parent` fills in the rows of another stream.

mod auth;
mod body;
mod budgets;
mod client;
mod conditional;
mod config;
mod decode;
mod download;
mod errors;
mod expand;
mod formats;
mod job;
mod limits;
mod multipart;
mod names;
mod network;
mod pace;
mod pagination;
mod parent;
mod query;
mod read;
mod redact;
mod request;
mod responses;
mod robots;
#[cfg(feature = "html")]
mod scrape;
#[cfg(not(feature = "html"))]
#[path = "no_scrape.rs"]
mod scrape;
mod sink;
mod source;
mod sse;
mod template;
mod tls;
mod traffic;

use towpath_core::Connector;

pub use config::{
    Auth, BodyFormat, BodyTemplate, Budget, BudgetWindow, Combine, CredentialsPlace, Digest, DownloadConfig,
    Follow, Graphql, Http2, KeyPlace, LoginMethod, OneOrMany, Pagination, ParamPlace, PrivateNetworks,
    ReadMethod, RejectedRows, RequestBody, RobotsPolicy, RowsOfRequest, SameName, Scalar, SecretForm,
    SignatureForm, SinkBody, SinkConfig, SourceConfig, Timeouts, TimestampForm, TokenAlgorithm, TokenPlace,
    TokenSource, Values, Windows, WriteMethod,
};
pub use config::{MetadataField, ResponseAction, ResponseRule, Statuses};
pub use sink::{HttpSink, HttpWriter};
pub use source::HttpSource;

pub use config::{CursorValue, Job, JobResult, JobState, JobStatus, MultipartField, MultipartFile};

/// HTTP as the runner knows it.
pub const CONNECTOR: Connector = Connector::new("http", "HTTP APIs and downloads; a sink that posts rows.")
    .source::<HttpSource>()
    .sink::<HttpSink>()
    .uri(&["http", "https"], source::options_of_uri)
    .joins(&["responses"])
    .example(EXAMPLE);

const EXAMPLE: &str = r#"name: shop
connections:
  shop:
    connector: http
    base_url: https://api.shop.example/v2
    auth: { type: bearer, token: "${SHOP_TOKEN}" }
    rate_limit: 100/s
  warehouse:
    connector: file
sink: { connection: warehouse, path: "landing/{stream}.parquet" }
streams:
  customers:
    source:
      connection: shop
      path: /customers
      records: $.data
      pagination: { type: cursor, next: $.meta.next, param: cursor }
      cursor_param: updated_since
    cursor: updated_at
  orders:
    source:
      connection: shop
      path: "/shops/{shop}/orders"
      params: { shop: [berlin, paris] }
      records: $.orders
      pagination: { type: page_number, total_pages: $.pages }
"#;
