//! The options of a connection, which its streams share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Rate, Secret};

use super::auth::Auth;

/// Declares the options of a side: those of the connection, and its own behind them.
///
/// A struct within the struct would not do: `serde(flatten)` goes with no `deny_unknown_fields`, and errors in it have no place.
macro_rules! with_connection {
    ($(#[$attribute:meta])* pub struct $side:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        pub struct $side {
            /// Where every `path` begins, such as `https://api.example.com/v2`. With it, credentials and headers go to this host
            /// only, also when a stream names another one by `url`.
            #[serde(default)]
            pub base_url: Option<String>,
            /// Headers of every request. They count as secrets and never follow to another host. They may hold `{name}`: in a source
            /// filled in from `params`, in a sink with `rows: single` from the column of that name, and left out where it is null.
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
            /// How many redirects are followed; 5 by default, 0 to refuse them. In a sink only 307 and 308 are, because the others drop
            /// the body.
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
            /// The proxy that requests go through: `http://`, `https://` or `socks5://` (`socks5h://` lets it look up names), with
            /// `user:password@` if it wants them, or `none`. By default the environment says (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
            #[serde(default)]
            pub proxy: Option<Secret>,
            /// Hosts that are reached without `proxy`: names with everything below them, addresses and networks, such as
            /// `[internal.example, 10.0.0.0/8]`. None by default.
            #[serde(default)]
            pub no_proxy: Vec<String>,
            /// Whether HTTP/2 is spoken.
            #[serde(default)]
            pub http2: Http2,
            /// Whether servers in private networks are talked to: this machine, private, link-local and unique-local addresses,
            /// metadata of clouds. Refuse them where URLs come from somebody who is not trusted. Names are looked up first, and each
            /// redirect is looked at. The proxy of the environment is then left alone.
            #[serde(default)]
            pub private_networks: PrivateNetworks,
            /// Budgets of parts of the API, such as `[{ match: "/search/*", rate: 30/m }]`. All streams of the connection share them,
            /// a request spends of each that matches it, and the limits that the server tells in its answer pause them instead of
            /// all requests.
            #[serde(default)]
            pub budgets: Vec<Budget>,

            $($own)*
        }

        impl $side {
            /// The options of the connection, with those headers that are the same for each request.
            fn connection_with(&self, headers: BTreeMap<String, Secret>) -> ConnectionOptions {
                ConnectionOptions {
                    base_url: self.base_url.clone(),
                    headers,
                    auth: self.auth.clone(),
                    timeout: self.timeout,
                    user_agent: self.user_agent.clone(),
                    redirects: self.redirects,
                    ca_certificate: self.ca_certificate.clone(),
                    client_certificate: self.client_certificate.clone(),
                    client_key: self.client_key.clone(),
                    proxy: self.proxy.clone(),
                    no_proxy: self.no_proxy.clone(),
                    http2: self.http2,
                    private_networks: self.private_networks,
                    budgets: self.budgets.clone(),
                }
            }
        }
    };
}

pub(super) use with_connection;

/// What source and sink have in common.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    pub base_url: Option<String>,
    pub headers: BTreeMap<String, Secret>,
    pub auth: Option<Auth>,
    pub timeout: Timeouts,
    pub user_agent: Option<String>,
    pub redirects: u32,
    pub ca_certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    pub proxy: Option<Secret>,
    pub no_proxy: Vec<String>,
    pub http2: Http2,
    pub private_networks: PrivateNetworks,
    pub budgets: Vec<Budget>,
}

/// Whether HTTP/2 is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Http2 {
    /// With servers that offer it in TLS.
    #[default]
    Auto,
    /// Nothing else, also without TLS.
    Only,
    /// HTTP/1.1 only.
    Never,
}

/// Whether servers in private networks are talked to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrivateNetworks {
    /// As with all others.
    #[default]
    Allow,
    /// Never.
    Refuse,
}

/// A number of requests to some URLs in each period.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Which URLs: a path behind `base_url`, or a whole URL, without the query. `*` stands for any characters.
    #[serde(rename = "match")]
    pub pattern: String,
    /// How many in which period, such as `30/m`.
    pub rate: Rate,
    /// Which periods the server counts in.
    #[serde(default)]
    pub window: BudgetWindow,
}

/// The periods of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetWindow {
    /// Each that ends now: never more than so many in any period.
    #[default]
    Moving,
    /// One after the other by the clock, such as each full minute.
    Fixed,
}

/// How long is waited for what. A request that takes longer is tried again.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For the connection, TLS included; 10s by default.
    pub connect: HumanDuration,
    /// For the head of the answer, from the start of the request; 60s by default.
    pub first_byte: HumanDuration,
    /// Between two pieces of a body; 60s by default.
    pub idle: HumanDuration,
    /// For the whole of one request, body included; no limit by default.
    pub total: Option<HumanDuration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10).into(),
            first_byte: Duration::from_mins(1).into(),
            idle: Duration::from_mins(1).into(),
            total: None,
        }
    }
}

pub(crate) fn default_redirects() -> u32 {
    5
}
