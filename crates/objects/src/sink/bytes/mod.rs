//! Objects as they are, put together from their chunks.
//!
//! ```text
//! writers ── whole parts, or the service's copies of them ──> an upload that all writers share ── complete and verified ──> the object
//!    │   └── bytes that are no whole part ──> hidden objects ──> parts, at the commit
//!    └────── what arrived (a receipt) ──> commit ──> the manifest: which bytes of which object are durable
//! ```
//!
//! What counts is what the manifest says: a commit notes the parts that have arrived together with the checkpoint, so that a
//! run that was killed goes on behind them. An object that must have a digest is uploaded to a hidden place, read there, and
//! copied by the service.

mod commit;
mod copy;
mod partial;
mod place;
mod run;
mod writer;

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use tokio::sync::Semaphore;
use towpath_core::{
    Begun, CHUNK_BYTES, Checkpoint, CommitToken, Committed, Context, Delivery, Error, Json, LoadSpec, Realm,
    Result, Sink, SinkCapabilities, Staged, WriteDisposition,
};
use towpath_files::sink::{ByteFolder, no_merge};
use towpath_formats::chunks::Chunks;

use super::options::Layout;
use super::output::Outlet;
use super::{Provider, SinkParts};
pub(super) use partial::PartialObjects;
use partial::Receipt;
use place::Place;
pub use writer::ByteWriter;

/// Writes objects from their chunks.
#[derive(Debug, Clone)]
pub struct ByteSink<P> {
    place: Arc<Place>,
    /// Out of which the service copies.
    realm: Option<Realm>,
    provider: PhantomData<fn() -> P>,
}

impl<P: Provider> Sink for ByteSink<P> {
    type Config = P::Config;
    type Writer = ByteWriter;

    async fn open(config: P::Config, cx: &Context) -> Result<Self> {
        let SinkParts { opener, files, settings, realm } = P::open(config, cx).await.map_err(named::<P>)?;
        files.check_bytes().and_then(|()| settings.check()).map_err(named::<P>)?;
        if settings.layout == Layout::Plain {
            return Err(named::<P>(
                Error::config(
                    "`layout: plain` does not go with `format: bytes`, whose parts have to be remembered",
                )
                .help("remove `layout`"),
            ));
        }
        let folder = ByteFolder::parse(&files.path).map_err(named::<P>)?;
        let permits = Arc::new(Semaphore::new(settings.parts_in_flight));
        let outlet = Arc::new(Outlet { opener, settings, permits });
        Ok(Self { place: Arc::new(Place::new(folder, outlet)), realm, provider: PhantomData })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Replace];
        SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions)
            .takes_chunks()
            .batch_bytes(CHUNK_BYTES)
            .copies_from(self.realm.clone())
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let site = self.place.site(cx, load).await.map_err(named::<P>)?;
        site.check(&self.place.outlet.settings.appearance, false).await.map_err(named::<P>)
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        if load.disposition == WriteDisposition::Merge {
            return Err(named::<P>(no_merge(self.place.folder.text())));
        }
        let begin = async {
            let site = self.place.site(cx, load).await?;
            commit::begin(&site, &self.place, load).await
        };
        Ok(Begun::new(load.clone(), begin.await.map_err(named::<P>)?, Json::Null))
    }

    async fn evolve(&self, _: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let checked = Chunks::of(&RecordBatch::new_empty(schema.clone()));
        checked.map_err(|error| named::<P>(error).detail("path", self.place.folder.text()))?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<ByteWriter> {
        Ok(ByteWriter::new(P::CONNECTOR, self.place.clone(), cx, &begun.load, part))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let commit = async {
            let site = self.place.site(cx, &begun.load).await?;
            commit::commit(&site, &self.place, begun, token, &staged).await
        };
        commit.await.map_err(|error| named::<P>(error).operation("commit"))
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let checkpoint = async { self.place.site(cx, load).await?.checkpoint().await };
        checkpoint.await.map_err(named::<P>)
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let forget = async {
            let site = self.place.site(cx, load).await?;
            let Some(manifest) = site.forget_checkpoint().await? else { return Ok(()) };
            commit::throw_away(&site, &manifest, None, site.uploads().await?).await.map(drop)
        };
        forget.await.map_err(named::<P>)
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        let sweep = async {
            let site = self.place.site(cx, load).await?;
            let manifest = match site.load().await? {
                Some(held) => site.settle(held).await?.manifest,
                None => super::manifest::Manifest::default(),
            };
            commit::throw_away(&site, &manifest, None, site.uploads().await?).await
        };
        sweep.await.map_err(named::<P>)
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        for staged in staged {
            let receipt = Receipt::of(&staged).map_err(named::<P>)?;
            let fragments = receipt.objects.values().flat_map(|object| object.fragments.iter());
            let hidden = fragments.map(|fragment| fragment.path.clone()).chain(receipt.notes);
            let hidden: Vec<_> = hidden.collect();
            let keys = receipt.objects.into_keys();
            self.place.release(cx, &begun.load, staged.part, keys, &hidden);
        }
        Ok(())
    }
}

fn named<P: Provider>(error: Error) -> Error {
    error.connector(P::CONNECTOR)
}
