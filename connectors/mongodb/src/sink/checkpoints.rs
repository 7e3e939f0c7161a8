//! The checkpoints: a document for each stream of each pipeline, in the database of its collection.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use bson::{Bson, Document, doc};
use mongodb::Collection;
use towpath_core::{Checkpoint, Context, Error, LoadSpec, Result};

use super::Shared;
use super::apply::Decided;
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

    /// What is committed, and perhaps not moved yet. `load` is how rows land where that is not noted.
    pub(super) fn decided(&self, load: &LoadSpec) -> Option<Decided> {
        let names = self.0.get_array("pending").ok()?;
        // A run of another disposition or key may have committed them.
        let noted = self.0.get_str("load").ok().and_then(|text| serde_json::from_str(text).ok());
        let missing = self.0.get_str("missing").ok().and_then(|text| serde_json::from_str(text).ok());
        Some(Decided {
            load: noted.unwrap_or_else(|| load.clone()),
            parts: names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            missing: missing.unwrap_or_default(),
            finishes: self.0.get_bool("finishes").unwrap_or(false),
        })
    }

    /// Whether the keys of the run under way have been noted from its beginning.
    pub(super) fn notes_keys(&self) -> bool {
        self.0.get_bool("notes_keys").unwrap_or(false)
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

    /// Stores the checkpoint with which a run begins, on the condition that nobody else has stored one since; whether it
    /// held.
    pub(super) async fn begin(
        &self,
        cx: &Context,
        held: Option<&Held>,
        next: &Checkpoint,
        notes_keys: bool,
    ) -> Result<bool> {
        let set = doc! {
            "checkpoint": json(next)?, "changed_at": bson::DateTime::now(), "notes_keys": notes_keys,
        };
        self.change(cx, held, doc! { "$set": set }).await
    }

    /// The same for a commit, with what it decides.
    pub(super) async fn decide(
        &self,
        cx: &Context,
        held: Option<&Held>,
        next: &Checkpoint,
        decided: &Decided,
    ) -> Result<bool> {
        let Decided { load, parts, missing, finishes } = decided;
        let set = doc! {
            "checkpoint": json(next)?, "changed_at": bson::DateTime::now(), "pending": parts.clone(),
            "load": json(load)?, "missing": json(missing)?, "finishes": *finishes,
        };
        self.change(cx, held, doc! { "$set": set }).await
    }

    /// Notes that everything has been moved; whether nobody else has changed anything since.
    pub(super) async fn settle(&self, cx: &Context, held: &Held) -> Result<bool> {
        let done = doc! { "pending": "", "load": "", "missing": "", "finishes": "" };
        self.change(cx, Some(held), doc! { "$unset": done }).await
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
