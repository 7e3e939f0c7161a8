//! A large file of which ranges can be had, and a proxy that gives each connection only so much.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What a large file consists of, again and again.
static CHUNK: [u8; 64 << 10] = [b't'; 64 << 10];

/// So many bytes.
pub(crate) struct Blob(u64);

impl Body for Blob {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _task: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let length = CHUNK.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
        self.0 -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// A file of this size, or a range of it.
pub(crate) fn answer(size: u64, range: Option<&str>, is_head: bool) -> Response<Blob> {
    let asked = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let asked =
        asked.and_then(|(from, to)| Some((from.parse().ok()?, to.parse().map_or(size, |to: u64| to + 1))));
    let (from, to) = asked.unwrap_or((0, size));
    let (from, to) = (from.min(size), to.min(size).max(from.min(size)));
    let mut response = Response::new(Blob(if is_head { 0 } else { to - from }));
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_static("\"one\""));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(to - from));
    if asked.is_some() {
        let told = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
        headers.insert(CONTENT_RANGE, told.parse().expect("digits are a value"));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// How slow a proxy is.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// How many bytes a second each connection gets back.
    pub(crate) per_second: u64,
    /// How long what is asked needs to get there.
    pub(crate) delay: Duration,
}

/// Passes connections on to a server, and the answers back at a pace. Ends with its input.
pub(crate) async fn proxy(target: SocketAddr, pace: Pace) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut input = tokio::io::stdin();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            accepted = listener.accept() => drop(tokio::spawn(pass(accepted?.0, target, pace))),
            read = input.read(&mut ignored) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn pass(client: TcpStream, target: SocketAddr, pace: Pace) -> Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return to_server.shutdown().await;
            }
            tokio::time::sleep(pace.delay).await;
            to_server.write_all(&buffer[..length]).await?;
        }
    });
    let mut buffer = vec![0; 256 << 10];
    let mut due = Instant::now();
    loop {
        let length = from_server.read(&mut buffer).await?;
        if length == 0 {
            return Ok(to_client.shutdown().await?);
        }
        due = due.max(Instant::now()) + Duration::from_secs_f64(length as f64 / pace.per_second as f64);
        to_client.write_all(&buffer[..length]).await?;
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_the_file() {
        let part = answer(1_000, Some("bytes=900-"), false);
        assert_eq!((part.status(), part.body().0), (StatusCode::PARTIAL_CONTENT, 100));
        assert_eq!(part.headers()[CONTENT_RANGE], "bytes 900-999/1000");
        let whole = answer(1_000, None, false);
        assert_eq!((whole.status(), whole.body().0), (StatusCode::OK, 1_000));
        assert_eq!(answer(1_000, None, true).headers()[CONTENT_LENGTH], "1000");
    }
}
