//! The options of the sink.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use towpath_core::{ByteSize, Json, Secret};
use towpath_formats::json::JsonPath;

use super::auth::Auth;
use super::connection::{
    Budget, ConnectionOptions, Http2, PrivateNetworks, Timeouts, default_redirects, with_connection,
};
use super::values::OneOrMany;

with_connection! {
    /// The options of an HTTP sink.
    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct SinkConfig {
        /// The URL to send to. With `rows: single` it may hold `{column}`, filled in from the row and percent-encoded, so that
        /// no value can leave its place. Scheme, host and port stand as they are.
        #[serde(default)]
        pub url: Option<String>,
        /// The path to send to, behind `base_url`. As `url`, it may hold `{column}`.
        #[serde(default)]
        pub path: Option<String>,
        /// Query parameters. With `rows: single` they may hold `{column}`; one whose column is null is left out.
        #[serde(default)]
        pub query: BTreeMap<String, OneOrMany>,
        /// The method.
        #[serde(default)]
        pub method: WriteMethod,
        /// How many rows go in one request.
        #[serde(default)]
        pub rows: RowsOfRequest,
        /// The body: `json` (the default: an array of rows, or the row with `rows: single`), `ndjson`, `form` (single rows),
        /// `none` (single rows; the default of DELETE for them), or a template: `json: { items: "{rows}" }` for many rows,
        /// `json: { contact: "{row}", id: "{id}" }` for one, `ndjson: [{ index: { _id: "{id}" } }, "{row}"]` for several lines
        /// for each row, `form: { name: "{column}" }`. A text that is nothing but `{column}` keeps the type of its value.
        #[serde(default)]
        pub body: Option<SinkBody>,
        /// Leaves the columns that URL and query name out of the rows of the body.
        #[serde(default)]
        pub omit_url_columns: bool,
        /// The most rows of one request; 500 by default.
        #[serde(default = "default_batch_rows")]
        pub batch_rows: NonZeroUsize,
        /// The most bytes of the rows of one request; 8MiB by default. A row that is larger goes alone.
        #[serde(default = "default_batch_bytes")]
        pub batch_bytes: ByteSize,
        /// How many requests one writer has under way at once; 32 by default for single rows, and 1 for batches, which keeps
        /// their order. The connection's own limits hold as well. With more than one, rows may arrive in another order.
        #[serde(default)]
        pub requests_in_flight: Option<NonZeroUsize>,
        /// Columns: single rows with the same values in them are sent one after the other, in their order.
        #[serde(default)]
        pub keep_order_of: Vec<String>,
        /// The header by which a server can tell a request that is tried again; `Idempotency-Key` by default.
        #[serde(default = "default_idempotency_header")]
        pub idempotency_header: String,
        /// What stands in that header for single rows, such as `order-{id}`. By default names of pipeline and stream, the run,
        /// and the number of the row, so that a request that is tried again has the same, and a later run another.
        #[serde(default)]
        pub idempotency_key: Option<String>,
        /// Statuses that count as success, such as 409 where it means that the row is there already.
        #[serde(default)]
        pub accept: Vec<u16>,
        /// Statuses by which the server refuses the rows of a request: they go to the dead letter, or end the stream, by
        /// policy (`on_error`). 400, 409, 413 and 422 by default for single rows, none for batches.
        #[serde(default)]
        pub refuse: Option<Vec<u16>>,
        /// Where a successful answer names rows that were refused.
        #[serde(default)]
        pub rejected: Option<RejectedRows>,
    }
}

/// The method of a writing request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum WriteMethod {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// How many rows go in one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowsOfRequest {
    /// Up to `batch_rows`.
    #[default]
    Batch,
    /// One. Then URL, query, headers and body may hold `{column}`.
    Single,
}

/// The body of a writing request.
#[derive(Clone, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub enum SinkBody {
    /// Rows as they are.
    Format(BodyFormat),
    /// Rows within something else.
    Template(BodyTemplate),
}

/// The form of a written body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// A JSON array of objects, or one object.
    #[default]
    Json,
    /// A JSON object a line.
    Ndjson,
    /// A form of the columns of a row.
    Form,
    /// No body.
    None,
}

/// What stands around rows.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyTemplate {
    /// A JSON document.
    Json(Json),
    /// Lines for each row.
    Ndjson(Vec<Json>),
    /// Names and values of a form.
    Form(BTreeMap<String, String>),
}

/// Where a successful answer names rows that were refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectedRows {
    /// `JSONPath` to the elements that tell of rows, such as `$.errors[*]`.
    pub path: JsonPath,
    /// `JSONPath` within an element to the number of its row in the request, counted from 0.
    #[serde(default)]
    pub index: Option<JsonPath>,
    /// Columns, each with the `JSONPath` within an element to its value, such as `{ id: $.id }`. Without `index` and
    /// `key`, the elements stand for the rows in their order, and those with a reason were refused.
    #[serde(default)]
    pub key: BTreeMap<String, JsonPath>,
    /// `JSONPath` within an element to the reason, such as `$.message`; the element itself by default.
    #[serde(default)]
    pub reason: Option<JsonPath>,
}

/// Without what it holds: some APIs want their keys in it.
impl fmt::Debug for SinkBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => format.fmt(f),
            Self::Template(template) => template.fmt(f),
        }
    }
}

impl fmt::Debug for BodyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json(_) => "Json(***)",
            Self::Ndjson(_) => "Ndjson(***)",
            Self::Form(_) => "Form(***)",
        })
    }
}

impl<'de> Deserialize<'de> for SinkBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Json::deserialize(deserializer)?;
        let read = if body.is_string() {
            serde_json::from_value(body).map(Self::Format)
        } else {
            serde_json::from_value(body).map(Self::Template)
        };
        read.map_err(D::Error::custom)
    }
}

fn default_batch_rows() -> NonZeroUsize {
    const ROWS: NonZeroUsize = NonZeroUsize::new(500).expect("five hundred is not zero");
    ROWS
}

fn default_batch_bytes() -> ByteSize {
    ByteSize::mib(8)
}

fn default_idempotency_header() -> String {
    "Idempotency-Key".to_owned()
}

impl SinkConfig {
    /// The headers that hold columns, or those that do not.
    pub(crate) fn headers_by_row(&self, by_row: bool) -> BTreeMap<String, Secret> {
        let mut headers = self.headers.clone();
        headers.retain(|_, value| {
            let holds_columns = self.rows == RowsOfRequest::Single && names_columns(value.expose());
            holds_columns == by_row
        });
        headers
    }

    pub(crate) fn connection(&self) -> ConnectionOptions {
        self.connection_with(self.headers_by_row(false))
    }
}

/// Whether a text holds something like `{name}`. Headers may be full of other braces.
fn names_columns(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    text.split('{').skip(1).any(|rest| rest.split_once('}').is_some_and(|(name, _)| is_name(name)))
}
