//! What a writer leaves in a bucket until it is committed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use towpath_core::{Cancellation, Context};

use crate::Opener;

/// An upload that was begun, or an object that is staged. Unless it is kept, it is thrown away when nobody uses it any more.
pub(super) struct Leftover {
    key: String,
    /// Of the upload; empty for an object.
    id: String,
    opener: Arc<dyn Opener>,
    cx: Context,
    keep: AtomicBool,
}

impl Leftover {
    pub(super) fn upload(opener: Arc<dyn Opener>, cx: &Context, key: String, id: String) -> Self {
        Self { key, id, opener, cx: uncancelled(cx), keep: AtomicBool::new(false) }
    }

    pub(super) fn object(opener: Arc<dyn Opener>, cx: &Context, key: String) -> Self {
        Self::upload(opener, cx, key, String::new())
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Lets it stay.
    pub(super) fn keep(&self) {
        self.keep.store(true, Ordering::Release);
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if self.keep.load(Ordering::Acquire) {
            return;
        }
        // Without a runtime the process ends; what stays behind, the next run throws away.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (opener, cx) = (self.opener.clone(), self.cx.clone());
        let (key, id) = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            let thrown_away = async {
                let bucket = opener.open(&cx).await?;
                if id.is_empty() { bucket.delete(vec![key]).await } else { bucket.abort(&key, &id).await }
            };
            if let Err(error) = thrown_away.await {
                tracing::debug!(%error, "a staged object stays behind for the next run");
            }
        });
    }
}

impl fmt::Debug for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leftover").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What stopped the run does not stop cleaning up.
fn uncancelled(cx: &Context) -> Context {
    cx.with_cancellation(Cancellation::new())
}
