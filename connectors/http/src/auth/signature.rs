//! What we sign ourselves: requests, and JSON Web Tokens.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::json;
use sha2::Sha256;
use towpath_core::{Error, Json, Result, Secret};
use url::{Position, Url};

use super::carrier::{header_name, secret_value};
use crate::config::{SecretForm, SignatureForm, TimestampUnit};

/// A secret to sign with.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(secret: &Secret, form: SecretForm) -> Result<Self> {
        let text = secret.expose();
        let (bytes, name) = match form {
            SecretForm::Text => (Some(text.clone().into_bytes()), "text"),
            SecretForm::Hex => (HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(), "hexadecimal"),
            SecretForm::Base64 => (from_base64(text), "Base64"),
        };
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
            Error::config(format!("`secret` is empty or no {name}")).help("check `secret` and `secret_in`")
        })?;
        let hmac = Hmac::new_from_slice(&bytes).expect("HMAC takes keys of every length");
        Ok(Self(hmac))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut hmac = self.0.clone();
        hmac.update(message);
        hmac.finalize().into_bytes().to_vec()
    }
}

/// A JSON Web Token, signed with HS256.
pub(super) fn jwt(
    key: &Key,
    key_id: Option<&str>,
    claims: &BTreeMap<String, Json>,
    now: SystemTime,
    lifetime: Duration,
) -> String {
    let mut head = BTreeMap::from([("alg", json!("HS256")), ("typ", json!("JWT"))]);
    head.extend(key_id.map(|id| ("kid", json!(id))));
    let issued = since_1970(now).as_secs();
    let times = [("exp", issued + lifetime.as_secs()), ("iat", issued)];
    let mut said = BTreeMap::from(times.map(|(name, time)| (name, json!(time))));
    said.extend(claims.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let encode = |json: Json| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let mut token = format!("{}.{}", encode(json!(head)), encode(json!(said)));
    let signature = BASE64URL_NOPAD.encode(&key.sign(token.as_bytes()));
    token.push('.');
    token.push_str(&signature);
    token
}

/// Signs requests.
pub(super) struct Signer {
    pub(super) key: Key,
    message: Vec<Part>,
    header: HeaderName,
    value: String,
    form: SignatureForm,
    timestamp: Option<HeaderName>,
    unit: TimestampUnit,
}

/// A part of what is signed.
enum Part {
    Text(String),
    Timestamp,
    Method,
    Host,
    Path,
    Query,
    Target,
    Body,
}

impl Signer {
    pub(super) fn new(
        key: Key,
        message: &str,
        (header, value, form): (&str, &str, SignatureForm),
        (timestamp, unit): (Option<&str>, TimestampUnit),
    ) -> Result<Self> {
        if !value.contains("{signature}") {
            return Err(Error::config("`value` holds no `{signature}`")
                .help("write `{signature}` where the signature goes"));
        }
        let (header, timestamp) = (header_name(header)?, timestamp.map(header_name).transpose()?);
        Ok(Self { key, message: parts(message)?, header, value: value.to_owned(), form, timestamp, unit })
    }

    /// Puts the signature of a request, as it is sent, into its headers.
    pub(super) fn sign(
        &self,
        (method, url, body): (&str, &Url, &[u8]),
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<()> {
        let timestamp = match self.unit {
            TimestampUnit::Seconds => since_1970(now).as_secs().to_string(),
            TimestampUnit::Milliseconds => since_1970(now).as_millis().to_string(),
        };
        let mut message = Vec::new();
        for part in &self.message {
            message.extend_from_slice(match part {
                Part::Text(text) => text.as_bytes(),
                Part::Timestamp => timestamp.as_bytes(),
                Part::Method => method.as_bytes(),
                Part::Host => url[Position::BeforeHost..Position::AfterPort].as_bytes(),
                Part::Path => url.path().as_bytes(),
                Part::Query => url.query().unwrap_or_default().as_bytes(),
                Part::Target => url[Position::BeforePath..Position::AfterQuery].as_bytes(),
                Part::Body => body,
            });
        }
        let signature = self.key.sign(&message);
        let signature = match self.form {
            SignatureForm::Hex => HEXLOWER.encode(&signature),
            SignatureForm::Base64 => BASE64.encode(&signature),
        };
        let value = self.value.replace("{signature}", &signature);
        headers.insert(self.header.clone(), secret_value(self.header.as_str(), &value)?);
        if let Some(name) = &self.timestamp {
            headers.insert(name.clone(), secret_value(name.as_str(), &timestamp)?);
        }
        Ok(())
    }
}

/// Takes a template for a message apart.
fn parts(template: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        parts.push(Part::Text(before.to_owned()));
        let (name, behind) = behind.split_once('}').ok_or_else(|| {
            Error::config("`message` holds a `{` that is never closed").help("write `}` behind the name")
        })?;
        parts.push(match name {
            "timestamp" => Part::Timestamp,
            "method" => Part::Method,
            "host" => Part::Host,
            "path" => Part::Path,
            "query" => Part::Query,
            "target" => Part::Target,
            "body" => Part::Body,
            other => {
                return Err(Error::config(format!(
                    "`message` holds `{{{other}}}`, which is nothing to sign"
                ))
                .help(
                    "use `{timestamp}`, `{method}`, `{host}`, `{path}`, `{query}`, `{target}` or `{body}`",
                ));
            }
        });
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Both alphabets, with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    BASE64_NOPAD.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_in_each_form() {
        let key =
            |text: &str, form| Key::new(&Secret::new(text.to_owned()), form).ok().map(|key| key.sign(b"x"));
        assert_eq!(key("4a656665", SecretForm::Hex), key("Jefe", SecretForm::Text));
        assert_eq!(key("4A656665", SecretForm::Hex), key("Jefe", SecretForm::Text));
        assert_eq!((key("0", SecretForm::Hex), key("0g", SecretForm::Hex)), (None, None));
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")] {
            assert_eq!(from_base64(text), Some(bytes.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(
            (from_base64("+/-_"), from_base64("Z"), from_base64("Z!")),
            (Some(vec![251, 255, 191]), None, None)
        );
    }

    #[test]
    fn a_signature_is_that_of_rfc_4231() {
        let key = Key::new(&Secret::new("Jefe".to_owned()), SecretForm::Text).unwrap();
        let signature = key.sign(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(HEXLOWER.encode(&signature), expected);
    }
}
