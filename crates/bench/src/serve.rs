//! A server of small JSON documents: at once or after a while, on pages, and no more of them in a second than it likes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::blob;

/// Serves until the standard input ends.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 64];
    let gate = Arc::new(Mutex::new(Gate::default()));
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(connection(accepted?.0, gate.clone()))),
            read = input.read(&mut ignored) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn connection(stream: TcpStream, gate: Arc<Mutex<Gate>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let uri = request.uri();
        if let Some(size) = uri.path().strip_prefix("/blob/").and_then(|size| size.parse().ok()) {
            let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
            let is_head = request.method() == Method::HEAD;
            return Ok::<_, Infallible>(blob::answer(size, range, is_head).map(Either::Right));
        }
        Ok(answer(uri.path(), uri.query().unwrap_or_default(), &gate).await.map(Either::Left))
    });
    Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

/// `/items/ID` answers at once, `/delay/MILLISECONDS/ID` after a while, `/pages/MILLISECONDS/ID` with one of [`PAGES`] pages,
/// `/limited/ID` while the [`Gate`] is open, and `/limited` with what the gate has seen since it was asked last.
async fn answer(path: &str, query: &str, gate: &Mutex<Gate>) -> Response<Full<Bytes>> {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    let document = match segments[..] {
        ["items", id] => document(id),
        ["delay", milliseconds, id] => after(milliseconds, document(id)).await,
        ["pages", milliseconds, id] => after(milliseconds, page(id, query)).await,
        ["limited"] => Some(std::mem::take(&mut *lock(gate)).told()),
        ["limited", id] => {
            if !lock(gate).lets_in(Instant::now()) {
                return status(StatusCode::TOO_MANY_REQUESTS);
            }
            after("20", document(id)).await
        }
        _ => None,
    };
    let Some(document) = document else { return status(StatusCode::NOT_FOUND) };
    let mut response = Response::new(Full::new(document.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn after(milliseconds: &str, document: Option<String>) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(milliseconds.parse().ok()?)).await;
    document
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn lock(gate: &Mutex<Gate>) -> std::sync::MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many requests a second are let in.
const LIMIT: u64 = 100;

/// Lets in so many requests in each second, and refuses the others.
#[derive(Default)]
struct Gate {
    /// When the first request came, and how many seconds after it the last one did.
    first: Option<Instant>,
    last: Duration,
    /// How many came in this second.
    second: u64,
    count: u64,
    accepted: u64,
    refused: u64,
}

impl Gate {
    fn lets_in(&mut self, now: Instant) -> bool {
        self.last = now.duration_since(*self.first.get_or_insert(now));
        if self.last.as_secs() != self.second {
            (self.second, self.count) = (self.last.as_secs(), 0);
        }
        self.count += 1;
        let lets_in = self.count <= LIMIT;
        *(if lets_in { &mut self.accepted } else { &mut self.refused }) += 1;
        lets_in
    }

    fn told(&self) -> String {
        format!("{} {} {}", self.accepted, self.refused, self.last.as_secs_f64())
    }
}

/// How many pages there are, and rows on each.
const PAGES: u64 = 20;
const ROWS: u64 = 10;

/// A page, by its number or by the cursor that the page before it gave.
fn page(id: &str, query: &str) -> Option<String> {
    let id: u64 = id.parse().ok()?;
    let asked = query.split('&').find_map(|pair| pair.split_once('=')).map_or("1", |(_, value)| value);
    let number: u64 = asked.parse().ok()?;
    let first = (id * PAGES + number) * ROWS;
    let rows: Option<Vec<_>> = (first..first + ROWS).map(|id| document(&id.to_string())).collect();
    let next = if number < PAGES { (number + 1).to_string() } else { "null".to_owned() };
    Some(format!(r#"{{"total_pages":{PAGES},"next":{next},"data":[{}]}}"#, rows?.join(",")))
}

fn document(id: &str) -> Option<String> {
    let id: u64 = id.parse().ok()?;
    let (price, stock) = (id * 37 % 10_000, id * 7919 % 1000);
    Some(format!(
        r#"{{"id":{id},"name":"item number {id}","category":"group {}","price":{}.{:02},"stock":{stock},"active":{},"updated_at":"2026-03-{:02}T12:00:00Z","note":"a small document, as many APIs give"}}"#,
        id % 12,
        price / 100,
        price % 100,
        id.is_multiple_of(2),
        id % 28 + 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn known_paths_get_a_document_and_others_an_error() {
        let gate = Mutex::default();
        for path in ["/items/7", "/delay/0/7", "/pages/0/7", "/limited/7"] {
            assert_eq!(answer(path, "", &gate).await.status(), StatusCode::OK, "{path}");
        }
        for path in ["/", "/items", "/items/seven", "/delay/soon/7", "/delay/0"] {
            assert_eq!(answer(path, "", &gate).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn a_page_tells_the_next_one_and_how_many_there_are() {
        let page = |query| page("3", query).unwrap();
        assert!(page("").starts_with(r#"{"total_pages":20,"next":2,"data":[{"id":610,"#));
        assert!(page("page=20").starts_with(r#"{"total_pages":20,"next":null,"data":[{"id":800,"#));
    }

    #[test]
    fn the_gate_lets_in_so_many_in_each_second() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let mut let_in = |at| (0..150).filter(|_| gate.lets_in(now + at)).count();
        assert_eq!(let_in(Duration::ZERO), 100);
        assert_eq!(let_in(Duration::from_millis(900)), 0);
        assert_eq!(let_in(Duration::from_millis(1_500)), 100);
        assert_eq!(gate.told(), "200 250 1.5");
    }
}
