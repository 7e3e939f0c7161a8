//! The options of a connection, which its streams share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Secret};

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
