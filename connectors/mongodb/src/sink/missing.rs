//! Documents whose key did not come in a whole run.
//!
//! While rows are moved, their keys are noted in a collection. The commit that ends the run compares the target with it. As
//! all that comes behind a decision, both may be repeated.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use towpath_core::{Checkpoint, CommitToken, Context, Error, LoadSpec, Position, Result, WriteDisposition};

use super::Shared;
use super::apply::{DELETED_AT_ONCE, last_of_each_key, run};
use super::checkpoints::Held;
use crate::client::limited;
use crate::config::DeleteMissing;
use crate::errors::{config as wrong, failed};

/// The field in which the time is noted.
pub(super) const DELETED_AT: &str = "deleted_at";

impl Shared {
    /// The collection of the keys that came in the run under way.
    pub(super) fn keys(&self, load: &LoadSpec) -> String {
        format!("{}keys", self.prefix(load))
    }

    /// Whether the run notes which keys come.
    pub(super) fn notes_keys(&self) -> bool {
        self.config.delete_missing != DeleteMissing::No
    }

    /// Only a `merge` tells keys, and only a run that reads everything tells which are missing.
    pub(super) fn check_missing(
        &self,
        load: &LoadSpec,
        held: Option<&Held>,
        next: &Checkpoint,
    ) -> Result<()> {
        if !self.notes_keys() {
            return Ok(());
        }
        if load.disposition != WriteDisposition::Merge {
            return Err(wrong("`delete_missing` has no effect without `write_disposition: merge`")
                .help("set `write_disposition: merge`, or remove the option"));
        }
        if next.cursor.is_some() || next.since != Position::Start {
            return Err(partial());
        }
        if next.is_under_way() && !held.is_some_and(Held::notes_keys) {
            return Err(wrong(
                "the run under way began without `delete_missing`, and nobody knows the keys that came in it",
            )
            .help("let it end without the option, or `towpath state reset` and load everything"));
        }
        Ok(())
    }

    /// A run that reads what is new brings not every key that is there.
    pub(super) fn check_whole(&self, token: &CommitToken) -> Result<()> {
        let cursor = token.finished.as_ref().and_then(|finished| finished.cursor.as_ref());
        let has_cursor = token.until.is_some() || token.seen.is_some() || cursor.is_some();
        if has_cursor && self.notes_keys() { Err(partial()) } else { Ok(()) }
    }

    /// The field is ours.
    pub(super) fn check_deleted_at(&self, schema: &SchemaRef) -> Result<()> {
        if self.config.delete_missing != DeleteMissing::Soft || schema.field_with_name(DELETED_AT).is_err() {
            return Ok(());
        }
        Err(Error::schema(format!("the column `{DELETED_AT}` is what `delete_missing: soft` writes"))
            .help("rename it under `transform`, or set `delete_missing: hard`"))
    }
}

fn partial() -> Error {
    wrong("`delete_missing` would delete what a run leaves out that goes on from the last")
        .help("remove `cursor`, or `delete_missing`")
}

/// Notes the keys of staged rows that write.
pub(super) async fn note(shared: &Arc<Shared>, cx: &Context, load: &LoadSpec, part: &str) -> Result<()> {
    let mut pipeline = last_of_each_key(load);
    pipeline.extend([
        doc! { "$match": { "x": { "$ne": true } } },
        doc! { "$project": { "_id": 1 } },
        doc! { "$merge": {
            "into": shared.keys(load), "on": "_id", "whenMatched": "keepExisting", "whenNotMatched": "insert",
        } },
    ]);
    run(shared, cx, part, pipeline).await
}

/// Deletes or marks the documents whose key did not come.
pub(super) async fn delete(
    shared: &Arc<Shared>,
    cx: &Context,
    load: &LoadSpec,
    how: DeleteMissing,
) -> Result<()> {
    let target = shared.target(load);
    match how {
        DeleteMissing::No => Ok(()),
        DeleteMissing::Soft => {
            // What has no such field has it null for the server.
            let mut pipeline = vec![doc! { "$match": { DELETED_AT: Bson::Null } }];
            pipeline.extend(missing(shared, load));
            pipeline.extend([
                doc! { "$project": { "_id": 1, DELETED_AT: "$$NOW" } },
                doc! { "$merge": { "into": &target, "on": "_id", "whenMatched": "merge", "whenNotMatched": "discard" } },
            ]);
            run(shared, cx, &target, pipeline).await
        }
        DeleteMissing::Hard => delete_all(shared, cx, &target, missing(shared, load)).await,
    }
}

/// The stages that leave only documents whose key was not noted.
fn missing(shared: &Shared, load: &LoadSpec) -> Vec<Document> {
    // As it was noted: with the same names in the same order.
    let key: Document = load.key.iter().map(|name| (name.clone(), Bson::from(format!("${name}")))).collect();
    vec![
        doc! { "$project": { "_id": 1, "key": key } },
        doc! { "$lookup": { "from": shared.keys(load), "localField": "key", "foreignField": "_id", "as": "came" } },
        doc! { "$match": { "came": [] } },
    ]
}

async fn delete_all(shared: &Shared, cx: &Context, target: &str, stages: Vec<Document>) -> Result<()> {
    let deleting = |error| failed("deleting documents that did not come", &error);
    let target = shared.collection::<Document>(target)?;
    let looking = target.aggregate(stages).allow_disk_use(true);
    let found = limited(cx, looking.into_future()).await?.map_err(deleting)?;
    let mut found = std::pin::pin!(found.try_chunks(DELETED_AT_ONCE));
    while let Some(found) = found.try_next().await.map_err(|error| deleting(error.1))? {
        let ids: Vec<Bson> = found.iter().filter_map(|found| found.get("_id").cloned()).collect();
        let gone = limited(cx, target.delete_many(doc! { "_id": { "$in": ids } }).into_future()).await?;
        gone.map_err(deleting)?;
    }
    Ok(())
}
