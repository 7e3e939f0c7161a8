//! One body as an input of the formats: streamed, and asked for again from where it broke off.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE,
};
use serde::{Deserialize, Serialize};
use towpath_core::{BatchStream, Error, Position, Result};
use towpath_formats::{ByteStream, Input};

use super::metadata::Facts;
use super::{Reading, Shared, Spot, whole, without_transfer_compression};
use crate::body::Body;
use crate::client::{Answer, Call};
use crate::decode::is_encoded;

/// A body that is read as a stream.
pub(super) struct BodyInput {
    reading: Reading,
    /// The URL as it may be shown.
    name: String,
    document: Document,
    size: Option<u64>,
    /// The answer that told what the body is, until it is read.
    first: Mutex<Option<Body>>,
}

/// What is kept of a document to read on in it later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    /// What tells that it is still the same: its `ETag` or `Last-Modified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    /// Whether it is read as JSON.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_json: bool,
    /// Whether it came in a `Content-Encoding`, which has been decoded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) decoded: bool,
    /// How long it is, where it is read from any place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// What columns tell of the answer with which it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) facts: Option<Facts>,
}

impl Document {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let decoded = is_encoded(headers);
        // The tag of compressed bytes is not that of the plain ones, which we ask for later.
        let tag = text(ETAG).filter(|tag| !decoded && !tag.starts_with("W/"));
        Self {
            validator: tag.or_else(|| text(LAST_MODIFIED)),
            content_type: text(CONTENT_TYPE),
            is_json: false,
            decoded,
            size: None,
            facts: None,
        }
    }

    /// Whether an answer is about the same document, as far as both can tell.
    pub(super) fn is_same(&self, headers: &HeaderMap) -> bool {
        let Some(validator) = self.validator.as_deref() else { return true };
        let told = [ETAG, LAST_MODIFIED].map(|name| headers.get(name).and_then(|value| value.to_str().ok()));
        let is_tag = validator.starts_with('"');
        let now = if is_tag { told[0] } else { told[1] };
        now.is_none_or(|now| now == validator || (is_tag && is_encoded(headers)))
    }
}

impl BodyInput {
    /// The body of an answer.
    pub(super) fn begin(reading: Reading, answer: Answer, is_json: bool) -> Self {
        let facts = reading.shared.metadata.facts(&answer, &reading.shared.client.show(&answer.url));
        let document = Document { is_json, facts, ..Document::of(&answer.headers) };
        let size = length(&answer.headers).filter(|_| !document.decoded);
        let name = reading.shared.client.show(&reading.request.url);
        Self { reading, name, document, size, first: Mutex::new(Some(answer.body)) }
    }

    /// The body of a split that was read in part.
    pub(super) fn resume(reading: Reading, document: Document) -> Self {
        let name = reading.shared.client.show(&reading.request.url);
        Self { reading, name, document, size: None, first: Mutex::new(None) }
    }

    /// Its batches from a position of its reader on.
    pub(super) fn open(self, at: Position) -> Result<BatchStream> {
        let formats = &self.reading.shared.formats;
        let reader = if self.document.is_json {
            formats.page_reader()
        } else {
            formats.body_reader(&self.document, &self.reading.request.url)
        };
        let reader = reader.map_err(|error| error.detail("url", &self.name))?;
        let shared = self.reading.shared.clone();
        let (cx, document, wanted) =
            (self.reading.cx.clone(), self.document.clone(), self.reading.columns.clone());
        let batches = reader.read(&cx, Arc::new(self), &whole(), at, wanted.as_deref());
        Ok(placed(batches, document, shared))
    }

    /// Asks for the bytes from here on, or for a range of them.
    async fn request(&self, range: Option<String>) -> Result<Answer> {
        let prepare = |call: &mut Call| match range {
            None => without_transfer_compression(call),
            Some(range) => ask_for_range(call, &range, self.document.validator.as_deref()),
        };
        self.reading.get_rest(prepare).await
    }
}

/// Asks for a range of the document that this validator tells.
pub(super) fn ask_for_range(call: &mut Call, range: &str, validator: Option<&str>) {
    without_transfer_compression(call);
    let Ok(range) = HeaderValue::from_str(range) else { return };
    call.headers.insert(RANGE, range);
    call.also = Some(StatusCode::RANGE_NOT_SATISFIABLE);
    if let Some(validator) = validator.and_then(|validator| HeaderValue::from_str(validator).ok()) {
        call.headers.insert(IF_RANGE, validator);
    }
}

/// Turns positions of a reader into positions within the split.
pub(super) fn placed(batches: BatchStream, document: Document, shared: Arc<Shared>) -> BatchStream {
    let placed = batches.and_then(move |mut batch| {
        let spot = match std::mem::take(&mut batch.resume) {
            at @ Position::At(_) => Spot::Body { at, document: document.clone() }.position(),
            other => Ok(other),
        };
        let placed = spot.and_then(|resume| {
            batch.resume = resume;
            shared.metadata.add(&mut batch, document.facts.as_ref(), 1)?;
            Ok(batch)
        });
        std::future::ready(placed)
    });
    placed.boxed()
}

#[async_trait]
impl Input for BodyInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        if from == 0 {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let body = match first {
                Some(body) => body,
                None => self.request(None).await?.body,
            };
            return Ok(bytes(body, 0, self.name.clone()));
        }
        let mut answer = self.request(Some(format!("bytes={from}-"))).await?;
        if answer.status == StatusCode::PARTIAL_CONTENT && is_encoded(&answer.headers) {
            // A range of compressed bytes cannot be decoded.
            answer = self.request(None).await?;
        }
        let start = start(answer.status, &answer.headers, from, &self.document);
        match start.map_err(|error| error.detail("url", &self.name))? {
            Start::Here => Ok(bytes(answer.body, 0, self.name.clone())),
            Start::Behind(skip) => Ok(bytes(answer.body, skip, self.name.clone())),
            Start::AtTheEnd => Ok(stream::empty().boxed()),
        }
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let mut chunks = self.stream(range.start).await?;
        let mut found = Vec::new();
        while (found.len() as u64) < wanted {
            let Some(chunk) = chunks.try_next().await? else {
                let end = range.start + found.len() as u64;
                return Err(Error::data(format!("it ends at byte {end}, before {}", range.end))
                    .detail("url", &self.name));
            };
            found.extend_from_slice(&chunk);
        }
        found.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(found.into())
    }
}

impl fmt::Debug for BodyInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyInput")
            .field("name", &self.name)
            .field("document", &self.document)
            .finish_non_exhaustive()
    }
}

/// Where the body of an answer begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Where it was asked for.
    Here,
    /// At its first byte; so many are to be left out.
    Behind(u64),
    /// There is nothing more.
    AtTheEnd,
}

/// Reads what a server made of a request for a range.
pub(super) fn start(
    status: StatusCode,
    headers: &HeaderMap,
    from: u64,
    document: &Document,
) -> Result<Start> {
    let range = content_range(headers);
    let same = document.is_same(headers);
    match status {
        StatusCode::PARTIAL_CONTENT if !same => Err(changed()),
        StatusCode::PARTIAL_CONTENT => {
            let begin = range
                .and_then(|range| range.split_once('-'))
                .and_then(|(begin, _)| begin.parse::<u64>().ok());
            if begin == Some(from) {
                return Ok(Start::Here);
            }
            Err(Error::data(format!(
                "the server was asked for the bytes from {from} on and sent {}",
                range.unwrap_or("others")
            )))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let size =
                range.and_then(|range| range.strip_prefix("*/")).and_then(|size| size.parse::<u64>().ok());
            if size == Some(from) { Ok(Start::AtTheEnd) } else { Err(changed()) }
        }
        _ if !same => Err(changed()),
        _ => Ok(Start::Behind(from)),
    }
}

/// The error for a document of which a part is no longer what it was.
pub(super) fn changed() -> Error {
    Error::data("the document has changed since a part of it was read")
        .help("`towpath state reset` and run again, to read it from its beginning")
}

fn content_range(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}

/// How long the whole document is, if an answer tells it.
pub(super) fn total(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    match status {
        _ if is_encoded(headers) => None,
        StatusCode::PARTIAL_CONTENT => content_range(headers)?.split_once('/')?.1.trim().parse().ok(),
        _ => length(headers),
    }
}

/// The bytes of a body without the first so many.
pub(super) fn bytes(body: Body, skip: u64, name: String) -> ByteStream {
    let chunks = stream::try_unfold((body, skip, name), |(mut body, mut skip, name)| async move {
        loop {
            let Some(mut chunk) = body.chunk().await.map_err(|error| error.detail("url", &name))? else {
                if skip == 0 {
                    return Ok(None);
                }
                return Err(Error::data("the document is shorter than when a part of it was read")
                    .detail("url", &name));
            };
            let left_out = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= left_out as u64;
            let chunk = chunk.split_off(left_out);
            if !chunk.is_empty() {
                return Ok(Some((chunk, (body, skip, name))));
            }
        }
    });
    chunks.boxed()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::CONTENT_ENCODING;

    const ETAG_A: &str = "\"a\"";

    fn start_of(
        status: u16,
        headers: &[(reqwest::header::HeaderName, &str)],
        validator: Option<&str>,
    ) -> Result<Start> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        let document = Document { validator: validator.map(str::to_owned), ..Document::default() };
        start(StatusCode::from_u16(status).unwrap(), &headers, 100, &document)
    }

    #[test]
    fn a_range_begins_where_it_was_asked_for() {
        let found = start_of(206, &[(CONTENT_RANGE, "bytes 100-199/200"), (ETAG, ETAG_A)], Some(ETAG_A));
        assert_eq!(found.unwrap(), Start::Here);
        let error = start_of(206, &[(CONTENT_RANGE, "bytes 0-199/200")], None).unwrap_err();
        assert_eq!(error.message(), "the server was asked for the bytes from 100 on and sent 0-199/200");
    }

    #[test]
    fn a_server_without_ranges_sends_all_and_the_first_bytes_are_left_out() {
        assert_eq!(start_of(200, &[], None).unwrap(), Start::Behind(100));
        assert_eq!(start_of(200, &[(ETAG, ETAG_A)], Some(ETAG_A)).unwrap(), Start::Behind(100));
        let date = "Fri, 27 Nov 2026 08:00:00 GMT";
        assert_eq!(
            start_of(200, &[(ETAG, ETAG_A), (LAST_MODIFIED, date)], Some(date)).unwrap(),
            Start::Behind(100)
        );
    }

    #[test]
    fn nothing_follows_the_last_byte() {
        assert_eq!(start_of(416, &[(CONTENT_RANGE, "bytes */100")], None).unwrap(), Start::AtTheEnd);
    }

    #[test]
    fn a_document_that_has_changed_is_not_read_on() {
        for (status, headers) in [
            (200, vec![(ETAG, "\"b\"")]),
            (206, vec![(CONTENT_RANGE, "bytes 100-199/200"), (ETAG, "\"b\"")]),
            (416, vec![(CONTENT_RANGE, "bytes */70")]),
        ] {
            let error = start_of(status, &headers, Some(ETAG_A)).unwrap_err();
            assert_eq!(error.message(), "the document has changed since a part of it was read");
        }
    }

    #[test]
    fn only_a_strong_tag_of_the_plain_bytes_tells_documents_apart() {
        let validator = |tag: &str, encoding: &str| {
            let headers = [(ETAG, tag), (LAST_MODIFIED, "then"), (CONTENT_ENCODING, encoding)];
            let headers = headers.map(|(name, value)| (name, value.parse().unwrap())).into_iter().collect();
            Document::of(&headers).validator
        };
        assert_eq!(validator(ETAG_A, "identity").as_deref(), Some(ETAG_A));
        assert_eq!(validator("W/\"a\"", "identity").as_deref(), Some("then"));
        assert_eq!(validator(ETAG_A, "gzip").as_deref(), Some("then"));
    }
}
