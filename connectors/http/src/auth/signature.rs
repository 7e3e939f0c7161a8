//! Signatures of requests.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::{BASE64, HEXLOWER};
use reqwest::header::{HeaderMap, HeaderName};
use ring::{digest, hmac};
use towpath_core::{Error, Result, Secret};
use url::{Position, Url};

use super::carrier::{header_name, secret_value};
use super::keys::random;
use crate::config::{SignatureForm, TimestampForm};
use crate::query;

/// Signs requests with HMAC.
pub(super) struct Signer {
    pub(super) key: hmac::Key,
    message: Template,
    headers: Vec<(HeaderName, Template)>,
    /// The query parameters that may be signed.
    signed: Vec<(String, Template)>,
    /// Those that are made of the signature.
    unsigned: Vec<(String, Template)>,
    form: SignatureForm,
    timestamp: TimestampForm,
}

/// A text with places for what a request has.
struct Template(Vec<Part>);

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Timestamp,
    Nonce,
    Method,
    Host,
    Path,
    Query,
    Target,
    Body,
    BodySha256,
    Signature,
}

enum Part {
    Text(String),
    Place(Place),
}

const PLACES: [(&str, Place); 10] = [
    ("timestamp", Place::Timestamp),
    ("nonce", Place::Nonce),
    ("method", Place::Method),
    ("host", Place::Host),
    ("path", Place::Path),
    ("query", Place::Query),
    ("target", Place::Target),
    ("body", Place::Body),
    ("body_sha256", Place::BodySha256),
    ("signature", Place::Signature),
];

/// What fills the places.
struct Filling<'a> {
    method: &'a str,
    url: Url,
    body: &'a [u8],
    timestamp: String,
    nonce: String,
    signature: String,
}

impl Signer {
    pub(super) fn new(
        key: hmac::Key,
        message: &str,
        headers: &BTreeMap<String, Secret>,
        query: &BTreeMap<String, Secret>,
        (form, timestamp): (SignatureForm, TimestampForm),
    ) -> Result<Self> {
        let message = Template::new("message", message)?;
        if message.has(Place::Signature) {
            return Err(Error::config("`message` holds `{signature}`, which is made of it")
                .help("put `{signature}` into `headers` or `query`"));
        }
        let template =
            |(name, value): (&String, &Secret)| Ok((name.clone(), Template::new(name, value.expose())?));
        let query = query.iter().map(template).collect::<Result<Vec<_>>>()?;
        let is_unsigned = |(_, value): &(String, Template)| value.has(Place::Signature);
        let (unsigned, signed): (Vec<_>, Vec<_>) = query.into_iter().partition(is_unsigned);
        let headers = headers.iter().map(template).collect::<Result<Vec<_>>>()?;
        if unsigned.is_empty() && !headers.iter().any(is_unsigned) {
            return Err(Error::config("the signature goes nowhere").help(
                "write `{signature}` where it goes, such as `headers: { X-Signature: \"{signature}\" }`",
            ));
        }
        let named = headers.into_iter().map(|(name, value)| Ok((header_name(&name)?, value)));
        let headers = named.collect::<Result<_>>()?;
        Ok(Self { key, message, headers, signed, unsigned, form, timestamp })
    }

    /// The query parameters that it sets.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.signed.iter().chain(&self.unsigned).map(|(name, _)| name.as_str())
    }

    /// Puts the signature of a request, as it is sent, into its place.
    pub(super) fn sign(
        &self,
        (method, url, body): (&str, &mut Url, &[u8]),
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<()> {
        let timestamp = self.timestamp.of(now);
        let nonce = HEXLOWER.encode(&random::<16>()?);
        let mut filling =
            Filling { method, url: url.clone(), body, timestamp, nonce, signature: String::new() };
        for (name, value) in &self.signed {
            query::set(url, name, &value.text(&filling)?);
        }
        filling.url.clone_from(url);
        filling.sign(self);
        for (name, value) in &self.unsigned {
            query::set(url, name, &value.text(&filling)?);
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), secret_value(name.as_str(), &value.text(&filling)?)?);
        }
        Ok(())
    }
}

impl Filling<'_> {
    fn sign(&mut self, signer: &Signer) {
        let signature = hmac::sign(&signer.key, &signer.message.bytes(self));
        self.signature = match signer.form {
            SignatureForm::Hex => HEXLOWER.encode(signature.as_ref()),
            SignatureForm::Base64 => BASE64.encode(signature.as_ref()),
        };
    }

    fn fill(&self, place: Place, bytes: &mut Vec<u8>) {
        match place {
            Place::Timestamp => bytes.extend_from_slice(self.timestamp.as_bytes()),
            Place::Nonce => bytes.extend_from_slice(self.nonce.as_bytes()),
            Place::Method => bytes.extend_from_slice(self.method.as_bytes()),
            Place::Host => {
                bytes.extend_from_slice(self.url[Position::BeforeHost..Position::AfterPort].as_bytes());
            }
            Place::Path => bytes.extend_from_slice(self.url.path().as_bytes()),
            Place::Query => bytes.extend_from_slice(self.url.query().unwrap_or_default().as_bytes()),
            Place::Target => {
                bytes.extend_from_slice(self.url[Position::BeforePath..Position::AfterQuery].as_bytes());
            }
            Place::Body => bytes.extend_from_slice(self.body),
            Place::BodySha256 => bytes.extend_from_slice(sha256(self.body).as_bytes()),
            Place::Signature => bytes.extend_from_slice(self.signature.as_bytes()),
        }
    }
}

impl Template {
    /// Takes a template apart. `option` is where it stands.
    fn new(option: &str, template: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            parts.push(Part::Text(before.to_owned()));
            let (name, behind) = behind.split_once('}').ok_or_else(|| {
                Error::config(format!("`{option}` holds a `{{` that is never closed"))
                    .help("write `}` behind the name")
            })?;
            let place = PLACES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
            parts.push(Part::Place(place.ok_or_else(|| {
                let known: Vec<_> = PLACES.iter().map(|(name, _)| format!("`{{{name}}}`")).collect();
                Error::config(format!("`{option}` holds `{{{name}}}`, which is nothing that a request has"))
                    .help(format!("use {}", known.join(", ")))
            })?));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    fn has(&self, place: Place) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Place(known) if *known == place))
    }

    fn bytes(&self, filling: &Filling<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Part::Place(place) => filling.fill(*place, &mut bytes),
            }
        }
        bytes
    }

    fn text(&self, filling: &Filling<'_>) -> Result<String> {
        let text = String::from_utf8(self.bytes(filling));
        text.map_err(|_| Error::config("`{body}` is no text here").help("use `{body_sha256}`"))
    }
}

impl TimestampForm {
    fn of(self, now: SystemTime) -> String {
        match self {
            Self::Seconds => since_1970(now).as_secs().to_string(),
            Self::Milliseconds => since_1970(now).as_millis().to_string(),
            Self::Rfc3339 => DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true),
            Self::HttpDate => httpdate::fmt_http_date(now),
        }
    }
}

/// In lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
