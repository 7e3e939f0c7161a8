//! The connector's sink: one for rows, one for files as they are.

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, LoadSpec, Result, Sink, SinkCapabilities, Staged,
    Writer,
};
use towpath_formats::WriteFormat;

use super::RowSink;
use super::bytes::{ByteSink, ByteWriter};
use super::writer::RowWriter;
use crate::config::SinkConfig;

/// Writes files.
#[derive(Debug, Clone)]
pub struct FileSink(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Rows(RowSink),
    Bytes(ByteSink),
}

/// Writes into staging files.
#[derive(Debug)]
pub struct FileWriter(Writing);

#[derive(Debug)]
enum Writing {
    Rows(Box<RowWriter>),
    Bytes(ByteWriter),
}

/// Calls the sink that it is.
macro_rules! each {
    ($self:ident, $sink:ident => $call:expr) => {
        match &$self.0 {
            Kind::Rows($sink) => $call,
            Kind::Bytes($sink) => $call,
        }
    };
}

impl Sink for FileSink {
    type Config = SinkConfig;
    type Writer = FileWriter;

    async fn open(config: SinkConfig, cx: &Context) -> Result<Self> {
        Ok(Self(if config.format == Some(WriteFormat::Bytes) {
            Kind::Bytes(ByteSink::open(config, cx).await?)
        } else {
            Kind::Rows(RowSink::open(config, cx).await?)
        }))
    }

    fn capabilities(&self) -> SinkCapabilities {
        each!(self, sink => sink.capabilities())
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        each!(self, sink => sink.check(cx, load).await)
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        each!(self, sink => sink.begin(cx, load).await)
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        each!(self, sink => sink.evolve(cx, begun, schema).await)
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<FileWriter> {
        Ok(FileWriter(match &self.0 {
            Kind::Rows(sink) => Writing::Rows(Box::new(sink.writer(cx, begun, part).await?)),
            Kind::Bytes(sink) => Writing::Bytes(sink.writer(cx, begun, part).await?),
        }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        each!(self, sink => sink.commit(cx, begun, token, staged).await)
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        each!(self, sink => sink.checkpoint(cx, load).await)
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        each!(self, sink => sink.forget(cx, load).await)
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        each!(self, sink => sink.abort(cx, begun, staged).await)
    }
}

impl Writer for FileWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        match &mut self.0 {
            Writing::Rows(writer) => writer.write(rows).await,
            Writing::Bytes(writer) => writer.write(rows).await,
        }
    }

    async fn finish(self) -> Result<Staged> {
        match self.0 {
            Writing::Rows(writer) => writer.finish().await,
            Writing::Bytes(writer) => writer.finish().await,
        }
    }
}
