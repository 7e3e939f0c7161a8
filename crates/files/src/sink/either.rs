//! One sink for rows and one for files as they are: the options tell which.

use std::fmt;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, LoadSpec, Result, Sink, SinkCapabilities, Staged,
    Writer,
};

use super::WritesFiles;

/// The sink of a connector: `R` for rows, `B` for files as they are.
#[derive(Debug, Clone)]
pub struct FileSink<R, B>(Kind<R, B>);

#[derive(Debug, Clone)]
enum Kind<R, B> {
    Rows(R),
    Bytes(B),
}

/// A writer of one of them.
pub struct FileWriter<R, B>(Kind<Box<R>, Box<B>>);

impl<R, B> fmt::Debug for FileWriter<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").finish_non_exhaustive()
    }
}

/// Calls the one that it is.
macro_rules! each {
    ($kind:expr, $one:ident => $call:expr) => {
        match $kind {
            Kind::Rows($one) => $call,
            Kind::Bytes($one) => $call,
        }
    };
}

impl<R, B> Sink for FileSink<R, B>
where
    R: Sink<Config: WritesFiles>,
    B: Sink<Config = R::Config>,
{
    type Config = R::Config;
    type Writer = FileWriter<R::Writer, B::Writer>;

    async fn open(config: R::Config, cx: &Context) -> Result<Self> {
        Ok(Self(if config.files().is_bytes() {
            Kind::Bytes(B::open(config, cx).await?)
        } else {
            Kind::Rows(R::open(config, cx).await?)
        }))
    }

    fn capabilities(&self) -> SinkCapabilities {
        each!(&self.0, sink => sink.capabilities())
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        each!(&self.0, sink => sink.check(cx, load).await)
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        each!(&self.0, sink => sink.begin(cx, load).await)
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        each!(&self.0, sink => sink.evolve(cx, begun, schema).await)
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Self::Writer> {
        Ok(FileWriter(match &self.0 {
            Kind::Rows(sink) => Kind::Rows(Box::new(sink.writer(cx, begun, part).await?)),
            Kind::Bytes(sink) => Kind::Bytes(Box::new(sink.writer(cx, begun, part).await?)),
        }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        each!(&self.0, sink => sink.commit(cx, begun, token, staged).await)
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        each!(&self.0, sink => sink.checkpoint(cx, load).await)
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        each!(&self.0, sink => sink.forget(cx, load).await)
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        each!(&self.0, sink => sink.sweep(cx, load).await)
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        each!(&self.0, sink => sink.abort(cx, begun, staged).await)
    }
}

impl<R: Writer, B: Writer> Writer for FileWriter<R, B> {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        each!(&mut self.0, writer => writer.write(rows).await)
    }

    async fn finish(self) -> Result<Staged> {
        each!(self.0, writer => writer.finish().await)
    }
}
