//! Live counts of a run, for progress bars.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use towpath_core::Metrics;

/// Live counts of all streams.
#[derive(Debug, Clone)]
pub struct RunProgress {
    streams: Arc<[Arc<StreamProgress>]>,
}

impl RunProgress {
    pub(crate) fn new(names: impl Iterator<Item = String>) -> Self {
        Self { streams: names.map(|name| Arc::new(StreamProgress::new(name))).collect() }
    }

    /// Each stream, in the order of the pipeline.
    pub fn streams(&self) -> &[Arc<StreamProgress>] {
        &self.streams
    }
}

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamState {
    /// It has not begun.
    Waiting,
    /// It is under way.
    Running,
    /// It ended, and everything made it.
    Done,
    /// It ended, and something did not make it.
    Ended,
}

/// Live counts of one stream.
#[derive(Debug)]
pub struct StreamProgress {
    name: String,
    state: AtomicU8,
    started: OnceLock<Instant>,
    /// Counters of its source.
    pub source: Arc<Metrics>,
    /// Counters of its sink.
    pub sink: Arc<Metrics>,
    /// Counters of what lies between.
    pub between: Arc<Metrics>,
    planned_bytes: AtomicU64,
    planned_rows: AtomicU64,
    splits: AtomicU64,
    splits_done: AtomicU64,
    splits_failed: AtomicU64,
    in_flight: AtomicU64,
    rows_committed: AtomicU64,
    rows_rejected: AtomicU64,
    commits: AtomicU64,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident / $add:ident),* $(,)?) => {
        impl StreamProgress {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> u64 {
                    self.$name.load(Relaxed)
                }

                pub(crate) fn $add(&self, amount: u64) {
                    self.$name.fetch_add(amount, Relaxed);
                }
            )*
        }
    };
}

counts! {
    /// Bytes of the splits planned so far, as far as they are known.
    planned_bytes / add_planned_bytes,
    /// Rows of the splits planned so far, as far as they are known.
    planned_rows / add_planned_rows,
    /// Splits planned so far.
    splits / add_splits,
    /// Splits read to their end.
    splits_done / add_splits_done,
    /// Splits that failed.
    splits_failed / add_splits_failed,
    /// Rows committed.
    rows_committed / add_rows_committed,
    /// Rows that did not make it.
    rows_rejected / add_rows_rejected,
    /// Commits made.
    commits / add_commits,
}

impl StreamProgress {
    fn new(name: String) -> Self {
        Self {
            name,
            state: AtomicU8::new(0),
            started: OnceLock::new(),
            source: Arc::default(),
            sink: Arc::default(),
            between: Arc::default(),
            planned_bytes: AtomicU64::new(0),
            planned_rows: AtomicU64::new(0),
            splits: AtomicU64::new(0),
            splits_done: AtomicU64::new(0),
            splits_failed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            rows_committed: AtomicU64::new(0),
            rows_rejected: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        }
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is doing.
    pub fn state(&self) -> StreamState {
        match self.state.load(Relaxed) {
            0 => StreamState::Waiting,
            1 => StreamState::Running,
            2 => StreamState::Done,
            _ => StreamState::Ended,
        }
    }

    /// When it began.
    pub fn started(&self) -> Option<Instant> {
        self.started.get().copied()
    }

    /// Splits being read now.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.started.get_or_init(Instant::now);
        self.state.store(1, Relaxed);
    }

    pub(crate) fn end(&self, done: bool) {
        self.state.store(if done { 2 } else { 3 }, Relaxed);
    }

    /// Counts a split as being read until the guard is dropped.
    pub(crate) fn reading(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }
}

/// A split that is being read.
pub(crate) struct InFlight(Arc<StreamProgress>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
