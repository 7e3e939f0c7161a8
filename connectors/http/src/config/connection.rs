//! The options of a connection, which its streams share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Rate, Secret};

use super::auth::Auth;

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
