//! A server whose answers are a closure.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::Response;
use super::body::{Body, body};

/// A request as the closure gets it.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` ...
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query as it came, without the question mark; empty if there is none.
    pub query: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// How often this method, path and query were asked for, this time included.
    pub attempt: usize,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a query parameter, `%` and `+` resolved.
    pub fn param(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('=').or(Some((pair, ""))))
            .find(|(key, _)| decode(key, true) == name)
            .map(|(_, value)| decode(value, true))
    }

    /// The path, `%` resolved.
    pub fn decoded_path(&self) -> String {
        decode(&self.path, false)
    }

    /// The value of a query parameter as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.param(name)?.parse().ok()
    }
}

/// Resolves `%`, and in a query `+`.
fn decode(text: &str, in_query: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) if in_query => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request that came, and when.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request.
    pub request: Request,
    /// How long after the start of the server it came, by tokio's clock.
    pub at: Duration,
    /// How many requests were under way then, this one included.
    pub in_flight: usize,
}

impl Recorded {
    /// The path with the query.
    pub fn target(&self) -> String {
        let Request { path, query, .. } = &self.request;
        if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
    }
}

type Router = dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync;

/// A server on a free port of 127.0.0.1. Dropping it closes the port and every connection.
pub struct TestServer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    accepting: JoinHandle<()>,
}

struct Log {
    started: Instant,
    requests: Vec<Recorded>,
    attempts: HashMap<String, usize>,
    in_flight: usize,
    peak: usize,
    connections: usize,
    accepted: usize,
}

impl TestServer {
    /// Starts a server that answers with what the closure gives. Answers of different requests are made at once.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start<F, A>(router: F) -> Self
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of 127.0.0.1 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Mutex::new(Log {
            started: Instant::now(),
            requests: Vec::new(),
            attempts: HashMap::new(),
            in_flight: 0,
            peak: 0,
            connections: 0,
            accepted: 0,
        }));
        let router: Arc<Router> = Arc::new(move |request| Box::pin(router(request)));
        let accepting = tokio::spawn(accept(listener, router, log.clone()));
        Self { address, log, accepting }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.log).requests.clone()
    }

    /// The paths with queries of the requests so far.
    pub fn targets(&self) -> Vec<String> {
        lock(&self.log).requests.iter().map(Recorded::target).collect()
    }

    /// The most requests that were under way at once: from their arrival to the last bytes of the
    /// answer.
    pub fn peak(&self) -> usize {
        lock(&self.log).peak
    }

    /// The requests under way now.
    pub fn in_flight(&self) -> usize {
        lock(&self.log).in_flight
    }

    /// The connections that are open now.
    pub fn connections(&self) -> usize {
        lock(&self.log).connections
    }

    /// The connections that were ever opened.
    pub fn accepted(&self) -> usize {
        lock(&self.log).accepted
    }

    /// Forgets the requests so far, and the peak. Attempts are counted from 1 again.
    pub fn clear(&self) {
        let mut log = lock(&self.log);
        log.requests.clear();
        log.attempts.clear();
        log.peak = log.in_flight;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // The task owns the listener and all connections.
        self.accepting.abort();
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, router: Arc<Router>, log: Arc<Mutex<Log>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                connections.spawn(serve(socket, router.clone(), log.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, router: Arc<Router>, log: Arc<Mutex<Log>>) {
    // Small answers must not wait for the acknowledgement of others.
    let _ = socket.set_nodelay(true);
    let _open = Counted::connection(&log);
    let service = service_fn(|request| answer(request, router.clone(), log.clone()));
    // A connection that ends with an error is what many tests ask for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    router: Arc<Router>,
    log: Arc<Mutex<Log>>,
) -> Result<hyper::Response<Body>, Infallible> {
    let guard = Counted::request(&log);
    let (head, incoming) = request.into_parts();
    let collected = incoming.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: text_headers(&head.headers),
        body: collected,
        attempt: 0,
    };
    record(&log, &mut request);
    let response = router(request).await;
    tokio::time::sleep(response.delay).await;
    if response.never {
        std::future::pending::<()>().await;
    }
    let mut answer = hyper::Response::new(body(&response, guard));
    *answer.status_mut() = response.status.try_into().expect("the test gives a valid status");
    let told = response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !response.chunked && !told && !matches!(response.status, 204 | 304) {
        let length: usize = response.chunks.iter().map(Bytes::len).sum();
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    for (name, value) in &response.headers {
        let name: HeaderName = name.parse().expect("the test gives a valid header name");
        let value: HeaderValue = value.parse().expect("the test gives a valid header value");
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
}

fn text_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn record(log: &Mutex<Log>, request: &mut Request) {
    let mut log = lock(log);
    let attempts =
        log.attempts.entry(format!("{} {}?{}", request.method, request.path, request.query)).or_default();
    *attempts += 1;
    request.attempt = *attempts;
    let recorded = Recorded { request: request.clone(), at: log.started.elapsed(), in_flight: log.in_flight };
    log.requests.push(recorded);
}

/// One more of something, until it is dropped.
struct Counted {
    log: Arc<Mutex<Log>>,
    counter: fn(&mut Log) -> &mut usize,
}

impl Counted {
    fn connection(log: &Arc<Mutex<Log>>) -> Self {
        lock(log).accepted += 1;
        Self::new(log, |log| &mut log.connections)
    }

    fn request(log: &Arc<Mutex<Log>>) -> Self {
        let counted = Self::new(log, |log| &mut log.in_flight);
        let mut log = lock(log);
        log.peak = log.peak.max(log.in_flight);
        counted
    }

    fn new(log: &Arc<Mutex<Log>>, counter: fn(&mut Log) -> &mut usize) -> Self {
        *counter(&mut lock(log)) += 1;
        Self { log: log.clone(), counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *(self.counter)(&mut lock(&self.log)) -= 1;
    }
}
