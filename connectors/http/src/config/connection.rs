//! The options of a connection, which its streams share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{HumanDuration, Secret};

/// What source and sink have in common.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionOptions {
    pub headers: BTreeMap<String, Secret>,
    pub auth: Option<Auth>,
    pub timeout: Timeouts,
    pub user_agent: Option<String>,
    pub redirects: u32,
    pub ca_certificate: Option<PathBuf>,
}

/// How we say who we are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// `Authorization: Bearer TOKEN`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// `Authorization: Basic`, a name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password; empty by default.
        #[serde(default = "empty")]
        password: Secret,
    },
    /// A key in a header or in the query.
    ApiKey {
        /// The name of the header or parameter.
        name: String,
        /// The key.
        value: Secret,
        /// Where it goes.
        #[serde(default, rename = "in")]
        place: KeyPlace,
    },
}

fn empty() -> Secret {
    Secret::new(String::new())
}

/// Where an API key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// A header.
    #[default]
    Header,
    /// A query parameter.
    Query,
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
