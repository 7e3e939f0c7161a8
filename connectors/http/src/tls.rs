//! The files that TLS needs.

use std::path::Path;

use reqwest::{Certificate, Identity};
use towpath_core::{Error, Result, ResultExt};

use crate::config::ConnectionOptions;

/// The certificates that are trusted besides those of the system.
pub(crate) async fn trusted(options: &ConnectionOptions) -> Result<Vec<Certificate>> {
    let Some(path) = &options.ca_certificate else { return Ok(Vec::new()) };
    let no_certificate =
        || Error::config("`ca_certificate` holds no PEM certificate").detail("path", path.display());
    let pem = read("read `ca_certificate`", path).await?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| no_certificate().source(error))?;
    if found.is_empty() { Err(no_certificate()) } else { Ok(found) }
}

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
