//! Where and how rows are sent, as the options say.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use towpath_core::{Context, Error, Result, Secret};
use url::{Position, Url};

use crate::auth::Home;
use crate::client::{Call, Client};
use crate::config::{
    BodyFormat, BodyTemplate, RejectedRows, RowsOfRequest, SinkBody, SinkConfig, WriteMethod,
};
use crate::expand::join;
use crate::request::header_name;
use crate::template::Template;

/// How many requests of single rows a writer has under way.
const REQUESTS_IN_FLIGHT: usize = 32;

/// By which a server refuses a single row, and not us.
const REFUSALS: [u16; 4] = [400, 409, 413, 422];

/// Where and how rows are sent.
pub(super) struct Target {
    pub(super) client: Client,
    /// With the braces of its template, if it has any.
    pub(super) url: Url,
    /// What is filled in for single rows: never scheme, host, port, user or password.
    pub(super) url_template: String,
    pub(super) query: Vec<(String, String)>,
    /// Headers that hold columns.
    pub(super) headers: Vec<(HeaderName, Secret)>,
    pub(super) home: Arc<Home>,
    pub(super) method: Method,
    pub(super) rows: RowsOfRequest,
    pub(super) body: SinkBody,
    pub(super) omit_url_columns: bool,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) requests_in_flight: usize,
    pub(super) keep_order_of: Vec<String>,
    pub(super) idempotency_header: HeaderName,
    pub(super) idempotency_key: Option<String>,
    pub(super) refuse: Vec<StatusCode>,
    /// Those and what counts as success.
    takes: Arc<[StatusCode]>,
    pub(super) rejected: Option<RejectedRows>,
}

impl Target {
    pub(super) async fn new(config: SinkConfig, cx: &Context) -> Result<Self> {
        check(&config)?;
        let single = config.rows == RowsOfRequest::Single;
        let text = url_text(&config)?;
        let mut url = parse(&text)?;
        url.set_fragment(None);
        let base = config.base_url.as_deref().map(parse).transpose()?;
        let home = Home::new(base.as_ref(), &mut url)?;
        let query: Vec<_> = config
            .query
            .iter()
            .flat_map(|(name, values)| values.0.iter().map(|value| (name.clone(), value.clone())))
            .collect();
        let url_template = if single { template_of(&text, &url)? } else { String::new() };
        for (name, value) in query.iter().filter(|_| !single) {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut client = Client::new(&config.connection(), cx).await?;
        config.query.iter().for_each(|(name, values)| client.redactor().hide_named(name, &values.0));
        let mut headers = Vec::new();
        for (name, value) in config.headers_by_row(true) {
            client.hide(value.expose());
            headers.push((header_name(&name)?, value));
        }
        let method = method(config.method);
        let accept = statuses("accept", &config.accept)?;
        let default = if single { REFUSALS.to_vec() } else { Vec::new() };
        let mut refuse = statuses("refuse", config.refuse.as_deref().unwrap_or(&default))?;
        refuse.retain(|status| !accept.contains(status));
        let takes = accept.iter().chain(&refuse).copied().collect();
        let in_flight = if single { REQUESTS_IN_FLIGHT } else { 1 };
        let no_body = single && method == Method::DELETE;
        let body = if no_body { BodyFormat::None } else { BodyFormat::Json };
        Ok(Self {
            client,
            url,
            url_template,
            query,
            headers,
            home: Arc::new(home),
            method,
            rows: config.rows,
            body: config.body.unwrap_or(SinkBody::Format(body)),
            omit_url_columns: config.omit_url_columns,
            batch_rows: config.batch_rows.get(),
            batch_bytes: usize::try_from(config.batch_bytes.bytes()).unwrap_or(usize::MAX),
            requests_in_flight: config.requests_in_flight.map_or(in_flight, std::num::NonZeroUsize::get),
            keep_order_of: config.keep_order_of,
            idempotency_header: header_name(&config.idempotency_header)?,
            idempotency_key: config.idempotency_key,
            refuse,
            takes,
            rejected: config.rejected,
        })
    }

    pub(super) fn is_single(&self) -> bool {
        self.rows == RowsOfRequest::Single
    }

    /// A request that asks what the server allows, and writes nothing.
    pub(super) fn question(&self) -> Call {
        Call { takes: Arc::default(), ..self.call(Method::OPTIONS, self.url.clone(), HeaderMap::new(), None) }
    }

    /// A request with rows. `private` are headers for the host that the connection is meant for.
    pub(super) fn request(
        &self,
        url: Url,
        headers: HeaderMap,
        private: HeaderMap,
        body: Option<Bytes>,
    ) -> Call {
        let private = self.home.owns(&url).then(|| (url.clone(), private));
        Call { private, ..self.call(self.method.clone(), url, headers, body) }
    }

    fn call(&self, method: Method, url: Url, headers: HeaderMap, body: Option<Bytes>) -> Call {
        let read = Call::read(method, url, self.home.clone());
        Call { headers, body, takes: self.takes.clone(), reads: false, ..read }
    }
}

fn method(method: WriteMethod) -> Method {
    match method {
        WriteMethod::Post => Method::POST,
        WriteMethod::Put => Method::PUT,
        WriteMethod::Patch => Method::PATCH,
        WriteMethod::Delete => Method::DELETE,
    }
}

/// What does not go together.
fn check(config: &SinkConfig) -> Result<()> {
    let needs_single = [
        (config.omit_url_columns, "omit_url_columns"),
        (!config.keep_order_of.is_empty(), "keep_order_of"),
        (config.idempotency_key.is_some(), "idempotency_key"),
        (matches!(config.body, Some(SinkBody::Format(BodyFormat::Form))), "body: form"),
        (matches!(config.body, Some(SinkBody::Format(BodyFormat::None))), "body: none"),
        (matches!(config.body, Some(SinkBody::Template(BodyTemplate::Form(_)))), "body: form"),
    ];
    if config.rows == RowsOfRequest::Batch
        && let Some((_, option)) = needs_single.into_iter().find(|(is_set, _)| *is_set)
    {
        return Err(Error::config(format!("`{option}` is for single rows")).help("set `rows: single`"));
    }
    match &config.rejected {
        Some(rejected) if rejected.index.is_some() && !rejected.key.is_empty() => {
            Err(Error::config("`rejected` has both `index` and `key`")
                .help("keep the one that tells the row"))
        }
        _ => Ok(()),
    }
}

/// The URL as it was written.
fn url_text(config: &SinkConfig) -> Result<String> {
    let text = match (&config.url, &config.path) {
        (Some(url), None) => url.clone(),
        (None, Some(path)) => join(config.base_url.as_deref(), path)?,
        (Some(_), Some(_)) => return Err(Error::config("`url` and `path` cannot both be set")),
        (None, None) => {
            return Err(Error::config("nowhere to send to").help("set `url`, or `path` with a `base_url`"));
        }
    };
    if config.rows == RowsOfRequest::Single {
        return Ok(text);
    }
    // Braces mean the same in both, so that nobody sends to a path that is called `{id}`.
    let literal = Template::parse_or(&text, &[], |name| {
        Error::config(format!("`{text}` names the column `{name}`, and a request has many rows"))
            .help("set `rows: single`, or double the braces to mean themselves")
    })?;
    Ok(literal.fill(&[], false))
}

fn parse(text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(Error::config(format!("`{text}` is not an HTTP URL")).help("write it as https://host/path")),
    }
}

/// What may be filled in: everything behind the host. `url` is the same one without user and password.
fn template_of(text: &str, url: &Url) -> Result<String> {
    let text = text.split('#').next().unwrap_or_default();
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?', '\\']).map_or(text.len(), |at| authority + at);
    if text[..end].contains(['{', '}']) {
        return Err(Error::config(format!("`{text}` would let a row choose the host"))
            .help("columns can stand in the path, the query, headers and the body"));
    }
    let rest = &text[end..];
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Ok(format!("{}{slash}{rest}", &url[..Position::BeforePath]))
}

fn statuses(option: &str, numbers: &[u16]) -> Result<Vec<StatusCode>> {
    let known = |number: &u16| {
        // These are about us or about the server, never about a row.
        let is_ours = matches!(number, 401 | 403 | 407 | 408 | 429 | 503);
        let status = StatusCode::from_u16(*number).ok().filter(|status| !is_ours && status.as_u16() >= 300);
        status.ok_or_else(|| {
            Error::config(format!("`{option}` cannot hold {number}"))
                .help("it takes statuses that tell of rows, such as 409 and 422")
        })
    };
    numbers.iter().map(known).collect()
}
