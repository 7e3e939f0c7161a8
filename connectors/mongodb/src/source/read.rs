//! Reading a piece: batches of documents as the server sends them. While one is decoded, the next is on its way.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bson::{Bson, Timestamp};
use futures::{FutureExt, StreamExt, stream};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use towpath_core::{
    Batch, BatchStream, Context, Error, ErrorKind, Json, Position, Result, Split as CoreSplit,
};

use super::Shared;
use super::natural::{Mark, Place, Reached, concern, not_met, reached};
use super::plan::{Piece, is_known, wanted};
use super::query::{Part, Records, behind, within};
use super::reply::{Reply, behind_id, portions};
use crate::client::{Load, limited_as};
use crate::config::Order;
use crate::convert::{document, from_json};
use crate::decode::{Decoded, Form, decode};
use crate::errors::{failed, is_too_old};
use crate::schema::Fields;

/// The rows of a split from a position on.
pub(super) fn read(
    shared: &Arc<Shared>,
    cx: &Context,
    split: &CoreSplit,
    from: &Position,
) -> Result<BatchStream> {
    let piece = payload(split)?;
    let Some((behind, along)) = start(&piece, from)? else { return Ok(stream::empty().boxed()) };
    let asking = Asking { shared: shared.clone(), cx: cx.clone(), piece, behind };
    let reading =
        Reading { asking, cursor: None, arrived: None, fields: None, ready: Vec::new().into_iter(), along };
    let (place, id) = (shared.place(), split.id.clone());
    let batches = stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let batch = reading.next().await.transpose()?;
        let rest = batch.is_ok().then_some(reading);
        Some((batch, rest))
    });
    let name = move |error: Error| {
        error.connector(crate::NAME).operation("read").detail("collection", &place).detail("split", &id)
    };
    Ok(batches.fuse().map(move |batch| batch.map_err(&name)).boxed())
}

/// The id behind which reading begins, or the place among the records. `None` at the end.
fn start(piece: &Piece, from: &Position) -> Result<Option<(Option<Bson>, Option<Along>)>> {
    let unreadable =
        |error| Error::unsupported("a position cannot be read").connector(crate::NAME).source(error);
    let along = match (&piece.natural, from) {
        (_, Position::End) => return Ok(None),
        (None, Position::Start) => return Ok(Some((None, None))),
        (None, Position::At(position)) => return Ok(Some((Some(from_json(&position["id"])?), None))),
        (Some(_), Position::At(position)) => serde_json::from_value(position.clone()).map_err(unreadable)?,
        (Some(_), Position::Start) => Place::behind(mark(piece.from.as_ref())?.map(|mark| mark.record)),
    };
    let to = mark(piece.to.as_ref())?.map(Arc::new);
    Ok(Some((None, Some(Along { place: along, to, moment: Timestamp { time: 0, increment: 0 } }))))
}

fn mark(bound: Option<&Json>) -> Result<Option<Mark>> {
    bound.map(|bound| Mark::of(&from_json(bound)?)).transpose()
}

fn payload(split: &CoreSplit) -> Result<Piece> {
    if !is_known(split.version) {
        return Err(Error::unsupported(format!("a split of version {} is not known", split.version))
            .connector(crate::NAME)
            .help("use the version of Towpath that planned it, or `towpath state reset`"));
    }
    serde_json::from_value(split.payload.clone())
        .map_err(|error| Error::unsupported("a split cannot be read").connector(crate::NAME).source(error))
}

/// A split that is being read.
struct Reading {
    asking: Asking,
    cursor: Option<RawBatchCursor>,
    /// What came while the batch before was decoded; nothing where the server has sent all.
    arrived: Option<Result<Option<RawBatch>>>,
    /// The columns that were seen so far.
    fields: Option<Fields>,
    /// Batches that are decoded.
    ready: std::vec::IntoIter<Batch>,
    /// Where it is, if it goes along the records.
    along: Option<Along>,
}

/// A place among the records, and where the piece ends.
#[derive(Clone)]
struct Along {
    place: Place,
    to: Option<Arc<Mark>>,
    /// The moment that is read, since there is a cursor.
    moment: Timestamp,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            if let Some(batch) = self.ready.next() {
                return Ok(Some(batch));
            }
            self.asking.cx.cancellation().check()?;
            let arrived = match self.arrived.take() {
                Some(arrived) => arrived,
                None => self.fetch().await,
            };
            match (arrived?, &self.along) {
                (Some(raw), _) => self.decode(raw).await?,
                // Whoever passes the mark at the end is told that nothing follows.
                (None, Some(Along { to: Some(_), .. })) => return Err(not_met()),
                (None, _) => return Ok(None),
            }
        }
    }

    /// Decodes a batch, and meanwhile waits for the next one.
    async fn decode(&mut self, raw: RawBatch) -> Result<()> {
        let Asking { shared, cx, piece, .. } = &self.asking;
        let fields = match self.fields.take() {
            Some(fields) => fields,
            None => shared.relation(cx).await?.fields.clone(),
        };
        let by_id = shared.order == Order::Id;
        let positions = match &self.along {
            Some(along) => Positions::Records(along.clone()),
            None if by_id => Positions::Ids,
            None => Positions::None,
        };
        let is_last = passes(&raw, self.along.as_ref())?;
        let work = Work {
            raw,
            fields,
            form: shared.form.clone(),
            place: shared.place(),
            columns: piece.scan.columns.clone(),
            positions,
            leaves_id_out: by_id && shared.query.leaves_id_out(),
        };
        let cx = cx.clone();
        let next = async { if is_last { Ok(None) } else { self.fetch().await } };
        let (decoded, arrived) = futures::join!(cx.cpu(move || work.run()), next);
        let Decoding { fields, batches, place } = decoded?;
        self.fields = Some(fields);
        self.ready = batches.into_iter();
        self.arrived = Some(arrived);
        self.along = match (self.along.take(), place) {
            (Some(along), Some(place)) => Some(Along { place, ..along }),
            // The end was met, and nothing is to be missed any more.
            (Some(along), None) => Some(Along { to: None, ..along }),
            (None, _) => None,
        };
        Ok(())
    }

    /// What the server sends next; the first call begins the query.
    async fn fetch(&mut self) -> Result<Option<RawBatch>> {
        let asking = &self.asking;
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => {
                let part = match &mut self.along {
                    Some(along) => {
                        along.moment = asking.moment().await?;
                        asking.stretch(along)?
                    }
                    None => asking.part().await?,
                };
                none.insert(asking.open(part).await?)
            }
        };
        match limited_as(Load::Read, &asking.cx, cursor.next().map(Option::transpose)).await? {
            Ok(raw) => {
                if let Some(raw) = &raw {
                    let bytes = raw.as_raw_document().as_bytes().len();
                    asking.cx.metrics().add_bytes_read(u64::try_from(bytes).unwrap_or(u64::MAX));
                }
                Ok(raw)
            }
            Err(error) => Err(asking.failed(&error).await),
        }
    }
}

/// Whether a reply comes to the end of its piece.
fn passes(raw: &RawBatch, along: Option<&Along>) -> Result<bool> {
    let Some(to) = along.and_then(|along| along.to.as_ref()) else { return Ok(false) };
    let last = Reply::of(raw.as_raw_document().as_bytes())?.last_record()?;
    Ok(last.is_none_or(|last| last >= to.record))
}

/// What is asked of the server.
struct Asking {
    shared: Arc<Shared>,
    cx: Context,
    piece: Piece,
    /// The id behind which it goes on.
    behind: Option<Bson>,
}

impl Asking {
    async fn failed(&self, error: &mongodb::error::Error) -> Error {
        let mapped = failed("reading documents", error);
        let Some(natural) = &self.piece.natural else {
            let is_too_old = is_too_old(error);
            return if is_too_old { self.shared.snapshot.lost(&self.cx, mapped).await } else { mapped };
        };
        // Records are those of one member and one moment, and no others can take their place.
        match mapped.kind() {
            ErrorKind::Unavailable if mapped.is_retryable() => mapped.detail("member", &natural.member).help(
                "the collection is read from the member with which the run began; if that is gone, run again",
            ),
            _ => mapped,
        }
    }

    async fn open(&self, part: Part) -> Result<RawBatchCursor> {
        let shared = &self.shared;
        let command = shared.query.command(shared.collection()?, &part);
        let database = shared.server.database()?;
        let mut asking = database.run_cursor_command(command);
        if let Some(size) = part.batch_size {
            asking = asking.batch_size(size);
        }
        let server = match &self.piece.natural {
            Some(natural) => &shared.server.pinned(&natural.member)?,
            None => &shared.server,
        };
        if let Some(criteria) = server.criteria() {
            asking = asking.selection_criteria(criteria);
        }
        match limited_as(Load::Read, &self.cx, asking.batch()).await? {
            Ok(cursor) => Ok(cursor),
            Err(error) => Err(self.failed(&error).await),
        }
    }

    /// The moment at which records are read.
    async fn moment(&self) -> Result<Timestamp> {
        self.shared.snapshot.moment(&self.shared, &self.cx).await?.ok_or_else(|| {
            Error::unsupported("records have an order in a snapshot alone, and there is none")
                .connector(crate::NAME)
                .help("run again: without a snapshot the collection is read along `_id`")
        })
    }

    /// A stretch of records.
    fn stretch(&self, along: &Along) -> Result<Part> {
        let Along { place, to, moment } = along;
        place.holds(*moment)?;
        let natural = self.piece.natural.as_ref();
        Ok(Part {
            columns: self.columns_to_ask_for(),
            limit: natural.and_then(|natural| natural.most_rows(place, to.as_deref())),
            batch_size: self.piece.scan.batch_size,
            read_concern: Some(concern(*moment)),
            records: Some(Records { behind: place.behind, skip: place.skip }),
            ..Part::default()
        })
    }

    async fn part(&self) -> Result<Part> {
        let (scan, shared) = (&self.piece.scan, &self.shared);
        let bound = |bound: &Option<Json>| bound.as_ref().map(from_json).transpose();
        let (from, to) = (bound(&self.piece.from)?, bound(&self.piece.to)?);
        let mut part = Part {
            columns: self.columns_to_ask_for(),
            limit: scan.limit.and_then(|limit| i64::try_from(limit).ok()),
            batch_size: scan.batch_size,
            read_concern: shared.snapshot.read_concern(shared, &self.cx).await?,
            ..Part::default()
        };
        if let Some(Json::Object(condition)) = &scan.condition {
            part.conditions.push(document("cursor", condition)?);
        }
        match (&shared.order, scan.is_increment) {
            (Order::Id, true) => {
                part.by_id = true;
                part.conditions.extend(self.behind.as_ref().map(behind));
            }
            (Order::Id, false) => {
                // The bound itself belongs to the range, and not to what is behind it.
                part.conditions
                    .extend(self.behind.as_ref().map(|id| bson::doc! { "_id": { "$ne": id.clone() } }));
                part.along_id = Some((self.behind.clone().or(from), to));
            }
            (Order::Field(field), _) => part.conditions.extend(within(field, from.as_ref(), to.as_ref())),
            (Order::Whole, _) => {}
        }
        Ok(part)
    }

    fn columns_to_ask_for(&self) -> Option<Vec<String>> {
        if self.shared.form.whole {
            return None;
        }
        self.piece.scan.columns.clone()
    }
}

/// Which positions batches get.
enum Positions {
    None,
    Ids,
    Records(Along),
}

/// What the CPU has to do for a batch.
struct Work {
    raw: RawBatch,
    fields: Fields,
    form: Form,
    place: String,
    columns: Option<Vec<String>>,
    positions: Positions,
    leaves_id_out: bool,
}

/// What comes of it.
struct Decoding {
    fields: Fields,
    batches: Vec<Batch>,
    /// Where reading goes on among records.
    place: Option<Place>,
}

impl Work {
    fn run(self) -> Result<Decoding> {
        let reply = Reply::of(self.raw.as_raw_document().as_bytes())?;
        let mut documents = reply.documents()?;
        let reached = self.reached(reply, &documents)?;
        if let Some(reached) = &reached {
            documents.truncate(reached.documents);
        }
        let (mut fields, mut batches) = (self.fields.clone(), Vec::new());
        let (mut done, count) = (0, documents.len());
        for documents in portions(&documents) {
            let Decoded { rows, rejected, widened } = decode(documents, &fields, &self.form, &self.place)?;
            fields = widened.unwrap_or(fields);
            done += documents.len();
            let resume = self.position(documents, done, reached.as_ref().filter(|_| done == count))?;
            batches.push(Batch { rows: self.columns(rows)?, rejected, resume });
        }
        Ok(Decoding { fields, batches, place: reached.and_then(|reached| reached.place) })
    }

    fn reached(&self, reply: Reply<'_>, documents: &[&[u8]]) -> Result<Option<Reached>> {
        let Positions::Records(along) = &self.positions else { return Ok(None) };
        reached(documents, reply.last_record()?, along.to.as_deref()).map(Some)
    }

    /// The position behind some documents, up to which so many of the reply are done; `reached` behind the last ones.
    fn position(&self, documents: &[&[u8]], done: usize, reached: Option<&Reached>) -> Result<Position> {
        match (&self.positions, reached) {
            (Positions::None, _) => Ok(Position::Start),
            (Positions::Ids, _) => behind_id(documents),
            (Positions::Records(_), Some(reached)) => {
                Ok(reached.place.as_ref().map_or(Position::End, Place::position))
            }
            (Positions::Records(along), None) => Ok(along.place.further(done, along.moment).position()),
        }
    }

    /// The columns that are wanted.
    fn columns(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let mut schema = wanted(&rows.schema(), self.columns.as_deref());
        if self.leaves_id_out {
            let rest: Vec<_> =
                schema.fields().iter().filter(|field| field.name() != "_id").cloned().collect();
            schema = arrow_schema::Schema::new(rest);
        }
        let indices = schema.fields().iter().map(|field| rows.schema().index_of(field.name()));
        let indices = indices.collect::<std::result::Result<Vec<_>, _>>()?;
        if indices.len() == rows.num_columns() { Ok(rows) } else { Ok(rows.project(&indices)?) }
    }
}
