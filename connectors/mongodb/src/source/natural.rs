//! A whole collection in the order in which its records lie, in stretches that end at known records.
//!
//! Along the index of `_id` the server looks up a key and fetches a document; along its records it only goes on to the next
//! one, which takes less than half the work. A record has a number, which grows along the way. The server tells the number of
//! the last record of each reply, and goes on behind any record that there is in the snapshot.
//!
//! Each member of a replica set numbers its records by itself. So all stretches are read from the member that they were
//! planned with, whatever becomes its role. Numbers last as long as their documents, so another moment could only miss a
//! record at which a stretch begins or ends, and reading it fails.

use bson::spec::BinarySubtype;
use bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, Position, Result, ScanRequest};

use super::Shared;
use super::plan::Scan;
use super::relation::{Relation, documents_from};
use crate::client::Server;
use crate::config::Order;
use crate::errors::failed;
use crate::wire::field;

/// About how many bytes a stretch has, unless an option says how many documents.
const STRETCH_BYTES: u64 = 32 << 20;
/// How many documents make a stretch where nobody knows how long they are.
const STRETCH_ROWS: u64 = 100_000;
/// The most stretches, unless an option says how many documents they have. A scan keeps a processor of the server busy, and a
/// reader holds some batches; one that breaks off goes on where it was, however long its stretch is.
const AT_ONCE: u64 = 8;
/// How many documents seen at random lie between two cuts.
const KEYS_A_PIECE: u64 = 24;
/// The most stretches that an option can ask for.
const MOST: u64 = 256;
/// Up to so many documents, the records are walked along and counted, so that the same stretches come out each time.
const WALKED: u64 = 20_000;

/// What all stretches of a collection share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Natural {
    /// The address of the member that is read.
    pub(super) member: String,
    /// A number before that of the first record.
    before: i64,
    /// About how many documents a stretch has.
    pub(super) rows: u64,
}

/// A record where one stretch ends and the next begins behind it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) record: i64,
    id: Bson,
    /// The id as it stands in a document.
    bytes: Vec<u8>,
}

impl Mark {
    /// A mark at a document with an id that is the same again when it has been JSON.
    fn new(record: i64, id: &Bson) -> Option<Self> {
        let is_simple = match id {
            Bson::ObjectId(_) | Bson::String(_) | Bson::Int32(_) | Bson::Int64(_) | Bson::DateTime(_) => true,
            Bson::Binary(binary) => binary.subtype != BinarySubtype::BinaryOld,
            _ => false,
        };
        let bytes = bson::serialize_to_vec(&doc! { "_id": id.clone() }).ok().filter(|_| is_simple)?;
        Some(Self { record, id: id.clone(), bytes })
    }

    pub(super) fn to_bson(&self) -> Bson {
        doc! { "record": self.record, "id": self.id.clone() }.into()
    }

    pub(super) fn of(bson: &Bson) -> Result<Self> {
        let parts = bson.as_document().and_then(|mark| Some((mark.get_i64("record").ok()?, mark.get("id")?)));
        parts
            .and_then(|(record, id)| Self::new(record, id))
            .ok_or_else(|| Error::unsupported("a bound of a split cannot be read").connector(crate::NAME))
    }

    /// Whether a document is the one that lies there.
    fn is(&self, document: &[u8]) -> Result<bool> {
        Ok(field(document, "_id")? == field(&self.bytes, "_id")?)
    }
}

/// How a collection is read along its records, and where it is cut. `None` where the options or the server want another way.
pub(super) async fn plan(
    shared: &Shared,
    cx: &Context,
    relation: &Relation,
    request: &ScanRequest,
    scan: &Scan,
) -> Result<Option<(Natural, Vec<Mark>)>> {
    let is_all = scan.condition.is_none() && request.limit.is_none() && !shared.query.has_filter();
    let rows = relation.estimate.rows.unwrap_or(0);
    // What a later run would go on with must not hang on one member and one moment.
    if !request.one_snapshot || shared.order != Order::Id || !is_all || rows == 0 {
        return Ok(None);
    }
    let Some(moment) = shared.snapshot.moment(shared, cx).await? else { return Ok(None) };
    let Some(member) = shared.server.member(cx).await? else { return Ok(None) };
    let pieces = pieces(shared, relation, request.parallelism);
    let walk = Walk { shared, cx, server: shared.server.pinned(&member)?, moment };
    let Some((first, _)) = walk.step(None, 0).await? else { return Ok(None) };
    let piece_rows = rows.div_ceil(pieces);
    let marks = match pieces {
        0 | 1 => Vec::new(),
        _ if rows <= WALKED => walk.along(piece_rows).await?,
        _ => walk.among(&relation.some_ids, pieces).await?,
    };
    let natural = Natural { member, before: first.saturating_sub(1), rows: piece_rows };
    Ok(Some((natural, marks)))
}

fn pieces(shared: &Shared, relation: &Relation, parallelism: usize) -> u64 {
    let (rows, bytes) = (relation.estimate.rows.unwrap_or(0), relation.estimate.bytes);
    let wanted = match (shared.config.split_size, bytes) {
        (Some(size), _) => return rows.div_ceil(size).clamp(1, MOST),
        (None, Some(bytes)) => bytes.div_ceil(STRETCH_BYTES),
        (None, None) => rows.div_ceil(STRETCH_ROWS),
    };
    wanted.min(u64::try_from(parallelism).unwrap_or(AT_ONCE)).clamp(1, AT_ONCE)
}

/// Looks for records.
struct Walk<'a> {
    shared: &'a Shared,
    cx: &'a Context,
    server: Server,
    moment: Timestamp,
}

impl Walk<'_> {
    /// The record that comes behind another one and so many more, and the id of its document. `None` where there is none, or
    /// where the server does not number its records.
    async fn step(&self, behind: Option<i64>, skip: u64) -> Result<Option<(i64, Bson)>> {
        let mut command = doc! {
            "find": self.shared.collection()?, "projection": { "_id": 1 }, "limit": 1, "batchSize": 1,
            "skip": i64::try_from(skip).unwrap_or(i64::MAX), "readConcern": concern(self.moment),
        };
        command.extend(along(behind));
        let reply = match self.server.try_ask(self.cx, command).await? {
            Ok(reply) => reply,
            Err(error) => {
                let error = failed("looking at the first records", &error);
                // Whatever speaks the protocol and knows no records is read in another way.
                return if error.is_retryable() { Err(error) } else { Ok(None) };
            }
        };
        let Ok(cursor) = reply.get_document("cursor") else { return Ok(None) };
        let first = cursor.get_array("firstBatch").ok().and_then(|batch| batch.first()?.as_document());
        let id = first.and_then(|document| document.get("_id").cloned());
        // In a clustered collection, it is no number but the key itself.
        let record = cursor.get_document(TOKEN).ok().and_then(|token| token.get_i64(RECORD).ok());
        Ok(record.zip(id))
    }

    /// The last records of stretches of so many documents, apart from the last stretch.
    async fn along(&self, rows: u64) -> Result<Vec<Mark>> {
        let (mut marks, mut behind) = (Vec::<Mark>::new(), None);
        while let Some((record, id)) = self.step(behind, rows.saturating_sub(1)).await? {
            marks.extend(Mark::new(record, &id));
            behind = Some(record);
        }
        // Behind the very last record there is nothing to read.
        if self.step(behind, 0).await?.is_none() && marks.last().map(|mark| mark.record) == behind {
            marks.pop();
        }
        Ok(marks)
    }

    /// Records that cut so many stretches, among those of documents that were seen at random.
    async fn among(&self, seen: &[Bson], pieces: u64) -> Result<Vec<Mark>> {
        let count = usize::try_from(pieces.saturating_mul(KEYS_A_PIECE)).unwrap_or(usize::MAX);
        let ids = if seen.len() * 2 < count { self.sample(count).await? } else { seen.to_vec() };
        let ids: Vec<Bson> = ids.into_iter().take(count).collect();
        let command = doc! {
            "find": self.shared.collection()?, "filter": { "_id": { "$in": ids } }, "projection": { "_id": 1 },
            "showRecordId": true, "readConcern": concern(self.moment),
        };
        let found = documents_from(&self.server, self.cx, command).await?;
        let mut marks: Vec<Mark> = found.iter().filter_map(mark_of).collect();
        marks.sort_by_key(|mark| mark.record);
        let pieces = usize::try_from(pieces).unwrap_or(1).min(marks.len() + 1);
        let mut marks: Vec<Mark> =
            (1..pieces).filter_map(|cut| marks.get(cut * marks.len() / pieces).cloned()).collect();
        marks.dedup_by_key(|mark| mark.record);
        Ok(marks)
    }

    async fn sample(&self, count: usize) -> Result<Vec<Bson>> {
        let command = doc! {
            "aggregate": self.shared.collection()?, "cursor": {}, "readConcern": concern(self.moment),
            "pipeline": [
                { "$sample": { "size": i64::try_from(count).unwrap_or(i64::MAX) } }, { "$project": { "_id": 1 } },
            ],
        };
        let found = documents_from(&self.server, self.cx, command).await?;
        Ok(found.iter().filter_map(id_of).collect())
    }
}

/// The id of a document, if it can be read.
pub(super) fn id_of(document: &RawDocumentBuf) -> Option<Bson> {
    Bson::try_from(document.get("_id").ok()??).ok()
}

fn mark_of(found: &RawDocumentBuf) -> Option<Mark> {
    Mark::new(found.get_i64(RECORD).ok()?, &id_of(found)?)
}

pub(super) const TOKEN: &str = "postBatchResumeToken";
pub(super) const RECORD: &str = "$recordId";

pub(super) fn concern(moment: Timestamp) -> Document {
    doc! { "level": "snapshot", "atClusterTime": moment }
}

/// What makes a query go along the records, behind one of them.
pub(super) fn along(behind: Option<i64>) -> Document {
    let mut along = doc! { "hint": { "$natural": 1 }, "$_requestResumeToken": true };
    along.extend(behind.map(|record| ("$_resumeAfter".to_owned(), doc! { RECORD: record }.into())));
    along
}

impl Natural {
    /// How many documents there are at the most from a place up to a mark: each has a number of its own.
    pub(super) fn most_rows(&self, from: &Place, to: Option<&Mark>) -> Option<i64> {
        let to = to?.record;
        let most = to.saturating_sub(from.behind.unwrap_or(self.before)).saturating_sub(from.skip);
        Some(most.max(1))
    }
}

/// Where a reading is: so many documents further than behind a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) behind: Option<i64>,
    #[serde(default)]
    pub(super) skip: i64,
    /// The moment at which documents were counted.
    #[serde(default)]
    moment: Option<(u32, u32)>,
}

impl Place {
    pub(super) fn behind(record: Option<i64>) -> Self {
        Self { behind: record, ..Self::default() }
    }

    /// So many documents further, at this moment.
    pub(super) fn further(&self, documents: usize, moment: Timestamp) -> Self {
        let skip = self.skip.saturating_add(i64::try_from(documents).unwrap_or(i64::MAX));
        Self { skip, moment: Some((moment.time, moment.increment)), ..self.clone() }
    }

    /// Whether it is where it was, at this moment.
    pub(super) fn holds(&self, now: Timestamp) -> Result<()> {
        match self.moment {
            Some(counted) if counted != (now.time, now.increment) => {
                Err(Error::unsupported("a position among counted documents holds in its own snapshot alone")
                    .connector(crate::NAME)
                    .help("`towpath state reset` loads the stream from its beginning"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn position(&self) -> Position {
        let Self { behind, skip, moment } = self;
        Position::At(match moment {
            None => serde_json::json!({ "behind": behind }),
            Some(moment) => serde_json::json!({ "behind": behind, "skip": skip, "moment": moment }),
        })
    }
}

/// What comes of a reply: how many of its documents belong to the stretch, and where reading goes on behind them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reached {
    pub(super) documents: usize,
    /// `None` at the end of the stretch.
    pub(super) place: Option<Place>,
}

/// How far a reply gets.
pub(super) fn reached(documents: &[&[u8]], last: Option<i64>, to: Option<&Mark>) -> Result<Reached> {
    let all = documents.len();
    let Some(mark) = to.filter(|mark| last.is_none_or(|last| last >= mark.record)) else {
        let place = last.map(|record| Place::behind(Some(record)));
        return Ok(Reached { documents: all, place });
    };
    for (index, document) in documents.iter().enumerate() {
        if mark.is(document)? {
            return Ok(Reached { documents: index + 1, place: None });
        }
    }
    Err(not_met())
}

/// The member shows other records than those that the stretches were planned by.
pub(super) fn not_met() -> Error {
    Error::unexpected(
        "the record at which a piece ends was not met: the member does not show what was planned",
    )
    .connector(crate::NAME)
    .help("run again; with `snapshot: off` the collection is read along `_id`")
}
