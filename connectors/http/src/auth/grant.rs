//! What is sent to get a token, and where the answer holds it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, SET_COOKIE, USER_AGENT};
use reqwest::{Method, Request, StatusCode};
use towpath_core::{Context, Error, ErrorKind, HumanDuration, Json, Result, Secret};
use towpath_formats::json::Page;
use url::{Url, form_urlencoded};

use super::assertion::Assertion;
use super::carrier::{Carrier, basic, header_name, secret_value};
use super::user_agent;
use crate::client::{Client, Exchanged};
use crate::config::{
    Auth, ConnectionOptions, CredentialsPlace, KeyPlace, LoginMethod, TokenPlace, TokenSource,
};
use crate::errors::{Refusal, excerpt};
use crate::expand::join;
use crate::redact::Redactor;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A way to get tokens.
pub(super) struct Grant {
    /// The option that names where they come from.
    option: &'static str,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Content,
    answer: AnswerForm,
    place: Option<TokenPlace>,
}

/// What is sent.
enum Content {
    Empty,
    Json(Bytes),
    Form(Vec<(String, Secret)>),
    /// A form with a token that is signed for each request.
    Assertion(Box<Assertion>),
}

/// What the answer looks like.
enum AnswerForm {
    /// As `OAuth2` has it.
    OAuth,
    Session {
        token: TokenSource,
        lifetime: Option<Duration>,
    },
}

/// What came.
pub(super) struct Granted {
    pub(super) value: Secret,
    pub(super) lifetime: Option<Duration>,
    /// A refresh token instead of the last one.
    pub(super) refresh: Option<Secret>,
}

/// What every `OAuth2` client has.
struct OAuth<'a> {
    token_url: &'a str,
    client_id: &'a str,
    client_secret: Option<&'a Secret>,
    scopes: &'a [String],
    params: &'a BTreeMap<String, Secret>,
    credentials_in: CredentialsPlace,
}

impl Grant {
    /// The way to tokens of a scheme that has any. Tells the redactor what to hide.
    pub(super) fn new(
        auth: &Auth,
        options: &ConnectionOptions,
        redactor: &mut Redactor,
    ) -> Result<Option<Self>> {
        let mut grant = match auth {
            Auth::Bearer { .. }
            | Auth::Basic { .. }
            | Auth::ApiKey { .. }
            | Auth::Jwt { .. }
            | Auth::Hmac { .. }
            | Auth::AwsSigv4 { .. } => return Ok(None),
            Auth::ClientCredentials {
                token_url,
                client_id,
                client_secret,
                scopes,
                params,
                credentials_in,
            } => {
                let client_secret = Some(client_secret);
                let credentials_in = *credentials_in;
                let client = OAuth { token_url, client_id, client_secret, scopes, params, credentials_in };
                client.grant("client_credentials", None)?
            }
            Auth::RefreshToken {
                token_url,
                client_id,
                client_secret,
                refresh_token,
                scopes,
                params,
                credentials_in,
                ..
            } => {
                let client_secret = client_secret.as_ref();
                let credentials_in = *credentials_in;
                let client = OAuth { token_url, client_id, client_secret, scopes, params, credentials_in };
                client.grant("refresh_token", Some(refresh_token))?
            }
            Auth::JwtBearer { .. } => match Assertion::new(auth)? {
                Some(assertion) => exchange(assertion)?,
                None => return Ok(None),
            },
            Auth::Session { .. } => session(auth, options)?,
        };
        grant.headers.insert(USER_AGENT, user_agent(options)?);
        hide(auth, redactor);
        if let Some(credentials) = grant.headers.get(AUTHORIZATION) {
            redactor.hide_basic(credentials);
        }
        Ok(Some(grant))
    }

    /// A token in its place.
    pub(super) fn carrier(&self, token: &str) -> Result<Carrier> {
        let placed = match (&self.place, &self.answer) {
            (Some(place), _) => Carrier::placed(place, token),
            (None, AnswerForm::Session { token: TokenSource::Cookie(name), .. }) => {
                Carrier::new(KeyPlace::Cookie, name, token)
            }
            (None, _) => Carrier::bearer(token),
        };
        placed.map_err(|error| error.detail("token of", self.option))
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// When there is none, with the URL that was asked. No answer is ever part of it, except for what a refusal tells as its
    /// reason.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        cx: &Context,
        refresh: Option<&Secret>,
    ) -> Result<Granted> {
        let fetched = async {
            let answer = client.exchange(cx, self.request(refresh, cx.clock().now())?).await?;
            let redirects = answer.status.is_redirection() && self.takes_redirects();
            if !answer.status.is_success() && !redirects {
                return Err(self.refused(client, &answer, refresh));
            }
            match &self.answer {
                AnswerForm::OAuth => self.oauth_token(client, &answer, refresh),
                AnswerForm::Session { token, lifetime } => session_token(&answer, token, *lifetime),
            }
        };
        fetched.await.map_err(|error: Error| error.operation("log in").detail("url", client.show(&self.url)))
    }

    fn request(&self, refresh: Option<&Secret>, now: SystemTime) -> Result<Request> {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = match &self.body {
            Content::Empty => None,
            Content::Json(json) => Some(json.clone().into()),
            Content::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    let newer = refresh.filter(|_| name == "refresh_token");
                    form.append_pair(name, newer.unwrap_or(value).expose());
                }
                Some(form.finish().into())
            }
            Content::Assertion(assertion) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(assertion.fields.iter().map(|(name, value)| (name, value.expose())));
                form.append_pair("assertion", &assertion.issuer.token(now)?);
                Some(form.finish().into())
            }
        };
        Ok(request)
    }

    /// Many forms to log in answer with a redirect, which needs not be followed for its headers.
    fn takes_redirects(&self) -> bool {
        matches!(
            &self.answer,
            AnswerForm::Session { token: TokenSource::Header(_) | TokenSource::Cookie(_), .. }
        )
    }

    fn oauth_token(&self, client: &Client, answer: &Exchanged, refresh: Option<&Secret>) -> Result<Granted> {
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| json[name].as_str().filter(|text| !text.is_empty());
        let secret = |name: &str| text(name).map(|text| Secret::new(text.to_owned()));
        let Some(value) = secret("access_token") else {
            // Some servers refuse with 200.
            if text("error").is_some() {
                return Err(self.refused(client, answer, refresh));
            }
            return Err(Error::new(ErrorKind::Unauthenticated, "the answer holds no `access_token`")
                .help("check `token_url`"));
        };
        if let Some(kind) = text("token_type").filter(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            let kind = excerpt(&client.redact(kind)).unwrap_or_default();
            return Err(Error::unsupported(format!(
                "the token is of the type `{kind}` and not a bearer token"
            )));
        }
        let seconds = json["expires_in"].as_f64().or_else(|| text("expires_in")?.parse().ok());
        // Some say 0 of a token that never expires. One that is over at once would be of no use.
        let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let lifetime = lifetime.filter(|lifetime| !lifetime.is_zero());
        Ok(Granted { value, lifetime, refresh: secret("refresh_token").filter(|_| self.has_refresh_token()) })
    }

    fn has_refresh_token(&self) -> bool {
        matches!(&self.body, Content::Form(fields) if fields.iter().any(|(name, _)| name == "refresh_token"))
    }

    /// The error for a refusal. Only the reason is taken from its body.
    fn refused(&self, client: &Client, answer: &Exchanged, refresh: Option<&Secret>) -> Error {
        let status = answer.status;
        let refusal = Refusal {
            status,
            limits: answer.limits,
            body: String::new(),
            method: &self.method,
            with_credentials: true,
        };
        let general = refusal.error();
        let is_final = !general.is_retryable();
        let message = if status.is_success() {
            format!("`{}` gave no token", self.option)
        } else {
            format!("`{}` gave no token: the server answered {status}", self.option)
        };
        let (kind, help) = match status {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => (ErrorKind::NotFound, "check the URL"),
            _ if status.is_redirection() => (ErrorKind::Config, "set the URL to the target of the redirect"),
            _ if is_final => {
                (ErrorKind::Unauthenticated, "check `auth`: the credentials may be wrong or expired")
            }
            _ => (general.kind(), general.help_text().unwrap_or_default()),
        };
        let mut error = Error::new(kind, message).retry(general.retry_policy());
        if !help.is_empty() {
            error = error.help(help);
        }
        match reason(&answer.body) {
            None => error,
            Some(reason) => {
                let mut redactor = Redactor::default();
                if let Some(refresh) = refresh {
                    redactor.hide_value(refresh.expose());
                }
                error.detail("reason", redactor.text(&client.redact(&reason)))
            }
        }
    }
}

impl OAuth<'_> {
    fn grant(self, kind: &str, refresh: Option<&Secret>) -> Result<Grant> {
        let plain = |text: &str| Secret::new(text.to_owned());
        let mut headers = form_headers();
        let mut fields = vec![("grant_type".to_owned(), plain(kind))];
        if let Some(refresh) = refresh {
            fields.push(("refresh_token".to_owned(), refresh.clone()));
        }
        match (self.credentials_in, self.client_secret) {
            (CredentialsPlace::Basic, secret) => {
                // RFC 6749 wants both encoded as in a form before they are joined.
                let encode =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let secret = secret.map(|secret| encode(secret.expose())).unwrap_or_default();
                headers.insert(AUTHORIZATION, basic(&encode(self.client_id), &secret)?);
            }
            (CredentialsPlace::Body, secret) => {
                fields.push(("client_id".to_owned(), plain(self.client_id)));
                fields.extend(secret.map(|secret| ("client_secret".to_owned(), secret.clone())));
            }
        }
        if !self.scopes.is_empty() {
            fields.push(("scope".to_owned(), plain(&self.scopes.join(" "))));
        }
        for (name, value) in self.params {
            // An explicit parameter wins, so that unusual servers can be served.
            fields.retain(|(known, _)| known != name);
            fields.push((name.clone(), value.clone()));
        }
        oauth(self.token_url, headers, Content::Form(fields))
    }
}

/// A signed token for an access token.
fn exchange(assertion: Assertion) -> Result<Grant> {
    let token_url = assertion.token_url.clone();
    oauth(&token_url, form_headers(), Content::Assertion(Box::new(assertion)))
}

fn form_headers() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, JSON), (CONTENT_TYPE, FORM)])
}

fn oauth(token_url: &str, headers: HeaderMap, body: Content) -> Result<Grant> {
    let url = parse("token_url", token_url)?;
    let (option, method, answer) = ("token_url", Method::POST, AnswerForm::OAuth);
    Ok(Grant { option, method, url, headers, body, answer, place: None })
}

/// The log-in of a session.
fn session(auth: &Auth, options: &ConnectionOptions) -> Result<Grant> {
    let Auth::Session { url, path, method, headers, json, form, token, send, expires_in } = auth else {
        return Err(Error::unexpected("this is no session"));
    };
    let (option, text) = match (url, path) {
        (Some(url), None) => ("auth.url", url.clone()),
        (None, Some(path)) => ("auth.path", join(options.base_url.as_deref(), path)?),
        _ => {
            return Err(Error::config("a session needs `url` or `path`, one of them, to log in at"));
        }
    };
    if let Some(place) = send {
        place.check()?;
    }
    if expires_in.is_some_and(|lifetime| lifetime.get().is_zero()) {
        return Err(Error::config("a session with `expires_in: 0s` is over before it begins")
            .help("leave it out to use a session until the server refuses it"));
    }
    let mut sent = HeaderMap::new();
    sent.insert(ACCEPT, JSON);
    let body = match json {
        Some(_) if !form.is_empty() => {
            return Err(Error::config("a log-in has `json` or `form` and not both"));
        }
        Some(json) => {
            sent.insert(CONTENT_TYPE, JSON);
            Content::Json(json.expose().to_string().into())
        }
        None if form.is_empty() => Content::Empty,
        None => {
            sent.insert(CONTENT_TYPE, FORM);
            Content::Form(form.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
        }
    };
    for (name, value) in headers {
        sent.insert(header_name(name)?, secret_value(name, value.expose())?);
    }
    let method = match method {
        LoginMethod::Post => Method::POST,
        LoginMethod::Get => Method::GET,
        LoginMethod::Put => Method::PUT,
    };
    let answer = AnswerForm::Session { token: token.clone(), lifetime: expires_in.map(HumanDuration::get) };
    Ok(Grant { option, method, url: parse(option, &text)?, headers: sent, body, answer, place: send.clone() })
}

/// The token in the answer to a log-in.
fn session_token(answer: &Exchanged, source: &TokenSource, lifetime: Option<Duration>) -> Result<Granted> {
    let (found, place) = match source {
        TokenSource::Json(path) => {
            // What is wrong with the body might tell of it.
            let page = Page::parse(answer.body.clone(), "the answer", None).ok();
            let value = page.and_then(|page| page.value(path));
            let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            (text.filter(|text| text != "null"), format!("nothing at `{path}`"))
        }
        TokenSource::Header(name) => {
            let value = answer.headers.get(name).and_then(|value| value.to_str().ok());
            (value.map(str::to_owned), format!("no header `{name}`"))
        }
        TokenSource::Cookie(name) => (cookie(&answer.headers, name), format!("no cookie `{name}`")),
    };
    match found.filter(|token| !token.is_empty()) {
        Some(token) => Ok(Granted { value: Secret::new(token), lifetime, refresh: None }),
        None => Err(Error::new(ErrorKind::Unauthenticated, format!("the answer to the log-in has {place}"))
            .help("check `auth`: its request, and `token`")),
    }
}

/// Tells the redactor the secrets of a scheme.
fn hide(auth: &Auth, redactor: &mut Redactor) {
    let mut hide_all = |values: &BTreeMap<String, Secret>| {
        for value in values.values() {
            redactor.hide_value(value.expose());
        }
    };
    match auth {
        Auth::ClientCredentials { client_secret, params, .. } => {
            hide_all(params);
            redactor.hide_value(client_secret.expose());
        }
        Auth::RefreshToken { client_secret, refresh_token, params, .. } => {
            hide_all(params);
            redactor.hide_value(refresh_token.expose());
            if let Some(secret) = client_secret {
                redactor.hide_value(secret.expose());
            }
        }
        Auth::JwtBearer { private_key, params, .. } => {
            hide_all(params);
            if let Some(key) = private_key {
                redactor.hide_value(key.expose());
            }
        }
        Auth::Session { headers, json, form, .. } => {
            hide_all(headers);
            hide_all(form);
            if let Some(json) = json {
                hide_strings(json.expose(), redactor);
            }
        }
        _ => {}
    }
}

fn hide_strings(json: &Json, redactor: &mut Redactor) {
    match json {
        Json::String(text) => redactor.hide_value(text),
        Json::Array(values) => values.iter().for_each(|value| hide_strings(value, redactor)),
        Json::Object(fields) => fields.values().for_each(|value| hide_strings(value, redactor)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

fn parse(option: &str, text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => {
            Err(Error::config(format!("`{option}` is not an HTTP URL")).help("write it as https://host/path"))
        }
    }
}

/// The value of a cookie that is set.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let set = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = set.filter_map(|cookie| cookie.split(';').next()?.split_once('='));
    // The last one counts: some servers clear a cookie before they set it.
    let mut pairs = pairs.filter(|(known, _)| known.trim() == name);
    pairs.next_back().map(|(_, value)| value.trim().to_owned())
}

/// Why a server refuses, from the fields in which servers say so.
fn reason(body: &[u8]) -> Option<String> {
    let json: Json = serde_json::from_slice(body).ok()?;
    let told = ["error", "error_description", "message"].map(|name| json[name].as_str());
    let told: Vec<&str> = told.into_iter().flatten().collect();
    excerpt(&told.join(": "))
}
