//! The options of the sink.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::Secret;

use super::auth::Auth;
use super::connection::{ConnectionOptions, Timeouts, default_redirects};
use super::values::OneOrMany;

/// The options of an HTTP sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Where `path` begins. With it, credentials and headers go to this host only.
    #[serde(default)]
    pub base_url: Option<String>,
    /// Headers of every request. They count as secrets and never follow to another host.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// How we say who we are.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How long is waited for what.
    #[serde(default)]
    pub timeout: Timeouts,
    /// The `User-Agent`; `towpath/VERSION` by default.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// How many redirects are followed; 5 by default. Only 307 and 308 are, because the others drop the body.
    #[serde(default = "default_redirects")]
    pub redirects: u32,
    /// A PEM file with certificates to trust besides those of the system.
    #[serde(default)]
    pub ca_certificate: Option<PathBuf>,
    /// A PEM file with the certificate by which we say who we are, for servers that ask for one in TLS. Needs `client_key`.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// A PEM file with the private key of `client_certificate`; it may be the same file.
    #[serde(default)]
    pub client_key: Option<PathBuf>,

    /// The URL to send to.
    #[serde(default)]
    pub url: Option<String>,
    /// The path to send to, behind `base_url`.
    #[serde(default)]
    pub path: Option<String>,
    /// Query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, OneOrMany>,
    /// The method.
    #[serde(default)]
    pub method: WriteMethod,
    /// The form of the body.
    #[serde(default)]
    pub body: BodyFormat,
    /// The most rows of one request; 500 by default.
    #[serde(default = "default_batch_rows")]
    pub batch_rows: NonZeroUsize,
}

/// The method of a writing request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum WriteMethod {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

/// The form of a written body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyFormat {
    /// A JSON array of objects.
    #[default]
    Json,
    /// A JSON object a line.
    Ndjson,
}

fn default_batch_rows() -> NonZeroUsize {
    const ROWS: NonZeroUsize = NonZeroUsize::new(500).expect("five hundred is not zero");
    ROWS
}

impl SinkConfig {
    pub(crate) fn connection(&self) -> ConnectionOptions {
        ConnectionOptions {
            base_url: self.base_url.clone(),
            headers: self.headers.clone(),
            auth: self.auth.clone(),
            timeout: self.timeout,
            user_agent: self.user_agent.clone(),
            redirects: self.redirects,
            ca_certificate: self.ca_certificate.clone(),
            client_certificate: self.client_certificate.clone(),
            client_key: self.client_key.clone(),
        }
    }
}
