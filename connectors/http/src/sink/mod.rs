//! The sink: rows as requests, many of them or one in each.
//!
//! A server that only takes requests cannot remember a checkpoint, so that rows may come twice after a crash. Each
//! request carries an `Idempotency-Key`, by which a server can tell a request that is tried again.
//!
//! ```text
//! target (options) ──> shape (templates held against the columns) ──> rows (columns to JSON)
//!                        └──> writer (requests at once) ──> refused (which rows the server did not take)
//! ```

mod refused;
mod rows;
mod shape;
mod target;
mod writer;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, ErrorKind, Json, LoadSpec, Result, Sink,
    SinkCapabilities, Staged, TypeFamily, WriteDisposition,
};

use crate::CONNECTOR;
use crate::config::SinkConfig;
use shape::Shape;
use target::Target;
pub use writer::HttpWriter;

/// Sends rows to an HTTP endpoint.
pub struct HttpSink {
    target: Arc<Target>,
}

impl Sink for HttpSink {
    type Config = SinkConfig;
    type Writer = HttpWriter;

    async fn open(config: SinkConfig, cx: &Context) -> Result<Self> {
        let target = Target::new(config, cx).await;
        let target = target.map_err(|error| error.connector(CONNECTOR.name()).operation("open"))?;
        Ok(Self { target: Arc::new(target) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let types = TypeFamily::ALL.into_iter().filter(|family| *family != TypeFamily::Union).collect();
        SinkCapabilities::new(Delivery::AtLeastOnce, &[WriteDisposition::Append]).types(types)
    }

    /// Asks what the server allows. A server that does not know this question is as good as one that answers.
    async fn check(&self, cx: &Context, _: &LoadSpec) -> Result<()> {
        match self.target.client.send(cx, self.target.question()).await {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unauthenticated | ErrorKind::PermissionDenied | ErrorKind::Unavailable
                ) =>
            {
                Err(error.connector(CONNECTOR.name()).operation("check"))
            }
            _ => Ok(()),
        }
    }

    async fn begin(&self, _cx: &Context, load: &LoadSpec) -> Result<Begun> {
        Ok(Begun::new(load.clone(), Checkpoint::begin(None, load)?, Json::Null))
    }

    async fn evolve(&self, _cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let fits = rows::check(schema).and_then(|()| Shape::new(&self.target, schema));
        fits.map_err(|error| error.connector(CONNECTOR.name()).operation("evolve"))?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<HttpWriter> {
        let writer = HttpWriter::new(self.target.clone(), cx, begun, part);
        writer.map_err(|error| error.connector(CONNECTOR.name()).operation("writer"))
    }

    /// The rows are out already.
    async fn commit(&self, _: &Context, _: &Begun, _: &CommitToken, _: Vec<Staged>) -> Result<Committed> {
        Ok(Committed::Applied)
    }

    async fn checkpoint(&self, _cx: &Context, _load: &LoadSpec) -> Result<Option<Checkpoint>> {
        Ok(None)
    }

    async fn forget(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        Ok(())
    }

    /// Nothing is ever staged.
    async fn sweep(&self, _: &Context, _: &LoadSpec) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// What was sent cannot be taken back.
    async fn abort(&self, _: &Context, _: &Begun, _: Vec<Staged>) -> Result<()> {
        Ok(())
    }
}
