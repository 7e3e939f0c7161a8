//! A wish to stop, shared by all who should.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use event_listener::Event;
use futures::future::{BoxFuture, select};

use crate::{Error, Result};

/// A wish to stop, seen by all clones. A child stops with its parent, and can be stopped alone.
///
/// ```
/// use towpath_core::Cancellation;
///
/// let run = Cancellation::new();
/// let stream = run.child();
/// stream.cancel();
/// assert!(stream.is_cancelled() && !run.is_cancelled());
/// run.cancel();
/// assert!(run.child().is_cancelled());
/// ```
#[derive(Clone)]
pub struct Cancellation(Arc<Flag>);

struct Flag {
    set: AtomicBool,
    event: Event,
    parent: Option<Cancellation>,
}

impl Cancellation {
    /// One that is not set.
    pub fn new() -> Self {
        Self::with_parent(None)
    }

    /// One that is set together with this one, or by itself.
    pub fn child(&self) -> Self {
        Self::with_parent(Some(self.clone()))
    }

    fn with_parent(parent: Option<Cancellation>) -> Self {
        Self(Arc::new(Flag { set: AtomicBool::new(false), event: Event::new(), parent }))
    }

    /// Asks everybody who holds it to stop.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        self.0.event.notify(usize::MAX);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst) || self.0.parent.as_ref().is_some_and(Self::is_cancelled)
    }

    /// Fails when it is set: for loops.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Completes when it is set.
    pub fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let own = async {
                while !self.0.set.load(Ordering::SeqCst) {
                    let listener = self.0.event.listen();
                    // It may have been set between the look and the listening.
                    if self.0.set.load(Ordering::SeqCst) {
                        return;
                    }
                    listener.await;
                }
            };
            match &self.0.parent {
                None => own.await,
                Some(parent) => {
                    select(Box::pin(own), parent.cancelled()).await;
                }
            }
        })
    }
}

impl Default for Cancellation {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation").field(&self.is_cancelled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn a_waiting_child_is_woken_by_its_parent() {
        let parent = Cancellation::new();
        let child = parent.child().child();
        let waiting = std::thread::spawn(move || block_on(child.cancelled()));
        parent.cancel();
        waiting.join().unwrap();
    }
}
