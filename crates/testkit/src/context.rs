//! Surroundings for a connector under test.

use std::sync::{Arc, LazyLock};

use towpath_core::{Context, ContextBuilder, CpuPool};
use towpath_layers::{RayonPool, TokioClock};

/// One pool for all tests of a process.
static POOL: LazyLock<Arc<RayonPool>> =
    LazyLock::new(|| Arc::new(RayonPool::new(2).expect("two threads can be started")));

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
    let pool: Arc<dyn CpuPool> = POOL.clone();
    configure(Context::builder(Arc::new(TokioClock)).cpu(pool)).build()
}

/// A context for tests with tokio's paused clock: CPU work runs where it is called, because paused time leaps ahead
/// while another thread works.
pub fn paused_context() -> Context {
    Context::builder(Arc::new(TokioClock)).build()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
