//! Answers out of a recording.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Response, StatusCode};
use serde::Deserialize;
use towpath_core::{Answered, Error, ErrorKind, Recording, Result, Retry};

use super::{Known, response};

/// The head of an answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Head {
    Answer { status: u16, headers: Vec<(String, String)> },
    Failure { failed: String, kind: ErrorKind, retry: bool },
}

pub(super) async fn answer(known: &Known, recording: &Arc<dyn Recording>) -> Result<Response> {
    let Answered { head, body } = recording.answer(&known.asked).await?;
    let broken = || Error::data("the recording is broken").detail("at", &known.asked);
    let (status, headers) = match serde_json::from_value(head).map_err(|error| broken().source(error))? {
        Head::Answer { status, headers } => (status, headers),
        Head::Failure { failed, kind, retry } => {
            let error = Error::new(kind, failed);
            return Err(if retry { error } else { error.retry(Retry::Never) });
        }
    };
    let status = StatusCode::from_u16(status).map_err(|error| broken().source(error))?;
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| broken().source(error))?;
        let value = known.restorer.bytes(value.as_bytes());
        let value = HeaderValue::from_bytes(&value).map_err(|error| broken().source(error))?;
        all.append(name, value);
    }
    let body = known.restorer.clone().body(body);
    Ok(response(status, all, Body::wrap_stream(body.map_ok(Bytes::from).fuse())))
}
