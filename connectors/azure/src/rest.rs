//! Requests that `object_store` has not: they are signed by it, and sent like all others.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::azure::AzureAuthorizer;
use object_store::client::{HttpRequestBody, HttpResponseBody};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use towpath_core::{Error, Result};
use towpath_objects::{Service, told};
use url::Url;

use crate::credentials::Credentials;
use crate::place::Place;

/// The version of the protocol; requests that are signed get the same one.
const VERSION: &str = "2023-11-03";

/// The blob service of an account, as one stream asks it.
#[derive(Clone)]
pub(crate) struct Rest {
    service: Service,
    place: Place,
    credentials: Option<Arc<Credentials>>,
}

/// A request.
#[derive(Debug, Default)]
pub(crate) struct Call {
    method: Method,
    container: Option<String>,
    key: Option<String>,
    query: Vec<(&'static str, String)>,
    headers: Vec<(Cow<'static, str>, String)>,
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// A request to the account.
    pub(crate) fn new(method: Method) -> Self {
        Self { method, ..Self::default() }
    }

    pub(crate) fn container(mut self, container: &str) -> Self {
        self.container = Some(container.to_owned());
        self
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header whose name is in small letters.
    pub(crate) fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl Rest {
    pub(crate) fn new(service: Service, place: Place, credentials: Option<Arc<Credentials>>) -> Self {
        Self { service, place, credentials }
    }

    pub(crate) fn credentials(&self) -> Option<&Arc<Credentials>> {
        self.credentials.as_ref()
    }

    /// The URL of a container, or of a blob in it.
    pub(crate) fn url(&self, container: Option<&str>, key: Option<&str>) -> Url {
        let mut url = self.place.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(container).extend(key.into_iter().flat_map(|key| key.split('/')));
        }
        url
    }

    /// Sends a request, and waits for the whole answer.
    pub(crate) async fn send(&self, call: Call) -> Result<Reply> {
        let body = call.body.clone();
        let mut request = self.request(call)?;
        match &self.credentials {
            Some(credentials) => {
                let credential = credentials.get().await?;
                let signed =
                    AzureAuthorizer::new(&credential, &self.place.account).try_authorize(&mut request);
                signed.map_err(|_| Error::unexpected("the request cannot be signed"))?;
            }
            None => {
                request.headers_mut().insert("x-ms-version", HeaderValue::from_static(VERSION));
            }
        }
        let (head, _) = request.into_parts();
        // The parser's words would show the signature that may stand in it.
        let url = head.uri.to_string().parse().map_err(|_| cannot_be_made())?;
        let mut sent = reqwest::Request::new(head.method, url);
        *sent.headers_mut() = head.headers;
        *sent.body_mut() = (!body.is_empty()).then(|| body.into());
        let answer = self.service.send(sent).await?;
        if let Some(refusal) = answer.refusal {
            return Err(refusal.error());
        }
        let body = HttpResponseBody::new(answer.body).bytes().await.map_err(|error| broken(&error))?;
        Ok(Reply { headers: answer.headers, body })
    }

    fn request(&self, call: Call) -> Result<http::Request<HttpRequestBody>> {
        let mut url = self.url(call.container.as_deref(), call.key.as_deref());
        let query: Vec<String> = call.query.iter().map(|(name, value)| parameter(name, value)).collect();
        url.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
        let mut request = http::Request::new(HttpRequestBody::empty());
        *request.method_mut() = call.method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| cannot_be_made())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(call.body.len()));
        for (name, value) in call.headers {
            let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
            let (name, value) = header.ok_or_else(|| {
                Error::config("a header takes neither line breaks nor control characters")
                    .detail("header", name)
                    .help("check the options that say what blobs say of themselves")
            })?;
            headers.insert(name, value);
        }
        Ok(request)
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A parameter of a query. A space is `%20`, because not every server takes a `+` for one.
fn parameter(name: &str, value: &str) -> String {
    format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
}

fn cannot_be_made() -> Error {
    Error::config("the request cannot be made").help("check `endpoint`")
}

/// An answer that broke off.
fn broken(error: &(dyn StdError + 'static)) -> Error {
    let mut cause = Some(error);
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return told(ours);
        }
        cause = inner.source();
    }
    Error::unavailable("the answer broke off")
}
