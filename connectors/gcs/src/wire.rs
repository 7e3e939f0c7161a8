//! Requests on their way: with the headers that the library does not know, and those that it has no request for.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Method};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use reqwest::Request;
use towpath_core::{Error, Result};
use towpath_objects::Service;

use crate::sink::Writing;
use crate::tokens::Tokens;

const USER_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");
pub(crate) const KMS_KEY: HeaderName = HeaderName::from_static("x-goog-encryption-kms-key-name");

/// Sends requests for one stream.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    service: Service,
    tokens: Tokens,
    user_project: Option<HeaderValue>,
    writing: Arc<Writing>,
}

impl Wire {
    pub(crate) fn new(
        service: Service,
        tokens: Tokens,
        user_project: Option<&str>,
        writing: Arc<Writing>,
    ) -> Result<Self> {
        let user_project = user_project.map(|project| header("user_project", project)).transpose()?;
        Ok(Self { service, tokens, user_project, writing })
    }

    /// Sends a request of our own, and waits for the whole answer.
    ///
    /// # Errors
    /// What the store refuses with; `Unavailable` when there is no answer.
    pub(crate) async fn send(&self, mut request: Request) -> Result<Bytes> {
        let token = self.tokens.get().await?;
        if !token.bearer.is_empty() {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.bearer)).map_err(|_| {
                Error::config("the token has characters that no token has").help("get a new one")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.say_who_pays(request.headers_mut());
        self.service.send(request).await?.whole().await
    }

    fn say_who_pays(&self, headers: &mut HeaderMap) {
        if let Some(project) = &self.user_project {
            headers.insert(USER_PROJECT, project.clone());
        }
    }
}

/// For the library, which asks for nothing but objects and parts of them.
#[async_trait]
impl HttpService for Wire {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_part = request.uri().query().is_some_and(|query| query.contains("uploadId="));
        let (reads, writes) = match *request.method() {
            Method::GET | Method::HEAD => (true, false),
            Method::PUT => (false, !is_part),
            _ => (false, false),
        };
        let headers = request.headers_mut();
        self.say_who_pays(headers);
        if reads {
            // Google would decompress what says that it is compressed, and then knows neither its size nor ranges.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if writes && let Some(key) = &self.writing.kms_key {
            headers.insert(KMS_KEY, key.clone());
        }
        // The library names nobody, too.
        if headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().trim_ascii() == b"Bearer") {
            headers.remove(AUTHORIZATION);
        }
        self.service.call(request).await
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// The value of an option as a header has it.
pub(crate) fn header(option: &str, value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|_| {
        Error::config(format!("`{option}` has characters that no header has"))
            .detail("value", value)
            .help("use letters, digits and punctuation of ASCII")
    })
}
