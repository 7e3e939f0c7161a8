//! Requests that got no answer, and answers that broke off.

use towpath_core::{Error, Outcome};

/// A request that got no answer, and what that means for the limits.
pub(crate) fn no_answer(error: reqwest::Error) -> (Error, Outcome) {
    let outcome = if error.is_timeout() { Outcome::TimedOut } else { Outcome::Failed };
    let unreached = towpath_web::unreached(&error, "`endpoint`, `region`");
    // Who sent it tells the object.
    let error = error.without_url();
    let described = if error.is_builder() {
        Error::config("the request cannot be made").help("check `endpoint`")
    } else if let Some(unreached) = unreached {
        unreached
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
