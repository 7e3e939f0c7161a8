//! The sink: rows are staged in collections of their own, and moved by the server itself.
//!
//! ```text
//! writer ──> staging collections ──> commit: one write to the checkpoint, which names them ──> $merge or a new name
//! ```
//!
//! The write to the checkpoint decides. What it names is moved by steps that may be repeated, by this run or by whoever
//! comes next. So nothing is lost or doubled by a crash anywhere, on a single server as on a replica set, and no
//! transaction has to hold all rows of a commit.

mod apply;
mod check;
mod checkpoints;
mod commit;
mod fit;
mod missing;
mod refuse;
mod staging;
mod writer;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use bson::doc;
use mongodb::{Collection, Database};
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, Error, Json, LoadSpec, Result, ResultExt,
    Sink, SinkCapabilities, Staged, TypeFamily, WriteDisposition,
};

use crate::client::{Server, limited};
use crate::config::{MongodbSinkConfig, ReadFrom};
use crate::errors::{config as wrong, failed};
use checkpoints::Ledger;
pub use writer::MongodbWriter;

/// Writes documents.
#[derive(Debug)]
pub struct MongodbSink {
    shared: Arc<Shared>,
}

/// What all writers share.
#[derive(Debug)]
pub(crate) struct Shared {
    config: MongodbSinkConfig,
    server: Server,
}

/// How large a batch is. Readers decode the next one meanwhile, for which the queue must have room beside it.
const BATCH_BYTES: usize = 4 << 20;
/// What `operation_column` says for a row that deletes.
const DELETES: [&str; 4] = ["d", "D", "delete", "DELETE"];

impl Sink for MongodbSink {
    type Config = MongodbSinkConfig;
    type Writer = MongodbWriter;

    async fn open(config: MongodbSinkConfig, cx: &Context) -> Result<Self> {
        let server = Server::shared(cx, config.connection().await?, ReadFrom::Primary)?;
        server.database()?;
        if config.collection.is_empty() || config.collection.contains('\0') {
            return Err(wrong("`collection` names no collection"));
        }
        Ok(Self { shared: Arc::new(Shared { config, server }) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Merge, WriteDisposition::Replace];
        let types = TypeFamily::ALL.into_iter().filter(|family| *family != TypeFamily::Union).collect();
        // One writer inserts over several connections, so that `replace` has one collection to give its name to.
        SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions)
            .types(types)
            .max_writers(1)
            .batch_bytes(BATCH_BYTES)
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        check::check(&self.shared, cx, load).await.map_err(|error| self.shared.named(error, load, "check"))
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.shared.begin(cx, load).await.map_err(|error| self.shared.named(error, load, "begin"))
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.capabilities().check_types(schema)?;
        let evolved = self.shared.evolve(cx, begun, schema).await;
        evolved.map_err(|error| self.shared.named(error, &begun.load, "evolve"))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<MongodbWriter> {
        MongodbWriter::new(&self.shared, cx, begun, part)
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let committed = commit::commit(&self.shared, cx, begun, token, staged).await;
        committed.map_err(|error| self.shared.named(error, &begun.load, "commit"))
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let held = Ledger::new(&self.shared, load)?.read(cx).await.operation("checkpoint")?;
        held.map(|held| held.checkpoint()).transpose()
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let forgotten = async {
            let ledger = Ledger::new(&self.shared, load)?;
            commit::complete(&self.shared, cx, load, &ledger).await?;
            ledger.remove(cx).await?;
            self.shared.sweep(cx, load, &Checkpoint::default()).await.map(drop)
        };
        forgotten.await.map_err(|error| self.shared.named(error, load, "forget"))
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        let swept = async {
            // What was committed and not moved yet is no leftover.
            let ledger = Ledger::new(&self.shared, load)?;
            commit::complete(&self.shared, cx, load, &ledger).await?;
            let held = ledger.read(cx).await?.map(|held| held.checkpoint()).transpose()?;
            self.shared.sweep(cx, load, &held.unwrap_or_default()).await
        };
        swept.await.map_err(|error| self.shared.named(error, load, "sweep"))
    }

    async fn abort(&self, cx: &Context, _: &Begun, staged: Vec<Staged>) -> Result<()> {
        for part in staged {
            if let Some(name) = staging_of(&part)? {
                self.shared.drop_collection(cx, &name).await.operation("abort")?;
            }
        }
        Ok(())
    }
}

/// The collection that a receipt names, if it has rows.
fn staging_of(staged: &Staged) -> Result<Option<String>> {
    match &staged.payload {
        Json::Null => Ok(None),
        Json::String(name) => Ok(Some(name.clone())),
        _ => Err(Error::unsupported("a receipt cannot be read").connector(crate::NAME)),
    }
}

impl Shared {
    /// The collection of a load.
    fn target(&self, load: &LoadSpec) -> String {
        self.config.collection.replace("{stream}", &load.stream).replace("{pipeline}", &load.pipeline)
    }

    fn named(&self, error: Error, load: &LoadSpec, operation: &'static str) -> Error {
        error.connector(crate::NAME).operation(operation).detail("collection", self.target(load))
    }

    fn database(&self) -> Result<Database> {
        self.server.database()
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Result<Collection<T>> {
        Ok(self.database()?.collection(name))
    }

    /// How the names of a stream's staging collections begin.
    fn prefix(&self, load: &LoadSpec) -> String {
        use std::hash::Hasher;
        let mut hasher = Stable::default();
        for part in [&load.pipeline, &load.stream, &self.target(load)] {
            hasher.write(part.as_bytes());
            hasher.write(&[0]);
        }
        format!("_towpath_{:016x}_", hasher.finish())
    }

    async fn begin(self: &Arc<Self>, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        if load.disposition == WriteDisposition::Merge && load.key.is_empty() {
            return Err(wrong("`merge` needs a `key`"));
        }
        let is_there = self.exists(cx, &self.target(load)).await?;
        let ledger = Ledger::new(self, load)?;
        let (next, schema) = loop {
            commit::complete(self, cx, load, &ledger).await?;
            let held = ledger.read(cx).await?;
            let checkpoint = held.as_ref().map(checkpoints::Held::checkpoint).transpose()?;
            let next = Checkpoint::begin(checkpoint.as_ref(), load)?;
            self.check_missing(load, held.as_ref(), &next)?;
            let schema = held.as_ref().and_then(checkpoints::Held::schema);
            if ledger.begin(cx, held.as_ref(), &next, self.notes_keys()).await? {
                break (next, schema);
            }
        };
        self.sweep(cx, load, &next).await?;
        let mut begun = Begun::new(load.clone(), next, Json::Null);
        if load.disposition != WriteDisposition::Replace && is_there {
            begun.schema = schema;
        }
        Ok(begun)
    }

    async fn evolve(self: &Arc<Self>, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let load = &begun.load;
        self.check_columns(schema)?;
        self.check_deleted_at(schema)?;
        if load.disposition == WriteDisposition::Merge {
            if let Some(missing) = load.key.iter().find(|name| schema.field_with_name(name).is_err()) {
                return Err(Error::schema(format!("there is no column `{missing}`, which is in the key"))
                    .help("check `key`"));
            }
            self.make_key(cx, load).await?;
        }
        Ledger::new(self, load)?.keep_schema(cx, schema).await?;
        Ok(begun.with_schema(schema))
    }

    fn check_columns(&self, schema: &SchemaRef) -> Result<()> {
        crate::encode::check_names(schema)?;
        if let Some(column) = &self.config.operation_column
            && schema.field_with_name(column).is_err()
        {
            return Err(
                Error::schema(format!("there is no column `{column}`")).help("check `operation_column`")
            );
        }
        Ok(())
    }

    /// Makes the unique index by which documents of the same key find each other.
    async fn make_key(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        if load.key == ["_id"] {
            return Ok(());
        }
        if let Some(name) =
            load.key.iter().find(|name| name.contains('.') || name.starts_with('$') || name.is_empty())
        {
            return Err(wrong(format!("`{name}` cannot be a key: MongoDB reads it as a path"))
                .help("rename the column under `transform`"));
        }
        let key: bson::Document = load.key.iter().map(|name| (name.clone(), bson::Bson::from(1))).collect();
        let index = mongodb::IndexModel::builder()
            .keys(key)
            .options(mongodb::options::IndexOptions::builder().unique(true).build())
            .build();
        let target = self.collection::<bson::Document>(&self.target(load))?;
        let made = limited(cx, target.create_index(index).into_future()).await?;
        made.map(drop).map_err(|error| {
            let error = failed("making the unique index of the key", &error);
            error.help("documents that are there already must have a value of their own in the key")
        })
    }

    /// Whether there is such a collection.
    async fn exists(&self, cx: &Context, name: &str) -> Result<bool> {
        let listing = doc! { "listCollections": 1, "filter": { "name": name }, "nameOnly": true };
        let found = self.server.ask(cx, "looking for the collection", listing).await?;
        let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let Some(found) = batch.ok().and_then(|batch| batch.first()?.as_document()) else { return Ok(false) };
        match found.get_str("type") {
            Ok(kind @ ("view" | "timeseries")) => {
                Err(Error::unsupported(format!("`{name}` is no collection but a {kind}, and takes no rows"))
                    .help("name another `collection`"))
            }
            _ => Ok(true),
        }
    }

    /// The options with which a collection was made; none where there is no such collection.
    async fn options_of(&self, cx: &Context, name: &str) -> Result<bson::Document> {
        let listing = doc! { "listCollections": 1, "filter": { "name": name } };
        let found = self.server.ask(cx, "looking at the collection", listing).await?;
        let batch = found.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let options = batch.ok().and_then(|batch| batch.first()?.as_document()?.get_document("options").ok());
        Ok(options.cloned().unwrap_or_default())
    }

    /// Removes what runs of this stream have staged and never committed, and tells it. The keys that came in a run under way
    /// stay for the run that goes on with it.
    async fn sweep(&self, cx: &Context, load: &LoadSpec, checkpoint: &Checkpoint) -> Result<Vec<String>> {
        let prefix = format!("^{}", self.prefix(load));
        let listing = self.database()?;
        let listing = listing.list_collection_names().filter(doc! { "name": { "$regex": prefix } });
        let names = limited(cx, listing.into_future()).await?;
        let mut names = names.map_err(|error| failed("looking for what older runs have left", &error))?;
        if checkpoint.is_under_way() && self.notes_keys() {
            let keys = self.keys(load);
            names.retain(|name| *name != keys);
        }
        for name in &names {
            self.drop_collection(cx, name).await?;
        }
        Ok(names.iter().map(|name| format!("the collection {name}")).collect())
    }

    async fn drop_collection(&self, cx: &Context, name: &str) -> Result<()> {
        let collection = self.collection::<bson::Document>(name)?;
        let dropped = limited(cx, collection.drop().into_future()).await?;
        dropped.map_err(|error| failed("removing a staging collection", &error))
    }
}

/// A hash that is the same in every build: FNV-1a.
#[derive(Debug)]
struct Stable(u64);

impl Default for Stable {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for Stable {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
