//! The boxed form of the contract: what engine and layers use. Boxing happens here and nowhere else.

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;

use crate::{
    Batch, BatchStream, Begun, Checkpoint, CommitToken, Committed, Context, Dataset, LoadSpec, Position,
    Result, ScanPlan, ScanRequest, Sink, SinkCapabilities, Source, SourceCapabilities, Split, Staged, Writer,
};

/// A [`Source`] of any type. The methods are documented there.
#[async_trait]
pub trait DynSource: Send + Sync {
    /// See [`Source::capabilities`].
    fn capabilities(&self) -> SourceCapabilities;
    /// See [`Source::parent_fields`].
    fn parent_fields(&self) -> Option<Vec<String>> {
        None
    }
    /// See [`Source::check`].
    async fn check(&self, cx: &Context) -> Result<()>;
    /// See [`Source::discover`].
    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>>;
    /// See [`Source::plan`].
    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan>;
    /// See [`Source::read`].
    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream>;
}

#[async_trait]
impl<S: Source> DynSource for S {
    fn capabilities(&self) -> SourceCapabilities {
        Source::capabilities(self)
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        Source::parent_fields(self)
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        Source::check(self, cx).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        Source::discover(self, cx).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        Source::plan(self, cx, request).await
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        Source::read(self, cx, split, from)
    }
}

/// A [`Sink`] of any type. The methods are documented there.
#[async_trait]
pub trait DynSink: Send + Sync {
    /// See [`Sink::capabilities`].
    fn capabilities(&self) -> SinkCapabilities;
    /// See [`Sink::check`].
    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()>;
    /// See [`Sink::begin`].
    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun>;
    /// See [`Sink::evolve`].
    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun>;
    /// See [`Sink::writer`].
    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>>;
    /// See [`Sink::commit`].
    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed>;
    /// See [`Sink::checkpoint`].
    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>>;
    /// See [`Sink::forget`].
    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()>;
    /// See [`Sink::sweep`].
    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>>;
    /// See [`Sink::abort`].
    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()>;
}

#[async_trait]
impl<S: Sink> DynSink for S {
    fn capabilities(&self) -> SinkCapabilities {
        Sink::capabilities(self)
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        Sink::check(self, cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        Sink::begin(self, cx, load).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        Sink::evolve(self, cx, begun, schema).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        Ok(Box::new(Sink::writer(self, cx, begun, part).await?))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        Sink::commit(self, cx, begun, token, staged).await
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        Sink::checkpoint(self, cx, load).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        Sink::forget(self, cx, load).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        Sink::sweep(self, cx, load).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        Sink::abort(self, cx, begun, staged).await
    }
}

/// A [`Writer`] of any type. The methods are documented there.
#[async_trait]
pub trait DynWriter: Send {
    /// See [`Writer::write`].
    async fn write(&mut self, rows: RecordBatch) -> Result<()>;
    /// See [`Writer::finish`].
    async fn finish(self: Box<Self>) -> Result<Staged>;
}

#[async_trait]
impl<W: Writer> DynWriter for W {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        Writer::write(self, rows).await
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        Writer::finish(*self).await
    }
}

impl Batch {
    /// About how many bytes of memory it holds.
    pub fn memory_size(&self) -> usize {
        let rejected: usize = self.rejected.iter().map(crate::Rejected::memory_size).sum();
        self.rows.get_array_memory_size() + rejected
    }
}
