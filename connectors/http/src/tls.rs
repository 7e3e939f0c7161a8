//! The files that TLS needs.

use std::path::Path;

use reqwest::Identity;
use towpath_core::{Error, Result, ResultExt};

use crate::config::ConnectionOptions;

/// The certificate by which we say who we are, with its key.
pub(crate) async fn identity(options: &ConnectionOptions) -> Result<Option<Identity>> {
    let (certificate, key) = match (&options.client_certificate, &options.client_key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => {
            return Err(Error::config("`client_certificate` needs its key").help("set `client_key`"));
        }
        (None, Some(_)) => {
            return Err(Error::config("`client_key` needs its certificate").help("set `client_certificate`"));
        }
    };
    let mut pem = read("read `client_certificate`", certificate).await?;
    if key != certificate {
        pem.push(b'\n');
        pem.extend(read("read `client_key`", key).await?);
    }
    // The cause is left out: it has seen the key.
    Identity::from_pem(&pem).map(Some).map_err(|_| {
        Error::config("`client_certificate` and `client_key` hold no PEM certificate with its private key")
            .detail("certificate", certificate.display())
            .detail("key", key.display())
    })
}

async fn read(operation: &'static str, path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.operation(operation).detail("path", path.display())
}
