//! The batches of a sequence of units: the next batch is decoded while the one before is used, and the next unit is
//! fetched while this one is decoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use towpath_core::{Batch, BatchStream, Context, Error, Position, Result};

use super::ahead::Ahead;

/// Batches, decoded one by one.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A file as a sequence of units.
#[async_trait]
pub(super) trait Units: Send + Sync + 'static {
    /// What a unit is called in positions and messages.
    const NAME: &'static str;

    /// The name of the input, for messages.
    fn input(&self) -> &str;

    /// Fetches the unit at this place without its first rows; `None` when there is none.
    async fn open(&self, at: u64, skip: u64) -> Result<Option<Unit>>;
}

/// A unit whose bytes are here.
pub(super) struct Unit {
    /// How many rows it has, with those that were skipped.
    pub(super) rows: u64,
    /// Where the next unit is; `None` when nothing follows.
    pub(super) next: Option<u64>,
    /// Whether the next one may be fetched already.
    pub(super) fetch_ahead: bool,
    /// Its batches.
    pub(super) batches: Batches,
}

/// The batches from a place and row on.
pub(super) fn read<U: Units>(cx: &Context, units: U, at: u64, row: u64) -> BatchStream {
    let reading = Reading { cx: cx.clone(), units: Arc::new(units), at, row, current: None, fetching: None };
    stream::try_unfold(Some(reading), async |reading| {
        let Some(mut reading) = reading else { return Ok(None) };
        let batch = reading.next().await?;
        Ok(batch.map(|batch| {
            let goes_on = batch.resume != Position::End;
            (batch, goes_on.then_some(reading))
        }))
    })
    .boxed()
}

struct Reading<U> {
    cx: Context,
    units: Arc<U>,
    at: u64,
    row: u64,
    current: Option<Current>,
    fetching: Option<Ahead<Result<Option<Unit>>>>,
}

struct Current {
    rows: u64,
    next: Option<u64>,
    decoding: Ahead<Result<(Batches, Option<RecordBatch>)>>,
}

impl<U: Units> Reading<U> {
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            let Some(current) = self.current.take() else {
                if !self.open().await? {
                    return Ok(None);
                }
                continue;
            };
            let decoded = current.decoding.take_beside(&mut self.fetching).await;
            let (batches, rows) = decoded.map_err(|error| self.broken(error))?;
            let Some(rows) = rows else {
                let known = current.rows;
                return Err(self.broken(Error::data(format!("it ends after {} of {known} rows", self.row))));
            };
            self.row += rows.num_rows() as u64;
            if self.row < current.rows {
                let decoding = decode(&self.cx, batches);
                self.current = Some(Current { decoding, ..current });
            } else {
                self.row = 0;
                match current.next {
                    Some(next) => self.at = next,
                    None => return Ok(Some(Batch::new(rows, Position::End))),
                }
            }
            if rows.num_rows() > 0 {
                return Ok(Some(Batch::new(
                    rows,
                    Position::At(json!({ U::NAME: self.at, "row": self.row })),
                )));
            }
        }
    }

    /// Goes on with the unit at the present place; `false` when there is none.
    async fn open(&mut self) -> Result<bool> {
        let fetched = match self.fetching.take() {
            Some(fetching) => fetching.take().await,
            None => self.units.open(self.at, self.row).await,
        };
        let Some(unit) = fetched.map_err(|error| error.detail("input", self.units.input()))? else {
            return Ok(false);
        };
        if unit.rows <= self.row {
            // Nothing of it is wanted.
            self.row = 0;
            self.at = unit.next.unwrap_or(u64::MAX);
            return Ok(unit.next.is_some());
        }
        self.current =
            Some(Current { rows: unit.rows, next: unit.next, decoding: decode(&self.cx, unit.batches) });
        if let Some(next) = unit.next.filter(|_| unit.fetch_ahead) {
            let units = self.units.clone();
            self.fetching = Some(Ahead::start(async move { units.open(next, 0).await }));
        }
        Ok(true)
    }

    fn broken(&self, error: Error) -> Error {
        Error::data(format!("the {} cannot be decoded", U::NAME.replace('_', " ")))
            .detail("input", self.units.input())
            .detail(U::NAME, self.at)
            .source(error)
    }
}

/// Starts to decode the next batch.
fn decode(cx: &Context, mut batches: Batches) -> Ahead<Result<(Batches, Option<RecordBatch>)>> {
    let cx = cx.clone();
    Ahead::start(async move {
        cx.cpu(move || {
            let rows = batches.next().transpose()?;
            Ok((batches, rows))
        })
        .await
    })
}

/// The unit and row of a position, from its first unit on.
pub(super) fn place<U: Units>(from: &Position, first: u64) -> Result<(u64, u64)> {
    let wrong = |position: &dyn std::fmt::Display| {
        Error::config(format!("the position {position} is not one of this format"))
            .help("was the format changed? reset the state of the stream")
    };
    match from {
        Position::Start => Ok((first, 0)),
        Position::At(position) => {
            let number = |name: &str| position.get(name).and_then(serde_json::Value::as_u64);
            number(U::NAME).zip(number("row")).ok_or_else(|| wrong(position))
        }
        Position::End => Err(wrong(&"end")),
    }
}
