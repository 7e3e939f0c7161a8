//! A load generator: as many requests as fit, and nothing done with the answers.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Sends all requests, over so many connections.
pub(crate) async fn load(address: SocketAddr, requests: u64, at_once: NonZeroUsize) -> Result<()> {
    let next = Arc::new(AtomicU64::new(1));
    let connections = (0..at_once.get()).map(|_| tokio::spawn(ask(address, next.clone(), requests)));
    for asked in try_join_all(connections).await? {
        asked?;
    }
    Ok(())
}

/// Takes numbers until there are none left.
async fn ask(address: SocketAddr, next: Arc<AtomicU64>, last: u64) -> Result<()> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    loop {
        let id = next.fetch_add(1, Relaxed);
        if id > last {
            drop(sender);
            return Ok(connection.await??);
        }
        request(&mut sender, address, id).await?;
    }
}

async fn request(sender: &mut SendRequest<Empty<Bytes>>, address: SocketAddr, id: u64) -> Result<()> {
    sender.ready().await?;
    let request = Request::get(format!("/items/{id}")).header(HOST, address.to_string()).body(Empty::new())?;
    let mut response = sender.send_request(request).await?;
    ensure!(response.status() == StatusCode::OK, "item {id} got {}", response.status());
    while let Some(frame) = response.frame().await {
        frame?;
    }
    Ok(())
}
