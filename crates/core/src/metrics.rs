//! Counters of one stream, shared by everyone who works on it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident / $add:ident: $unit:ty),* $(,)?) => {
        /// Counters of one stream. Adding is cheap and never blocks.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($name: AtomicU64,)*
            warnings: Mutex<BTreeSet<String>>,
        }

        /// The counters at one moment. Times are in nanoseconds.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub struct MetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Metrics {
            $(
                $(#[$doc])*
                pub fn $add(&self, amount: $unit) {
                    self.$name.fetch_add(Amount::to_u64(amount), Relaxed);
                }
            )*

            /// Says something in the report that a person should know: a guarantee that does not hold, a privilege that
            /// is missing. The same sentence is kept once. Never put a secret into it.
            pub fn warn(&self, sentence: impl Into<String>) {
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).insert(sentence.into());
            }

            /// What was said by [`warn`](Self::warn).
            pub fn warnings(&self) -> Vec<String> {
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
            }

            /// All counters as they stand now.
            pub fn snapshot(&self) -> MetricsSnapshot {
                MetricsSnapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

/// What a counter can be given.
trait Amount {
    fn to_u64(self) -> u64;
}

impl Amount for u64 {
    fn to_u64(self) -> u64 {
        self
    }
}

impl Amount for Duration {
    fn to_u64(self) -> u64 {
        u64::try_from(self.as_nanos()).unwrap_or(u64::MAX)
    }
}

counters! {
    /// Requests sent: HTTP requests, queries, opened files.
    requests / add_requests: u64,
    /// Operations that a retry layer tried again.
    retries / add_retries: u64,
    /// Answers that asked for fewer requests.
    throttled / add_throttled: u64,
    /// Bytes read from the source, as they came over the wire or off the disk.
    bytes_read / add_bytes_read: u64,
    /// Bytes written by the sink, as they went over the wire or onto the disk.
    bytes_written / add_bytes_written: u64,
    /// Bytes that a service copied as the sink asked it to: they were neither read nor written by us.
    bytes_copied / add_bytes_copied: u64,
    /// Time that requests waited for a permit of the limiter.
    limiter_wait / add_limiter_wait: Duration,
    /// Time that jobs ran on the CPU pool.
    cpu / add_cpu: Duration,
    /// Time that jobs waited for the CPU pool.
    cpu_wait / add_cpu_wait: Duration,
    /// Batches read from the source.
    batches / add_batches: u64,
    /// Rows read from the source.
    rows_read / add_rows_read: u64,
    /// Rows that the sink took; those of a writer that was begun anew count again.
    rows_written / add_rows_written: u64,
    /// Time that readers waited for their next batch, added up over all splits. Holds the limiter's and retries' waits.
    source_wait / add_source_wait: Duration,
    /// Time that readers waited for the memory budget.
    memory_wait / add_memory_wait: Duration,
    /// Time that writers waited for the sink to write, finish and commit, added up over all writers.
    sink_wait / add_sink_wait: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_holds_what_was_added() {
        let metrics = Metrics::default();
        metrics.add_requests(2);
        metrics.add_requests(1);
        metrics.add_cpu(Duration::from_micros(5));
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.requests, snapshot.cpu, snapshot.retries), (3, 5_000, 0));
    }
}
