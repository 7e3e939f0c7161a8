//! Where to cut.

use std::collections::VecDeque;

use bson::{Bson, Document, RawDocumentBuf, doc};
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Json, Result};

use super::Shared;
use super::relation::{Relation, documents};
use crate::convert::to_json;

/// Up to so many documents, the keys are walked along and counted, so that the same pieces come out each time. Of more, a
/// random sample tells where to cut.
const WALKED: u64 = 100_000;
/// The most pieces.
const MOST: u64 = 256;
/// How many keys of the sample lie between two cuts.
const KEYS_A_PIECE: u64 = 24;
/// The fewest documents of a piece, unless an option says otherwise.
const FEWEST: u64 = 5_000;
/// How many pieces each reader gets.
const PIECES_A_READER: u64 = 4;
/// How many pieces the documents of a pipeline, view or time series are cut into: nobody knows how many there are.
const PIECES_OF_UNKNOWN: u64 = 16;

/// How many documents a piece has.
pub(super) fn piece_rows(shared: &Shared, relation: &Relation, parallelism: usize) -> u64 {
    let rows = relation.estimate.rows.unwrap_or(0);
    let readers = u64::try_from(parallelism.max(1)).unwrap_or(u64::MAX);
    let wanted =
        shared.config.split_size.unwrap_or_else(|| rows.div_ceil(readers * PIECES_A_READER).max(FEWEST));
    wanted.max(rows.div_ceil(MOST)).max(1)
}

/// The cuts that are still to come: known ones, or found one by one behind the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cuts {
    /// Each so many documents behind the one before.
    Every(u64),
    /// At these keys.
    At(VecDeque<Json>),
}

impl Cuts {
    /// How a collection is cut by `_id`.
    pub(super) async fn by_id(
        shared: &Shared,
        cx: &Context,
        relation: &Relation,
        parallelism: usize,
    ) -> Result<Self> {
        let piece = piece_rows(shared, relation, parallelism);
        let rows = relation.estimate.rows.unwrap_or(0);
        if rows <= WALKED {
            return Ok(Self::Every(piece));
        }
        let pieces = rows.div_ceil(piece);
        let size = i64::try_from(pieces * KEYS_A_PIECE).unwrap_or(i64::MAX);
        let command = doc! {
            "aggregate": shared.collection()?,
            "pipeline": [{ "$sample": { "size": size } }, { "$project": { "_id": 1 } }, { "$sort": { "_id": 1 } }],
            "cursor": {},
        };
        let keys = documents(shared, cx, command).await?;
        let step = usize::try_from(KEYS_A_PIECE).unwrap_or(1);
        let mut cuts: VecDeque<Json> = VecDeque::new();
        for key in keys.iter().skip(step).step_by(step) {
            let key = to_json(&value(key, "_id")?);
            if cuts.back() != Some(&key) {
                cuts.push_back(key);
            }
        }
        Ok(Self::At(cuts))
    }

    /// How documents are cut by another field.
    pub(super) async fn by_field(
        shared: &Shared,
        cx: &Context,
        relation: &Relation,
        field: &str,
        parallelism: usize,
    ) -> Result<Self> {
        let pieces = match relation.estimate.rows {
            Some(rows) => rows.div_ceil(piece_rows(shared, relation, parallelism)),
            None => shared.config.split_size.map_or(PIECES_OF_UNKNOWN, |_| MOST.min(PIECES_OF_UNKNOWN)),
        };
        let pieces = i32::try_from(pieces.clamp(1, MOST)).unwrap_or(1);
        let command = doc! {
            "aggregate": shared.collection()?,
            "pipeline": [{ "$bucketAuto": { "groupBy": format!("${field}"), "buckets": pieces } }],
            "cursor": {}, "allowDiskUse": true,
        };
        let buckets = documents(shared, cx, command).await?;
        let cuts = buckets.iter().skip(1).map(|bucket| {
            let range = value(bucket, "_id")?;
            let least = range.as_document().and_then(|range| range.get("min")).cloned();
            Ok(to_json(&least.unwrap_or(Bson::Null)))
        });
        Ok(Self::At(cuts.collect::<Result<_>>()?))
    }

    /// The next cut, behind that one.
    pub(super) async fn next(
        &mut self,
        shared: &Shared,
        cx: &Context,
        behind: Option<&Bson>,
    ) -> Result<Option<Bson>> {
        let rows = match self {
            Self::At(cuts) => return cuts.pop_front().map(|cut| crate::convert::from_json(&cut)).transpose(),
            Self::Every(rows) => *rows,
        };
        let mut command = doc! {
            "find": shared.collection()?, "projection": { "_id": 1 }, "sort": { "_id": 1 }, "hint": { "_id": 1 },
            "skip": i64::try_from(rows).unwrap_or(i64::MAX), "limit": 1, "singleBatch": true,
        };
        if let Some(behind) = behind {
            command.insert("min", doc! { "_id": behind.clone() });
        }
        if let Some(concern) = shared.snapshot.read_concern(shared, cx).await? {
            command.insert("readConcern", concern);
        }
        documents(shared, cx, command).await?.first().map(|key| value(key, "_id")).transpose()
    }
}

fn value(document: &RawDocumentBuf, field: &str) -> Result<Bson> {
    let read = || -> std::result::Result<Bson, bson::error::Error> {
        let document: Document = document.try_into()?;
        Ok(document.get(field).cloned().unwrap_or(Bson::Null))
    };
    read().map_err(|error| {
        towpath_core::Error::data("a key cannot be read").connector(crate::NAME).source(error)
    })
}
