//! A server that sends exactly the bytes of the test, for answers that no honest server gives.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What is sent for a request, byte by byte.
#[derive(Debug, Clone)]
pub struct RawReply {
    bytes: Bytes,
    then: Then,
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Close,
    Reset,
    Hang,
}

impl RawReply {
    /// Sends these bytes and closes the connection.
    pub fn close(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), then: Then::Close }
    }

    /// Sends these bytes and resets the connection.
    pub fn reset(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), then: Then::Reset }
    }

    /// Sends these bytes and nothing more, the connection kept open.
    pub fn hang(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), then: Then::Hang }
    }

    /// An answer that claims another length than its body has, and then closes the connection.
    pub fn lying(claimed: usize, content_type: &str, body: &str) -> Self {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {claimed}\r\n\r\n");
        Self::close(head + body)
    }
}

/// A server on a free port of 127.0.0.1 that answers each connection once. Dropping it closes everything.
pub struct RawServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl RawServer {
    /// Starts a server; the closure gets the request's head as text and gives the reply.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(reply: impl Fn(&str) -> RawReply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of 127.0.0.1 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let reply = Arc::new(reply);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((socket, _)) = listener.accept() => {
                        let reply = reply.clone();
                        connections.spawn(async move { serve(socket, &*reply).await });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, accepting }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A client that goes away early is what many tests ask for, so its errors end the connection and nothing else.
async fn serve(mut socket: TcpStream, reply: &(dyn Fn(&str) -> RawReply + Sync)) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let reply = reply(&String::from_utf8_lossy(&head));
    socket.write_all(&reply.bytes).await?;
    socket.flush().await?;
    match reply.then {
        Then::Close => socket.shutdown().await,
        Then::Reset => socket.set_zero_linger(),
        Then::Hang => std::future::pending().await,
    }
}
