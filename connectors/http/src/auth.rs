//! Credentials and headers, prepared once and put on each request to the host that they are meant for.
//!
//! Schemes that need requests of their own (`OAuth2`, sessions, rotating tokens) get their place here.

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use towpath_core::{Error, Result, Secret};
use url::{Origin, Url};

use crate::config::{Auth, ConnectionOptions, KeyPlace};
use crate::query;
use crate::redact::Redactor;

/// What requests carry.
pub(crate) struct Credentials {
    /// The headers for the host that the connection is meant for.
    own: HeaderMap,
    /// The headers for every other host.
    foreign: HeaderMap,
    /// A key that goes into the query.
    parameter: Option<(String, Secret)>,
    /// Whether there is anything by which a server could know us.
    pub(crate) present: bool,
}

impl Credentials {
    /// Prepares them, and tells the redactor what to hide.
    pub(crate) fn new(options: &ConnectionOptions, redactor: &mut Redactor) -> Result<Self> {
        let mut own = HeaderMap::new();
        let user_agent =
            options.user_agent.as_deref().unwrap_or(concat!("towpath/", env!("CARGO_PKG_VERSION")));
        let user_agent = HeaderValue::from_str(user_agent)
            .map_err(|_| Error::config("`user_agent` holds characters that no header can"))?;
        own.insert(USER_AGENT, user_agent);
        for (name, value) in &options.headers {
            redactor.hide_value(value.expose());
            own.insert(header_name(name)?, secret_value(name, value.expose())?);
        }
        let mut parameter = None;
        match &options.auth {
            None => {}
            Some(Auth::Bearer { token }) => {
                redactor.hide_value(token.expose());
                own.insert(
                    AUTHORIZATION,
                    secret_value("Authorization", &format!("Bearer {}", token.expose()))?,
                );
            }
            Some(Auth::Basic { username, password }) => {
                redactor.hide_value(password.expose());
                own.insert(AUTHORIZATION, basic(username, password.expose())?);
            }
            Some(Auth::ApiKey { name, value, place }) => {
                redactor.hide_value(value.expose());
                match place {
                    KeyPlace::Header => {
                        own.insert(header_name(name)?, secret_value(name, value.expose())?);
                    }
                    KeyPlace::Query => {
                        redactor.hide_parameter(name);
                        parameter = Some((name.clone(), value.clone()));
                    }
                }
            }
        }
        let harmless = own.iter().filter(|(name, _)| **name == USER_AGENT || **name == ACCEPT);
        let foreign = harmless.map(|(name, value)| (name.clone(), value.clone())).collect();
        let present = options.auth.is_some() || !options.headers.is_empty();
        Ok(Self { own, foreign, parameter, present })
    }

    /// Puts them on a request, as far as it goes where they are meant for.
    pub(crate) fn put(&self, url: &mut Url, headers: &mut HeaderMap, home: &Home) {
        let own = is_own(&home.connection, url);
        for (name, value) in if own { &self.own } else { &self.foreign } {
            headers.insert(name, value.clone());
        }
        if let Some((_, value)) = home.user.as_ref().filter(|(place, _)| is_own(place, url)) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        without_user(url);
        if let (true, Some((name, value))) = (own, &self.parameter) {
            query::set(url, name, value.expose());
        }
    }

    /// Takes the key out of a URL that a server gave, so that it can be stored.
    pub(crate) fn take_out(&self, url: &mut Url) {
        if let Some((name, _)) = &self.parameter {
            query::remove(url, name);
        }
    }
}

/// Who credentials are meant for.
pub(crate) struct Home {
    /// The URL whose host gets those of the connection.
    connection: Url,
    /// The user and password of a URL, for its host.
    user: Option<(Url, HeaderValue)>,
}

impl Home {
    /// For requests that begin at this URL, which loses its user and password. With a base URL, the connection's
    /// credentials are meant for that.
    pub(crate) fn new(base: Option<&Url>, url: &mut Url) -> Result<Self> {
        let user = (!url.username().is_empty() || url.password().is_some()).then(|| user(url)).transpose()?;
        without_user(url);
        Ok(Self { connection: base.unwrap_or(url).clone(), user: user.map(|user| (url.clone(), user)) })
    }
}

/// User and password of a URL as a header.
fn user(url: &Url) -> Result<HeaderValue> {
    let decode = |text: &str| {
        // The form decoder also knows `+`, which means itself here.
        let text = format!("x={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(text.as_bytes())
            .next()
            .map_or_else(String::new, |(_, value)| value.into_owned())
    };
    basic(&decode(url.username()), &decode(url.password().unwrap_or_default()))
}

fn without_user(url: &mut Url) {
    // Only URLs that cannot have users refuse these, and they have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

/// Whether a URL is on the host that the credentials are meant for. The same host over TLS is.
fn is_own(home: &Url, url: &Url) -> bool {
    let is_upgrade = || {
        (home.scheme(), url.scheme()) == ("http", "https")
            && (home.port(), url.port()) == (None, None)
            && home.host() == url.host()
    };
    match (home.origin(), url.origin()) {
        (Origin::Tuple(..), Origin::Tuple(..)) => home.origin() == url.origin() || is_upgrade(),
        _ => false,
    }
}

fn header_name(name: &str) -> Result<HeaderName> {
    name.parse().map_err(|_| Error::config(format!("`{name}` is not the name of a header")))
}

fn secret_value(name: &str, value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        Error::config(format!("the value of the header `{name}` holds characters that no header can"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn basic(username: &str, password: &str) -> Result<HeaderValue> {
    if username.contains(':') {
        return Err(Error::config("the user name of basic authentication cannot hold a `:`"));
    }
    secret_value("Authorization", &format!("Basic {}", base64(format!("{username}:{password}").as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..4 {
            let shown = digit <= group.len();
            text.push(if shown { char::from(DIGITS[number >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source_config;
    use serde_json::{Value, json};

    fn put(options: Value, url: &str, own: bool) -> (String, Vec<(String, String)>) {
        let options = source_config(options).connection();
        let credentials = Credentials::new(&options, &mut Redactor::default()).unwrap();
        let (mut url, mut headers) = (Url::parse(url).unwrap(), HeaderMap::new());
        let base = Url::parse(if own { "http://a/v2" } else { "http://b/" }).unwrap();
        let home = Home::new(Some(&base), &mut url).unwrap();
        credentials.put(&mut url, &mut headers, &home);
        let headers =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (url.into(), headers.filter(|(name, _)| name != "user-agent").collect())
    }

    fn header(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn each_scheme_goes_to_its_place() {
        let (_, headers) = put(json!({"auth": {"type": "bearer", "token": "t"}}), "http://a/", true);
        assert_eq!(headers, header("authorization", "Bearer t"));
        let basic = json!({"auth": {"type": "basic", "username": "Aladdin", "password": "open sesame"}});
        assert_eq!(
            put(basic, "http://a/", true).1,
            header("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
        );
        let key = json!({"auth": {"type": "api_key", "name": "X-Key", "value": "k"}});
        assert_eq!(put(key, "http://a/", true).1, header("x-key", "k"));
        let key = json!({"auth": {"type": "api_key", "name": "k", "value": "1 2", "in": "query"}});
        assert_eq!(put(key, "http://a/?x=1&k=old&y", true), ("http://a/?x=1&y&k=1+2".to_owned(), vec![]));
    }

    #[test]
    fn another_host_gets_none_of_it() {
        for auth in [
            json!({"type": "bearer", "token": "t"}),
            json!({"type": "api_key", "name": "X-Key", "value": "k"}),
            json!({"type": "api_key", "name": "k", "value": "v", "in": "query"}),
        ] {
            let options =
                json!({"auth": auth, "headers": {"cookie": "a=b", "x-more": "c", "accept": "text/csv"}});
            let (url, headers) = put(options, "http://a/?x=1", false);
            assert_eq!((url.as_str(), headers), ("http://a/?x=1", header("accept", "text/csv")));
        }
    }

    #[test]
    fn user_and_password_of_a_url_become_a_header() {
        let (url, headers) = put(json!({}), "http://Aladdin:open%20sesame@a/", true);
        assert_eq!(
            (url.as_str(), headers),
            ("http://a/", header("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="))
        );
    }

    fn own(home: &str, url: &str) -> bool {
        is_own(&Url::parse(home).unwrap(), &Url::parse(url).unwrap())
    }

    #[test]
    fn credentials_stay_on_their_host() {
        assert!(own("https://a.example/v2", "https://a.example:443/other?x=1"));
        assert!(own("http://a.example/", "https://a.example/"));
        for other in
            ["https://b.example/", "https://sub.a.example/", "http://a.example/", "https://a.example:8443/"]
        {
            assert!(!own("https://a.example/", other), "{other}");
        }
        assert!(!own("http://a.example:8080/", "https://a.example/"));
    }

    #[test]
    fn base64_is_padded() {
        assert_eq!(
            [base64(b""), base64(b"f"), base64(b"fo"), base64(b"foo"), base64(b"foob")],
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }
}
