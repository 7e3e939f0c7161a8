//! Signed tokens that are exchanged for access tokens (RFC 7523).

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::{Error, Result, Secret};

use super::jwt::Issuer;
use super::keys::TokenKey;
use crate::config::{Auth, TokenAlgorithm};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What is exchanged, and where.
pub(super) struct Assertion {
    pub(super) token_url: String,
    /// The form but for the token itself.
    pub(super) fields: Vec<(String, Secret)>,
    pub(super) issuer: Issuer,
}

impl Assertion {
    /// The exchange of this scheme; `None` when it is another one.
    pub(super) fn new(auth: &Auth) -> Result<Option<Self>> {
        let Auth::JwtBearer {
            token_url,
            issuer,
            subject,
            audience,
            scopes,
            claims,
            private_key,
            key_id,
            algorithm,
            expires_in,
            params,
            ..
        } = auth
        else {
            return Ok(None);
        };
        let token_url = needed("token_url", token_url.as_deref())?;
        let scope = (!scopes.is_empty()).then(|| scopes.join(" "));
        let mut said = BTreeMap::from([
            ("iss".to_owned(), json!(needed("issuer", issuer.as_deref())?)),
            ("aud".to_owned(), json!(audience.as_deref().unwrap_or(token_url))),
        ]);
        said.extend(subject.iter().map(|subject| ("sub".to_owned(), json!(subject))));
        said.extend(scope.map(|scope| ("scope".to_owned(), json!(scope))));
        said.extend(claims.clone());
        let algorithm = algorithm.unwrap_or(TokenAlgorithm::Rs256);
        let key = (algorithm, TokenKey::new(algorithm, None, private_key.as_ref())?);
        let mut fields = vec![("grant_type".to_owned(), Secret::new(GRANT.to_owned()))];
        for (name, value) in params {
            // An explicit parameter wins, so that unusual servers can be served.
            fields.retain(|(known, _)| known != name);
            fields.push((name.clone(), value.clone()));
        }
        let issuer = Issuer::new(key, key_id.as_deref(), said, *expires_in)?.named();
        Ok(Some(Self { token_url: token_url.to_owned(), fields, issuer }))
    }
}

fn needed<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str> {
    value.ok_or_else(|| {
        Error::config(format!("`auth.{name}` is missing")).help("set it, or `service_account_file`")
    })
}
