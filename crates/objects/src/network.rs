//! How stores are reached: the client of a connection, with its certificates and its proxy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Proxy};
use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{Context, Error, HumanDuration, Result, ResultExt, Secret};
use url::Url;

/// What stands in `proxy` for none at all.
const NO_PROXY: &str = "none";

/// How long an unused connection is probed for life.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// How a store is reached.
#[derive(Debug, Clone, Default)]
pub struct NetworkOptions {
    /// A PEM file with certificates to trust besides those of the system.
    pub ca_certificate: Option<PathBuf>,
    /// The URL of a proxy, or `none`; by default the environment says.
    pub proxy: Option<Secret>,
    /// How long is waited for what.
    pub timeout: Timeouts,
}

/// How long is waited for what. A request that takes longer is tried again.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For the connection, TLS included; 10s by default.
    pub connect: HumanDuration,
    /// For the head of an answer, and between two pieces of its body; 60s by default.
    pub idle: HumanDuration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10).into(), idle: Duration::from_mins(1).into() }
    }
}

/// The client of a connection, with its pool of sockets. All libraries send through it.
#[derive(Debug, Clone)]
pub struct Client(Arc<reqwest::Client>);

impl Client {
    /// The client of this connection.
    ///
    /// # Errors
    /// `Config` for a file without certificates, or a proxy that is none.
    pub async fn new(options: &NetworkOptions, cx: &Context) -> Result<Self> {
        let certificates = trusted(options).await?;
        let shared = cx.connection().shared(&key(options), || build(options, certificates))?;
        Ok(Self(shared))
    }

    pub(crate) fn inner(&self) -> &reqwest::Client {
        &self.0
    }
}

fn build(options: &NetworkOptions, certificates: Vec<Certificate>) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        // Both are decided above this.
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("towpath/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.timeout.connect.get())
        .read_timeout(options.timeout.idle.get())
        .pool_max_idle_per_host(usize::MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        // Stores speak it, and a connection for each request is faster than streams that share one.
        .http1_only();
    if !certificates.is_empty() {
        builder = builder.tls_certs_merge(certificates);
    }
    builder = match options.proxy.as_ref().map(Secret::expose) {
        None => builder,
        Some(proxy) if proxy == NO_PROXY => builder.no_proxy(),
        Some(proxy) => builder.no_proxy().proxy(self::proxy(proxy)?),
    };
    builder.build().map_err(|error| Error::unexpected("the HTTP client cannot be built").source(error))
}

/// What makes clients different: those with the same key are shared.
fn key(options: &NetworkOptions) -> String {
    let NetworkOptions { ca_certificate, proxy, timeout } = options;
    let proxy = proxy.as_ref().map(Secret::expose);
    format!("{ca_certificate:?} {proxy:?} {timeout:?}")
}

fn proxy(text: &str) -> Result<Proxy> {
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

/// The certificates that are trusted besides those of the system.
async fn trusted(options: &NetworkOptions) -> Result<Vec<Certificate>> {
    let Some(path) = &options.ca_certificate else { return Ok(Vec::new()) };
    let pem =
        tokio::fs::read(path).await.operation("read `ca_certificate`").detail("path", path.display())?;
    let none = || Error::config("`ca_certificate` holds no PEM certificate").detail("path", path.display());
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| none().source(error))?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn client(options: NetworkOptions) -> Result<Client> {
        // Another test's thread may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(&options, &towpath_testkit::context()).await
    }

    #[tokio::test]
    async fn a_proxy_that_is_none_is_refused_without_its_password() {
        let proxy = Some(Secret::new("ftp://ann:hush@proxy:1".to_owned()));
        let error = client(NetworkOptions { proxy, ..Default::default() }).await.unwrap_err().to_string();
        assert!(error.starts_with("`proxy` is not the URL of a proxy") && !error.contains("hush"), "{error}");
    }

    #[tokio::test]
    async fn a_file_without_certificates_is_refused() {
        let path: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into();
        let ca_certificate = Some(path);
        let error =
            client(NetworkOptions { ca_certificate, ..Default::default() }).await.unwrap_err().to_string();
        assert!(error.contains("`ca_certificate` holds no PEM certificate"), "{error}");
    }
}
