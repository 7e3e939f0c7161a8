//! Surroundings for a connector under test.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use futures::future::BoxFuture;
use towpath_core::{Clock, Context, ContextBuilder, CpuPool, Job};

/// A context as a run has it: tokio's clock, and a pool of threads for CPU work.
pub fn context() -> Context {
    context_with(|builder| builder)
}

/// As [`context`], with more settings.
///
/// ```
/// let cx = towpath_testkit::context_with(|builder| builder.stream("orders"));
/// assert_eq!(cx.stream(), "orders");
/// ```
pub fn context_with(configure: impl FnOnce(ContextBuilder) -> ContextBuilder) -> Context {
    configure(Context::builder(Arc::new(TokioClock)).cpu(Arc::new(Threads))).build()
}

/// A context for tests with tokio's paused clock: CPU work runs where it is called, because paused time leaps ahead
/// while another thread works.
pub fn paused_context() -> Context {
    Context::builder(Arc::new(TokioClock)).build()
}

/// Tokio's clock, so that tests can pause it.
struct TokioClock;

static STARTED: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));

impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        let (time, instant) = *STARTED;
        time + self.monotonic().saturating_duration_since(instant)
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A thread for each job: enough for tests.
struct Threads;

impl CpuPool for Threads {
    fn spawn(&self, job: Job) {
        std::thread::spawn(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cpu_work_leaves_the_event_loop() {
        let here = std::thread::current().id();
        let there = context().cpu(|| Ok(std::thread::current().id())).await.unwrap();
        assert_ne!(here, there);
    }

    #[tokio::test(start_paused = true)]
    async fn paused_time_is_the_time_of_the_context() {
        let cx = paused_context();
        let before = cx.clock().monotonic();
        cx.sleep(Duration::from_hours(1)).await.unwrap();
        assert_eq!(cx.clock().monotonic() - before, Duration::from_hours(1));
    }
}
