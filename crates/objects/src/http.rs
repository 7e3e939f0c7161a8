//! Sending: each request takes a permit of the connection and tells how it went, whichever library makes it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll, ready};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use http_body::{Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use reqwest::{Request, Response};
use towpath_core::{Context, Error, Outcome, Permit, Result};

use crate::transport::{broken_body, no_answer};
use crate::{Client, Refusal, told};

/// How much of a refusal's body is read.
const REFUSAL_BYTES: usize = 64 << 10;

/// Sends requests on behalf of one stream.
#[derive(Clone)]
pub struct Service {
    client: Client,
    cx: Option<Context>,
    origin: Arc<str>,
}

impl Service {
    /// Sends through this client, within the limits of the context's connection. `origin` tells buckets apart: each has a
    /// concurrency of its own.
    pub fn new(client: Client, cx: &Context, origin: &str) -> Self {
        Self { client, cx: Some(cx.clone()), origin: origin.into() }
    }

    /// Sends for all streams of the connection, without limits: requests for credentials, which other requests wait for.
    pub fn for_credentials(client: Client) -> Self {
        Self { client, cx: None, origin: "".into() }
    }

    /// Sends a request and waits for the head of its answer. The body of a refusal is read already.
    ///
    /// # Errors
    /// `Unavailable` when there is no answer, `Cancelled` when the run stops.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let permit = match &self.cx {
            Some(cx) => Some(cx.permit(&self.origin).await?),
            None => None,
        };
        let held = Held { permit, cx: self.cx.clone() };
        let response = match self.client.inner().execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let (error, outcome) = no_answer(error);
                held.finish(outcome);
                return Err(error);
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(Answer { status, headers, refusal: None, body: Body::of(response, held) });
        }
        let now = self.cx.as_ref().map_or(SystemTime::UNIX_EPOCH, |cx| cx.clock().now());
        let said = beginning(response).await;
        let refusal = Refusal::new(status, &headers, &said).retry_after(retry_after(&headers, now));
        held.finish(refusal.outcome());
        Ok(Answer { status, headers, refusal: Some(refusal), body: Body::whole(said) })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// An answer, of which the body may still be on its way.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// What the store said if it refused.
    pub refusal: Option<Refusal>,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// The whole body, for answers that are small.
    ///
    /// # Errors
    /// What the store refuses with; `Unavailable` when the body breaks off.
    pub async fn whole(self) -> Result<Bytes> {
        if let Some(refusal) = self.refusal {
            return Err(refusal.error());
        }
        let mut pieces = self.body.pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece.map_err(|error| broken(&error))?);
        }
        Ok(whole.freeze())
    }
}

/// What was said of a body that broke off.
fn broken(error: &HttpError) -> Error {
    match std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(ours) => told(ours),
        None => Error::unavailable(error.to_string()),
    }
}

/// The permit of a request under way.
struct Held {
    permit: Option<Permit>,
    cx: Option<Context>,
}

impl Held {
    fn finish(self, outcome: Outcome) {
        if let (Some(permit), Some(cx)) = (self.permit, self.cx) {
            if matches!(outcome, Outcome::RateLimited(_) | Outcome::Overloaded(_)) {
                cx.metrics().add_throttled(1);
            }
            permit.finish(outcome, cx.clock().monotonic());
        }
    }
}

/// The body of an answer. The permit of its request is held until its last byte.
pub struct Body {
    // Nobody reads it from two sides; the lock makes it `Sync`, as bodies have to be.
    pieces: Mutex<BoxStream<'static, Result<Bytes, HttpError>>>,
    size: Option<u64>,
}

impl Body {
    fn of(response: Response, held: Held) -> Self {
        let size = response.headers().get(CONTENT_LENGTH);
        let size = size.and_then(|size| size.to_str().ok()?.parse().ok());
        let reading = (response, Some(held), 0_u64);
        let pieces = stream::unfold(reading, |(mut response, mut held, received)| async move {
            let outcome = match response.chunk().await {
                Ok(Some(piece)) => {
                    let received = received + piece.len() as u64;
                    return Some((Ok(piece), (response, held, received)));
                }
                Ok(None) => Ok(Outcome::Success),
                Err(error) => Err(broken_body(error, received)),
            };
            // Without a permit it ended before.
            let held = held.take()?;
            match outcome {
                Ok(outcome) => {
                    held.finish(outcome);
                    None
                }
                Err((error, outcome)) => {
                    held.finish(outcome);
                    Some((Err(HttpError::new(HttpErrorKind::Unknown, error)), (response, None, received)))
                }
            }
        });
        Self { pieces: Mutex::new(pieces.fuse().boxed()), size }
    }

    fn whole(bytes: Bytes) -> Self {
        let size = Some(bytes.len() as u64);
        Self { pieces: Mutex::new(stream::once(async { Ok(bytes) }).boxed()), size }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("size", &self.size).finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let pieces = self.get_mut().pieces.get_mut().unwrap_or_else(PoisonError::into_inner);
        let piece = ready!(pieces.poll_next_unpin(poller));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// The beginning of a refusal's body; it may well break off.
async fn beginning(mut response: Response) -> Bytes {
    let mut said = BytesMut::new();
    while let Ok(Some(piece)) = response.chunk().await {
        said.extend_from_slice(&piece);
        if said.len() >= REFUSAL_BYTES {
            said.truncate(REFUSAL_BYTES);
            break;
        }
    }
    said.freeze()
}

fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

/// For `object_store`. A refusal is an error with all that the store said: the library's own has no types for that.
#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let unknown = |error: Error| HttpError::new(HttpErrorKind::Unknown, error);
        let request = to_reqwest(request).map_err(unknown)?;
        let answer = self.send(request).await.map_err(unknown)?;
        if let Some(refusal) = answer.refusal {
            return Err(HttpError::new(HttpErrorKind::Unknown, refusal));
        }
        let mut response = http::Response::new(HttpResponseBody::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

fn to_reqwest(request: HttpRequest) -> Result<Request> {
    let (head, body) = request.into_parts();
    let url = head.uri.to_string().parse();
    let url = url.map_err(|error| {
        Error::config("the request cannot be made").source(error).help("check `endpoint`")
    })?;
    let mut request = Request::new(head.method, url);
    *request.headers_mut() = head.headers;
    if !body.is_end_stream() {
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => reqwest::Body::wrap(body),
        });
    }
    Ok(request)
}

impl HttpConnector for Service {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
