//! What the rules for answers say of successes. Those for refusals are asked where refusals are judged.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use towpath_core::{BatchStream, Error, Result};

use super::{Document, Reading};
use crate::client::{Answer, Call};
use crate::responses::{Case, JUDGED, Ruling};

/// The error for a web page where data was expected. Behind a redirect it is mostly a login.
pub(super) fn web_page(error: Error, redirected: bool) -> Error {
    if !redirected {
        return error;
    }
    Error::data("the server redirects to a web page instead of answering with data")
        .help("this is often a login: set `auth`, or check `url` or `path`")
}

fn rest_left_out(answer: &Answer) -> Error {
    Error::data("a rule of `responses` leaves out a document of which a part was read")
        .detail("status", answer.status)
}

impl Reading {
    /// Asks the rules about a success whose body is here.
    ///
    /// # Errors
    /// That of a rule.
    pub(super) fn judge(&self, answer: &Answer, body: Option<&[u8]>) -> Result<Option<Ruling>> {
        let rules = &self.shared.responses;
        if answer.ruling.is_some() || !rules.has(answer.status) {
            return Ok(answer.ruling);
        }
        let body = body.map(String::from_utf8_lossy);
        let client = &self.shared.client;
        let shown = body.as_deref();
        let shown = shown.map(|body| client.without_secrets(body, &self.home, answer.token.as_deref()));
        let case = Case {
            status: answer.status,
            body: body.as_deref(),
            shown: shown.as_deref().unwrap_or_default(),
            wait: None,
        };
        rules.judge(&case, None).map_err(|error| error.detail("url", self.shared.client.show(&answer.url)))
    }

    /// The batches of a document that a rule leaves out: none.
    ///
    /// # Errors
    /// When a part of it has been read.
    pub(super) fn left_out(
        &self,
        answer: &Answer,
        ruling: Ruling,
        known: Option<&Document>,
    ) -> Result<BatchStream> {
        if known.is_some() {
            return Err(rest_left_out(answer).detail("url", self.show()));
        }
        if ruling == Ruling::Skip {
            self.shared.responses.skipped(&self.cx, &self.show(), answer.status);
        }
        Ok(stream::empty().boxed())
    }

    /// Asks for more of a document of which a part is here.
    pub(super) async fn get_rest(&self, prepare: impl FnOnce(&mut Call)) -> Result<Answer> {
        let answer = self.get(prepare).await?;
        match answer.ruling {
            None => Ok(answer),
            Some(_) => Err(rest_left_out(&answer).detail("url", self.show())),
        }
    }

    /// Asks the rules about a body that may become a stream, as long as it is short: errors are.
    pub(super) async fn judge_stream(&self, answer: &mut Answer) -> Result<()> {
        if answer.ruling.is_some() || !self.shared.responses.has(answer.status) {
            return Ok(());
        }
        let is_long = answer.body.is_longer_than(JUDGED).await;
        let is_long = is_long.map_err(|error| error.detail("url", self.shared.client.show(&answer.url)))?;
        let body = (!is_long).then(|| Bytes::from(answer.body.peeked()));
        answer.ruling = self.judge(answer, body.as_deref())?;
        Ok(())
    }
}
