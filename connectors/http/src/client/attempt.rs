//! One request to one server: with its credentials, within its time, and past a recording.

use std::pin::pin;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap};
use reqwest::{Request, Response};
use towpath_core::{Context, Error, Outcome, Permit, Result, Traffic};
use url::Url;

use super::{Call, Client};
use crate::auth::{Token, same_origin};
use crate::body::Deadline;
use crate::decode::ACCEPTED;
use crate::errors::no_answer;
use crate::network;
use crate::traffic::Known;

impl Client {
    /// Sends one request to one server.
    pub(super) async fn attempt(
        &self,
        cx: &Context,
        call: &Call,
        token: Option<&Token>,
        deadline: Deadline,
        permit: Permit,
    ) -> Result<(Response, Permit)> {
        let (mut url, mut headers) = (call.url.clone(), call.headers.clone());
        headers.entry(ACCEPT_ENCODING).or_insert(ACCEPTED);
        self.credentials.put(&mut url, &mut headers, &call.home, token);
        if let Some((home, private)) = &call.private
            && same_origin(home, &url)
        {
            headers.extend(private.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        self.credentials.sign(call, &mut url, &mut headers, cx.clock().now())?;
        let known = self.known(cx, call, (&url, &headers), token);
        let mut request = Request::new(call.method.clone(), url);
        *request.headers_mut() = headers;
        *request.body_mut() = call.body.clone().map(Into::into);
        self.execute(cx, request, known.as_ref(), deadline, permit).await
    }

    /// What a recording knows of a request, where there is one.
    fn known(
        &self,
        cx: &Context,
        call: &Call,
        sent: (&Url, &HeaderMap),
        token: Option<&Token>,
    ) -> Option<Known> {
        if matches!(cx.traffic(), Traffic::Live) {
            return None;
        }
        let mut redactor = self.redactor.clone();
        call.home.tell(&mut redactor);
        if let Some(token) = token {
            token.tell(&mut redactor);
        }
        Some(Known::new(call, sent, redactor))
    }

    /// Sends a request as it is. One that a recording does not know is neither kept nor taken from it.
    pub(super) async fn execute(
        &self,
        cx: &Context,
        request: Request,
        known: Option<&Known>,
        deadline: Deadline,
        permit: Permit,
    ) -> Result<(Response, Permit)> {
        network::check(self.networks, request.url())?;
        let limit = ("timeout.first_byte", self.timeouts.first_byte.get());
        let answer = pin!(self.answer(cx, request, known));
        let (mut error, outcome) = match deadline.wait(cx, limit, answer).await {
            Ok(Ok(response)) => return Ok((response, permit)),
            Ok(Err(failed)) => failed,
            Err(error) => (error, Outcome::TimedOut),
        };
        permit.finish(outcome, cx.clock().monotonic());
        if let (Traffic::Recorded(recorder), Some(known)) = (cx.traffic(), known)
            && let Err(other) = known.record_failure(recorder, &error).await
        {
            error = other;
        }
        Err(error)
    }

    /// The answer to a request, from wherever answers come.
    async fn answer(
        &self,
        cx: &Context,
        request: Request,
        known: Option<&Known>,
    ) -> std::result::Result<Response, (Error, Outcome)> {
        let failed = |error| (error, Outcome::Failed);
        if let (Traffic::Replayed(recording), Some(known)) = (cx.traffic(), known) {
            return known.replay(recording).await.map_err(failed);
        }
        let response = self.http.execute(request).await.map_err(|error| {
            let outcome = if error.is_timeout() { Outcome::TimedOut } else { Outcome::Failed };
            (no_answer(error), outcome)
        })?;
        match (cx.traffic(), known) {
            (Traffic::Recorded(recorder), Some(known)) => known.record(recorder, response).map_err(failed),
            _ => Ok(response),
        }
    }
}
