//! Rows that the collection would refuse: duplicates of unique keys, and documents that its validator does not let in.
//! They are found before anything is decided, and are not staged any more.
//!
//! What is staged for `replace` is in a collection like the target, which has refused them already; only documents of
//! several writers have not met yet.

use std::collections::HashMap;
use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use towpath_core::{Begun, Context, Json, LoadSpec, Rejected, Result, WriteDisposition};

use super::Shared;
use crate::client::limited;
use crate::config::Update;
use crate::errors::failed;
use crate::schema::{TYPE_KEY, names};
use crate::wire::{document_json, field};

/// Why a document is refused that the validator does not let in.
pub(super) const INVALID: &str = "the collection's validator does not let it in";

/// The field that says, while duplicates are looked for, in which part a document is.
const PART: &str = "_towpath_part";

/// A reason, and the stages that find the staged documents to which it applies.
struct Test {
    reason: String,
    stages: Vec<Document>,
    /// Whether all documents that are found must go; else one of each group may stay.
    sees_all_parts: bool,
}

pub(super) async fn refused(
    shared: &Arc<Shared>,
    cx: &Context,
    begun: &Begun,
    parts: &[String],
) -> Result<Vec<Rejected>> {
    let load = &begun.load;
    let is_replace = load.disposition == WriteDisposition::Replace;
    if parts.is_empty() || (is_replace && parts.len() == 1) {
        return Ok(Vec::new());
    }
    let mut tests = Vec::new();
    if !is_replace {
        tests.extend(validation(shared, cx, load).await?);
    }
    let inside = if is_replace { "" } else { "d." };
    if load.disposition != WriteDisposition::Merge {
        for key in unique_keys(shared, cx, load, brings_ids(begun)).await? {
            tests.push(within_the_commit(&key, inside, parts));
            if load.disposition == WriteDisposition::Append {
                tests.push(in_the_collection(&key, &shared.target(load)));
            }
        }
    }
    let mut refused = Vec::new();
    for test in tests {
        let of = if test.sees_all_parts { &parts[..1] } else { parts };
        for part in of {
            for found in find(shared, cx, part, &test.stages).await? {
                let place = found.part.as_ref().unwrap_or(part);
                let document = take(shared, cx, place, &found.id, !is_replace).await?;
                refused.extend(
                    document.map(|document| rejection(&shared.target(load), &document, &test.reason)),
                );
            }
        }
    }
    Ok(refused)
}

/// Whether ids come with the rows. Those that are made here are unique.
fn brings_ids(begun: &Begun) -> bool {
    begun.schema.as_ref().is_none_or(|schema| {
        let is_whole = |field: &arrow_schema::FieldRef| {
            field.metadata().get(TYPE_KEY).is_some_and(|name| name == names::DOCUMENT)
        };
        schema.fields().iter().any(|field| field.name() == "_id" || is_whole(field))
    })
}

/// A staged document.
struct Found {
    id: Bson,
    part: Option<String>,
}

async fn find(shared: &Shared, cx: &Context, part: &str, stages: &[Document]) -> Result<Vec<Found>> {
    let staging = shared.collection::<Document>(part)?;
    let looking = async {
        staging.aggregate(stages.to_vec()).allow_disk_use(true).await?.try_collect::<Vec<_>>().await
    };
    let found = limited(cx, looking).await?;
    let found = found.map_err(|error| failed("looking for rows that the collection would refuse", &error))?;
    let read = |found: Document| {
        let part = found.get_str("part").ok().map(str::to_owned);
        Found { id: found.get("_id").cloned().unwrap_or(Bson::Null), part }
    };
    Ok(found.into_iter().map(read).collect())
}

/// Takes a staged document back.
async fn take(
    shared: &Shared,
    cx: &Context,
    part: &str,
    id: &Bson,
    is_wrapped: bool,
) -> Result<Option<RawDocumentBuf>> {
    let staging = shared.collection::<RawDocumentBuf>(part)?;
    let taking = staging.find_one_and_delete(doc! { "_id": id.clone() });
    let taken = limited(cx, taking.into_future()).await?;
    let taken = taken.map_err(|error| failed("taking a refused row back", &error))?;
    let plain = |taken: RawDocumentBuf| taken.get_document("d").ok().map(ToOwned::to_owned);
    Ok(if is_wrapped { taken.and_then(plain) } else { taken })
}

/// A document that is refused, with its place.
pub(super) fn rejection(target: &str, document: &RawDocumentBuf, reason: &str) -> Rejected {
    let bytes = document.as_bytes();
    let mut place = target.to_owned();
    if let Ok(Some(id)) = field(bytes, "_id") {
        place.push(' ');
        // An id that cannot be written leaves the place as it is.
        let _ = crate::wire::write_json(id, &mut place);
    }
    let rejected = Rejected::new(place, reason);
    match document_json(bytes).ok().and_then(|text| serde_json::from_str::<Json>(&text).ok()) {
        Some(row) => rejected.row(row),
        None => rejected,
    }
}

/// What the collection's validator does not let in. Where fields are set in documents that are there, only the server knows
/// what comes out.
async fn validation(shared: &Shared, cx: &Context, load: &LoadSpec) -> Result<Option<Test>> {
    if load.disposition == WriteDisposition::Merge && shared.config.update == Update::Set {
        return Ok(None);
    }
    let options = shared.options_of(cx, &shared.target(load)).await?;
    let (Ok(validator), action) = (options.get_document("validator"), options.get_str("validationAction"))
    else {
        return Ok(None);
    };
    if action.is_ok_and(|action| action != "error") || validator.is_empty() {
        return Ok(None);
    }
    // A validator sees a document by itself; the staged one is put back behind it.
    let keep = "_towpath_staged";
    let stages = vec![
        doc! { "$replaceWith": { "$mergeObjects": ["$d", { keep: "$_id" }] } },
        doc! { "$match": { "$nor": [validator_beside(validator, keep)] } },
        doc! { "$project": { "_id": format!("${keep}") } },
    ];
    Ok(Some(Test { reason: INVALID.to_owned(), stages, sees_all_parts: false }))
}

/// The validator, which has to let our own field in where it forbids all that it does not know.
fn validator_beside(validator: &Document, field: &str) -> Document {
    let mut validator = validator.clone();
    if let Ok(schema) = validator.get_document_mut("$jsonSchema")
        && schema.get_bool("additionalProperties").is_ok_and(|allowed| !allowed)
    {
        if let Ok(properties) = schema.get_document_mut("properties") {
            properties.insert(field, Document::new());
        } else {
            schema.insert("properties", doc! { field: {} });
        }
    }
    validator
}

/// The keys of which no two documents may have the same values.
async fn unique_keys(shared: &Shared, cx: &Context, load: &LoadSpec, ids: bool) -> Result<Vec<Vec<String>>> {
    let mut keys = if ids { vec![vec!["_id".to_owned()]] } else { Vec::new() };
    let target = shared.target(load);
    if !shared.exists(cx, &target).await? {
        return Ok(keys);
    }
    let target = shared.collection::<Document>(&target)?;
    let listing = async { target.list_indexes().await?.try_collect::<Vec<_>>().await };
    let indexes = limited(cx, listing).await?.map_err(|error| failed("looking at the indexes", &error))?;
    for index in indexes {
        let options = index.options.unwrap_or_default();
        if options.unique == Some(true) && options.partial_filter_expression.is_none() {
            keys.push(index.keys.keys().cloned().collect());
        }
    }
    Ok(keys)
}

/// Why a document is refused whose key another one has.
pub(super) fn same_key(key: &[String], where_: &str) -> String {
    let names: Vec<String> = key.iter().map(|name| format!("`{name}`")).collect();
    format!("another document {where_} has the same {}", names.join(", "))
}

/// Rows whose key came before in the same commit: all but the first of each.
fn within_the_commit(key: &[String], inside: &str, parts: &[String]) -> Test {
    let names = || key.iter().map(|name| (name.replace('.', "_"), format!("${inside}{name}")));
    let group: Document = names().map(|(name, path)| (name, Bson::from(path))).collect();
    let present: Vec<Document> =
        key.iter().map(|name| doc! { format!("{inside}{name}"): { "$exists": true } }).collect();
    let mut stages: Vec<Document> = vec![doc! { "$set": { PART: &parts[0] } }];
    for other in &parts[1..] {
        stages.push(doc! { "$unionWith": { "coll": other, "pipeline": [{ "$set": { PART: other } }] } });
    }
    stages.extend([
        doc! { "$match": { "$and": present } },
        doc! { "$group": {
            "_id": group, "count": { "$sum": 1 }, "all": { "$push": { "_id": "$_id", "part": format!("${PART}") } },
        } },
        doc! { "$match": { "count": { "$gt": 1 } } },
        doc! { "$project": { "late": { "$slice": ["$all", 1, i32::MAX] } } },
        doc! { "$unwind": "$late" },
        doc! { "$replaceWith": "$late" },
    ]);
    Test { reason: same_key(key, "of the same commit"), stages, sees_all_parts: true }
}

/// Rows whose key is in the collection already.
fn in_the_collection(key: &[String], target: &str) -> Test {
    let variables: HashMap<String, String> =
        key.iter().enumerate().map(|(index, name)| (format!("k{index}"), format!("$d.{name}"))).collect();
    let variables: Document = variables.into_iter().map(|(name, path)| (name, Bson::from(path))).collect();
    let equal: Vec<Document> = key
        .iter()
        .enumerate()
        .map(|(index, name)| doc! { "$eq": [format!("${name}"), format!("$$k{index}")] })
        .collect();
    let present: Vec<Document> =
        key.iter().map(|name| doc! { format!("d.{name}"): { "$exists": true } }).collect();
    let stages = vec![
        doc! { "$match": { "$and": present } },
        doc! { "$lookup": {
            "from": target, "let": variables,
            "pipeline": [{ "$match": { "$expr": { "$and": equal } } }, { "$limit": 1 }, { "$project": { "_id": 1 } }],
            "as": "there",
        } },
        doc! { "$match": { "there.0": { "$exists": true } } },
        doc! { "$project": { "_id": 1 } },
    ];
    Test { reason: same_key(key, "of the collection"), stages, sees_all_parts: false }
}
