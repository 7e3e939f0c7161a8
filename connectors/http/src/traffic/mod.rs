//! Exchanges in a recording: kept without secrets, and given back without a network.
//!
//! A request is told by its method, its URL, its range, its body and those of its headers that are no credentials, each
//! without secrets; so a replay needs no secrets, and with other ones it asks for the same. A body is kept decoded, because
//! what is compressed cannot be looked through. Requests for tokens are not kept at all.

mod record;
mod replay;
mod restore;
mod scrub;

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, RANGE};
use reqwest::{Body, Response, StatusCode};
use ring::digest::{Context, SHA256};
use serde_json::{Map, json};
use towpath_core::{Json, Recorder, Recording, Result};
use url::Url;

use crate::client::Call;
use crate::redact::{Redactor, is_harmless};
use restore::Restorer;
use scrub::Scrubber;

/// Shorter parts of credentials are words such as `Bearer`.
const SHORTEST_PART: usize = 12;

/// A request as a recording knows it.
pub(crate) struct Known {
    asked: String,
    request: Json,
    scrubber: Arc<Scrubber>,
    restorer: Restorer,
    /// Whether a `Content-Encoding` is left as it is.
    raw: bool,
}

impl Known {
    /// A request, with the URL and the headers with which it is sent. `redactor` knows all that must not be kept.
    pub(crate) fn new(call: &Call, (url, headers): (&Url, &HeaderMap), mut redactor: Redactor) -> Self {
        let own = Scrubber::new(redactor.clone());
        let restorer = Restorer::new(&redactor);
        let mut asked = format!("{} {}", call.method, own.text(&redactor.url(&call.url)));
        if let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) {
            asked += &[" range=", range].concat();
        }
        if let Some(body) = &call.body {
            asked += &[" body=", &digest([own.bytes(body)])].concat();
        }
        let private = call.private.iter().flat_map(|(_, headers)| headers);
        let mut named: Vec<_> = call
            .headers
            .iter()
            .chain(private)
            .filter(|(name, _)| !is_harmless(name))
            .map(|(name, value)| {
                [name.as_str().as_bytes(), b":", &own.bytes(value.as_bytes()), b"\n"].concat()
            })
            .collect();
        if !named.is_empty() {
            named.sort_unstable();
            asked += &[" headers=", &digest(named)].concat();
        }
        hide_credentials(call, url, headers, &mut redactor);
        let scrubber = Scrubber::new(redactor);
        let shown = headers.iter().filter(|(name, _)| is_harmless(name)).map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), Json::String(scrubber.text(&value)))
        });
        let mut request = json!({ "headers": shown.collect::<Map<_, _>>() });
        if let Some(body) = &call.body {
            request["body_bytes"] = json!(body.len());
        }
        Self { asked, request, scrubber: Arc::new(scrubber), restorer, raw: call.raw }
    }

    /// Keeps an answer as it is read.
    ///
    /// # Errors
    /// `Unsupported` when its encoding is not known.
    pub(crate) fn record(&self, recorder: &Arc<dyn Recorder>, response: Response) -> Result<Response> {
        record::answer(self, recorder, response)
    }

    /// Keeps that there was none.
    ///
    /// # Errors
    /// When the recording cannot be written.
    pub(crate) async fn record_failure(
        &self,
        recorder: &Arc<dyn Recorder>,
        error: &towpath_core::Error,
    ) -> Result<()> {
        record::failure(self, recorder, error).await
    }

    /// The answer out of a recording.
    ///
    /// # Errors
    /// When there is none; the failure that was recorded.
    pub(crate) async fn replay(&self, recording: &Arc<dyn Recording>) -> Result<Response> {
        replay::answer(self, recording).await
    }
}

/// Tells the redactor what is known only now, such as signatures.
fn hide_credentials(call: &Call, url: &Url, headers: &HeaderMap, redactor: &mut Redactor) {
    // Of those that parameters are filled into, the redactor knows what is secret.
    let is_filled_in =
        |name: &HeaderName| call.private.as_ref().is_some_and(|(_, headers)| headers.contains_key(name));
    let secret = headers.iter().filter(|(_, value)| value.is_sensitive());
    for (_, value) in secret.filter(|(name, _)| !is_harmless(name) && !is_filled_in(name)) {
        let value = String::from_utf8_lossy(value.as_bytes());
        redactor.hide_value(&value);
        for part in value.split([' ', ';', ',', ':', '=', '"']).filter(|part| part.len() >= SHORTEST_PART) {
            redactor.hide_value(part);
        }
    }
    for (name, value) in url.query_pairs().filter(|(_, value)| value.len() >= SHORTEST_PART) {
        let is_added = !call.url.query_pairs().any(|own| own == (name.clone(), value.clone()));
        if is_added || redactor.is_secret(&name) {
            redactor.hide_value(&value);
        }
    }
}

/// A text that stands for these bytes.
fn digest(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&part);
    }
    data_encoding::HEXLOWER.encode(&hash.finish().as_ref()[..16])
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.into()
}
