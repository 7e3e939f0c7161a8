//! What connectors over HTTP share: proxies, certificates that are trusted, and why a request got no answer.
//!
//! It sends nothing. Errors call options by the names `proxy`, `ca_certificate` and `timeout.connect`, which each of them has.

use std::error::Error as StdError;
use std::path::Path;

use reqwest::{Certificate, Proxy};
use towpath_core::{Error, ErrorKind, Result, ResultExt, Retry};
use url::Url;

/// What stands in `proxy` for none at all.
pub const NO_PROXY: &str = "none";

/// The proxy of a URL, with its user and password.
///
/// # Errors
/// `Config`, without the URL, which may hold a password.
///
/// ```
/// assert!(towpath_web::proxy("socks5://ann:secret@proxy.example:1080").is_ok());
/// let error = towpath_web::proxy("ftp://ann:secret@proxy.example").unwrap_err().to_string();
/// assert!(error.starts_with("`proxy` is not the URL of a proxy") && !error.contains("secret"));
/// ```
pub fn proxy(text: &str) -> Result<Proxy> {
    // The cause is left out: it has seen the password.
    let wrong = || {
        Error::config("`proxy` is not the URL of a proxy")
            .help("write http://host:port, https://host:port or socks5://host:port, with user:password@ before the host if it wants them, or none")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !url.has_host() || !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
        return Err(wrong());
    }
    Proxy::all(text).map_err(|_| wrong())
}

/// The certificates of a file, which are trusted besides those of the system; none without a file.
///
/// # Errors
/// When the file cannot be read, or holds no certificate.
pub async fn trusted(ca_certificate: Option<&Path>) -> Result<Vec<Certificate>> {
    let Some(path) = ca_certificate else { return Ok(Vec::new()) };
    let pem =
        tokio::fs::read(path).await.operation("read `ca_certificate`").detail("path", path.display())?;
    let none = || Error::config("`ca_certificate` holds no PEM certificate").detail("path", path.display());
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| none().source(error))?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// Why a request got no answer, where a certificate, a proxy or a name is the reason; `None` for others. `named_by` is what names
/// the server, such as `url`. The cause is for the caller to add, without its URL.
pub fn unreached(error: &reqwest::Error, named_by: &str) -> Option<Error> {
    let cause = chain(error);
    if cause.contains("certificate") {
        let text = "the server's certificate is not trusted";
        let help = "set `ca_certificate` to the file of the authority that signed it";
        return Some(Error::unavailable(text).retry(Retry::Never).help(help));
    }
    if cause.contains("proxy authorization required") {
        let error = Error::new(ErrorKind::Unauthenticated, "the proxy wants credentials");
        return Some(error.help("put them into the URL of the proxy: http://user:password@host:port"));
    }
    if cause.contains("tunnel error") || cause.contains("SOCKS error") {
        let help = "check `proxy`, or HTTPS_PROXY in the environment, and what the proxy lets through";
        return Some(Error::unavailable("the proxy makes no connection to the server").help(help));
    }
    error.is_dns().then(|| {
        Error::unavailable("the host name cannot be resolved")
            .help(format!("check {named_by} and the network"))
    })
}

/// An error with all of its causes.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
