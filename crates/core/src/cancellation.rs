//! A wish to stop, shared by all who should.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use event_listener::Event;
use futures::future::BoxFuture;

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

/// A wish is handed down to the children, so that whoever waits looks at one flag, however many are above it.
#[derive(Default)]
struct Flag {
    set: AtomicBool,
    event: Event,
    children: Mutex<Vec<Weak<Flag>>>,
    /// Kept, so that a wish finds its way.
    _parent: Option<Cancellation>,
}

impl Flag {
    fn set(&self) {
        let children = {
            let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
            self.set.store(true, Ordering::SeqCst);
            std::mem::take(&mut *children)
        };
        self.event.notify(usize::MAX);
        children.iter().filter_map(Weak::upgrade).for_each(|child| child.set());
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }
}

impl Cancellation {
    /// One that is not set.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// One that is set together with this one, or by itself.
    pub fn child(&self) -> Self {
        let child = Self(Arc::new(Flag { _parent: Some(self.clone()), ..Flag::default() }));
        let mut children = self.0.children.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() {
            child.cancel();
        } else {
            children.retain(|known| known.strong_count() > 0);
            children.push(Arc::downgrade(&child.0));
        }
        drop(children);
        child
    }

    /// Asks everybody who holds it to stop.
    pub fn cancel(&self) {
        self.0.set();
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_set()
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
            while !self.is_cancelled() {
                let listener = self.0.event.listen();
                // It may have been set between the look and the listening.
                if self.is_cancelled() {
                    return;
                }
                listener.await;
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
    fn a_child_of_one_that_is_set_is_set() {
        let parent = Cancellation::new();
        parent.cancel();
        assert!(parent.child().child().is_cancelled());
    }

    #[test]
    fn children_that_are_gone_are_forgotten() {
        let parent = Cancellation::new();
        for _ in 0..100 {
            drop(parent.child());
        }
        let grandchild = parent.child().child();
        assert_eq!(parent.0.children.lock().unwrap().len(), 1);
        parent.cancel();
        assert!(grandchild.is_cancelled());
    }

    #[test]
    fn a_waiting_child_is_woken_by_its_parent() {
        let parent = Cancellation::new();
        let child = parent.child().child();
        let waiting = std::thread::spawn(move || block_on(child.cancelled()));
        parent.cancel();
        waiting.join().unwrap();
    }
}
