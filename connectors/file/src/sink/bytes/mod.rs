//! Files as they are, put together from their chunks.
//!
//! ```text
//! writers ── bytes at their offsets ──> staged/partial/KEY ── complete and verified: rename ──> the file
//!    └────── which bytes (a receipt) ──> commit ──> the manifest: which bytes of which file are durable
//! ```
//!
//! All chunks of a file go straight to their places in one partial file, by many writers at once. What counts is what the
//! manifest says of it: a commit notes the bytes that were staged together with the checkpoint, so that a run that was killed
//! goes on behind them. Bytes that no commit knows are written again. A file whose bytes are all there is held against its
//! length and digest and then renamed into place, in the same commit.

mod commit;
mod disk;
mod place;
mod writer;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, CHUNK_BYTES, Checkpoint, CommitToken, Committed, Context, Delivery, Error, Json, LoadSpec, Result,
    Sink, SinkCapabilities, Staged, WriteDisposition,
};
use towpath_files::sink::{PartialReceipt, WritesFiles, no_merge};
use towpath_formats::chunks::Chunks;

use super::manifest::Home;
use super::{check_writable, commit as rows};
use crate::blocking::blocking;
use crate::config::SinkConfig;
use crate::errors::CONNECTOR;
use place::Place;
use writer::ByteWriter;

/// Writes files from their chunks.
#[derive(Debug, Clone)]
pub struct ByteSink {
    place: Arc<Place>,
}

impl ByteSink {
    fn home(&self, load: &LoadSpec) -> Home {
        Home::new(self.place.base(), load)
    }
}

impl Sink for ByteSink {
    type Config = SinkConfig;
    type Writer = ByteWriter;

    async fn open(config: SinkConfig, _: &Context) -> Result<Self> {
        let options = config.files();
        options.check_bytes().map_err(named)?;
        Ok(Self { place: Arc::new(Place::new(&options.path)?) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Replace];
        SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions).takes_chunks().batch_bytes(CHUNK_BYTES)
    }

    async fn check(&self, _: &Context, _: &LoadSpec) -> Result<()> {
        let place = self.place.clone();
        blocking(move || check_writable(place.base())).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        if load.disposition == WriteDisposition::Merge {
            return Err(named(no_merge(self.place.text())));
        }
        cx.cancellation().check()?;
        let (home, place, load) = (self.home(load), self.place.clone(), load.clone());
        blocking(move || {
            let checkpoint = commit::begin(&home, &place, &load)?;
            Ok(Begun::new(load, checkpoint, Json::Null))
        })
        .await
    }

    async fn evolve(&self, _: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let checked = Chunks::of(&RecordBatch::new_empty(schema.clone()));
        checked.map_err(|error| named(error).detail("path", self.place.text()))?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<ByteWriter> {
        Ok(ByteWriter::new(self.place.clone(), self.home(&begun.load), cx, part))
    }

    async fn commit(
        &self,
        _: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let (home, place) = (self.home(&begun.load), self.place.clone());
        let (load, token) = (begun.load.clone(), token.clone());
        blocking(move || commit::commit(&home, &place, &load, &token, &staged)).await
    }

    async fn checkpoint(&self, _: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let home = self.home(load);
        blocking(move || rows::checkpoint(&home)).await
    }

    async fn forget(&self, _: &Context, load: &LoadSpec) -> Result<()> {
        let home = self.home(load);
        blocking(move || rows::forget(&home)).await
    }

    async fn sweep(&self, _: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        let home = self.home(load);
        blocking(move || rows::sweep(&home)).await
    }

    async fn abort(&self, _: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        let (home, place) = (self.home(&begun.load), self.place.clone());
        blocking(move || {
            for staged in staged {
                let keys = PartialReceipt::of(&staged).map_err(named)?.files.into_keys();
                place.release(&home, staged.part, keys);
            }
            Ok(())
        })
        .await
    }
}

fn named(error: Error) -> Error {
    error.connector(CONNECTOR)
}
