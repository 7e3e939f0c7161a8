//! Watches the event loop: a task that wants to wake up often tells how late it woke up at worst.
//!
//! `RUST_LOG=towpath::stall=debug` turns it on. Work that keeps a processor busy belongs on threads of its own, so a
//! stall of more than some milliseconds is a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// How often it wants to wake up.
const PERIOD: Duration = Duration::from_millis(5);

/// Watches until it is dropped, and logs then.
pub(crate) struct Watch {
    longest: Arc<AtomicU64>,
    ticking: JoinHandle<()>,
}

/// Begins to watch the runtime that this is called in, if anybody wants to know.
pub(crate) fn watch() -> Option<Watch> {
    tracing::enabled!(tracing::Level::DEBUG).then(Watch::start)
}

impl Watch {
    fn start() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let ticking = tokio::spawn(tick(longest.clone()));
        Self { longest, ticking }
    }

    /// How late the task woke up at worst.
    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest.load(Relaxed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ticking.abort();
        let longest_ms = self.longest().as_secs_f64() * 1000.0;
        tracing::debug!(longest_ms, "the event loop was watched");
    }
}

async fn tick(longest: Arc<AtomicU64>) {
    loop {
        let wanted = Instant::now() + PERIOD;
        sleep_until(wanted).await;
        let late = u64::try_from(wanted.elapsed().as_micros()).unwrap_or(u64::MAX);
        longest.fetch_max(late, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_blocks_the_loop_is_noticed() {
        let watch = Watch::start();
        tokio::time::sleep(PERIOD).await;
        let blocked = Duration::from_millis(60);
        std::thread::sleep(blocked);
        tokio::time::sleep(PERIOD).await;
        // The task wanted to wake up while the loop was blocked.
        assert!(watch.longest() >= blocked.saturating_sub(2 * PERIOD), "{:?}", watch.longest());
    }
}
