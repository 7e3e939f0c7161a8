//! Reading a piece: batches of documents as the server sends them. While one is decoded, the next is on its way.

use std::sync::Arc;

use bson::Bson;
use futures::{FutureExt, StreamExt, stream};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use towpath_core::{Batch, BatchStream, Context, Error, Json, Position, Result, Split as CoreSplit};

use super::Shared;
use super::plan::{Piece, VERSION, wanted};
use super::query::{Part, behind, within};
use crate::client::limited;
use crate::config::Order;
use crate::convert::{document, from_json, to_json};
use crate::decode::{Decoded, Form, decode};
use crate::errors::{failed, is_too_old};
use crate::schema::Fields;
use crate::wire::{Elements, field, tag};

/// The most bytes of a batch, unless one document is longer.
const MOST_BYTES: usize = 8 << 20;

/// The rows of a split from a position on.
pub(super) fn read(
    shared: &Arc<Shared>,
    cx: &Context,
    split: &CoreSplit,
    from: &Position,
) -> Result<BatchStream> {
    let piece = payload(split)?;
    let behind = match from {
        Position::Start => None,
        Position::End => return Ok(stream::empty().boxed()),
        Position::At(position) => Some(from_json(&position["id"])?),
    };
    let asking = Asking { shared: shared.clone(), cx: cx.clone(), piece, behind };
    let reading =
        Reading { asking, cursor: None, arrived: None, fields: None, ready: Vec::new().into_iter() };
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
    Ok(batches.map(move |batch| batch.map_err(&name)).boxed())
}

fn payload(split: &CoreSplit) -> Result<Piece> {
    if split.version != VERSION {
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
            let Some(raw) = arrived? else { return Ok(None) };
            self.decode(raw).await?;
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
        let work = Work {
            raw,
            fields,
            form: shared.form.clone(),
            place: shared.place(),
            columns: piece.scan.columns.clone(),
            has_position: by_id,
            leaves_id_out: by_id && shared.query.leaves_id_out(),
        };
        let cx = cx.clone();
        let (decoded, arrived) = futures::join!(cx.cpu(move || work.run()), self.fetch());
        let (fields, batches) = decoded?;
        self.fields = Some(fields);
        self.ready = batches.into_iter();
        self.arrived = Some(arrived);
        Ok(())
    }

    /// What the server sends next; the first call begins the query.
    async fn fetch(&mut self) -> Result<Option<RawBatch>> {
        let asking = &self.asking;
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            none => none.insert(asking.open().await?),
        };
        match limited(&asking.cx, cursor.next().map(Option::transpose)).await? {
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
        if is_too_old(error) { self.shared.snapshot.lost(&self.cx, mapped).await } else { mapped }
    }

    async fn open(&self) -> Result<RawBatchCursor> {
        let shared = &self.shared;
        let part = self.part().await?;
        let command = shared.query.command(shared.collection()?, &part);
        let database = shared.server.database()?;
        let mut asking = database.run_cursor_command(command);
        if let Some(size) = part.batch_size {
            asking = asking.batch_size(size);
        }
        if let Some(criteria) = shared.server.criteria() {
            asking = asking.selection_criteria(criteria);
        }
        match limited(&self.cx, asking.batch()).await? {
            Ok(cursor) => Ok(cursor),
            Err(error) => Err(self.failed(&error).await),
        }
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

/// What the CPU has to do for a batch.
struct Work {
    raw: RawBatch,
    fields: Fields,
    form: Form,
    place: String,
    columns: Option<Vec<String>>,
    /// Whether there is a position behind each document.
    has_position: bool,
    leaves_id_out: bool,
}

impl Work {
    fn run(self) -> Result<(Fields, Vec<Batch>)> {
        let reply = self.raw.as_raw_document().as_bytes();
        let documents = documents(reply)?;
        let (mut fields, mut batches) = (self.fields.clone(), Vec::new());
        for documents in portions(&documents) {
            let Decoded { rows, rejected, widened } = decode(documents, &fields, &self.form, &self.place)?;
            fields = widened.unwrap_or(fields);
            let mut schema = wanted(&rows.schema(), self.columns.as_deref());
            if self.leaves_id_out {
                let rest: Vec<_> =
                    schema.fields().iter().filter(|field| field.name() != "_id").cloned().collect();
                schema = arrow_schema::Schema::new(rest);
            }
            let indices = schema.fields().iter().map(|field| rows.schema().index_of(field.name()));
            let indices = indices.collect::<std::result::Result<Vec<_>, _>>()?;
            let rows = if indices.len() == rows.num_columns() { rows } else { rows.project(&indices)? };
            let resume = if self.has_position { position(documents)? } else { Position::Start };
            batches.push(Batch { rows, rejected, resume });
        }
        Ok((fields, batches))
    }
}

/// The documents of an answer.
fn documents(reply: &[u8]) -> Result<Vec<&[u8]>> {
    let missing = || Error::data("the server's answer has no documents").connector(crate::NAME);
    let cursor = field(reply, "cursor")?.ok_or_else(missing)?;
    for element in cursor.elements()? {
        let element = element?;
        if element.name == b"firstBatch" || element.name == b"nextBatch" {
            let documents = Elements::of(element.value.bytes)?;
            return documents.map(|document| Ok(document?.value.bytes)).collect();
        }
    }
    Err(missing())
}

/// Documents in portions of some MiB.
fn portions<'a, 'b>(documents: &'b [&'a [u8]]) -> Vec<&'b [&'a [u8]]> {
    let (mut portions, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, document) in documents.iter().enumerate() {
        if index > start && bytes + document.len() > MOST_BYTES {
            portions.push(&documents[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += document.len();
    }
    if start < documents.len() {
        portions.push(&documents[start..]);
    }
    portions
}

/// The position behind the last of some documents.
fn position(documents: &[&[u8]]) -> Result<Position> {
    let last = documents.last().copied().unwrap_or_default();
    let id = field(last, "_id")?.ok_or_else(|| {
        Error::data("a document has no `_id`").connector(crate::NAME).help("set `split_by: none`")
    })?;
    let id = if id.tag == tag::OBJECT_ID {
        Bson::ObjectId(bson::oid::ObjectId::from_bytes(id.fixed()?))
    } else {
        let mut text = String::new();
        crate::wire::write_json(id, &mut text)?;
        let json: Json = serde_json::from_str(&text)
            .map_err(|error| Error::unexpected("an id is no JSON").source(error))?;
        from_json(&json)?
    };
    Ok(Position::At(serde_json::json!({ "id": to_json(&id) })))
}
