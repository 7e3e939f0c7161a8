//! JSON Web Tokens that we sign ourselves.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::json;
use towpath_core::{Error, HumanDuration, Json, Result};

use super::keys::{TokenKey, random};
use super::signature::since_1970;
use crate::config::TokenAlgorithm;

/// Signs tokens.
#[derive(Debug)]
pub(super) struct Issuer {
    key: TokenKey,
    /// Head, without its end.
    head: String,
    claims: BTreeMap<String, Json>,
    lifetime: Duration,
    /// Whether each token gets a name of its own.
    named: bool,
}

impl Issuer {
    pub(super) fn new(
        (algorithm, key): (TokenAlgorithm, TokenKey),
        key_id: Option<&str>,
        claims: BTreeMap<String, Json>,
        lifetime: HumanDuration,
    ) -> Result<Self> {
        let lifetime = lifetime.get();
        if lifetime < Duration::from_secs(1) {
            return Err(Error::config("`expires_in` is less than a second").help("5m is usual"));
        }
        let mut head = BTreeMap::from([("alg", json!(algorithm.name())), ("typ", json!("JWT"))]);
        head.extend(key_id.map(|id| ("kid", json!(id))));
        Ok(Self { key, head: encode(&json!(head)), claims, lifetime, named: false })
    }

    /// The same, whose tokens have a random `jti` each, for servers that take each of them once.
    pub(super) fn named(self) -> Self {
        Self { named: true, ..self }
    }

    /// How long a token is good.
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A token of this moment.
    pub(super) fn token(&self, now: SystemTime) -> Result<String> {
        let issued = since_1970(now).as_secs();
        let times = [("exp", issued + self.lifetime.as_secs()), ("iat", issued)];
        let mut said = BTreeMap::from(times.map(|(name, time)| (name, json!(time))));
        if self.named {
            said.insert("jti", json!(HEXLOWER.encode(&random::<16>()?)));
        }
        said.extend(self.claims.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut token = format!("{}.{}", self.head, encode(&json!(said)));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&BASE64URL_NOPAD.encode(&signature));
        Ok(token)
    }
}

fn encode(json: &Json) -> String {
    BASE64URL_NOPAD.encode(json.to_string().as_bytes())
}
