//! The options, as pipeline files write them.

mod auth;
mod connection;
mod crawl;
mod cursor;
mod download;
mod job;
mod metadata;
mod pagination;
mod request;
mod responses;
mod signing;
mod sink;
mod times;
mod values;
mod window;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{ByteSize, Secret};
use towpath_formats::json::JsonPath;
use towpath_formats::{Columns, Compression, ReadFormat};

use connection::with_connection;

pub use auth::{Auth, CredentialsPlace, KeyPlace, LoginMethod, TokenPlace, TokenSource};
pub use connection::{Budget, BudgetWindow, Http2, PrivateNetworks, Timeouts};
pub(crate) use connection::{ConnectionOptions, default_redirects};
pub use crawl::{Follow, RobotsPolicy};
pub use cursor::CursorValue;
pub use download::{DownloadConfig, SameName};
pub use job::{Job, JobResult, JobState, JobStatus};
pub use metadata::MetadataField;
pub use pagination::{Pagination, ParamPlace};
pub use request::{Graphql, MultipartField, MultipartFile, ReadMethod, RequestBody};
pub use responses::{ResponseAction, ResponseRule, Statuses};
pub use signing::{Digest, SecretForm, SignatureForm, TimestampForm, TokenAlgorithm};
pub use sink::{BodyFormat, BodyTemplate, RejectedRows, RowsOfRequest, SinkBody, SinkConfig, WriteMethod};
pub use values::{OneOrMany, Scalar, Values};
pub use window::Windows;

with_connection! {
    /// The options of an HTTP source.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct SourceConfig {
        /// The URL to read. Like every URL and path here it may hold `{name}`, filled in from `params`; `{+name}` keeps the
        /// slashes of a value, as in `/repos/{+repository}/issues`.
        #[serde(default)]
        pub url: Option<String>,
        /// Several URLs to read.
        #[serde(default)]
        pub urls: Vec<String>,
        /// The path to read, behind `base_url`.
        #[serde(default)]
        pub path: Option<String>,
        /// Several paths to read, behind `base_url`.
        #[serde(default)]
        pub paths: Vec<String>,
        /// The method; by default GET, or POST with a `body`.
        #[serde(default)]
        pub method: Option<ReadMethod>,
        /// The body of each request: `json: ...`, `form: { name: value }`, `multipart: { name: value }` or
        /// `graphql: { query, variables }`. What stands there, or in `query`, under a name such as `password`, `token`, `api_key` or
        /// `client_secret` is shown in no error.
        #[serde(default)]
        pub body: Option<RequestBody>,
        /// The values of `{name}` in URLs, paths, query, headers and body: a value, a list, a range
        /// `{ from: 1, to: 10, step: 1 }`, windows of time `{ start: 2024-01-01, end: now, step: 1d, lookback: 1h, format: date }`,
        /// of which `{name.start}` is the beginning and `{name.end}` what is behind the end, or the last value of the stream's
        /// cursor `{ cursor: true, initial: 2024-01-01, lookback: 1h, format: date }`. A first run without `initial` leaves query
        /// parameters and headers with it out. Windows of a stream with a `cursor` begin at its last value. Both begin
        /// `lookback` earlier, for rows that come late: these are loaded again, so use `merge`; with `append` they come twice. The
        /// format is `rfc3339`, `date`, `unix`, `unix_ms`, `http_date`, or a pattern such as `%Y%m%d`.
        /// In a stream with `for_each`, `{parent.name}` stands in the same places for a field of the parent's row, and
        /// `url: "{parent.href}"` for a URL that the row names.
        #[serde(default)]
        pub params: BTreeMap<String, Values>,
        /// How several `params` go together.
        #[serde(default)]
        pub combine: Combine,
        /// Query parameters: a value, or a list for a parameter that is repeated. They may hold `{name}`.
        #[serde(default)]
        pub query: BTreeMap<String, OneOrMany>,
        /// The query parameter that gets the stream's last cursor value, so that the server sends only what is newer. It is
        /// left out of the first run. For an initial value, a lookback, another format or another place, use `params`.
        #[serde(default)]
        pub cursor_param: Option<String>,

        /// The format of the bodies; by default told by `Content-Type`, else by the URL's extension.
        #[serde(default)]
        pub format: Option<ReadFormat>,
        /// How files are downloaded, with `format: bytes`.
        #[serde(default)]
        pub download: Option<DownloadConfig>,
        /// The codec of the document itself; by default told by the URL's extension. `Content-Encoding` is always obeyed.
        #[serde(default)]
        pub compression: Option<Compression>,
        /// `JSONPath` to the records of a JSON body, such as `$.data`: an array of objects, or single objects. By default the
        /// document itself.
        #[serde(default)]
        pub records: Option<JsonPath>,
        /// Column names with their types. The others are inferred.
        #[serde(default)]
        pub columns: Columns,
        /// How many rows are looked at to infer types.
        #[serde(default)]
        pub sample_rows: Option<usize>,
        /// For answers that the server prepares, such as reports: the request creates a job, and its result is downloaded when
        /// it is done.
        #[serde(default)]
        pub job: Option<Job>,
        /// How one page leads to the next.
        #[serde(default)]
        pub pagination: Pagination,
        /// Which links of HTML pages are followed, such as `{ links: "a.next", max_pages: 50 }`.
        #[serde(default)]
        pub follow: Option<Follow>,
        /// Whether sites are asked by their `robots.txt` before HTML is read.
        #[serde(default)]
        pub robots: RobotsPolicy,
        /// What is done with answers of some kind, such as `{ status: 404, action: empty }` or
        /// `{ json: $.error, action: retry, wait: 30s }`. The first rule that fits decides. Without one, a refusal is an error,
        /// and 408, 429 and most of 5xx are tried again. The rules of the stream come first, and those of its connection behind them:
        /// what a stream says of an answer counts, and for what it says nothing of, the connection's rules do.
        #[serde(default)]
        pub responses: Vec<ResponseRule>,
        /// Whether only documents that have changed since the last run are read. Their `ETag` and `Last-Modified` are kept in the
        /// checkpoint, of up to 4,096 URLs, and one that is unchanged costs one request without a body. A document that has
        /// changed is read as a whole: `merge` brings its rows together. In a stream with `for_each`, they are kept for each of up
        /// to 4,096 rows of the parent, by the fields that the stream takes of the row: one with other values is read anew. Not with
        /// `pagination`, and without effect for `replace`, which needs all rows.
        #[serde(default)]
        pub conditional: bool,
        /// Columns that tell of the answer with which a row came: names with `status`, `url` (without its secrets), `page`
        /// (from 1 on), `fetched_at` or `header:NAME`. Events of an event stream tell the answer to the connection that they came
        /// over, which is one page, and as `fetched_at` when they came, half a second together.
        #[serde(default)]
        pub metadata: BTreeMap<String, MetadataField>,
        /// How many pages of one URL are read at once where their number is known; 32 by default. The connection's own limits
        /// hold as well.
        #[serde(default = "default_pages_in_flight")]
        pub pages_in_flight: usize,
        /// The largest body that is held in memory, decompressed; 256MiB by default. NDJSON and CSV without pagination are
        /// streamed and may be larger; so may Parquet, Arrow and Avro on servers that have ranges.
        #[serde(default = "default_max_body")]
        pub max_body: ByteSize,
    }
}

/// How several parameters go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Each value with each value of the others.
    #[default]
    Product,
    /// The first with the first, the second with the second: lists of the same length.
    Zip,
}

fn default_pages_in_flight() -> usize {
    32
}

fn default_max_body() -> ByteSize {
    ByteSize::mib(256)
}

impl SourceConfig {
    /// The headers that are the same for each request.
    fn fixed_headers(&self) -> BTreeMap<String, Secret> {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !crate::request::is_filled_in(self, name));
        headers
    }

    pub(crate) fn connection(&self) -> ConnectionOptions {
        self.connection_with(self.fixed_headers())
    }
}

#[cfg(test)]
pub(crate) fn source_config(options: serde_json::Value) -> SourceConfig {
    serde_json::from_value(options).expect("the options of a test are right")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_option_is_refused() {
        let error =
            serde_json::from_value::<SourceConfig>(json!({"url": "http://a", "pages": 3})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `pages`"), "{error}");
    }

    #[test]
    fn no_secret_is_printed() {
        let config = source_config(json!({
            "url": "http://a",
            "headers": {"x-token": "hush1"},
            "auth": {"type": "basic", "username": "ann", "password": "hush2"},
            "body": {"json": {"key": "hush3"}},
        }));
        let printed = format!("{config:?}");
        assert!(!printed.contains("hush"), "{printed}");
    }

    #[test]
    fn a_range_and_a_list_are_told_apart() {
        let config = source_config(json!({
            "url": "http://a/{n}/{who}/{one}",
            "params": {"n": {"from": 1, "to": 9, "step": 4}, "who": ["ann", 7, true], "one": "x"},
        }));
        let all = |name: &str| {
            (0..config.params[name].len()).map(|i| config.params[name].get(i)).collect::<Vec<_>>()
        };
        assert_eq!(all("n"), ["1", "5", "9"]);
        assert_eq!(all("who"), ["ann", "7", "true"]);
        assert_eq!(all("one"), ["x"]);
    }
}
