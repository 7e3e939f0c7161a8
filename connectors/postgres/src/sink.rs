//! Writing.

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use schemars::JsonSchema;
use serde::Deserialize;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, Error, LoadSpec, Result, Sink,
    SinkCapabilities, Staged, WriteDisposition, Writer,
};

use crate::NAME;

/// The options of the sink.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSinkConfig {
    /// Where the system is.
    pub url: String,
}

/// The writing side. The traits of `towpath_core` say what each method must promise.
#[derive(Debug)]
pub struct PostgresSink {
    config: PostgresSinkConfig,
}

impl PostgresSink {
    fn unsupported(&self, operation: &'static str) -> Error {
        unsupported(operation).detail("url", &self.config.url)
    }
}

fn unsupported(operation: &'static str) -> Error {
    Error::unsupported("the sink does not do this yet").connector(NAME).operation(operation)
}

impl Sink for PostgresSink {
    type Config = PostgresSinkConfig;
    type Writer = PostgresWriter;

    async fn open(config: PostgresSinkConfig, _cx: &Context) -> Result<Self> {
        Ok(Self { config })
    }

    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new(Delivery::ExactlyOnce, &[WriteDisposition::Append, WriteDisposition::Replace])
    }

    async fn check(&self, _cx: &Context) -> Result<()> {
        Err(self.unsupported("check"))
    }

    async fn begin(&self, _cx: &Context, _load: &LoadSpec) -> Result<Begun> {
        Err(self.unsupported("begin"))
    }

    async fn evolve(&self, _cx: &Context, _begun: &Begun, _schema: &SchemaRef) -> Result<Begun> {
        Err(self.unsupported("evolve"))
    }

    async fn writer(&self, _cx: &Context, _begun: &Begun, part: u32) -> Result<PostgresWriter> {
        Ok(PostgresWriter { part })
    }

    async fn commit(
        &self,
        _cx: &Context,
        _begun: &Begun,
        _token: &CommitToken,
        _staged: Vec<Staged>,
    ) -> Result<Committed> {
        Err(self.unsupported("commit"))
    }

    async fn checkpoint(&self, _cx: &Context, _load: &LoadSpec) -> Result<Option<Checkpoint>> {
        Err(self.unsupported("checkpoint"))
    }

    async fn forget(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        Err(self.unsupported("forget"))
    }

    async fn abort(&self, _cx: &Context, _begun: &Begun, _staged: Vec<Staged>) -> Result<()> {
        Err(self.unsupported("abort"))
    }
}

/// Stages one part of the rows.
#[derive(Debug)]
pub struct PostgresWriter {
    part: u32,
}

impl Writer for PostgresWriter {
    async fn write(&mut self, _rows: RecordBatch) -> Result<()> {
        Err(unsupported("write").detail("part", self.part))
    }

    async fn finish(self) -> Result<Staged> {
        Err(unsupported("finish").detail("part", self.part))
    }
}
