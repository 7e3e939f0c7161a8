//! Ending a run early, gently or at once.

use towpath_core::Cancellation;

/// The two ways to end a run early. Cloneable: the signal handler holds one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Stop reading, commit what was read, report.
    pub stop: Cancellation,
    /// Stop everything. What was not committed is read again by the next run.
    pub kill: Cancellation,
}

impl Shutdown {
    /// One that was not asked for.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a signal does: the first stops gently, the second at once.
    pub fn request(&self) {
        if self.stop.is_cancelled() {
            self.kill.cancel();
        } else {
            self.stop.cancel();
        }
    }
}
