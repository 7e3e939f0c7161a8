//! The checkpoints: a document for each stream of each pipeline, in the database of its collection.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use bson::{Bson, Document, doc};
use mongodb::Collection;
use towpath_core::{Checkpoint, Context, Error, LoadSpec, Result};

use super::Shared;
use crate::client::limited;
use crate::errors::{DUPLICATE_KEY, code, failed};

/// The collection of checkpoints.
const CHECKPOINTS: &str = "_towpath_checkpoints";

/// Where the checkpoint of a stream is.
pub(super) struct Ledger {
    id: Document,
    collection: Collection<Document>,
}

/// A checkpoint as it lies there.
#[derive(Debug, Clone)]
pub(super) struct Held(Document);

impl Held {
    pub(super) fn checkpoint(&self) -> Result<Checkpoint> {
        let text = self.0.get_str("checkpoint").unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            Error::data("the checkpoint cannot be read")
                .connector(crate::NAME)
                .detail("collection", CHECKPOINTS)
                .source(error)
                .help("remove its document, and the next run loads everything")
        })
    }

    /// The columns of the last run.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        let text = self.0.get_str("schema").ok()?;
        serde_json::from_str::<Schema>(text).ok().map(Arc::new)
    }

    /// Staging collections whose rows are committed, and perhaps not moved yet.
    pub(super) fn pending(&self) -> Option<Vec<String>> {
        let names = self.0.get_array("pending").ok()?;
        Some(names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// How the rows of the pending ones land: the load that committed them.
    pub(super) fn load(&self) -> Option<LoadSpec> {
        serde_json::from_str(self.0.get_str("load").ok()?).ok()
    }

    fn version(&self) -> i64 {
        self.0.get_i64("version").unwrap_or(0)
    }
}

impl Ledger {
    pub(super) fn new(shared: &Shared, load: &LoadSpec) -> Result<Self> {
        let id =
            doc! { "pipeline": &load.pipeline, "stream": &load.stream, "collection": shared.target(load) };
        Ok(Self { id, collection: shared.collection(CHECKPOINTS)? })
    }

    pub(super) async fn read(&self, cx: &Context) -> Result<Option<Held>> {
        let reading = self.collection.find_one(doc! { "_id": self.id.clone() });
        let held = limited(cx, reading.into_future()).await?;
        held.map(|held| held.map(Held)).map_err(|error| failed("reading the checkpoint", &error))
    }

    /// Stores a checkpoint, with the staging collections that are committed with it, on the condition that nobody else has
    /// stored one since; whether it held.
    pub(super) async fn store(
        &self,
        cx: &Context,
        held: Option<&Held>,
        next: &Checkpoint,
        pending: &[(LoadSpec, Vec<String>)],
    ) -> Result<bool> {
        let mut set = doc! { "checkpoint": json(next)?, "changed_at": bson::DateTime::now() };
        if let [(load, names)] = pending {
            set.extend(doc! { "pending": names.clone(), "load": json(load)? });
        }
        self.change(cx, held, doc! { "$set": set }).await
    }

    /// Notes that everything has been moved; whether nobody else has changed anything since.
    pub(super) async fn settle(&self, cx: &Context, held: &Held) -> Result<bool> {
        self.change(cx, Some(held), doc! { "$unset": { "pending": "", "load": "" } }).await
    }

    async fn change(&self, cx: &Context, held: Option<&Held>, mut update: Document) -> Result<bool> {
        let version = held.map_or(0, Held::version);
        let set = update.entry("$set".to_owned()).or_insert_with(|| Bson::Document(Document::new()));
        if let Bson::Document(set) = set {
            set.insert("version", version + 1);
        }
        let mut condition = doc! { "_id": self.id.clone() };
        if held.is_some() {
            condition.insert("version", version);
        } else {
            // One that is there already has a version, so that inserting another fails.
            condition.insert("version", doc! { "$exists": false });
        }
        let storing = self.collection.update_one(condition, update).upsert(held.is_none());
        match limited(cx, storing.into_future()).await? {
            Ok(stored) => Ok(stored.matched_count == 1 || stored.upserted_id.is_some()),
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => Ok(false),
            Err(error) => Err(failed("storing the checkpoint", &error)),
        }
    }

    /// Keeps the columns for the next run.
    pub(super) async fn keep_schema(&self, cx: &Context, schema: &SchemaRef) -> Result<()> {
        let keep = doc! { "$set": { "schema": json(schema.as_ref())? } };
        let keeping = self.collection.update_one(doc! { "_id": self.id.clone() }, keep);
        let kept = limited(cx, keeping.into_future()).await?;
        kept.map(drop).map_err(|error| failed("storing the columns", &error))
    }

    pub(super) async fn remove(&self, cx: &Context) -> Result<()> {
        let removing = self.collection.delete_one(doc! { "_id": self.id.clone() });
        let removed = limited(cx, removing.into_future()).await?;
        removed.map(drop).map_err(|error| failed("removing the checkpoint", &error))
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::unexpected("the checkpoint is no JSON").connector(crate::NAME).source(error))
}
