//! What a stream's tasks have found out about its end.

use std::sync::{Mutex, PoisonError};

use towpath_core::{Error, ErrorKind, Rejected, Staged};

use crate::{Failure, StreamStatus};

/// How a stream ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: Option<StreamStatus>,
    pub(crate) resumed: bool,
    pub(crate) failures: Vec<Failure>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) warnings: Vec<String>,
}

impl Outcome {
    pub(crate) fn failed(error: &Error) -> Self {
        Self {
            status: Some(StreamStatus::Failed),
            failures: vec![Failure::new(error, None)],
            ..Self::default()
        }
    }

    pub(crate) fn interrupted() -> Self {
        Self { status: Some(StreamStatus::Interrupted), ..Self::default() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.status == Some(StreamStatus::Done)
    }
}

/// Failures as they happen, and receipts that are not committed yet.
#[derive(Default)]
pub(super) struct Tally(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    failures: Vec<Failure>,
    more_failures: usize,
    stream_failed: bool,
    split_failed: bool,
    finished: bool,
    paused: bool,
    staged: Vec<Staged>,
}

/// How many failures the report holds.
const SHOWN: usize = 20;

impl Tally {
    /// Notes that the stream failed, or one of its splits. `false` where it was only told to stop.
    pub(super) fn fail(&self, error: &Error, split: Option<&str>) -> bool {
        if error.kind() == ErrorKind::Cancelled {
            return false;
        }
        let mut inner = self.lock();
        if split.is_some() {
            inner.split_failed = true;
        } else {
            inner.stream_failed = true;
        }
        if inner.failures.len() < SHOWN {
            inner.failures.push(Failure::new(error, split));
        } else {
            inner.more_failures += 1;
        }
        true
    }

    /// Notes that the stream is over, with this failure of a split.
    pub(super) fn fail_stream(&self, error: &Error, split: &str) {
        if self.fail(error, Some(split)) {
            self.lock().stream_failed = true;
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        let inner = self.lock();
        inner.stream_failed || inner.split_failed
    }

    /// Everything was read and committed.
    pub(super) fn finish(&self) {
        self.lock().finished = true;
    }

    /// A source that never ends has ended a read.
    pub(super) fn pause(&self) {
        self.lock().paused = true;
    }

    pub(super) fn keep_staged(&self, staged: Vec<Staged>) {
        self.lock().staged.extend(staged);
    }

    /// Forgets the receipts of rows that are in now.
    pub(super) fn committed(&self, committed: &[Staged]) {
        self.lock().staged.retain(|staged| !committed.contains(staged));
    }

    pub(super) fn take_staged(&self) -> Vec<Staged> {
        std::mem::take(&mut self.lock().staged)
    }

    pub(super) fn outcome(&self, interrupted: bool) -> Outcome {
        let mut inner = self.lock();
        let status = if inner.stream_failed {
            StreamStatus::Failed
        } else if inner.split_failed {
            StreamStatus::Incomplete
        } else if inner.finished || (inner.paused && !interrupted) {
            StreamStatus::Done
        } else if interrupted {
            StreamStatus::Interrupted
        } else {
            StreamStatus::Failed
        };
        let mut warnings = Vec::new();
        if inner.more_failures > 0 {
            warnings.push(format!("{} more failures are not shown", inner.more_failures));
        }
        Outcome {
            status: Some(status),
            failures: std::mem::take(&mut inner.failures),
            warnings,
            ..Outcome::default()
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
