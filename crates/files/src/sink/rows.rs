//! The sink for rows, whatever holds the files.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Error, Json, LoadSpec, Result, Sink,
    SinkCapabilities, Staged, WriteDisposition,
};

use super::destination::File;
use super::partition::Partitioning;
use super::{Commit, Destination, Receipt, RowWriter, StagedFile, Target, assemble};

/// Writes rows into files.
#[derive(Debug, Clone)]
pub struct RowSink<D> {
    destination: D,
    target: Arc<Target>,
}

impl<D: Destination> Sink for RowSink<D> {
    type Config = D::Config;
    type Writer = RowWriter<D::Staging>;

    async fn open(config: D::Config, cx: &Context) -> Result<Self> {
        let (destination, options) = D::open(config, cx).await.map_err(named::<D>)?;
        let target = Target::new(options).map_err(named::<D>)?;
        Ok(Self { destination, target: Arc::new(target) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        self.destination.capabilities(self.target.capabilities())
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.destination.check(cx, &self.target, load).await.map_err(named::<D>)
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.target.check_disposition(load).map_err(named::<D>)?;
        cx.cancellation().check()?;
        let begun = self.destination.begin(cx, &self.target, load).await;
        let (checkpoint, columns) = begun.map_err(named::<D>)?;
        let mut begun = Begun::new(load.clone(), checkpoint, Json::Null);
        begun.schema = columns.filter(|_| load.disposition == WriteDisposition::Append);
        Ok(begun)
    }

    async fn evolve(&self, _: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let partitioning =
            Partitioning::new(&self.target.options.partition_by, schema).map_err(named::<D>)?;
        self.target.check_schema(partitioning.schema()).map_err(named::<D>)?;
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Self::Writer> {
        let staging = self.destination.staging(&self.target, &begun.load);
        RowWriter::new(self.target.clone(), staging, cx, begun, part).map_err(named::<D>)
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let receipts = receipts::<D>(&staged)?;
        let committed = self.commit_receipts(cx, begun, token, &receipts).await;
        committed.map_err(|error| named::<D>(error).operation("commit"))
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.destination.checkpoint(cx, &self.target, load).await.map_err(named::<D>)
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.destination.forget(cx, &self.target, load).await.map_err(named::<D>)
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.destination.sweep(cx, &self.target, load).await.map_err(named::<D>)
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        let files = receipts::<D>(&staged)?.into_iter().flat_map(|receipt| receipt.files).collect();
        self.destination.discard(cx, &self.target, begun, files).await.map_err(named::<D>)
    }
}

impl<D: Destination> RowSink<D> {
    /// What it writes where.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Where it commits.
    pub fn destination(&self) -> &D {
        &self.destination
    }

    async fn commit_receipts(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        receipts: &[Receipt<File<D>>],
    ) -> Result<Committed> {
        let (destination, target) = (&self.destination, &*self.target);
        let staged: Vec<_> = receipts.iter().flat_map(|receipt| receipt.files.clone()).collect();
        let mut files = staged.clone();
        let replaces = begun.load.disposition == WriteDisposition::Replace;
        if replaces && !destination.is_applied(cx, target, begun, token).await? {
            files = self.replacement(cx, begun, receipts, files).await?;
        }
        // What is put together into another file has served with the commit.
        let spent: Vec<_> = staged.into_iter().filter(|file| !files.contains(file)).collect();
        let old = target.old(begun.load.disposition);
        let commit = Commit { token: token.clone(), files, old };
        let committed = destination.commit(cx, target, begun, commit).await?;
        destination.discard(cx, target, begun, spent).await?;
        Ok(committed)
    }

    /// The files that take the place of the old ones. Where there are no rows, one file still tells the columns.
    async fn replacement(
        &self,
        cx: &Context,
        begun: &Begun,
        receipts: &[Receipt<File<D>>],
        files: Vec<File<D>>,
    ) -> Result<Vec<File<D>>> {
        let is_plain = self.target.template.is_plain();
        let tells_columns = begun.schema.is_some() && self.target.options.partition_by.is_empty();
        if is_plain || (files.is_empty() && tells_columns) {
            let staging = self.destination.staging(&self.target, &begun.load);
            let file = assemble::one_file(&self.target, &staging, cx, begun, receipts).await?;
            return Ok(file.into_iter().collect());
        }
        Ok(files)
    }
}

fn receipts<D: Destination>(staged: &[Staged]) -> Result<Vec<Receipt<File<D>>>>
where
    File<D>: StagedFile,
{
    staged.iter().map(|staged| Receipt::of(staged).map_err(named::<D>)).collect()
}

fn named<D: Destination>(error: Error) -> Error {
    error.connector(D::CONNECTOR)
}

/// The error for `merge`.
pub fn no_merge(path: &str) -> Error {
    Error::unsupported("files cannot be merged into by key")
        .detail("path", path)
        .help("use `append` or `replace`, or a database as the sink, such as postgres")
}
