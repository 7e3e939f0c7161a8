//! Trying again where nobody else can: between the pages of a listing, between the parts of an upload.

use std::future::Future;
use std::time::Duration;

use towpath_core::{Context, Error, ErrorKind, Result, Retry};

/// How often a step is tried in all. Who called tries again after that, from further back.
pub(crate) const ATTEMPTS: u32 = 4;

/// The longest wait before the second attempt; it doubles with each further one.
const BASE: Duration = Duration::from_millis(250);

/// The same for a store that wants less. Google lets one object change once in a second.
const SLOW: Duration = Duration::from_secs(2);

/// Does a step of something larger, and tries it again when its failure may pass: a page of a listing, a part of an upload.
/// The retry layer would begin the whole anew.
///
/// # Errors
/// The last error of the step; `Cancelled` when the run stops meanwhile.
pub async fn retry<T, F: Future<Output = Result<T>>>(cx: &Context, mut step: impl FnMut() -> F) -> Result<T> {
    let mut failed = 0;
    loop {
        let error = match step().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failed += 1;
        if failed == ATTEMPTS || !error.is_retryable() {
            return Err(error);
        }
        tracing::debug!(stream = cx.stream(), failed, %error, "trying again");
        cx.metrics().add_retries(1);
        cx.sleep(wait(&error, failed)).await?;
    }
}

/// A random wait, so that many do not come back at the same moment.
pub(crate) fn wait(error: &Error, failed: u32) -> Duration {
    match error.retry_policy() {
        Retry::After(asked) => asked,
        // At least half of it: whoever comes back at once is refused again.
        _ if error.kind() == ErrorKind::RateLimited => {
            (SLOW * 2_u32.pow(failed - 1)).mul_f64(f64::midpoint(1.0, fastrand::f64()))
        }
        _ => (BASE * 2_u32.pow(failed - 1)).mul_f64(fastrand::f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use towpath_testkit::paused_context;

    async fn outcome(cx: &Context, failures: u32, error: impl Fn() -> Error) -> (Result<()>, u32) {
        let calls = Cell::new(0);
        let outcome = retry(cx, || {
            calls.set(calls.get() + 1);
            let fails = calls.get() <= failures;
            let error = error();
            async move { if fails { Err(error) } else { Ok(()) } }
        });
        (outcome.await, calls.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_passes_is_tried_again_and_counted() {
        let cx = paused_context();
        let (result, calls) = outcome(&cx, 2, || Error::unavailable("away")).await;
        assert!(result.is_ok() && calls == 3);
        assert_eq!(cx.metrics().snapshot().retries, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_pass_is_told() {
        let cx = paused_context();
        assert_eq!(outcome(&cx, 99, || Error::unavailable("away")).await.1, ATTEMPTS);
        assert_eq!(outcome(&cx, 99, || Error::data("broken")).await.1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_wants_less_is_left_alone_for_a_second() {
        let cx = paused_context();
        let before = cx.clock().monotonic();
        let error = || Error::new(ErrorKind::RateLimited, "slower").retry(Retry::Transient);
        outcome(&cx, 1, error).await.0.unwrap();
        assert!(cx.clock().monotonic() - before >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_asked_again_when_it_said() {
        let (cx, asked) = (paused_context(), Duration::from_hours(1));
        let before = cx.clock().monotonic();
        let error = || Error::unavailable("busy").retry(Retry::After(asked));
        outcome(&cx, 1, error).await.0.unwrap();
        assert_eq!(cx.clock().monotonic() - before, asked);
    }
}
