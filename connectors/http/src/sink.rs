//! The sink: rows as JSON, a request for every so many.
//!
//! A server that only takes requests cannot remember a checkpoint, so that rows may come twice after a crash. Each
//! request carries an `Idempotency-Key`, by which a server can tell a request that is tried again.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, Error, ErrorKind, Json, LoadSpec, Result,
    Sink, SinkCapabilities, Staged, TypeFamily, WriteDisposition, Writer,
};
use towpath_formats::{Encoder, MemoryOutput, WriteFormat, WriteOptions};
use url::Url;

use crate::CONNECTOR;
use crate::auth::Home;
use crate::client::{Call, Client};
use crate::config::{BodyFormat, SinkConfig, WriteMethod};
use crate::expand::join;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How much of an answer is read, so that its connection can be used again.
const LARGEST_ANSWER: u64 = 1 << 20;

/// Sends rows to an HTTP endpoint.
pub struct HttpSink {
    target: Arc<Target>,
}

/// Where and how rows are sent.
struct Target {
    client: Client,
    url: Url,
    home: Arc<Home>,
    method: Method,
    body: BodyFormat,
    batch_rows: usize,
}

/// Sends the rows of one part.
pub struct HttpWriter {
    target: Arc<Target>,
    cx: Context,
    schema: SchemaRef,
    part: u32,
    /// What every key of this writer begins with.
    key: String,
    requests: u64,
    /// How many rows of the call under way are sent: after an error it is made again with the same rows.
    sent: usize,
    rows: u64,
    bytes: u64,
}

impl Sink for HttpSink {
    type Config = SinkConfig;
    type Writer = HttpWriter;

    async fn open(config: SinkConfig, cx: &Context) -> Result<Self> {
        let target = Target::new(&config, cx).await;
        let target = target.map_err(|error| error.connector(CONNECTOR.name()).operation("open"))?;
        Ok(Self { target: Arc::new(target) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let types = TypeFamily::ALL.into_iter().filter(|family| *family != TypeFamily::Union).collect();
        SinkCapabilities::new(Delivery::AtLeastOnce, &[WriteDisposition::Append]).types(types)
    }

    /// Asks what the server allows. A server that does not know this question is as good as one that answers.
    async fn check(&self, cx: &Context, _: &LoadSpec) -> Result<()> {
        let call = self.target.call(Method::OPTIONS, HeaderMap::new(), None);
        match self.target.client.send(cx, call).await {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Unavailable
                ) =>
            {
                Err(error.connector(CONNECTOR.name()).operation("check"))
            }
            _ => Ok(()),
        }
    }

    async fn begin(&self, _cx: &Context, load: &LoadSpec) -> Result<Begun> {
        Ok(Begun::new(load.clone(), Checkpoint::begin(None, load)?, Json::Null))
    }

    async fn evolve(&self, _cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let checked = Encoder::<MemoryOutput>::check(&self.target.options(), "body", schema);
        checked.map_err(|error| error.connector(CONNECTOR.name()).operation("evolve"))?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<HttpWriter> {
        let load = &begun.load;
        Ok(HttpWriter {
            target: self.target.clone(),
            cx: cx.clone(),
            schema: begun.schema()?.clone(),
            part,
            key: format!("{}-{}-{}-{part}", load.pipeline, load.stream, load.run),
            requests: 0,
            sent: 0,
            rows: 0,
            bytes: 0,
        })
    }

    /// The rows are out already.
    async fn commit(&self, _: &Context, _: &Begun, _: &CommitToken, _: Vec<Staged>) -> Result<Committed> {
        Ok(Committed::Applied)
    }

    async fn checkpoint(&self, _cx: &Context, _load: &LoadSpec) -> Result<Option<Checkpoint>> {
        Ok(None)
    }

    async fn forget(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        Ok(())
    }

    /// What was sent cannot be taken back.
    async fn abort(&self, _: &Context, _: &Begun, _: Vec<Staged>) -> Result<()> {
        Ok(())
    }
}

impl Writer for HttpWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        while self.sent < rows.num_rows() {
            let count = self.target.batch_rows.min(rows.num_rows() - self.sent);
            let sent = self.send(rows.slice(self.sent, count)).await;
            self.bytes += sent.map_err(|error| error.connector(CONNECTOR.name()).operation("write"))?;
            self.requests += 1;
            self.sent += count;
            self.rows += count as u64;
        }
        self.sent = 0;
        Ok(())
    }

    async fn finish(self) -> Result<Staged> {
        Ok(Staged::new(self.part, self.rows, self.bytes, Json::Null))
    }
}

impl HttpWriter {
    /// Sends one request and gives the length of its body.
    async fn send(&self, rows: RecordBatch) -> Result<u64> {
        let body = self.encode(rows).await?;
        let length = body.len() as u64;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.target.content_type()));
        let key = format!("{}-{}", self.key, self.requests);
        let key = HeaderValue::from_bytes(key.as_bytes()).map_err(|_| {
            Error::config("the names of pipeline and stream hold characters that no header can")
                .help("rename them: they are part of the Idempotency-Key")
        })?;
        headers.insert(IDEMPOTENCY_KEY, key);
        let call = self.target.call(self.target.method.clone(), headers, Some(body));
        let answer = self.target.client.send(&self.cx, call).await?;
        self.cx.metrics().add_bytes_written(length);
        // The rows are in; what else the server says is read only to free the connection.
        let _ = answer.body.collect(towpath_core::ByteSize::new(LARGEST_ANSWER)).await;
        Ok(length)
    }

    async fn encode(&self, rows: RecordBatch) -> Result<Bytes> {
        let options = self.target.options();
        let mut encoder = Encoder::new(&options, "body", &self.schema, &self.cx, MemoryOutput::default())?;
        encoder.write(rows).await?;
        let (_, output) = encoder.finish().await?;
        Ok(output.into_bytes())
    }
}

impl Target {
    async fn new(config: &SinkConfig, cx: &Context) -> Result<Self> {
        let text = match (&config.url, &config.path) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => join(config.base_url.as_deref(), path)?,
            (Some(_), Some(_)) => return Err(Error::config("`url` and `path` cannot both be set")),
            (None, None) => {
                return Err(
                    Error::config("nowhere to send to").help("set `url`, or `path` with a `base_url`")
                );
            }
        };
        let parse =
            |text: &str| match Url::parse(text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
                _ => Err(Error::config(format!("`{text}` is not an HTTP URL"))
                    .help("write it as https://host/path")),
            };
        let mut url = parse(&text)?;
        url.set_fragment(None);
        for (name, values) in &config.query {
            for value in &values.0 {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let base = config.base_url.as_deref().map(parse).transpose()?;
        let home = Home::new(base.as_ref(), &mut url)?;
        let client = Client::new(&config.connection(), cx).await?;
        let method = match config.method {
            WriteMethod::Post => Method::POST,
            WriteMethod::Put => Method::PUT,
            WriteMethod::Patch => Method::PATCH,
        };
        Ok(Self {
            client,
            url,
            home: Arc::new(home),
            method,
            body: config.body,
            batch_rows: config.batch_rows.get(),
        })
    }

    fn call(&self, method: Method, headers: HeaderMap, body: Option<Bytes>) -> Call {
        Call {
            method,
            url: self.url.clone(),
            headers,
            body,
            home: self.home.clone(),
            also: None,
            private: None,
            reads: false,
        }
    }

    fn options(&self) -> WriteOptions {
        let format = match self.body {
            BodyFormat::Json => WriteFormat::Json,
            BodyFormat::Ndjson => WriteFormat::Ndjson,
        };
        WriteOptions { format: Some(format), compression: None }
    }

    fn content_type(&self) -> &'static str {
        match self.body {
            BodyFormat::Json => "application/json",
            BodyFormat::Ndjson => "application/x-ndjson",
        }
    }
}
