//! Workload identity federation: the token of somebody else, exchanged for one of Google.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method};
use reqwest::Request;
use serde::Deserialize;
use serde_json::{Value, json};
use towpath_core::{Error, ErrorKind, Result, ResultExt, Secret};
use towpath_objects::Service;
use url::form_urlencoded;

use crate::tokens::{Issued, posted, url};

/// What the token is good for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Who is trusted, and where the token of that lies.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Federation {
    audience: String,
    subject_token_type: String,
    token_url: String,
    /// The service account that is asked for, if not the other's own rights are enough.
    service_account_impersonation_url: Option<String>,
    credential_source: Origin,
}

/// Where the token of somebody else lies.
#[derive(Debug, Clone, Deserialize)]
struct Origin {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    #[serde(default)]
    format: Format,
    /// Set for AWS, which signs a request in place of a token.
    environment_id: Option<String>,
}

/// How it is written.
#[derive(Debug, Clone, Default, Deserialize)]
struct Format {
    #[serde(default, rename = "type")]
    kind: Kind,
    subject_token_field_name: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Text,
    Json,
}

/// How the token of a service account is given.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

impl Federation {
    /// Whether the token can be had.
    ///
    /// # Errors
    /// `Unsupported` for a source of another kind than a file or a URL.
    pub(crate) fn check(&self) -> Result<()> {
        let Origin { file, url, environment_id, .. } = &self.credential_source;
        if environment_id.is_none() && (file.is_some() || url.is_some()) {
            return Ok(());
        }
        Err(Error::unsupported("of `credential_source`, only a `file` or a `url` with a token can be used")
            .help("make such a token and give its file, or set `access_token`"))
    }

    /// A token of Google, and when it ends.
    pub(crate) async fn issue(&self, service: &Service, now: SystemTime) -> Result<(String, SystemTime)> {
        let subject = self.credential_source.token(service).await?;
        let exchanged = Issued::of(service, self.exchange(&subject)?).await.operation("exchange a token")?;
        match &self.service_account_impersonation_url {
            Some(account) => impersonate(service, account, &exchanged.access_token).await,
            None => Ok((exchanged.access_token, now + Duration::from_secs(exchanged.expires_in))),
        }
    }

    /// Asks for a token of Google for one of somebody else.
    fn exchange(&self, subject: &str) -> Result<Request> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", EXCHANGE)
            .append_pair("audience", &self.audience)
            .append_pair("scope", SCOPE)
            .append_pair("requested_token_type", ACCESS_TOKEN)
            .append_pair("subject_token_type", &self.subject_token_type)
            .append_pair("subject_token", subject);
        posted(&self.token_url, "token_url", form.finish())
    }
}

impl Origin {
    async fn token(&self, service: &Service) -> Result<String> {
        let text = match (&self.file, &self.url) {
            (Some(path), _) => {
                let read = tokio::fs::read_to_string(path).await.operation("read a token");
                read.map_err(|error| error.detail("path", path.display()))?
            }
            (None, Some(address)) => {
                let mut request = Request::new(Method::GET, url(address, "credential_source.url")?);
                for (name, value) in &self.headers {
                    let header =
                        HeaderName::try_from(name).ok().zip(HeaderValue::from_str(value.expose()).ok());
                    let (name, value) = header.ok_or_else(|| {
                        Error::config("`credential_source.headers` has one that is none").detail("name", name)
                    })?;
                    request.headers_mut().insert(name, value);
                }
                let answer = service.send(request).await?.whole().await.operation("get a token")?;
                String::from_utf8(answer.to_vec()).map_err(|_| unreadable())?
            }
            (None, None) => return Err(unreadable()),
        };
        self.format.token(&text)
    }
}

impl Format {
    fn token(&self, text: &str) -> Result<String> {
        if self.kind == Kind::Text {
            return Ok(text.trim().to_owned());
        }
        let field = self.subject_token_field_name.as_deref().unwrap_or("access_token");
        let found: Value = serde_json::from_str(text).map_err(|_| unreadable())?;
        found[field].as_str().map(str::to_owned).ok_or_else(|| unreadable().detail("field", field))
    }
}

/// What was read is not shown.
fn unreadable() -> Error {
    Error::new(ErrorKind::Unauthenticated, "there is no token where `credential_source` says")
        .help("check `credential_source` in the file of credentials")
}

/// The token of a service account, for somebody who may be it.
async fn impersonate(service: &Service, account: &str, token: &str) -> Result<(String, SystemTime)> {
    let mut request = Request::new(Method::POST, url(account, "service_account_impersonation_url")?);
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Error::unexpected("the token has characters that no token has"))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    *request.body_mut() = Some(json!({"scope": [SCOPE], "lifetime": "3600s"}).to_string().into());
    let answer = service.send(request).await?.whole().await.operation("impersonate a service account")?;
    let wrong = || Error::unexpected("whoever gives tokens of service accounts has answered without one");
    let given: Impersonated = serde_json::from_slice(&answer).map_err(|_| wrong())?;
    let until = DateTime::parse_from_rfc3339(&given.expire_time).map_err(|_| wrong())?;
    Ok((given.access_token, until.into()))
}
