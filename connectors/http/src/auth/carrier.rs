//! One credential in its place in a request.

use data_encoding::BASE64;
use reqwest::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use towpath_core::{Error, Result, Secret};
use url::Url;

use crate::config::{KeyPlace, TokenPlace};
use crate::query;

/// A credential, ready to be put on requests.
pub(super) enum Carrier {
    Header(HeaderName, HeaderValue),
    Query(String, Secret),
    /// Name and value as a cookie is written.
    Cookie(HeaderValue),
}

impl Carrier {
    /// A value at a place.
    pub(super) fn new(place: KeyPlace, name: &str, value: &str) -> Result<Self> {
        match place {
            KeyPlace::Header => Ok(Self::Header(header_name(name)?, secret_value(name, value)?)),
            KeyPlace::Query => Ok(Self::Query(name.to_owned(), Secret::new(value.to_owned()))),
            // Browsers send spaces and commas as they got them.
            KeyPlace::Cookie if name.contains([';', ',', ' ', '=']) || value.contains(';') => {
                Err(Error::config(format!(
                    "name or value of the cookie `{name}` hold characters that no cookie can"
                )))
            }
            KeyPlace::Cookie => Ok(Self::Cookie(secret_value("Cookie", &format!("{name}={value}"))?)),
        }
    }

    /// A token where the options want it.
    pub(super) fn placed(place: &TokenPlace, token: &str) -> Result<Self> {
        Self::new(place.place, &place.name, &place.value.replace("{token}", token))
    }

    /// `Authorization: Bearer`.
    pub(super) fn bearer(token: &str) -> Result<Self> {
        Self::new(KeyPlace::Header, AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Puts it on a request. Other cookies stay.
    pub(super) fn put(&self, url: &mut Url, headers: &mut HeaderMap) {
        match self {
            Self::Header(name, value) => {
                headers.insert(name, value.clone());
            }
            Self::Query(name, value) => query::set(url, name, value.expose()),
            Self::Cookie(cookie) => {
                let joined = headers.get(COOKIE).and_then(|others| {
                    HeaderValue::from_bytes(&[others.as_bytes(), cookie.as_bytes()].join(&b"; "[..])).ok()
                });
                let mut cookies = joined.unwrap_or_else(|| cookie.clone());
                cookies.set_sensitive(true);
                headers.insert(COOKIE, cookies);
            }
        }
    }
}

impl TokenPlace {
    /// Checks that the token has a place in its text.
    pub(super) fn check(&self) -> Result<()> {
        if self.value.contains("{token}") {
            return Ok(());
        }
        Err(Error::config(format!("the value for `{}` holds no `{{token}}`", self.name))
            .help("write `{token}` in `send.value` where the token goes"))
    }
}

pub(super) fn header_name(name: &str) -> Result<HeaderName> {
    name.parse().map_err(|_| Error::config(format!("`{name}` is not the name of a header")))
}

pub(super) fn secret_value(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        Error::config(format!("the value of the header `{name}` holds characters that no header can"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue> {
    if username.contains(':') {
        return Err(Error::config("the user name of basic authentication cannot hold a `:`"));
    }
    secret_value(
        "Authorization",
        &format!("Basic {}", BASE64.encode(format!("{username}:{password}").as_bytes())),
    )
}
