//! Documents that are read from any place, as Parquet is: by ranges where the server has them, else from memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::header::{ACCEPT_RANGES, HeaderMap};
use reqwest::{Method, StatusCode};
use towpath_core::{BatchStream, ByteSize, Error, ErrorKind, Outcome, Position, Result};
use towpath_formats::{ByteStream, Input, MemoryInput};

use super::input::{Document, Start, ask_for_range, bytes, changed, placed, start, total};
use super::judge::web_page;
use super::page::LARGE;
use super::{Reading, whole, without_transfer_compression};
use crate::client::Answer;
use crate::decode::is_encoded;
use crate::formats::{Formats, html};

/// What is asked for to learn whether a server has ranges, and how long a document is. All of a small one.
const HEAD: u64 = 64 << 10;

/// A document of known length on a server that has ranges.
struct RangedInput {
    reading: Reading,
    /// The URL as it may be shown.
    name: String,
    document: Document,
    size: u64,
    /// Its first bytes.
    head: Bytes,
}

impl Reading {
    /// The batches of a document that is read from any place. `known` is what it was when a part of it was read.
    pub(super) async fn anywhere(&self, known: Option<Document>, at: Position) -> Result<BatchStream> {
        // Anything but a GET may do something each time.
        if self.request.method != Method::GET {
            return self.anywhere_of(self.get(without_transfer_compression).await?, known, at).await;
        }
        let range = format!("bytes=0-{}", HEAD - 1);
        let mut answer = self.get(|call| ask_for_range(call, &range, None)).await?;
        if let Some(ruling) = answer.ruling {
            return self.left_out(&answer, ruling, known.as_ref());
        }
        let has_part = answer.status == StatusCode::PARTIAL_CONTENT;
        if has_part && let Some(size) = total(answer.status, &answer.headers) {
            let document = self.document(&answer, known.as_ref(), Some(size))?;
            self.refuse_html(&answer)?;
            let head = answer.body.collect(ByteSize::new(HEAD)).await;
            let head = head.map_err(|error| error.detail("url", self.show()))?;
            if head.len() as u64 != size.min(HEAD) {
                let got = head.len();
                return Err(Error::unavailable(format!("the server sent {got} of {} bytes", size.min(HEAD)))
                    .detail("url", self.show()));
            }
            return self.ranged(document, size, head, at);
        }
        // A range of an unknown length, or of nothing, or of compressed bytes.
        if has_part || answer.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return self.spooled(self.get(without_transfer_compression).await?, known, at).await;
        }
        self.spooled(answer, known, at).await
    }

    /// The batches of the document of an answer that nobody asked for a range.
    pub(super) async fn anywhere_of(
        &self,
        mut answer: Answer,
        known: Option<Document>,
        at: Position,
    ) -> Result<BatchStream> {
        let size = total(answer.status, &answer.headers).filter(|size| *size > LARGE as u64);
        let is_get = self.request.method == Method::GET;
        let Some(size) = size.filter(|_| is_get && has_ranges(&answer.headers)) else {
            return self.spooled(answer, known, at).await;
        };
        let document = self.document(&answer, known.as_ref(), Some(size))?;
        self.refuse_html(&answer)?;
        // The rest of this answer is not worth its bytes.
        answer.body.finish(Outcome::Success);
        drop(answer);
        self.ranged(document, size, Bytes::new(), at)
    }

    /// By ranges, or at once if all of it is here.
    fn ranged(&self, document: Document, size: u64, head: Bytes, at: Position) -> Result<BatchStream> {
        if head.len() as u64 == size {
            return self.batches_of(Arc::new(MemoryInput::new(self.show(), head)), document, at);
        }
        let (reading, name) = (self.clone(), self.show());
        let input = RangedInput { reading, name, document: document.clone(), size, head };
        self.batches_of(Arc::new(input), document, at)
    }

    /// From memory.
    async fn spooled(
        &self,
        mut answer: Answer,
        known: Option<Document>,
        at: Position,
    ) -> Result<BatchStream> {
        if let Some(ruling) = answer.ruling {
            return self.left_out(&answer, ruling, known.as_ref());
        }
        let told = total(answer.status, &answer.headers);
        let body = answer.body.collect(self.shared.max_body).await.map_err(|error| {
            let error = error.detail("url", self.show());
            if error.kind() == ErrorKind::DataInvalid && error.help_text().is_some() {
                return error.help("raise `max_body`, or read it from a server that has ranges");
            }
            error
        })?;
        if let Some(ruling) = self.judge(&answer, Some(&body))? {
            return self.left_out(&answer, ruling, known.as_ref());
        }
        self.refuse_html(&answer)?;
        let size = body.len() as u64;
        if told.is_some_and(|told| told != size) {
            return Err(
                Error::unavailable(format!("the body ended after {size} bytes")).detail("url", self.show())
            );
        }
        let document = self.document(&answer, known.as_ref(), Some(size))?;
        self.batches_of(Arc::new(MemoryInput::new(self.show(), body)), document, at)
    }

    /// What is kept of a document, which must be the one that is known.
    fn document(&self, answer: &Answer, known: Option<&Document>, size: Option<u64>) -> Result<Document> {
        let same = |known: &Document| known.is_same(&answer.headers) && known.size == size;
        if known.is_some_and(|known| !same(known)) {
            return Err(changed().detail("url", self.show()));
        }
        let facts = known.and_then(|known| known.facts.clone());
        let facts =
            facts.or_else(|| self.shared.metadata.facts(answer, &self.shared.client.show(&answer.url)));
        Ok(Document { size, facts, ..Document::of(&answer.headers) })
    }

    fn batches_of(&self, input: Arc<dyn Input>, document: Document, at: Position) -> Result<BatchStream> {
        let reader = self.shared.formats.body_reader(&document, &self.request.url);
        let reader = reader.map_err(|error| error.detail("url", self.show()))?;
        let batches = reader.read(&self.cx, input, &whole(), at, self.columns.as_deref());
        Ok(placed(batches, document, self.shared.clone()))
    }

    /// A page for people where a file was expected is an error of its own.
    fn refuse_html(&self, answer: &Answer) -> Result<()> {
        if !Formats::is_html(&answer.headers) {
            return Ok(());
        }
        let shown = self.shared.client.show(&answer.url);
        Err(web_page(html(), answer.redirected).detail("url", shown))
    }
}

fn has_ranges(headers: &HeaderMap) -> bool {
    let ranges = headers.get(ACCEPT_RANGES).and_then(|value| value.to_str().ok());
    ranges.is_some_and(|ranges| ranges.split(',').any(|unit| unit.trim().eq_ignore_ascii_case("bytes")))
}

impl RangedInput {
    /// The bytes that answer a request for a range, from its beginning on.
    async fn request(&self, range: &str, from: u64) -> Result<ByteStream> {
        let validator = self.document.validator.as_deref();
        let answer = self.reading.get_rest(|call| ask_for_range(call, range, validator)).await?;
        self.answered(answer, from).map_err(|error| error.detail("url", &self.name))
    }

    fn answered(&self, answer: Answer, from: u64) -> Result<ByteStream> {
        let Answer { status, headers, body, .. } = answer;
        if is_encoded(&headers) {
            return Err(Error::unsupported("the server compresses a part of a document"));
        }
        if total(status, &headers).is_some_and(|size| size != self.size) {
            return Err(changed());
        }
        match start(status, &headers, from, &self.document)? {
            Start::Here => Ok(bytes(body, 0, self.name.clone())),
            Start::Behind(skip) => Ok(bytes(body, skip, self.name.clone())),
            Start::AtTheEnd => Ok(stream::empty().boxed()),
        }
    }
}

#[async_trait]
impl Input for RangedInput {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> Option<u64> {
        Some(self.size)
    }

    async fn stream(&self, from: u64) -> Result<ByteStream> {
        self.request(&format!("bytes={from}-"), from).await
    }

    async fn range(&self, range: Range<u64>) -> Result<Bytes> {
        let within = |at: u64| usize::try_from(at).ok().filter(|at| *at <= self.head.len());
        if let (Some(start), Some(end)) = (within(range.start), within(range.end)) {
            return Ok(self.head.slice(start..end.max(start)));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut chunks =
            self.request(&format!("bytes={}-{}", range.start, range.end - 1), range.start).await?;
        let mut found = BytesMut::new();
        // One look beyond, because a connection is used again only when its answer was read to the end.
        while found.len() <= wanted {
            let Some(chunk) = chunks.try_next().await? else { break };
            if found.is_empty() {
                found.reserve(wanted.max(chunk.len()));
            }
            found.extend_from_slice(&chunk);
        }
        if found.len() < wanted {
            let end = range.start + found.len() as u64;
            return Err(Error::unavailable(format!("the body ended at byte {end}, before {}", range.end))
                .detail("url", &self.name));
        }
        found.truncate(wanted);
        Ok(found.freeze())
    }
}

impl fmt::Debug for RangedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangedInput")
            .field("name", &self.name)
            .field("document", &self.document)
            .finish_non_exhaustive()
    }
}
