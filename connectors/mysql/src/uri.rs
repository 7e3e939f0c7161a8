//! What a `mysql://` URI stands for.

use std::path::PathBuf;

use serde_json::{Map, json};
use towpath_core::{Error, Json, Result, Secret};
use url::Url;

use crate::config::{Tls, TlsMode};

/// The schemes of this connector.
pub(crate) const SCHEMES: &[&str] = &["mysql", "mariadb"];

/// The parts of a URI.
#[derive(Debug, Default)]
pub(crate) struct Uri {
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) tls: Tls,
}

impl Uri {
    /// Reads a URI that names a connection and nothing else.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (uri, rest) = read(text)?;
        match rest.into_iter().next() {
            None => Ok(uri),
            Some((name, _)) => Err(wrong(format!("`{name}` is no parameter of a connection"))
                .help("known are ssl-mode, ssl-ca, ssl-cert, ssl-key and socket")),
        }
    }
}

/// The options that a URI of `towpath copy` stands for: `mysql://user:password@host/database?table=name`.
pub(crate) fn options(text: &str) -> Result<Json> {
    let (_, rest) = read(text)?;
    let mut url = parse(text)?;
    let of_connection: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !rest.iter().any(|(other, _)| other == name))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.set_query(None);
    if !of_connection.is_empty() {
        url.query_pairs_mut().extend_pairs(of_connection);
    }
    let mut options = Map::new();
    options.insert("url".to_owned(), url.as_str().into());
    for (name, value) in rest {
        if options.insert(name.clone(), value_of(&value)).is_some() {
            return Err(wrong(format!("`{name}` stands twice")));
        }
    }
    Ok(Json::Object(options))
}

/// A number or a truth value as itself, else a text.
fn value_of(text: &str) -> Json {
    match serde_json::from_str(text) {
        Ok(value @ (Json::Number(_) | Json::Bool(_))) => value,
        _ => json!(text),
    }
}

/// The connection, and the parameters that are not its own.
fn read(text: &str) -> Result<(Uri, Vec<(String, String)>)> {
    let url = parse(text)?;
    let mut uri = Uri {
        host: url
            .host_str()
            .filter(|host| !host.is_empty())
            .map(|host| {
                let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                inner.map_or_else(|| decoded(host), |address| Ok(address.to_owned()))
            })
            .transpose()?,
        port: url.port(),
        user: Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?,
        password: url.password().map(decoded).transpose()?.map(Secret::new),
        ..Uri::default()
    };
    let database = decoded(url.path().strip_prefix('/').unwrap_or(url.path()))?;
    uri.database = (!database.is_empty()).then_some(database);
    let mut rest = Vec::new();
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "ssl-mode" | "sslmode" => uri.tls.mode = Some(mode(&value)?),
            "ssl-ca" => uri.tls.ca = Some(PathBuf::from(value.as_ref())),
            "ssl-cert" => uri.tls.cert = Some(PathBuf::from(value.as_ref())),
            "ssl-key" => uri.tls.key = Some(PathBuf::from(value.as_ref())),
            "socket" => uri.socket = Some(PathBuf::from(value.as_ref())),
            _ => rest.push((name.into_owned(), value.into_owned())),
        }
    }
    Ok((uri, rest))
}

fn parse(text: &str) -> Result<Url> {
    // The text holds the password, so the error must not repeat it.
    let url = Url::parse(text).map_err(|error| wrong("the URL cannot be read").source(error))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(wrong(format!("the URL begins with `{}:`", url.scheme())).help("write `mysql://`"));
    }
    Ok(url)
}

fn mode(text: &str) -> Result<TlsMode> {
    match text.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" => Ok(TlsMode::Disabled),
        "preferred" => Ok(TlsMode::Preferred),
        "required" => Ok(TlsMode::Required),
        "verify_ca" => Ok(TlsMode::VerifyCa),
        "verify_identity" => Ok(TlsMode::VerifyIdentity),
        _ => Err(wrong(format!("`{text}` is no ssl-mode"))
            .help("write disabled, preferred, required, verify_ca or verify_identity")),
    }
}

/// Resolves percent signs.
fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let escaped = match (first, behind) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8(bytes).map_err(|_| wrong("the URL holds text that is not UTF-8"))
}

fn wrong(message: impl Into<String>) -> Error {
    Error::config(message).connector(crate::NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_uri_is_percent_decoded() {
        let uri =
            Uri::parse("mysql://a%40b:p%2Fw%25@[::1]:3307/my%20shop?ssl-mode=VERIFY_CA&ssl-ca=a%2Fb.pem")
                .unwrap();
        assert_eq!(
            (uri.user.as_deref(), uri.host.as_deref(), uri.port),
            (Some("a@b"), Some("::1"), Some(3307))
        );
        assert_eq!(uri.password.unwrap().expose(), "p/w%");
        assert_eq!(uri.database.as_deref(), Some("my shop"));
        assert_eq!((uri.tls.mode, uri.tls.ca), (Some(TlsMode::VerifyCa), Some("a/b.pem".into())));
    }

    #[test]
    fn a_copy_uri_becomes_options() {
        let options = options("mariadb://ann:pw@h/shop?table=a.b&ssl-mode=disabled&split_size=5").unwrap();
        assert_eq!(
            options,
            json!({"url": "mariadb://ann:pw@h/shop?ssl-mode=disabled", "table": "a.b", "split_size": 5})
        );
    }

    #[test]
    fn a_wrong_uri_says_why_and_never_shows_the_password() {
        for (text, says) in [
            ("mysql://u:hush@h:port/", "cannot be read"),
            ("postgres://u:hush@h/", "postgres"),
            ("mysql://u:hush@h/?ssl-mode=maybe", "maybe"),
            ("mysql://u:hush@h/?tabel=x", "tabel"),
        ] {
            let error = Uri::parse(text).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hush"), "{error}");
        }
    }
}
