//! Encryption that reads from the socket in large pieces: by itself it would ask for 4 KiB at a time.

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How much is read at once: what a server has sent meanwhile seldom is more.
const BUFFER: usize = 64 << 10;

/// Makes encrypted connections.
#[derive(Clone)]
pub(crate) struct Tls(pub(crate) MakeRustlsConnect);

/// Makes one of them.
pub(crate) struct Connect<C>(C);

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = <MakeRustlsConnect as MakeTlsConnect<BufReader<S>>>::Stream;
    type TlsConnect = Connect<<MakeRustlsConnect as MakeTlsConnect<BufReader<S>>>::TlsConnect>;
    type Error = <MakeRustlsConnect as MakeTlsConnect<BufReader<S>>>::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        MakeTlsConnect::<BufReader<S>>::make_tls_connect(&mut self.0, host).map(Connect)
    }
}

impl<S, C> TlsConnect<S> for Connect<C>
where
    S: AsyncRead,
    C: TlsConnect<BufReader<S>>,
{
    type Stream = C::Stream;
    type Error = C::Error;
    type Future = C::Future;

    fn connect(self, stream: S) -> Self::Future {
        self.0.connect(BufReader::with_capacity(BUFFER, stream))
    }
}
