//! What a test server answers.

use std::time::Duration;

use bytes::Bytes;
use towpath_core::Json;

/// An answer: status, headers, body, and how it is sent.
#[derive(Debug, Clone)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) chunks: Vec<Bytes>,
    /// Sends the body in chunks of unknown total length.
    pub(super) chunked: bool,
    pub(super) delay: Duration,
    pub(super) chunk_delay: Duration,
    /// Cuts the connection behind so many bytes of the body.
    pub(super) cut_after: Option<usize>,
    pub(super) never: bool,
}

impl Response {
    /// An empty answer with this status.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            chunks: Vec::new(),
            chunked: false,
            delay: Duration::ZERO,
            chunk_delay: Duration::ZERO,
            cut_after: None,
            never: false,
        }
    }

    /// JSON with status 200.
    pub fn json(value: &Json) -> Self {
        Self::bytes("application/json", value.to_string())
    }

    /// JSON objects, a line each, with status 200.
    pub fn ndjson(rows: &[Json]) -> Self {
        let lines: Vec<String> = rows.iter().map(Json::to_string).collect();
        Self::bytes("application/x-ndjson", lines.join("\n") + "\n")
    }

    /// Text with status 200.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes("text/plain; charset=utf-8", text.into())
    }

    /// Bytes with status 200.
    pub fn bytes(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::status(200).header("content-type", content_type).body(body)
    }

    /// Bytes that are compressed already, with status 200: `encoding` is `gzip`, `br`, `zstd`.
    pub fn encoded(content_type: &str, encoding: &str, body: impl Into<Bytes>) -> Self {
        Self::bytes(content_type, body).header("content-encoding", encoding)
    }

    /// A body that comes in these chunks, its length unknown at first.
    pub fn chunks(content_type: &str, chunks: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        let chunks = chunks.into_iter().map(Into::into).collect();
        Self { chunks, chunked: true, ..Self::status(200).header("content-type", content_type) }
    }

    /// No answer at all, for ever.
    pub fn never() -> Self {
        Self { never: true, ..Self::status(200) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.chunks = vec![body.into()];
        self
    }

    /// Waits before the answer begins.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits before each chunk of the body.
    pub fn chunk_delay(mut self, delay: Duration) -> Self {
        self.chunk_delay = delay;
        self
    }

    /// Cuts the connection behind so many bytes of the body.
    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}
