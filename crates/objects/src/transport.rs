//! Requests that got no answer, and answers that broke off.

use std::error::Error as StdError;

use towpath_core::{Error, ErrorKind, Outcome, Retry};

/// A request that got no answer, and what that means for the limits.
pub(crate) fn no_answer(error: reqwest::Error) -> (Error, Outcome) {
    let outcome = if error.is_timeout() { Outcome::TimedOut } else { Outcome::Failed };
    let cause = chain(&error);
    // Who sent it tells the object.
    let error = error.without_url();
    let described = if error.is_builder() {
        Error::config("the request cannot be made").help("check `endpoint`")
    } else if cause.contains("certificate") {
        Error::unavailable("the server's certificate is not trusted")
            .retry(Retry::Never)
            .help("set `ca_certificate` to the file of the authority that signed it")
    } else if cause.contains("proxy authorization required") {
        Error::new(ErrorKind::Unauthenticated, "the proxy wants credentials")
            .help("put them into the URL of the proxy: http://user:password@host:port")
    } else if cause.contains("tunnel error") || cause.contains("SOCKS error") {
        Error::unavailable("the proxy makes no connection to the store")
            .help("check `proxy`, or HTTPS_PROXY in the environment, and what the proxy lets through")
    } else if error.is_dns() {
        Error::unavailable("the host name cannot be resolved")
            .help("check `endpoint`, `region` and the network")
    } else if error.is_connect() && error.is_timeout() {
        Error::unavailable("the connection was not made in time")
            .help("check `endpoint` and the network, or raise `timeout.connect`")
    } else if error.is_timeout() {
        Error::unavailable("the store did not answer in time").help("raise `timeout.idle` if it is slow")
    } else if error.is_connect() {
        Error::unavailable("cannot connect").help("check `endpoint`, and that the server is running")
    } else {
        Error::unavailable("the connection broke before the answer")
    };
    (described.source(error), outcome)
}

/// A body that broke off.
pub(crate) fn broken_body(error: reqwest::Error, received: u64) -> (Error, Outcome) {
    let (message, outcome) = if error.is_timeout() {
        (format!("nothing came for too long behind {received} bytes"), Outcome::TimedOut)
    } else {
        (format!("the answer broke off after {received} bytes"), Outcome::Failed)
    };
    (Error::unavailable(message).source(error.without_url()), outcome)
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
