//! Moving committed rows into the collection: steps that the server takes by itself, and that may be repeated.

use std::sync::Arc;

use bson::{Bson, Document, doc};
use futures::TryStreamExt;
use towpath_core::{Context, Error, ErrorKind, LoadSpec, Result, WriteDisposition};

use super::Shared;
use super::missing::{self, DELETED_AT};
use crate::client::limited;
use crate::config::{DeleteMissing, Update};
use crate::errors::{code, failed};

/// What the server is made to say of an `_id` that somebody else has taken, with the type of that.
const TAKEN: &str = "another document has this _id, of type ";
/// How many keys are deleted by one request.
pub(super) const DELETED_AT_ONCE: usize = 1_000;

/// What a commit has decided, and is perhaps not done yet.
#[derive(Debug, Clone)]
pub(super) struct Decided {
    /// How rows land.
    pub(super) load: LoadSpec,
    /// The staging collections.
    pub(super) parts: Vec<String>,
    /// What becomes of documents whose key does not come.
    pub(super) missing: DeleteMissing,
    /// Whether the run ends with it.
    pub(super) finishes: bool,
}

pub(super) async fn apply(shared: &Arc<Shared>, cx: &Context, decided: &Decided) -> Result<()> {
    let Decided { load, parts, missing, finishes } = decided;
    let target = shared.target(load);
    match load.disposition {
        WriteDisposition::Replace => {
            // All at once: by a new name, or the server builds the collection beside.
            match parts.as_slice() {
                [] => run(shared, cx, &nothing(shared, load), vec![doc! { "$out": target }]).await,
                [part] => rename(shared, cx, part, &target).await,
                [first, others @ ..] => {
                    let others = others.iter().map(|other| doc! { "$unionWith": other });
                    run(shared, cx, first, others.chain([doc! { "$out": target }]).collect()).await
                }
            }
        }
        WriteDisposition::Append => {
            for part in parts {
                let merge = doc! {
                    "$merge": { "into": &target, "on": "_id", "whenMatched": unless_the_same(), "whenNotMatched": "insert" }
                };
                run(shared, cx, part, vec![doc! { "$replaceWith": "$d" }, merge]).await?;
            }
            Ok(())
        }
        WriteDisposition::Merge => {
            for part in parts {
                merge(shared, cx, decided, &target, part).await?;
            }
            if *finishes { missing::delete(shared, cx, load, *missing).await } else { Ok(()) }
        }
    }
}

/// A collection that is never there.
fn nothing(shared: &Shared, load: &LoadSpec) -> String {
    format!("{}nothing", shared.prefix(load))
}

/// Gives a collection the name of another, whose documents go. One that is not there any more has its name already.
async fn rename(shared: &Arc<Shared>, cx: &Context, from: &str, to: &str) -> Result<()> {
    const NOT_THERE: i32 = 26;
    let database = shared.database()?.name().to_owned();
    let command = doc! {
        "renameCollection": format!("{database}.{from}"), "to": format!("{database}.{to}"), "dropTarget": true,
    };
    match shared.server.in_database("admin").try_ask(cx, command).await? {
        Err(error) if code(&error) != Some(NOT_THERE) => Err(not_moved(&error)),
        _ => Ok(()),
    }
}

/// A document that is there already was moved by an earlier attempt. Any other of the same `_id` is somebody else's, and
/// must not be taken for it: the conversion fails, and with it the step.
fn unless_the_same() -> Vec<Document> {
    let text = doc! { "$concat": [TAKEN, { "$type": "$_id" }] };
    vec![doc! { "$replaceWith": { "$cond": [{ "$eq": ["$$ROOT", "$$new"] }, "$$ROOT", { "$toInt": text }] } }]
}

async fn merge(
    shared: &Arc<Shared>,
    cx: &Context,
    decided: &Decided,
    target: &str,
    part: &str,
) -> Result<()> {
    let load = &decided.load;
    let taken = match shared.config.update {
        // The id that is there stays.
        Update::Replace => doc! { "$mergeObjects": ["$$new", { "_id": "$_id" }] },
        Update::Set => doc! { "$mergeObjects": ["$$ROOT", "$$new", { "_id": "$_id" }] },
    };
    let mut matched = vec![doc! { "$replaceWith": taken }];
    if decided.missing == DeleteMissing::Soft {
        // It came again.
        matched.push(doc! { "$unset": DELETED_AT });
    }
    let mut pipeline = last_of_each_key(load);
    pipeline.extend([
        doc! { "$match": { "x": { "$ne": true } } },
        doc! { "$replaceWith": "$d" },
        doc! { "$merge": {
            "into": target, "on": load.key.clone(), "whenMatched": matched, "whenNotMatched": "insert",
        } },
    ]);
    run(shared, cx, part, pipeline).await?;
    if decided.missing != DeleteMissing::No {
        missing::note(shared, cx, load, part).await?;
    }
    if shared.config.operation_column.is_some() {
        delete(shared, cx, load, target, part).await
    } else {
        Ok(())
    }
}

/// Of several rows with one key, the one that came last.
pub(super) fn last_of_each_key(load: &LoadSpec) -> Vec<Document> {
    let key: Document =
        load.key.iter().map(|name| (name.clone(), Bson::from(format!("$d.{name}")))).collect();
    vec![
        doc! { "$sort": { "_id": 1 } },
        doc! { "$group": { "_id": key, "d": { "$last": "$d" }, "x": { "$last": "$x" } } },
    ]
}

async fn delete(shared: &Arc<Shared>, cx: &Context, load: &LoadSpec, target: &str, part: &str) -> Result<()> {
    let mut pipeline = last_of_each_key(load);
    pipeline.extend([doc! { "$match": { "x": true } }, doc! { "$replaceWith": "$_id" }]);
    let deleting = |error| failed("deleting documents", &error);
    let staging = shared.collection::<Document>(part)?;
    let keys = staging.aggregate(pipeline).allow_disk_use(true);
    let keys = limited(cx, keys.into_future()).await?.map_err(deleting)?;
    let mut keys = std::pin::pin!(keys.try_chunks(DELETED_AT_ONCE));
    let target = shared.collection::<Document>(target)?;
    while let Some(keys) = keys.try_next().await.map_err(|error| deleting(error.1))? {
        let gone = limited(cx, target.delete_many(doc! { "$or": keys }).into_future()).await?;
        gone.map_err(deleting)?;
    }
    Ok(())
}

pub(super) async fn run(
    shared: &Arc<Shared>,
    cx: &Context,
    from: &str,
    pipeline: Vec<Document>,
) -> Result<()> {
    let staging = shared.collection::<Document>(from)?;
    let moving = staging.aggregate(pipeline).allow_disk_use(true);
    let moved = limited(cx, moving.into_future()).await?;
    moved.map(drop).map_err(|error| not_moved(&error))
}

fn not_moved(error: &mongodb::error::Error) -> Error {
    let mut mapped = failed("moving committed rows into the collection", error);
    if mapped.message().contains(TAKEN) {
        mapped = Error::new(
            ErrorKind::Conflict,
            "another document has the `_id` of a row that was just committed",
        );
    }
    mapped.help("the rows are committed and staged; the next run moves them once nothing is in their way")
}
