//! Timeouts around a sink.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, DynSink, DynWriter, HumanDuration, LoadSpec, Result,
    Retry, SinkCapabilities, Staged,
};

use super::TimeoutSettings;
use super::watch::Watch;

/// A sink whose calls are bounded.
///
/// A `write` that was cut off may have kept some of its rows, so it is never tried again: its error is final, and the
/// stream goes on from the checkpoint when it is run again.
pub struct TimeoutSink {
    inner: Arc<dyn DynSink>,
    limit: Option<HumanDuration>,
}

impl TimeoutSink {
    /// Bounds the calls of this sink.
    pub fn new(inner: Arc<dyn DynSink>, settings: &TimeoutSettings) -> Self {
        Self { inner, limit: settings.operation }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSink for TimeoutSink {
    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let watch = Watch::new(cx, "check");
        watch.call(self.limit, self.inner.check(&watch.cx, load)).await
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let watch = Watch::new(cx, "checkpoint");
        watch.call(self.limit, self.inner.checkpoint(&watch.cx, load)).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let watch = Watch::new(cx, "forget");
        watch.call(self.limit, self.inner.forget(&watch.cx, load)).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        let watch = Watch::new(cx, "begin");
        watch.call(self.limit, self.inner.begin(&watch.cx, load)).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let watch = Watch::new(cx, "evolve");
        watch.call(self.limit, self.inner.evolve(&watch.cx, begun, schema)).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        let watch = Watch::new(cx, "writer");
        let inner = watch.call(self.limit, self.inner.writer(&watch.cx, begun, part)).await?;
        Ok(Box::new(TimeoutWriter { inner, watch, limit: self.limit }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let watch = Watch::new(cx, "commit");
        watch.call(self.limit, self.inner.commit(&watch.cx, begun, token, staged)).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        let watch = Watch::new(cx, "sweep");
        watch.call(self.limit, self.inner.sweep(&watch.cx, load)).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        let watch = Watch::new(cx, "abort");
        watch.call(self.limit, self.inner.abort(&watch.cx, begun, staged)).await
    }
}

struct TimeoutWriter {
    inner: Box<dyn DynWriter>,
    watch: Watch,
    limit: Option<HumanDuration>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynWriter for TimeoutWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let mut timed_out = true;
        let write = async {
            let result = self.inner.write(rows).await;
            timed_out = false;
            result
        };
        let result = self.watch.operation("write").call(self.limit, Box::pin(write)).await;
        result.map_err(|error| if timed_out { error.retry(Retry::Never) } else { error })
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        let Self { inner, watch, limit } = *self;
        watch.operation("finish").call(limit, inner.finish()).await
    }
}
