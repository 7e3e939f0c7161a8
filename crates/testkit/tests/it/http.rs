//! The servers do exactly what tests ask of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::Instant;
use towpath_testkit::http::{RawReply, RawServer, Response, TestServer};

/// Everything that comes back for a request, and whether the connection ended in order.
pub(crate) async fn get(address: SocketAddr, target: &str) -> (String, bool) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return (String::new(), false) };
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let sent = socket.write_all(request.as_bytes()).await;
    let read = socket.read_to_end(&mut answer).await;
    (String::from_utf8_lossy(&answer).into_owned(), sent.is_ok() && read.is_ok())
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn the_closure_sees_the_request_and_its_answer_arrives() {
    let server = TestServer::start(|request| async move {
        let seen = json!({
            "path": request.path, "q": request.param("q"), "page": request.number("page"), "host": request.header("Host"),
        });
        Response::json(&seen).header("x-page", "7").with_status(201)
    })
    .await;
    let (answer, _) = get(server.address(), "/a/b?q=x%20y%2B+z&page=7").await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(
        answer.contains("x-page: 7\r\n") && answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    let seen: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(seen, json!({"path": "/a/b", "q": "x y+ z", "page": 7, "host": "test"}));
    assert_eq!(server.targets(), ["/a/b?q=x%20y%2B+z&page=7"]);
}

#[tokio::test]
async fn attempts_are_counted_for_each_target() {
    let server =
        TestServer::start(
            |request| async move { Response::status(if request.attempt < 3 { 503 } else { 200 }) },
        )
        .await;
    for (target, status) in [("/a", 503), ("/a", 503), ("/b", 503), ("/a", 200)] {
        let (answer, _) = get(server.address(), target).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    server.clear();
    assert!(server.requests().is_empty());
    assert!(get(server.address(), "/a").await.0.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn requests_are_answered_at_once_and_the_peak_is_known() {
    let all_here = Arc::new(Barrier::new(3));
    let server = TestServer::start(move |_| {
        let all_here = all_here.clone();
        async move {
            all_here.wait().await;
            Response::text("hello")
        }
    })
    .await;
    let address = server.address();
    tokio::join!(get(address, "/1"), get(address, "/2"), get(address, "/3"));
    assert_eq!((server.peak(), server.in_flight(), server.accepted()), (3, 0, 3));
    let in_flight: Vec<_> = server.requests().iter().map(|recorded| recorded.in_flight).collect();
    assert!(in_flight.contains(&3), "{in_flight:?}");
}

#[tokio::test]
async fn a_client_that_waits_for_each_answer_is_never_counted_twice() {
    let server = TestServer::start(|_| async { Response::chunks("text/plain", ["a", "b"]) }).await;
    for _ in 0..50 {
        get(server.address(), "/").await;
    }
    assert_eq!(server.peak(), 1);
}

#[tokio::test]
async fn a_body_can_come_in_chunks_or_be_cut() {
    let server = TestServer::start(|request| async move {
        match request.path.as_str() {
            "/chunks" => Response::chunks("text/plain", ["one", "two"]),
            _ => Response::text("0123456789").cut_after(4),
        }
    })
    .await;
    let (chunks, _) = get(server.address(), "/chunks").await;
    assert!(chunks.contains("transfer-encoding: chunked\r\n"), "{chunks}");
    assert_eq!(body(&chunks), "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    let (cut, _) = get(server.address(), "/cut").await;
    assert!(cut.contains("content-length: 10\r\n"), "{cut}");
    assert_eq!(body(&cut), "0123");
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = TestServer::start(|_| async { Response::never() }).await;
    let address = server.address();
    let hanging = tokio::spawn(async move { get(address, "/").await });
    while server.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    drop(server);
    assert_eq!(hanging.await.unwrap().0, "");
    assert_eq!(get(address, "/").await, (String::new(), false));
}

#[tokio::test]
async fn a_raw_server_sends_lies_as_they_are() {
    let server = RawServer::start(|head| match head.split(' ').nth(1) {
        Some("/lie") => RawReply::lying(100, "text/plain", "short"),
        Some("/reset") => RawReply::reset("HTTP/1.1 200"),
        _ => RawReply::close("no HTTP at all"),
    })
    .await;
    let (lie, _) = get(server.address(), "/lie").await;
    assert!(lie.contains("Content-Length: 100\r\n") && body(&lie) == "short", "{lie}");
    assert_eq!(get(server.address(), "/").await.0, "no HTTP at all");
    assert!(!get(server.address(), "/reset").await.1);
}

#[tokio::test(start_paused = true)]
async fn answers_and_chunks_can_be_delayed() {
    let server = TestServer::start(|_| async {
        let response = Response::chunks("text/plain", ["a", "b"]);
        response.delay(Duration::from_hours(1)).chunk_delay(Duration::from_mins(1))
    })
    .await;
    let before = Instant::now();
    get(server.address(), "/").await;
    // Paused time leaps ahead whenever nothing happens, so it may show more than was slept.
    assert!(before.elapsed() >= Duration::from_mins(62));
}
