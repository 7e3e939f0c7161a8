//! Answers on their way into a recording.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use reqwest::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, SET_COOKIE, TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use reqwest::{Body, Response};
use serde_json::json;
use towpath_core::{Error, Exchange, Json, Piece, Recorder, Result, Then};

use super::scrub::{Pieces, Scrubber};
use super::{Known, response};
use crate::decode::{Chunks, is_encoded};

/// What parts of names of headers stand for secrets.
const SECRET_PARTS: [&str; 8] =
    ["auth", "cookie", "credential", "csrf", "secret", "session", "signature", "token"];

pub(super) fn answer(known: &Known, recorder: &Arc<dyn Recorder>, answer: Response) -> Result<Response> {
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let encoded = !known.raw && is_encoded(&headers);
    // What comes over the wire is counted where it is read.
    let chunks = if encoded {
        Chunks::new(answer, &headers, Arc::default())?
    } else {
        Chunks::Plain(answer, Arc::default())
    };
    if encoded {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    let head = json!({ "status": status.as_u16(), "headers": kept(&headers, &known.scrubber) });
    let taken = Taken::new(known, recorder, head);
    let chunks = stream::unfold(Some((chunks, taken, 0)), |state| async move {
        let (mut chunks, mut taken, received) = state?;
        match next(&mut chunks, &mut taken, received).await {
            Ok(Some(chunk)) => {
                let received = received + chunk.len() as u64;
                Some((Ok(chunk), Some((chunks, taken, received))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(response(status, headers, Body::wrap_stream(chunks.fuse())))
}

async fn next(chunks: &mut Chunks, taken: &mut Taken, received: u64) -> Result<Option<Bytes>> {
    match chunks.next(received).await {
        Ok(Some(chunk)) => {
            taken.add(&chunk).await?;
            Ok(Some(chunk))
        }
        Ok(None) => {
            taken.end(Then::End).await?;
            Ok(None)
        }
        Err(error) => {
            taken.end(Then::Cut(error.message().to_owned())).await?;
            Err(error)
        }
    }
}

pub(super) async fn failure(known: &Known, recorder: &Arc<dyn Recorder>, error: &Error) -> Result<()> {
    let message = known.scrubber.text(error.message());
    let head = json!({ "failed": message, "kind": error.kind(), "retry": error.is_retryable() });
    Taken::new(known, recorder, head).end(Then::End).await
}

/// The headers of an answer, without what could be secret.
fn kept(headers: &HeaderMap, scrubber: &Scrubber) -> Json {
    let kept = headers.iter().filter(|(name, _)| {
        let is_ours = [&CONNECTION, &TRANSFER_ENCODING, &SET_COOKIE, &WWW_AUTHENTICATE].contains(name);
        !is_ours && !is_secret(name.as_str())
    });
    kept.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        json!([name.as_str(), scrubber.text(&value)])
    })
    .collect()
}

/// Whether the name of a header sounds like a secret, and not like the way to the next page.
fn is_secret(name: &str) -> bool {
    let is_page = ["next", "page", "continuation", "cursor"].iter().any(|part| name.contains(part));
    !is_page && SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// What was read of an answer.
struct Taken {
    recorder: Arc<dyn Recorder>,
    number: u64,
    head: Option<Exchange>,
    pieces: Pieces,
    ended: bool,
}

impl Taken {
    fn new(known: &Known, recorder: &Arc<dyn Recorder>, answer: Json) -> Self {
        let (asked, request) = (known.asked.clone(), known.request.clone());
        Self {
            number: recorder.number(),
            recorder: recorder.clone(),
            head: Some(Exchange { asked, request, answer }),
            pieces: Pieces::new(known.scrubber.clone()),
            ended: false,
        }
    }

    async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        match self.pieces.add(bytes) {
            None => Ok(()),
            Some(body) => {
                let piece = self.piece(body, Then::More);
                self.recorder.keep(piece).await
            }
        }
    }

    async fn end(&mut self, then: Then) -> Result<()> {
        self.ended = true;
        let rest = self.pieces.rest();
        let piece = self.piece(rest, then);
        self.recorder.keep(piece).await
    }

    fn piece(&mut self, body: Vec<u8>, then: Then) -> Piece {
        Piece { exchange: self.number, head: self.head.take(), body, then }
    }
}

/// A body that nobody reads on: what was read of it is enough for a replay.
impl Drop for Taken {
    fn drop(&mut self) {
        if !self.ended {
            let rest = self.pieces.rest();
            let piece = self.piece(rest, Then::Cut("the recorded run read no further".to_owned()));
            self.recorder.keep_last(piece);
        }
    }
}
