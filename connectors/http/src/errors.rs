//! Failures of HTTP as errors of the contract: what kind, whether to try again, what to do.

use std::error::Error as StdError;
use std::io;

use reqwest::{Method, StatusCode};
use towpath_core::{Error, ErrorKind, Outcome, Retry};

use crate::limits::Limits;
use crate::network;

/// How many characters of a body an error shows.
const EXCERPT: usize = 200;

/// An answer that is no success.
pub(crate) struct Refusal<'a> {
    pub(crate) status: StatusCode,
    pub(crate) limits: Limits,
    /// The beginning of the body.
    pub(crate) body: String,
    pub(crate) method: &'a Method,
    /// Whether the request carried credentials.
    pub(crate) with_credentials: bool,
}

impl Refusal<'_> {
    /// Whether the server asks for fewer requests. Some say so with 403.
    pub(crate) fn is_overload(&self) -> bool {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => true,
            StatusCode::FORBIDDEN => self.limits.wait().is_some(),
            _ => false,
        }
    }

    /// What it means for the limits of the connection.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Outcome::Overloaded(self.limits.wait()),
            _ if self.is_overload() => Outcome::RateLimited(self.limits.wait()),
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => Outcome::TimedOut,
            status if status.is_server_error() => Outcome::Failed,
            // A refusal is an answer: the server is well.
            _ => Outcome::Success,
        }
    }

    /// The error.
    pub(crate) fn error(&self) -> Error {
        let (kind, help) = self.classify();
        let mut error =
            Error::new(kind, format!("the server answered {}", self.status)).retry(self.retry(kind));
        if let Some(excerpt) = excerpt(&self.body) {
            error = error.detail("body", excerpt);
        }
        match help {
            "" => error,
            help => error.help(help),
        }
    }

    fn classify(&self) -> (ErrorKind, &'static str) {
        let is_write = self.method != Method::GET;
        match self.status.as_u16() {
            _ if self.status == StatusCode::TOO_MANY_REQUESTS
                || (self.status == StatusCode::FORBIDDEN && self.is_overload()) =>
            {
                (ErrorKind::RateLimited, "set `rate_limit` or `max_in_flight` on the connection")
            }
            401 if self.with_credentials => {
                (ErrorKind::Unauthenticated, "check `auth`: the credentials may be wrong or expired")
            }
            401 => (ErrorKind::Unauthenticated, "set `auth`: the request carried no credentials"),
            407 => (ErrorKind::Unauthenticated, "the proxy wants credentials: put them into the proxy's URL"),
            403 => (ErrorKind::PermissionDenied, "ask for access, or check which account `auth` belongs to"),
            404 | 410 => (ErrorKind::NotFound, "check `url` or `path`"),
            408 | 425 | 500 | 502..=504 | 520..=530 => (ErrorKind::Unavailable, ""),
            501 | 505..=599 => (ErrorKind::Unsupported, ""),
            413 if is_write => (ErrorKind::DataInvalid, "lower `batch_rows`"),
            400 | 409 | 422 if is_write => {
                (ErrorKind::DataInvalid, "the server refused the rows: see its answer")
            }
            405 => (ErrorKind::Config, "the server does not know this method here: check `url` or `path`"),
            400..=499 => {
                (ErrorKind::Config, "the server refused the request: check `url`, `query` and `headers`")
            }
            300..=399 => (
                ErrorKind::Config,
                "the answer is a redirect that cannot be followed: set `url` to its target",
            ),
            _ => (ErrorKind::Unexpected, ""),
        }
    }

    fn retry(&self, kind: ErrorKind) -> Retry {
        match (kind, self.limits.wait()) {
            (ErrorKind::RateLimited | ErrorKind::Unavailable, Some(wait)) => Retry::After(wait),
            (ErrorKind::RateLimited | ErrorKind::Unavailable, None) => Retry::Transient,
            _ => Retry::Never,
        }
    }
}

/// The beginning of a body on one line.
pub(crate) fn excerpt(body: &str) -> Option<String> {
    let words = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = words.chars().filter(|c| !c.is_control()).take(EXCERPT).collect();
    if shown.chars().count() == EXCERPT && words.chars().count() > EXCERPT {
        shown.push('…');
    }
    (!shown.is_empty()).then_some(shown)
}

/// A request that got no answer.
pub(crate) fn no_answer(error: reqwest::Error) -> Error {
    if let Some(refused) = network::refused(&error) {
        return refused;
    }
    let unreached = towpath_web::unreached(&error, "the host name");
    // The URL is told without its secrets by the caller.
    let error = error.without_url();
    if error.is_builder() {
        return Error::config("the request cannot be made").source(error);
    }
    let described = if let Some(unreached) = unreached {
        unreached
    } else if error.is_timeout() {
        Error::unavailable("the connection was not made in time")
            .help("check the host, or raise `timeout.connect`")
    } else if error.is_connect() {
        Error::unavailable("cannot connect").help("check host and port, and that the server is running")
    } else {
        Error::unavailable("the connection broke before the answer")
    };
    described.source(error)
}

/// A body that broke off.
pub(crate) fn broken_body(error: reqwest::Error, received: u64) -> Error {
    // On its way into a recording or out of one, it was told already what is wrong.
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            return Error::new(ours.kind(), ours.message()).retry(ours.retry_policy());
        }
        cause = inner.source();
    }
    Error::unavailable(format!("the body broke off after {received} bytes")).source(error.without_url())
}

/// A body that its decoder did not take.
pub(crate) fn undecodable_body(error: io::Error, received: u64) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // Without a length, a connection that was cut looks like the end.
        return Error::unavailable(format!("the compressed body ends in the middle, after {received} bytes"))
            .source(error);
    }
    Error::data("the body is not what its `Content-Encoding` says").source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn refusal(status: u16) -> Refusal<'static> {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            limits: Limits::default(),
            body: String::new(),
            method: &Method::GET,
            with_credentials: true,
        }
    }

    #[test]
    fn each_status_has_its_kind() {
        for (status, kind, retryable) in [
            (304, ErrorKind::Config, false),
            (400, ErrorKind::Config, false),
            (401, ErrorKind::Unauthenticated, false),
            (403, ErrorKind::PermissionDenied, false),
            (404, ErrorKind::NotFound, false),
            (408, ErrorKind::Unavailable, true),
            (429, ErrorKind::RateLimited, true),
            (500, ErrorKind::Unavailable, true),
            (501, ErrorKind::Unsupported, false),
            (502, ErrorKind::Unavailable, true),
            (503, ErrorKind::Unavailable, true),
            (504, ErrorKind::Unavailable, true),
            (522, ErrorKind::Unavailable, true),
        ] {
            let error = refusal(status).error();
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{status}");
        }
    }

    #[test]
    fn a_server_that_says_when_is_asked_again_then() {
        let wait = Some(Duration::from_secs(9));
        let limits = Limits { retry_after: wait, exhausted: None };
        assert_eq!(
            Refusal { limits, ..refusal(503) }.error().retry_policy(),
            Retry::After(Duration::from_secs(9))
        );
        assert_eq!(Refusal { limits, ..refusal(503) }.outcome(), Outcome::Overloaded(wait));
        // A refusal of the credentials stays one, whatever else the server says.
        assert_eq!(Refusal { limits, ..refusal(401) }.error().retry_policy(), Retry::Never);
    }

    #[test]
    fn a_403_with_a_used_up_budget_is_a_rate_limit() {
        let limits = Limits { retry_after: None, exhausted: Some(Duration::from_mins(1)) };
        let error = Refusal { limits, ..refusal(403) }.error();
        assert_eq!(
            (error.kind(), error.retry_policy()),
            (ErrorKind::RateLimited, Retry::After(Duration::from_mins(1)))
        );
    }

    #[test]
    fn rows_that_a_server_refuses_are_invalid_data() {
        let error = Refusal { method: &Method::POST, ..refusal(422) }.error();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
    }

    #[test]
    fn the_beginning_of_the_body_is_shown_on_one_line() {
        let body = format!("{{\n  \"error\": \"{}\"}}", "x".repeat(300));
        let text = Refusal { body, ..refusal(400) }.error().to_string();
        assert!(text.starts_with("the server answered 400 Bad Request (body: { \"error\": \"xxx"), "{text}");
        assert!(text.contains("x…)") && text.chars().count() < 400, "{text}");
    }
}
