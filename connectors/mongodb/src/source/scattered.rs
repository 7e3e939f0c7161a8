//! Documents from all over a large collection, found behind the numbers of records.
//!
//! `$sample` finds documents at random, but in a collection of millions that takes the server about a second, however few
//! are wanted. Records are numbered as they come, so where few were deleted, numbers lead to places at even distances.

use bson::{RawDocumentBuf, doc};
use futures::{StreamExt, TryStreamExt, stream};
use towpath_core::{Context, ErrorKind, Result};

use super::Shared;
use super::natural::{RECORD, along};
use super::relation::documents;

/// At how many places documents are looked at.
const PLACES: u32 = 45;
/// How many of them are asked for at once: over no more connections than the pieces are read over afterwards.
const AT_ONCE: usize = 8;
/// A collection with so many times the wanted documents is worth it.
const LARGE: u64 = 50;

/// About `count` documents from all over a collection of about `rows`, one from each place before the next of any. `None`
/// where records have no numbers, or many numbers have no record.
///
/// # Errors
/// What may be gone when it is tried again, and `Cancelled`.
pub(super) async fn scattered(
    shared: &Shared,
    cx: &Context,
    rows: u64,
    count: u32,
) -> Result<Option<Vec<RawDocumentBuf>>> {
    if rows < LARGE * u64::from(count) {
        return Ok(None);
    }
    let (first, last) = (end(shared, cx, 1).await?, end(shared, cx, -1).await?);
    let Some((first, last)) = first.zip(last) else { return Ok(None) };
    let span = last.saturating_sub(first);
    if u64::try_from(span).map_or(true, |span| span > rows.saturating_mul(2)) {
        return Ok(None);
    }
    let each = count.div_ceil(PLACES);
    // The first record is there, so where nothing comes, the server cannot go on behind a record.
    let at_first = documents_behind(shared, cx, first, each).await?;
    if at_first.is_empty() {
        return Ok(None);
    }
    let behind = (1..PLACES).map(|place| first + span / i64::from(PLACES) * i64::from(place));
    let others = stream::iter(behind.map(|behind| documents_behind(shared, cx, behind, each)));
    let mut places = vec![at_first];
    places.extend(others.buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
    let most = places.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn =
        (0..most).flat_map(|index| places.iter().filter_map(move |place| place.get(index).cloned()));
    let found: Vec<_> = in_turn.collect();
    Ok((found.len() * 2 >= count as usize).then_some(found))
}

/// The number of the first record, or of the last one.
async fn end(shared: &Shared, cx: &Context, direction: i32) -> Result<Option<i64>> {
    let command = doc! {
        "find": shared.collection()?, "projection": { "_id": 1 }, "limit": 1, "singleBatch": true,
        "hint": { "$natural": direction }, "showRecordId": true,
    };
    let found = if_any(documents(shared, cx, command).await)?;
    Ok(found.first().and_then(|found| found.get_i64(RECORD).ok()))
}

/// Documents behind a record; none if there is no such record.
async fn documents_behind(
    shared: &Shared,
    cx: &Context,
    record: i64,
    count: u32,
) -> Result<Vec<RawDocumentBuf>> {
    let mut command = doc! { "find": shared.collection()?, "limit": i64::from(count), "singleBatch": true };
    command.extend(along(Some(record)));
    command.extend(shared.query.for_samples());
    if_any(documents(shared, cx, command).await)
}

/// What was found; nothing where the server cannot look for it.
fn if_any(found: Result<Vec<RawDocumentBuf>>) -> Result<Vec<RawDocumentBuf>> {
    found.or_else(|error| match error.kind() {
        ErrorKind::Cancelled => Err(error),
        _ if error.is_retryable() => Err(error),
        _ => Ok(Vec::new()),
    })
}
