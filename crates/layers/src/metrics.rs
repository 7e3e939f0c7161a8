//! Counts batches and rows, and the time for which the engine waits for a source or a sink.

use std::sync::Arc;
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use towpath_core::{
    BatchStream, Begun, Checkpoint, CommitToken, Committed, Context, Dataset, DynSink, DynSource, DynWriter,
    LoadSpec, Position, Result, ScanPlan, ScanRequest, SinkCapabilities, SourceCapabilities, Split, Staged,
};

/// A source whose batches, rows and waits are counted in the stream's metrics.
pub struct MeterSource {
    inner: Arc<dyn DynSource>,
}

impl MeterSource {
    /// Counts what this source gives.
    pub fn new(inner: Arc<dyn DynSource>) -> Self {
        Self { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSource for MeterSource {
    fn capabilities(&self) -> SourceCapabilities {
        self.inner.capabilities()
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        self.inner.parent_fields()
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        self.inner.check(cx).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        self.inner.discover(cx).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        self.inner.plan(cx, request).await
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let batches = self.inner.read(cx, split, from)?;
        let metered = stream::unfold((batches, cx.clone()), |(mut batches, cx)| async move {
            let asked = cx.clock().monotonic();
            let item = batches.next().await;
            cx.metrics().add_source_wait(cx.clock().monotonic().saturating_duration_since(asked));
            let item = item?;
            if let Ok(batch) = &item {
                cx.metrics().add_batches(1);
                cx.metrics().add_rows_read(batch.rows.num_rows() as u64);
            }
            Some((item, (batches, cx)))
        });
        Ok(metered.boxed())
    }
}

/// A sink whose rows and waits are counted in the stream's metrics.
pub struct MeterSink {
    inner: Arc<dyn DynSink>,
}

impl MeterSink {
    /// Counts what this sink takes.
    pub fn new(inner: Arc<dyn DynSink>) -> Self {
        Self { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSink for MeterSink {
    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.inner.check(cx, load).await
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint(cx, load).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.inner.forget(cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.inner.begin(cx, load).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.inner.evolve(cx, begun, schema).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        let inner = self.inner.writer(cx, begun, part).await?;
        Ok(Box::new(MeterWriter { inner, cx: cx.clone() }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let _wait = SinkWait::start(cx);
        self.inner.commit(cx, begun, token, staged).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.inner.sweep(cx, load).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        self.inner.abort(cx, begun, staged).await
    }
}

struct MeterWriter {
    inner: Box<dyn DynWriter>,
    cx: Context,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynWriter for MeterWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let _wait = SinkWait::start(&self.cx);
        let count = rows.num_rows() as u64;
        self.inner.write(rows).await?;
        self.cx.metrics().add_rows_written(count);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        let _wait = SinkWait::start(&self.cx);
        self.inner.finish().await
    }
}

/// Adds the time until it is dropped, also when the call is given up.
struct SinkWait {
    cx: Context,
    started: Instant,
}

impl SinkWait {
    fn start(cx: &Context) -> Self {
        Self { cx: cx.clone(), started: cx.clock().monotonic() }
    }
}

impl Drop for SinkWait {
    fn drop(&mut self) {
        let wait = self.cx.clock().monotonic().saturating_duration_since(self.started);
        self.cx.metrics().add_sink_wait(wait);
    }
}
