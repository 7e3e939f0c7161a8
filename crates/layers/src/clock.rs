//! The clock of a run.

use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use towpath_core::Clock;

/// Tokio's time. Tests pause it with `start_paused`, and everything that asks the context's clock stands still.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioClock;

#[deny(clippy::missing_trait_methods)]
impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // Tokio wants its timers made inside a runtime: this one is made at the first poll.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_and_jumps_with_paused_time() {
        let clock = TokioClock;
        let sleep = clock.sleep(Duration::from_hours(1));
        let before = clock.monotonic();
        sleep.await;
        assert_eq!(clock.monotonic() - before, Duration::from_hours(1));
    }
}
