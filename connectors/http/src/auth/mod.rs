//! Credentials and headers, prepared once and put on each request to the host that they are meant for.
//!
//! Schemes that need requests of their own have [`Tokens`]: `grant` knows what to ask for and what the answer means.

mod assertion;
mod carrier;
mod files;
mod grant;
mod jwt;
mod keys;
mod rotation;
mod signature;
mod sigv4;
mod token_file;
mod tokens;

use std::time::SystemTime;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use towpath_core::{Error, Result, Secret};
use url::Url;

use crate::client::Call;
use crate::config::{Auth, ConnectionOptions, KeyPlace, TokenPlace};
use crate::query;
use crate::redact::{Redactor, is_harmless};
use carrier::{Carrier, basic, header_name, secret_value};
pub(crate) use files::read_in;
pub(crate) use rotation::{Rotation, Turn};
pub(crate) use tokens::{Token, Tokens};

/// What requests carry.
pub(crate) struct Credentials {
    /// The headers for the host that the connection is meant for.
    own: HeaderMap,
    /// The headers for every other host.
    foreign: HeaderMap,
    /// What is configured as it is.
    carrier: Option<Carrier>,
    signer: Option<Signer>,
    /// The query parameters that a key, token or signature goes into.
    parameters: Vec<String>,
    /// Whether there is anything by which a server could know us.
    pub(crate) present: bool,
}

impl Credentials {
    /// Prepares them, and tells the redactor what to hide.
    pub(crate) fn new(options: &ConnectionOptions, redactor: &mut Redactor) -> Result<Self> {
        let mut own = HeaderMap::new();
        own.insert(USER_AGENT, user_agent(options)?);
        for (name, value) in &options.headers {
            let (name, sent) = (header_name(name)?, secret_value(name, value.expose())?);
            // Types and versions are no secrets, and stand in many answers.
            if !is_harmless(&name) {
                redactor.hide_value(value.expose());
            }
            own.insert(name, sent);
        }
        let mut carrier = None;
        match &options.auth {
            Some(Auth::Bearer { token, tokens, .. }) => {
                hide_all(token.iter().chain(tokens), redactor);
                carrier = token.as_ref().map(|token| Carrier::bearer(token.expose())).transpose()?;
            }
            Some(Auth::Basic { username, password }) => {
                redactor.hide_value(password.expose());
                let header = basic(username, password.expose())?;
                redactor.hide_basic(&header);
                carrier = Some(Carrier::Header(AUTHORIZATION, header));
            }
            Some(Auth::ApiKey { name, value, values, place, .. }) => {
                hide_all(value.iter().chain(values), redactor);
                let key = value.as_ref().map(|value| Carrier::new(*place, name, value.expose()));
                carrier = key.transpose()?;
            }
            // The others have tokens, which are fetched.
            _ => {}
        }
        let signer = options.auth.as_ref().map(|auth| Signer::new(auth, redactor)).transpose()?.flatten();
        let mut parameters: Vec<String> = parameter(options.auth.as_ref()).into_iter().collect();
        parameters.extend(signer.iter().flat_map(Signer::parameters).map(str::to_owned));
        for name in &parameters {
            redactor.hide_parameter(name);
        }
        let harmless = own.iter().filter(|(name, _)| **name == USER_AGENT || **name == ACCEPT);
        let foreign = harmless.map(|(name, value)| (name.clone(), value.clone())).collect();
        let present = options.auth.is_some() || !options.headers.is_empty();
        Ok(Self { own, foreign, carrier, signer, parameters, present })
    }

    /// Puts them on a request, as far as it goes where they are meant for.
    pub(crate) fn put(&self, url: &mut Url, headers: &mut HeaderMap, home: &Home, token: Option<&Token>) {
        let own = home.owns(url);
        for (name, value) in if own { &self.own } else { &self.foreign } {
            headers.insert(name, value.clone());
        }
        if own {
            for carrier in self.carrier.iter().chain(token.map(|token| &token.carrier)) {
                carrier.put(url, headers);
            }
        }
        if let Some((_, value)) = home.user.as_ref().filter(|(place, _)| is_own(place, url)) {
            headers.insert(AUTHORIZATION, value.clone());
        }
        without_user(url);
    }

    /// Signs a request that is ready to be sent.
    pub(crate) fn sign(
        &self,
        call: &Call,
        url: &mut Url,
        headers: &mut HeaderMap,
        now: SystemTime,
    ) -> Result<()> {
        let Some(signer) = self.signer.as_ref().filter(|_| call.home.owns(url)) else { return Ok(()) };
        let request = (call.method.as_str(), url, call.body.as_deref().unwrap_or_default());
        match signer {
            Signer::Hmac(signer) => signer.sign(request, headers, now),
            Signer::Aws(signer) => signer.sign(request, headers, now),
        }
    }

    /// Takes the key out of a URL that a server gave, so that it can be stored.
    pub(crate) fn take_out(&self, url: &mut Url) {
        for name in &self.parameters {
            query::remove(url, name);
        }
    }
}

/// What signs each request.
enum Signer {
    Hmac(signature::Signer),
    Aws(sigv4::Signer),
}

impl Signer {
    /// What a scheme signs with, if it signs. Tells the redactor what to hide.
    fn new(auth: &Auth, redactor: &mut Redactor) -> Result<Option<Self>> {
        match auth {
            Auth::Hmac { secret, secret_in, digest, message, headers, query, signature_in, timestamp_in } => {
                redactor.hide_value(secret.expose());
                let fixed = headers.values().chain(query.values());
                hide_all(fixed.filter(|value| !value.expose().contains('{')), redactor);
                let (key, forms) =
                    (keys::shared(secret, *secret_in, *digest)?, (*signature_in, *timestamp_in));
                Ok(Some(Self::Hmac(signature::Signer::new(key, message, headers, query, forms)?)))
            }
            Auth::AwsSigv4 { region, service, access_key_id, secret_access_key, session_token } => {
                hide_all(session_token.iter().chain([secret_access_key]), redactor);
                let signer = sigv4::Signer::new(
                    (region, service),
                    access_key_id,
                    secret_access_key,
                    session_token.as_ref(),
                )?;
                Ok(Some(Self::Aws(signer)))
            }
            _ => Ok(None),
        }
    }

    /// The query parameters that it sets.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        let signer = match self {
            Self::Hmac(signer) => Some(signer),
            Self::Aws(_) => None,
        };
        signer.into_iter().flat_map(signature::Signer::parameters)
    }
}

fn hide_all<'a>(secrets: impl IntoIterator<Item = &'a Secret>, redactor: &mut Redactor) {
    secrets.into_iter().for_each(|secret| redactor.hide_value(secret.expose()));
}

fn user_agent(options: &ConnectionOptions) -> Result<HeaderValue> {
    let text = options.user_agent.as_deref().unwrap_or(concat!("towpath/", env!("CARGO_PKG_VERSION")));
    HeaderValue::from_str(text).map_err(|_| Error::config("`user_agent` holds characters that no header can"))
}

/// The query parameter that a key or token goes into.
fn parameter(auth: Option<&Auth>) -> Option<String> {
    match auth {
        Some(
            Auth::ApiKey { place: KeyPlace::Query, name, .. }
            | Auth::Jwt { send: Some(TokenPlace { place: KeyPlace::Query, name, .. }), .. }
            | Auth::Session { send: Some(TokenPlace { place: KeyPlace::Query, name, .. }), .. },
        ) => Some(name.clone()),
        _ => None,
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
        let user = has_user(url).then(|| user(url)).transpose()?;
        without_user(url);
        Ok(Self { connection: base.unwrap_or(url).clone(), user: user.map(|user| (url.clone(), user)) })
    }

    /// A URL of the host that credentials are meant for.
    pub(crate) fn url(&self) -> &Url {
        &self.connection
    }

    /// A text without the user and password of the URL.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut redactor = Redactor::default();
        self.tell(&mut redactor);
        redactor.text(text)
    }

    /// Tells the redactor the user and password of the URL.
    pub(crate) fn tell(&self, redactor: &mut Redactor) {
        if let Some((_, header)) = &self.user {
            redactor.hide_basic(header);
        }
    }

    /// Whether a URL gets the credentials of the connection.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        is_own(&self.connection, url)
    }
}

/// Whether a URL holds a user or password.
pub(crate) fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
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
    same_origin(home, url) || is_upgrade()
}

/// Whether two HTTP URLs have the same scheme, host and port.
pub(crate) fn same_origin(left: &Url, right: &Url) -> bool {
    let is_http = matches!(left.scheme(), "http" | "https");
    is_http
        && left.scheme() == right.scheme()
        && left.host() == right.host()
        && left.port_or_known_default() == right.port_or_known_default()
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
        credentials.put(&mut url, &mut headers, &home, None);
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
        let key = json!({
            "headers": {"cookie": "lang=en"},
            "auth": {"type": "api_key", "name": "sid", "value": "k", "in": "cookie"},
        });
        assert_eq!(put(key, "http://a/", true).1, header("cookie", "lang=en; sid=k"));
    }

    #[test]
    fn another_host_gets_none_of_it() {
        for auth in [
            json!({"type": "bearer", "token": "t"}),
            json!({"type": "api_key", "name": "X-Key", "value": "k"}),
            json!({"type": "api_key", "name": "k", "value": "v", "in": "query"}),
            json!({"type": "api_key", "name": "k", "value": "v", "in": "cookie"}),
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
}
