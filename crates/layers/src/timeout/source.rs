//! Timeouts around a source.

use std::sync::Arc;

use async_trait::async_trait;
use towpath_core::{
    BatchStream, Context, Dataset, DynSource, Position, Result, ScanPlan, ScanRequest, SourceCapabilities,
    Split,
};

use super::TimeoutSettings;
use super::watch::Watch;

/// A source whose calls and waits are bounded.
pub struct TimeoutSource {
    inner: Arc<dyn DynSource>,
    settings: TimeoutSettings,
}

impl TimeoutSource {
    /// Bounds the calls of this source.
    pub fn new(inner: Arc<dyn DynSource>, settings: &TimeoutSettings) -> Self {
        Self { inner, settings: settings.clone() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSource for TimeoutSource {
    fn capabilities(&self) -> SourceCapabilities {
        self.inner.capabilities()
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        self.inner.parent_fields()
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        let watch = Watch::new(cx, "check");
        watch.call(self.settings.operation, self.inner.check(&watch.cx)).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        let watch = Watch::new(cx, "discover");
        watch.call(self.settings.operation, self.inner.discover(&watch.cx)).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let watch = Watch::new(cx, "plan");
        let mut plan = watch.call(self.settings.operation, self.inner.plan(&watch.cx, request)).await?;
        plan.splits = watch.stream(self.settings.idle, plan.splits);
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let watch = Watch::new(cx, "read");
        let batches = self.inner.read(&watch.cx, split, from)?;
        // A source that never ends may have nothing to say for any time.
        let idle = self.settings.idle.filter(|_| self.inner.capabilities().bounded);
        Ok(watch.stream(idle, batches))
    }
}
