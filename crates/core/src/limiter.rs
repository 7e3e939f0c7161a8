//! The limits of a connection, as a capability: a connector asks before each request and says how it went.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// How a request went, as far as the limits care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Success,
    /// The server counts our requests, and there were too many in a time: 429, a used-up budget. With the time it asked
    /// for, if it did.
    RateLimited(Option<Duration>),
    /// The server has too much to do: 503, a throttling error. With the time it asked for, if it did.
    Overloaded(Option<Duration>),
    /// It was not answered in time.
    TimedOut,
    /// It failed for a reason that says nothing about load.
    Failed,
    /// It was given up by our side.
    Abandoned,
}

/// Grants requests to one connection: at most so many at once, so many per second, fewer when the server suffers.
#[async_trait]
pub trait Limiter: Send + Sync + fmt::Debug {
    /// Waits until one more request to this origin may start. `origin` separates servers behind one connection, for
    /// example `https://api.example:443`; a connection with one server passes `""`.
    ///
    /// The caller holds the permit until the answer's last byte has arrived, and then calls [`Permit::finish`].
    async fn acquire(&self, origin: &str) -> Permit;

    /// Holds all further requests to this origin back for this long: the server said `Retry-After`, or its budget for
    /// this window is used up.
    fn pause(&self, origin: &str, pause: Duration);
}

/// The right to one request. Dropping it without [`finish`](Permit::finish) counts as [`Outcome::Abandoned`].
#[must_use]
pub struct Permit {
    started: Instant,
    release: Option<Box<dyn FnOnce(Outcome, Duration) + Send>>,
}

impl Permit {
    /// A permit that tells `release` the outcome and how long the request took.
    pub fn new(started: Instant, release: impl FnOnce(Outcome, Duration) + Send + 'static) -> Self {
        Self { started, release: Some(Box::new(release)) }
    }

    /// Ends the request. `now` comes from the context's clock.
    pub fn finish(mut self, outcome: Outcome, now: Instant) {
        self.release_once(outcome, now);
    }

    fn release_once(&mut self, outcome: Outcome, now: Instant) {
        if let Some(release) = self.release.take() {
            release(outcome, now.saturating_duration_since(self.started));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let started = self.started;
        self.release_once(Outcome::Abandoned, started);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("started", &self.started).finish_non_exhaustive()
    }
}

/// No limits: what a context has until the engine sets some.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

#[async_trait]
impl Limiter for Unlimited {
    async fn acquire(&self, _origin: &str) -> Permit {
        Permit::new(Instant::now(), |_, _| {})
    }

    fn pause(&self, _origin: &str, _pause: Duration) {}
}
