//! What is read: its kind, its size, and the columns that its first documents have.

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures::TryStreamExt;
use towpath_core::{Context, Error, ErrorKind, Estimate, Result};

use super::Shared;
use super::natural::id_of;
use super::scattered::scattered;
use crate::client::{Server, limited};
use crate::config::Order;
use crate::errors::{config, failed};
use crate::schema::Fields;

/// What is read.
#[derive(Debug)]
pub(super) struct Relation {
    /// The columns that some documents have.
    pub(super) fields: Fields,
    /// About how many documents, and how many bytes they have.
    pub(super) estimate: Estimate,
    /// The ids of documents that were looked at from anywhere.
    pub(super) some_ids: Vec<Bson>,
}

/// How many of the documents that are looked at are the first ones; the others come from anywhere.
const FIRST: u32 = 100;

impl Relation {
    pub(super) async fn look(shared: &Shared, cx: &Context) -> Result<Self> {
        let collection = shared.collection()?;
        let kind = kind(shared, cx, collection).await?;
        if shared.order == Order::Id && kind != "collection" {
            let what = if kind == "timeseries" { "a time series" } else { "a view" };
            return Err(config(format!(
                "`{collection}` is {what}, whose `_id` may be that of several documents"
            ))
            .help("set `split_by: none`, or to a field by which it can be cut"));
        }
        let estimate =
            if kind == "collection" { estimate(shared, cx, collection).await? } else { Estimate::default() };
        let (fields, some_ids) = columns(shared, cx, collection, kind == "collection", estimate.rows).await?;
        Ok(Self { fields, estimate, some_ids })
    }

    /// About how many bytes a document has.
    pub(super) fn document_bytes(&self) -> Option<u64> {
        let Estimate { rows: Some(rows @ 1..), bytes: Some(bytes) } = self.estimate else { return None };
        Some((bytes / rows).max(1))
    }
}

/// Whether it is a `collection`, a `view` or a `timeseries`.
async fn kind(shared: &Shared, cx: &Context, collection: &str) -> Result<String> {
    let command = doc! {
        "listCollections": 1, "filter": { "name": collection }, "nameOnly": true, "authorizedCollections": true,
    };
    let answer = shared.server.ask(cx, "looking for the collection", command).await?;
    let found = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
    let found = found.ok().and_then(|batch| batch.first()).and_then(Bson::as_document);
    match found.map(|found| found.get_str("type").unwrap_or("collection").to_owned()) {
        Some(kind) => Ok(kind),
        None => Err(Error::new(
            ErrorKind::NotFound,
            format!("there is no collection `{collection}` that we may read"),
        )
        .connector(crate::NAME)
        .help("check `collection` and `database`; `towpath discover` lists what there is")),
    }
}

/// What the server has counted.
pub(super) async fn estimate(shared: &Shared, cx: &Context, collection: &str) -> Result<Estimate> {
    let stats = doc! { "collStats": collection, "scale": 1 };
    if let Ok(stats) = shared.server.try_ask(cx, stats).await? {
        return Ok(Estimate { rows: whole(&stats, "count"), bytes: whole(&stats, "size") });
    }
    // Whoever may not see the statistics may still count.
    let count = shared.server.ask(cx, "counting documents", doc! { "count": collection }).await?;
    Ok(Estimate { rows: whole(&count, "n"), bytes: None })
}

fn whole(document: &Document, field: &str) -> Option<u64> {
    match document.get(field)? {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        // A server that counts in doubles counts whole numbers.
        Bson::Double(number) => format!("{number:.0}").parse().ok(),
        _ => None,
    }
}

/// The columns of the first documents, and of some from anywhere.
async fn columns(
    shared: &Shared,
    cx: &Context,
    collection: &str,
    is_collection: bool,
    rows: Option<u64>,
) -> Result<(Fields, Vec<Bson>)> {
    let (mut fields, mut some_ids) = (shared.form.start(), Vec::new());
    let size = shared.config.sample_size;
    let at_random =
        is_collection && !shared.query.is_pipeline() && !shared.query.has_filter() && size > FIRST;
    let first = if at_random { FIRST } else { size };
    let observe = |fields: &mut Fields, documents: &[RawDocumentBuf]| {
        shared.form.observe(fields, documents.iter().map(|document| document.as_bytes()));
    };
    let documents_at_first = shared.query.sample(collection, first, false);
    observe(&mut fields, &documents(shared, cx, documents_at_first).await?);
    if at_random {
        let count = size - FIRST;
        let found = match scattered(shared, cx, rows.unwrap_or(0), count).await? {
            Some(found) => found,
            None => documents(shared, cx, shared.query.sample(collection, count, true)).await?,
        };
        observe(&mut fields, &found);
        some_ids = found.iter().filter_map(id_of).collect();
    }
    Ok((fields, some_ids))
}

/// The documents of a cursor.
pub(super) async fn documents(
    shared: &Shared,
    cx: &Context,
    command: Document,
) -> Result<Vec<RawDocumentBuf>> {
    documents_from(&shared.server, cx, command).await
}

/// The documents of a cursor of some server.
pub(super) async fn documents_from(
    server: &Server,
    cx: &Context,
    command: Document,
) -> Result<Vec<RawDocumentBuf>> {
    let database = server.database()?;
    let mut asking = database.run_cursor_command(command);
    if let Some(criteria) = server.criteria() {
        asking = asking.selection_criteria(criteria);
    }
    let reading = async {
        let cursor = asking.await?;
        cursor.with_type::<RawDocumentBuf>().try_collect().await
    };
    limited(cx, reading).await?.map_err(|error| failed("looking at some documents", &error))
}
