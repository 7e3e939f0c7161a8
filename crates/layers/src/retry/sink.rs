//! Retries around a sink. Its calls may be repeated by contract; only `finish` may not.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, DynSink, DynWriter, LoadSpec, Result,
    SinkCapabilities, Staged,
};

use super::policy::RetryPolicy;

/// A sink that tries again. `finish` is the one call that it does not repeat, as the writer is used up by it.
pub struct RetrySink {
    inner: Arc<dyn DynSink>,
    policy: RetryPolicy,
}

impl RetrySink {
    /// Tries again what this sink fails at.
    pub fn new(inner: Arc<dyn DynSink>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSink for RetrySink {
    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.policy.call(cx, "check", || self.inner.check(cx, load)).await
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.policy.call(cx, "checkpoint", || self.inner.checkpoint(cx, load)).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.policy.call(cx, "forget", || self.inner.forget(cx, load)).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.policy.call(cx, "begin", || self.inner.begin(cx, load)).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.policy.call(cx, "evolve", || self.inner.evolve(cx, begun, schema)).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        let inner = self.policy.call(cx, "writer", || self.inner.writer(cx, begun, part)).await?;
        Ok(Box::new(RetryWriter { inner, cx: cx.clone(), policy: self.policy.clone() }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        self.policy.call(cx, "commit", || self.inner.commit(cx, begun, token, staged.clone())).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.policy.call(cx, "sweep", || self.inner.sweep(cx, load)).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        self.policy.call(cx, "abort", || self.inner.abort(cx, begun, staged.clone())).await
    }
}

struct RetryWriter {
    inner: Box<dyn DynWriter>,
    cx: Context,
    policy: RetryPolicy,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynWriter for RetryWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        let mut attempts = self.policy.attempts("write");
        loop {
            // The columns of a clone are shared, not copied.
            match self.inner.write(rows.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => attempts.wait_after(&self.cx, error).await?,
            }
        }
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        self.inner.finish().await
    }
}
