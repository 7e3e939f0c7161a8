//! Tokens: got when they are needed, renewed before they end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use object_store::gcp::{GcpCredential, GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::{CredentialProvider, RetryConfig};
use reqwest::Request;
use serde::Deserialize;
use tokio::sync::Mutex;
use towpath_core::{Clock, Error, ErrorKind, Result};
use towpath_objects::{Service, classified};
use url::Url;
use url::form_urlencoded;

use crate::credentials::{Identity, User};
use crate::federation::Federation;

/// How long before they end tokens are renewed. The metadata server gives the old one again until five minutes before.
const MARGIN: Duration = Duration::from_mins(4);

/// Where instances and pods hear who they are.
const METADATA_HOST: &str = "metadata.google.internal";

/// The tokens that all streams of a connection share.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Inner>);

struct Inner {
    issuer: Issuer,
    service: Service,
    clock: Arc<dyn Clock>,
    current: Mutex<Option<Token>>,
}

enum Issuer {
    /// Always the same; empty for nobody in particular.
    Fixed(Arc<GcpCredential>),
    /// The library signs for a service account, and keeps what it has signed.
    Signer(GcpCredentialProvider),
    User(User),
    Federation(Box<Federation>),
    Instance,
}

#[derive(Clone)]
struct Token {
    credential: Arc<GcpCredential>,
    until: SystemTime,
}

/// How issuers answer.
#[derive(Deserialize)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) expires_in: u64,
}

impl Issued {
    /// What an issuer answers.
    ///
    /// # Errors
    /// What it refuses with.
    pub(crate) async fn of(service: &Service, request: Request) -> Result<Self> {
        let answer = service.send(request).await?.whole().await?;
        // What it holds is a secret.
        serde_json::from_slice(&answer)
            .map_err(|_| Error::unexpected("whoever issues tokens has answered without one"))
    }
}

impl Tokens {
    /// The tokens of somebody, which are asked for by this service.
    ///
    /// # Errors
    /// `Config` for a key that signs nothing.
    pub(crate) fn new(identity: Identity, service: Service, clock: Arc<dyn Clock>) -> Result<Self> {
        let fixed = |bearer: String| Issuer::Fixed(Arc::new(GcpCredential { bearer }));
        let issuer = match identity {
            Identity::Anybody => fixed(String::new()),
            Identity::Token(token) => fixed(token.expose().clone()),
            Identity::ServiceAccount(key) => Issuer::Signer(signer(key.expose(), &service)?),
            Identity::User(user) => Issuer::User(user),
            Identity::Federation(federation) => Issuer::Federation(federation),
            Identity::Instance => Issuer::Instance,
        };
        Ok(Self(Arc::new(Inner { issuer, service, clock, current: Mutex::default() })))
    }

    /// The token for a request that begins now; an empty one for nobody in particular.
    pub(crate) async fn get(&self) -> Result<Arc<GcpCredential>> {
        match &self.0.issuer {
            Issuer::Fixed(credential) => Ok(credential.clone()),
            Issuer::Signer(signer) => signer.get_credential().await.map_err(classified),
            Issuer::User(_) | Issuer::Federation(_) | Issuer::Instance => self.renewed().await,
        }
    }

    async fn renewed(&self) -> Result<Arc<GcpCredential>> {
        let mut current = self.0.current.lock().await;
        let now = self.0.clock.now();
        if let Some(known) = current.as_ref().filter(|known| now + MARGIN < known.until) {
            return Ok(known.credential.clone());
        }
        let error = match self.issue(now).await {
            Ok(token) => return Ok(current.insert(token).credential.clone()),
            Err(error) => error,
        };
        match &*current {
            // Whoever issues them may be away for a moment.
            Some(known) if now < known.until => {
                tracing::warn!(%error, "the token cannot be renewed yet");
                Ok(known.credential.clone())
            }
            // There was an issuer before.
            Some(_) => Err(error),
            None => Err(self.without_any(error)),
        }
    }

    async fn issue(&self, now: SystemTime) -> Result<Token> {
        let service = &self.0.service;
        let (bearer, until) = match &self.0.issuer {
            Issuer::Federation(federation) => federation.issue(service, now).await?,
            issuer => {
                let request = if let Issuer::User(user) = issuer { of_user(user)? } else { of_instance()? };
                let answer = Issued::of(service, request).await?;
                (answer.access_token, now + Duration::from_secs(answer.expires_in))
            }
        };
        Ok(Token { credential: Arc::new(GcpCredential { bearer }), until })
    }

    /// What it means that there never was a token.
    fn without_any(&self, error: Error) -> Error {
        match &self.0.issuer {
            // On a machine of nobody there is no such server.
            Issuer::Instance if error.kind() == ErrorKind::Unavailable => {
                Error::new(ErrorKind::Unauthenticated, "there are no credentials, and no metadata server gives any")
                    .source(error)
                    .help(
                        "set `credentials_file`, GOOGLE_APPLICATION_CREDENTIALS, or `anonymous: true` for a public bucket; \
                         or log in: `gcloud auth application-default login`",
                    )
            }
            Issuer::User(_) if !error.is_retryable() => {
                Error::new(ErrorKind::Unauthenticated, "the login of `gcloud` counts no more")
                    .source(error)
                    .help("log in again: `gcloud auth application-default login`")
            }
            _ => error,
        }
    }
}

/// For `object_store`.
#[async_trait]
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let failed = |error: Error| object_store::Error::Generic { store: "GCS", source: error.into() };
        self.get().await.map_err(failed)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

/// The library signs tokens for a service account, without asking anybody.
fn signer(key: &str, service: &Service) -> Result<GcpCredentialProvider> {
    let store = GoogleCloudStorageBuilder::new()
        // It wants to know one, whichever.
        .with_bucket_name("any")
        .with_service_account_key(key)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(service.clone())
        .build();
    // The cause is left out: it has seen the key.
    let store = store.map_err(|_| {
        Error::config("the private key of the service account signs nothing")
            .help("give the file as Google has made it: `gcloud iam service-accounts keys create`")
    })?;
    Ok(store.credentials().clone())
}

fn of_user(user: &User) -> Result<Request> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token")
        .append_pair("client_id", &user.client_id)
        .append_pair("client_secret", user.client_secret.expose())
        .append_pair("refresh_token", user.refresh_token.expose());
    posted(&user.token_uri, "token_uri", form.finish())
}

/// A form for an issuer, whose URL the credentials name so.
pub(crate) fn posted(address: &str, name: &'static str, form: String) -> Result<Request> {
    let mut request = Request::new(Method::POST, url(address, name)?);
    *request.body_mut() = Some(form.into());
    let type_of_form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, type_of_form);
    Ok(request)
}

/// A URL of the credentials.
pub(crate) fn url(address: &str, name: &'static str) -> Result<Url> {
    Url::parse(address).map_err(|error| {
        Error::config(format!("`{name}` of the credentials is no URL")).detail(name, address).source(error)
    })
}

fn of_instance() -> Result<Request> {
    let host = std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
    let host = host.as_deref().unwrap_or(METADATA_HOST);
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let url = Url::parse(&url)
        .map_err(|error| Error::config("GCE_METADATA_HOST is no host").detail("host", host).source(error))?;
    let mut request = Request::new(Method::GET, url);
    request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    Ok(request)
}
