//! Encryption below the messages, and rows put aside above it.

use std::io;
use std::pin::Pin;

use futures::TryFutureExt;
use tokio::io::BufReader;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use towpath_core::Result;
use towpath_tls::client_config;

use crate::config::ConnectionOptions;
use crate::socket::Socket;
use crate::wire::Wire;

/// How much is read from a socket at once: by itself encryption would ask for 4 KiB at a time.
const BUFFER: usize = 64 << 10;

type Rustls = <MakeRustlsConnect as MakeTlsConnect<BufReader<Socket>>>::TlsConnect;

/// Encrypts one connection.
pub(crate) struct Tls(Rustls);

impl Tls {
    /// To a server of this name.
    pub(crate) fn to(host: &str, options: &ConnectionOptions) -> Result<Self> {
        let mut factory = MakeRustlsConnect::new(client_config(options.trust(), &options.files)?);
        let Ok(made) = MakeTlsConnect::<BufReader<Socket>>::make_tls_connect(&mut factory, host);
        Ok(Self(made))
    }
}

impl TlsConnect<Wire<Socket>> for Tls {
    type Stream = Wire<<Rustls as TlsConnect<BufReader<Socket>>>::Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: Wire<Socket>) -> Self::Future {
        Box::pin(async move {
            let (socket, aside) = stream.into_parts()?;
            let encrypted = self.0.connect(BufReader::with_capacity(BUFFER, socket));
            encrypted.map_ok(|stream| Wire::new(stream, aside)).await
        })
    }
}
