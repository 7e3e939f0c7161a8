//! The proxy makes the network as bad as it is told.

use std::future::pending;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::proxy::Proxy;

use crate::http::get;

async fn hello() -> (TestServer, Proxy) {
    let server = TestServer::start(|_| async { Response::text("hello") }).await;
    let proxy = Proxy::start(server.address()).await;
    (server, proxy)
}

#[tokio::test]
async fn a_good_network_changes_nothing() {
    let (server, proxy) = hello().await;
    let (answer, ended_well) = get(proxy.address(), "/").await;
    assert!(answer.ends_with("hello") && ended_well, "{answer}");
    assert_eq!(server.targets(), ["/"]);
}

#[tokio::test]
async fn an_answer_is_cut_at_the_byte() {
    let (_server, proxy) = hello().await;
    proxy.cut_after(Some(12));
    assert_eq!(get(proxy.address(), "/").await.0, "HTTP/1.1 200");
    proxy.cut_after(None);
    assert!(get(proxy.address(), "/").await.0.ends_with("hello"));
}

#[tokio::test]
async fn a_refusing_proxy_resets_and_recovers() {
    let (server, proxy) = hello().await;
    proxy.refuse(true);
    assert_eq!(get(proxy.address(), "/").await, (String::new(), false));
    proxy.refuse(false);
    assert!(get(proxy.address(), "/").await.1);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_stalled_network_goes_on_when_it_is_told() {
    let (server, proxy) = hello().await;
    proxy.stall(true);
    let mut waiting = Box::pin(get(proxy.address(), "/"));
    while proxy.connections() == 0 {
        tokio::select! {
            answer = &mut waiting => panic!("{answer:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(server.requests().is_empty());
    proxy.stall(false);
    assert!(waiting.await.0.ends_with("hello"));
}

#[tokio::test]
async fn open_connections_can_be_cut() {
    let server = TestServer::start(|_| pending::<Response>()).await;
    let proxy = Proxy::start(server.address()).await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    while proxy.connections() == 0 || server.connections() == 0 {
        tokio::task::yield_now().await;
    }
    proxy.cut();
    // In order or by a reset: it has ended.
    assert_eq!(socket.read(&mut [0; 8]).await.unwrap_or_default(), 0);
}

// With paused time, a sleep is over as soon as nothing else happens: what was slept adds up, and nobody waits.

#[tokio::test(start_paused = true)]
async fn latency_holds_request_and_answer_back() {
    let (_server, proxy) = hello().await;
    proxy.latency(Duration::from_hours(1));
    let before = Instant::now();
    assert!(get(proxy.address(), "/").await.0.ends_with("hello"));
    assert!(before.elapsed() >= Duration::from_hours(2));
}

#[tokio::test(start_paused = true)]
async fn a_rate_holds_each_byte_back() {
    let (_server, proxy) = hello().await;
    proxy.rate(Some(1));
    let before = Instant::now();
    let (answer, _) = get(proxy.address(), "/").await;
    assert!(before.elapsed() >= Duration::from_secs(answer.len() as u64));
}
