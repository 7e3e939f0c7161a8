//! How stores are reached: the client of a connection, with its certificates and its proxy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{Context, Error, HumanDuration, Result, Secret};
use towpath_web::NO_PROXY;

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
        let certificates = towpath_web::trusted(options.ca_certificate.as_deref()).await?;
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
        Some(proxy) => builder.no_proxy().proxy(towpath_web::proxy(proxy)?),
    };
    builder.build().map_err(|error| Error::unexpected("the HTTP client cannot be built").source(error))
}

/// What makes clients different: those with the same key are shared.
fn key(options: &NetworkOptions) -> String {
    let NetworkOptions { ca_certificate, proxy, timeout } = options;
    let proxy = proxy.as_ref().map(Secret::expose);
    format!("{ca_certificate:?} {proxy:?} {timeout:?}")
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
