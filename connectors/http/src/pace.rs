//! What holds one request back besides the limits of its connection, and who rests when a server asks for a pause.

use std::time::Duration;

use reqwest::StatusCode;
use towpath_core::{Context, Outcome, Result};
use url::{Position, Url};

use crate::auth::has_user;
use crate::budgets::{Budgets, Matched, Ticket};
use crate::errors::Refusal;
use crate::limits::LONGEST_PAUSE;

/// The pace of one request.
pub(crate) struct Pace {
    origin: String,
    matched: Matched,
    tickets: Vec<Ticket>,
    /// Whether its token has limits of its own.
    by_token: bool,
}

impl Pace {
    /// Waits for the budgets of a URL.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) async fn new(budgets: &Budgets, cx: &Context, url: &Url, by_token: bool) -> Result<Self> {
        let origin = origin(url);
        let matched = budgets.of(url);
        let tickets = matched.acquire(cx).await?;
        Ok(Self { origin, matched, tickets, by_token })
    }

    /// The server.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The request is sent.
    pub(crate) fn sent(&mut self) {
        self.tickets.iter_mut().for_each(Ticket::sent);
    }

    /// The head of its answer is there.
    pub(crate) fn answered(&mut self) {
        self.tickets.clear();
    }

    /// Does what an overloaded server asks for.
    pub(crate) fn slow_down(&self, cx: &Context, refusal: &Refusal<'_>) {
        if !refusal.is_overload() {
            return;
        }
        if !self.by_token {
            cx.metrics().add_throttled(1);
        }
        if let Some(pause) = refusal.limits.wait() {
            self.hold_back(cx, pause, refusal.status == StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    /// Holds back everybody whom it concerns: who uses the same token, spends of the same budgets, or talks to this server.
    pub(crate) fn hold_back(&self, cx: &Context, pause: Duration, is_server: bool) {
        let pause = pause.min(LONGEST_PAUSE);
        if pause.is_zero() || (self.by_token && !is_server) {
            return;
        }
        let origin = self.origin();
        tracing::debug!(origin, ?pause, "the server asks for a pause");
        if is_server || !self.matched.rest(cx.clock().monotonic() + pause) {
            cx.connection().limiter().pause(origin, pause);
        }
    }

    /// What a refusal means for the limits of the connection. A budget or token that is used up says nothing about the server.
    pub(crate) fn outcome(&self, refusal: &Refusal<'_>) -> Outcome {
        match refusal.outcome() {
            Outcome::Overloaded(_) | Outcome::RateLimited(_)
                if self.is_apart() && refusal.status != StatusCode::SERVICE_UNAVAILABLE =>
            {
                Outcome::Success
            }
            outcome => outcome,
        }
    }

    /// Whether it has limits that are not those of the server.
    fn is_apart(&self) -> bool {
        self.by_token || !self.matched.is_empty()
    }
}

/// The origin of a URL: what stands before its path, without user and password.
fn origin(url: &Url) -> String {
    if has_user(url) {
        return url.origin().ascii_serialization();
    }
    url[..Position::BeforePath].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, expected) in [
            ("https://A.example:443/x?y#z", "https://a.example"),
            ("http://a.example:8080", "http://a.example:8080"),
            ("http://ann:secret@[::1]:8080/x", "http://[::1]:8080"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(origin(&url), expected);
            assert_eq!(origin(&url), url.origin().ascii_serialization());
        }
    }
}
