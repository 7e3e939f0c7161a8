//! Connections below encryption: opened here, and not by the driver, so that what comes over them can be looked through.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio_util::either::Either;

use crate::config::{ConnectionOptions, Host};

/// What leads to a server on the same machine, where there is such a thing.
#[cfg(unix)]
type Local = tokio::net::UnixStream;
#[cfg(not(unix))]
type Local = TcpStream;

/// A connection.
pub(crate) type Socket = Either<TcpStream, Local>;

/// Opens one to the first address of a server that answers.
pub(crate) async fn open(host: &Host, options: &ConnectionOptions) -> io::Result<Socket> {
    #[cfg(unix)]
    if host.is_socket() {
        let path = format!("{}/.s.PGSQL.{}", host.name, host.port);
        return Local::connect(path).await.map(Either::Right);
    }
    let mut failed = None;
    for address in lookup_host((host.name.as_str(), host.port)).await? {
        match within(options.connect_timeout, TcpStream::connect(address)).await {
            Ok(stream) => {
                tune(&stream, options.keepalive)?;
                return Ok(Either::Left(stream));
            }
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its name has no address")))
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn tune(stream: &TcpStream, keepalive: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_network_is_asked_as_often_as_the_option_says() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream, Duration::from_secs(5)).unwrap();
        assert_eq!(SockRef::from(&stream).tcp_keepalive_time().unwrap(), Duration::from_secs(5));
        assert!(stream.nodelay().unwrap());
    }
}
