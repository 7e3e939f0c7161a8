//! What we sign ourselves: requests, and JSON Web Tokens.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::json;
use sha2::Sha256;
use towpath_core::{Error, Json, Result, Secret};
use url::{Position, Url};

use super::carrier::{base64, header_name, secret_value};
use crate::config::{SecretForm, SignatureForm, TimestampUnit};

/// A secret to sign with.
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    pub(super) fn new(secret: &Secret, form: SecretForm) -> Result<Self> {
        let text = secret.expose();
        let (bytes, name) = match form {
            SecretForm::Text => (Some(text.clone().into_bytes()), "text"),
            SecretForm::Hex => (from_hex(text), "hexadecimal"),
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
    let encode = |json: Json| for_urls(json.to_string().as_bytes());
    let mut token = format!("{}.{}", encode(json!(head)), encode(json!(said)));
    let signature = for_urls(&key.sign(token.as_bytes()));
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
            SignatureForm::Hex => hex(&signature),
            SignatureForm::Base64 => base64(&signature),
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
        let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
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

/// Base64 as tokens write it.
fn for_urls(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Both alphabets, with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    // A digit that begins a byte and stands alone belongs to nothing.
    (count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_in_each_form() {
        assert_eq!(from_hex("00fF10"), Some(vec![0, 255, 16]));
        assert_eq!((from_hex("0"), from_hex("0g")), (None, None));
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
        assert_eq!(Some(signature), from_hex(expected));
    }
}
