//! When to try again, and when to give up.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, HumanDuration, Result, Retry};

/// When and how often a failed operation is tried again. Only failures that may pass by themselves are: a server that
/// cannot be reached, does not answer, or asks for fewer requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// How often an operation is tried in all. A read that has gone on since its last failure counts anew. With `1`,
    /// nothing is tried again.
    pub attempts: NonZeroU32,
    /// The longest wait before the second attempt. It doubles with each further one; the wait is drawn at random between
    /// zero and this, so that many clients do not come back at the same moment.
    pub base: HumanDuration,
    /// The longest wait before any attempt. A server that says when to come back (`Retry-After`) is obeyed beyond it.
    pub max_delay: HumanDuration,
    /// The longest time from an operation's first failure to its last attempt, waits included. A server that asks for a
    /// longer wait ends it at once. `null` for no bound.
    pub total: Option<HumanDuration>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(5).expect("5 is not 0"),
            base: Duration::from_millis(500).into(),
            max_delay: Duration::from_secs(30).into(),
            total: Some(Duration::from_mins(15).into()),
        }
    }
}

/// Decides on retries. Clones share one sequence of random numbers.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    settings: RetrySettings,
    random: Arc<Mutex<fastrand::Rng>>,
}

impl RetryPolicy {
    /// The policy of these settings.
    pub fn new(settings: &RetrySettings) -> Self {
        Self::with_random(settings, fastrand::Rng::new())
    }

    /// The same, with waits that are the same in each run: for tests.
    pub fn seeded(settings: &RetrySettings, seed: u64) -> Self {
        Self::with_random(settings, fastrand::Rng::with_seed(seed))
    }

    fn with_random(settings: &RetrySettings, random: fastrand::Rng) -> Self {
        Self { settings: settings.clone(), random: Arc::new(Mutex::new(random)) }
    }

    /// The attempts of one operation.
    pub(super) fn attempts(&self, operation: &'static str) -> Attempts {
        Attempts { policy: self.clone(), operation, failed: 0, first_failure: None }
    }

    /// Calls until it succeeds, fails for good, or the attempts are used up.
    pub(super) async fn call<'a, T>(
        &self,
        cx: &Context,
        operation: &'static str,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let mut attempts = self.attempts(operation);
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) => attempts.wait_after(cx, error).await?,
            }
        }
    }

    /// A random wait before the attempt that follows this many failures.
    fn backoff(&self, failed: u32) -> Duration {
        let ceiling = 2_u32
            .checked_pow(failed.saturating_sub(1))
            .and_then(|factor| self.settings.base.get().checked_mul(factor))
            .unwrap_or(Duration::MAX)
            .min(self.settings.max_delay.get());
        let share = self.random.lock().unwrap_or_else(PoisonError::into_inner).f64();
        ceiling.mul_f64(share)
    }
}

/// The attempts of one operation since it last went on.
#[derive(Debug)]
pub(super) struct Attempts {
    policy: RetryPolicy,
    operation: &'static str,
    failed: u32,
    first_failure: Option<Instant>,
}

impl Attempts {
    /// The operation went on: what failed before does not count any more.
    pub(super) fn start_anew(&mut self) {
        self.failed = 0;
        self.first_failure = None;
    }

    /// Waits until the operation may be tried again, after it failed with this error.
    ///
    /// # Errors
    /// The same error when trying again is of no use, and as `Exhausted` when it was tried often or long enough.
    /// `Cancelled` when the run stops meanwhile.
    pub(super) async fn wait_after(&mut self, cx: &Context, error: Error) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        cx.cancellation().check()?;
        self.failed += 1;
        let delay = match self.next_delay(cx.clock().monotonic(), &error) {
            Ok(delay) => delay,
            Err(reason) => return Err(self.exhausted(cx, error, reason)),
        };
        tracing::debug!(
            stream = cx.stream(),
            operation = self.operation,
            failed = self.failed,
            ?delay,
            %error,
            "trying again"
        );
        cx.metrics().add_retries(1);
        cx.sleep(delay).await
    }

    fn next_delay(&mut self, now: Instant, error: &Error) -> Result<Duration, GivenUp> {
        let settings = &self.policy.settings;
        if self.failed >= settings.attempts.get() {
            return Err(GivenUp::Attempts);
        }
        let delay = match error.retry_policy() {
            Retry::After(asked) => asked,
            _ => self.policy.backoff(self.failed),
        };
        let first_failure = *self.first_failure.get_or_insert(now);
        let spent = now.saturating_duration_since(first_failure);
        match settings.total {
            Some(total) if spent.saturating_add(delay) > total.get() => Err(GivenUp::Total { delay, total }),
            _ => Ok(delay),
        }
    }

    fn exhausted(&self, cx: &Context, error: Error, reason: GivenUp) -> Error {
        let error = error.retry(Retry::Exhausted).detail("attempts", self.failed);
        let error = match reason {
            GivenUp::Attempts => error,
            GivenUp::Total { delay, total } => error
                .detail("next attempt in", HumanDuration::from(delay))
                .detail("longest retry time", total),
        };
        tracing::warn!(stream = cx.stream(), operation = self.operation, %error, "giving up");
        error
    }
}

/// Why nothing more is tried.
#[derive(Debug, Clone, Copy)]
enum GivenUp {
    Attempts,
    Total { delay: Duration, total: HumanDuration },
}
