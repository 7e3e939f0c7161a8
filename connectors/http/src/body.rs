//! The body of an answer: it holds its permit to the last byte, and ends with an error when it stalls or breaks off.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::poll;
use reqwest::header::HeaderMap;
use towpath_core::{ByteSize, Context, Error, Outcome, Permit, Result};

use crate::decode::{Chunks, is_encoded};

/// The most memory that is reserved because a header says so.
const LARGEST_GUESS: u64 = 8 << 20;

/// Bytes that arrive.
pub(crate) struct Body {
    chunks: Chunks,
    /// How many bytes it will have, if that is known.
    announced: Option<u64>,
    cx: Context,
    permit: Option<Permit>,
    idle: Duration,
    deadline: Deadline,
    received: u64,
    /// Bytes that were looked at and not taken.
    peeked: VecDeque<Bytes>,
}

/// When a request has to be over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    total: Option<(Duration, Instant)>,
}

impl Deadline {
    /// This long from now.
    pub(crate) fn new(cx: &Context, total: Option<Duration>) -> Self {
        Self { total: total.map(|total| (total, cx.clock().monotonic() + total)) }
    }

    /// Waits for something at most this long, and not beyond the deadline.
    pub(crate) async fn wait<T>(
        &self,
        cx: &Context,
        (name, limit): (&str, Duration),
        mut future: impl Future<Output = T> + Unpin,
    ) -> Result<T> {
        // What is here already needs no clock: most small bodies come with their heads.
        if let Poll::Ready(value) = poll!(&mut future) {
            return Ok(value);
        }
        let left =
            self.total.map(|(total, end)| (total, end.saturating_duration_since(cx.clock().monotonic())));
        let (name, limit, wait) = match left {
            Some((total, left)) if left < limit => ("timeout.total", total, left),
            _ => (name, limit, limit),
        };
        match select(future, cx.clock().sleep(wait)).await {
            Either::Left((value, _)) => Ok(value),
            Either::Right(_) => Err(Error::unavailable(format!("no answer within {limit:?}"))
                .help(format!("raise `{name}` if the server needs longer"))),
        }
    }
}

impl Body {
    /// The body of an answer that came with these headers.
    ///
    /// # Errors
    /// `Unsupported` for an encoding that we do not know.
    pub(crate) fn new(
        response: reqwest::Response,
        headers: &HeaderMap,
        cx: &Context,
        permit: Permit,
        idle: Duration,
        deadline: Deadline,
    ) -> Result<Self> {
        let announced = response.content_length().filter(|_| !is_encoded(headers));
        let chunks = Chunks::new(response, headers, cx.metrics().clone())?;
        Ok(Self::of(chunks, announced, cx, permit, idle, deadline))
    }

    /// The body of an answer as it comes, whatever its encoding.
    pub(crate) fn raw(
        response: reqwest::Response,
        cx: &Context,
        permit: Permit,
        idle: Duration,
        deadline: Deadline,
    ) -> Self {
        let announced = response.content_length();
        let chunks = Chunks::Plain(response, cx.metrics().clone());
        Self::of(chunks, announced, cx, permit, idle, deadline)
    }

    fn of(
        chunks: Chunks,
        announced: Option<u64>,
        cx: &Context,
        permit: Permit,
        idle: Duration,
        deadline: Deadline,
    ) -> Self {
        Self {
            chunks,
            announced,
            cx: cx.clone(),
            permit: Some(permit),
            idle,
            deadline,
            received: 0,
            peeked: VecDeque::new(),
        }
    }

    /// The first bytes, which stay where they are; none at the end.
    pub(crate) async fn peek(&mut self) -> Result<Bytes> {
        if self.peeked.is_empty() {
            let first = self.arriving().await?;
            self.peeked.extend(first);
        }
        Ok(self.peeked.front().cloned().unwrap_or_default())
    }

    /// Whether it has more bytes than this. They stay where they are.
    pub(crate) async fn is_longer_than(&mut self, bytes: usize) -> Result<bool> {
        let mut length = self.peeked_bytes();
        while length <= bytes {
            let Some(chunk) = self.arriving().await? else { return Ok(false) };
            length += chunk.len();
            self.peeked.push_back(chunk);
        }
        Ok(true)
    }

    /// How much was looked at and not taken.
    pub(crate) fn peeked_bytes(&self) -> usize {
        self.peeked.iter().map(Bytes::len).sum()
    }

    /// What was looked at and not taken.
    pub(crate) fn peeked(&self) -> Vec<u8> {
        self.peeked.iter().flat_map(|chunk| chunk.iter().copied()).collect()
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self.peeked.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.arriving().await,
        }
    }

    async fn arriving(&mut self) -> Result<Option<Bytes>> {
        let Self { chunks, cx, idle, deadline, received, .. } = self;
        let next = deadline.wait(cx, ("timeout.idle", *idle), pin!(chunks.next(*received))).await;
        match next {
            Err(error) => {
                self.finish(Outcome::TimedOut);
                Err(error.detail("received", format!("{} bytes", self.received)))
            }
            Ok(Err(error)) => {
                self.finish(Outcome::Failed);
                Err(error)
            }
            Ok(Ok(None)) => {
                self.finish(Outcome::Success);
                Ok(None)
            }
            Ok(Ok(Some(chunk))) => {
                self.received += chunk.len() as u64;
                Ok(Some(chunk))
            }
        }
    }

    /// All bytes, at most so many.
    pub(crate) async fn collect(&mut self, most: ByteSize) -> Result<Bytes> {
        let announced = self.announced.unwrap_or_default();
        check_size(announced, most)?;
        // Most small bodies come in one piece, which needs no copy.
        let Some(first) = self.chunk_within(most).await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk_within(most).await? else { return Ok(first) };
        let guess = usize::try_from(announced.min(LARGEST_GUESS)).unwrap_or_default();
        let mut all = BytesMut::with_capacity(guess.max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk_within(most).await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    async fn chunk_within(&mut self, most: ByteSize) -> Result<Option<Bytes>> {
        let chunk = self.chunk().await?;
        check_size(self.received, most)?;
        Ok(chunk)
    }

    /// The beginning of a refusal, for its message; whatever goes wrong on the way is left out of it. Ends the request.
    pub(crate) async fn beginning(&mut self, most: usize, outcome: Outcome) -> String {
        // Kept apart, so that reading to the end does not make a success of it.
        let permit = self.permit.take();
        let mut bytes = BytesMut::new();
        while bytes.len() < most {
            match self.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        bytes.truncate(most);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.permit = permit;
        self.finish(outcome);
        text
    }

    /// Ends the request for the limits, as it went.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        if let Some(permit) = self.permit.take() {
            permit.finish(outcome, self.cx.clock().monotonic());
        }
    }
}

fn check_size(bytes: u64, most: ByteSize) -> Result<()> {
    if bytes <= most.bytes() {
        return Ok(());
    }
    Err(Error::data(format!("the body has more than {most}"))
        .help("raise `max_body`, ask for smaller pages, or read NDJSON or CSV, which are streamed"))
}
