//! A server: a port, its connections, and answers that take their time.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::api::{Api, Apis, Reply};

/// How long a connection that breaks stands still before, so that the bytes so far have left.
const BEFORE_BREAK: Duration = Duration::from_millis(20);
/// How long is waited when the system has no socket left.
const WITHOUT_SOCKETS: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A server on a free port of this machine. Dropping it closes the port and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(api: Api, apis: Arc<Apis>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, api, apis));
        Ok(Self { address, accepting })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The task owns the listener and all connections.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, api: Api, apis: Arc<Apis>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(serve(socket, api, apis.clone()));
                }
                Err(_) => tokio::time::sleep(WITHOUT_SOCKETS).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(socket: TcpStream, api: Api, apis: Arc<Apis>) {
    let service = service_fn(|request: Request<Incoming>| {
        let reply = apis.reply(api, request.uri().path(), request.uri().query().unwrap_or_default());
        async move {
            tokio::time::sleep(reply.after).await;
            Ok::<_, Infallible>(response(reply))
        }
    });
    // Connections that end with an error are a part of the show.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

fn response(reply: Reply) -> Response<Body> {
    let Reply { status, headers, body, breaks, .. } = reply;
    let length = body.len();
    let mut response = Response::new(if breaks { broken(&body) } else { whole(body) });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).expect("the servers' headers are plain ASCII");
        response.headers_mut().insert(name, value);
    }
    response
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// The first half of a body, then nothing.
fn broken(body: &Bytes) -> Body {
    let half = stream::iter([Ok(Frame::data(body.slice(..body.len() / 2)))]);
    let end = stream::once(async {
        tokio::time::sleep(BEFORE_BREAK).await;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    BodyExt::boxed_unsync(StreamBody::new(half.chain(end)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::Options;
    use crate::data::Data;

    async fn server() -> Server {
        let apis = Apis::new(Data::load().await.unwrap(), Options::default());
        Server::start(Api::Archive, Arc::new(apis)).await.unwrap()
    }

    /// The first day whose file breaks off.
    async fn breaking_day() -> usize {
        let apis = Apis::new(Data::load().await.unwrap(), Options::default());
        let breaks = |day: &usize| apis.reply(Api::Archive, &target(*day), "").breaks;
        (1..=28).find(breaks).expect("some connections break")
    }

    fn target(day: usize) -> String {
        format!("/archive/2013/02/{day}.csv.gz")
    }

    async fn ask(socket: &mut TcpStream, day: usize) {
        let request = format!("GET {} HTTP/1.1\r\nhost: here\r\n\r\n", target(day));
        socket.write_all(request.as_bytes()).await.unwrap();
    }

    /// Everything that comes before the connection ends.
    async fn rest(socket: &mut TcpStream) -> Vec<u8> {
        let mut received = Vec::new();
        // A connection that breaks may end with an error: what came before it counts.
        let _ = socket.read_to_end(&mut received).await;
        received
    }

    /// The bytes of the next body, which has this length.
    async fn body(socket: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.unwrap();
        body
    }

    #[tokio::test]
    async fn a_connection_that_breaks_gives_half_of_the_file_and_the_next_one_all_of_it() {
        let (server, day) = (server().await, breaking_day().await);
        let file = Data::archived(day).unwrap();

        let mut breaking = TcpStream::connect(server.address).await.unwrap();
        ask(&mut breaking, day).await;
        assert_eq!(body(&mut breaking, file.len() / 2).await, file[..file.len() / 2]);
        assert_eq!(rest(&mut breaking).await, b"");

        let mut whole = TcpStream::connect(server.address).await.unwrap();
        ask(&mut whole, day).await;
        assert_eq!(body(&mut whole, file.len()).await, file);
    }

    #[tokio::test]
    async fn a_dropped_server_ends_its_connections() {
        let server = server().await;
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        ask(&mut socket, 1).await;
        body(&mut socket, 1).await;
        drop(server);
        // It would wait for the next request otherwise.
        rest(&mut socket).await;
    }
}
