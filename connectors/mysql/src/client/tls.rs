//! Encryption, with what is asked of the server's certificate.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use towpath_core::{Error, Result, Retry};
use towpath_tls::{Files, Trust, client_config};

use super::wire::Socket;
use crate::config::{Tls, TlsMode};
use crate::errors::config;

/// Wraps a socket into encryption.
pub(super) async fn encrypt(
    socket: Box<dyn Socket>,
    host: &str,
    mode: TlsMode,
    tls: &Tls,
) -> Result<Box<dyn Socket>> {
    let trust = match mode {
        TlsMode::VerifyIdentity => Trust::Host,
        TlsMode::VerifyCa => Trust::Authority,
        TlsMode::Disabled | TlsMode::Preferred | TlsMode::Required => Trust::Anyone,
    };
    let files = Files {
        authorities: tls.ca.clone().map(|path| ("tls.ca", path)),
        certificate: tls.cert.clone().map(|path| ("tls.cert", path)),
        key: tls.key.clone().map(|path| ("tls.key", path)),
    };
    let client = client_config(trust, &files)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| config("the host is no name that a certificate can have").source(error))?;
    let stream = TlsConnector::from(Arc::new(client)).connect(name, socket).await.map_err(refused)?;
    Ok(Box::new(stream))
}

fn refused(error: std::io::Error) -> Error {
    let is_certificate = error.to_string().contains("certificate");
    let failed = Error::unavailable("no encrypted connection could be made").source(error);
    if !is_certificate {
        return failed;
    }
    failed.retry(Retry::Never).help(
        "set `tls.ca` to the authority that signed the server's certificate, or choose another `tls.mode`",
    )
}
