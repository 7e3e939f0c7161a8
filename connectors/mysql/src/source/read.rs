//! Reading a piece: one statement, whose rows are taken by a task of their own while the ones before are decoded.

use std::sync::Arc;

use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use towpath_core::{Batch, BatchStream, Context, Error, Json, Outcome, Position, Result, Split as CoreSplit};

use super::Shared;
use super::key::{KeyColumn, KeyValues, Order, condition, key_of};
use super::plan::{Piece, VERSION};
use super::relation::{Relation, Select};
use super::snapshot::Reader;
use super::{cursor, filter};
use crate::client::{Limit, Rows};
use crate::decode::Decoder;

/// The most bytes of a batch as they come over the wire, unless one row is longer.
const BATCH_BYTES: usize = 1 << 20;
/// How many pieces of rows are held while others are decoded.
const AHEAD: usize = 1;

/// The rows of a split from a position on.
pub(crate) fn read(
    shared: &Arc<Shared>,
    cx: &Context,
    split: &CoreSplit,
    from: &Position,
) -> Result<BatchStream> {
    let piece = payload(split)?;
    let behind = match from {
        Position::Start => None,
        Position::End => return Ok(stream::empty().boxed()),
        Position::At(position) => Some(read_position(position)?),
    };
    let reading =
        Reading { shared: shared.clone(), cx: cx.clone(), piece, behind, under_way: None, is_done: false };
    let (place, id) = (shared.label(), split.id.clone());
    let batches = stream::unfold(reading, |mut reading| async move {
        if reading.is_done {
            return None;
        }
        let batch = reading.next().await.transpose()?;
        reading.is_done = batch.is_err();
        Some((batch, reading))
    });
    Ok(batches
        .map(move |batch| {
            batch.map_err(|error| {
                error.connector(crate::NAME).operation("read").detail("table", &place).detail("split", &id)
            })
        })
        .boxed())
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

fn read_position(position: &Json) -> Result<KeyValues> {
    serde_json::from_value(position["key"].clone())
        .map_err(|error| Error::unsupported("a position cannot be read").connector(crate::NAME).source(error))
}

/// A split that is being read.
struct Reading {
    shared: Arc<Shared>,
    cx: Context,
    piece: Piece,
    /// The key behind which it goes on.
    behind: Option<KeyValues>,
    under_way: Option<UnderWay>,
    is_done: bool,
}

/// A statement whose rows come.
struct UnderWay {
    rows: mpsc::Receiver<Result<Rows>>,
    decoder: Decoder,
    /// The key whose values are positions; none where a split begins anew.
    key: Vec<KeyColumn>,
    /// Which columns were asked for; the others came for the key.
    wanted: Option<Vec<usize>>,
    _task: Task,
}

/// A task that ends when nobody wants its rows any more.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Batch>> {
        self.cx.cancellation().check()?;
        if self.under_way.is_none() {
            self.under_way = Some(self.start().await?);
        }
        let under_way = self.under_way.as_mut().expect("it was just set");
        let rows = tokio::select! {
            rows = under_way.rows.recv() => rows,
            () = self.cx.cancellation().cancelled() => return Err(Error::cancelled()),
        };
        let Some(rows) = rows.transpose()? else { return Ok(None) };
        let decoder = under_way.decoder.clone();
        let batch = self.cx.cpu(move || decoder.decode(&rows)).await?;
        let resume = if under_way.key.is_empty() {
            Position::Start
        } else {
            Position::At(serde_json::json!({ "key": key_of(&batch.last(), &under_way.key)? }))
        };
        let rows = match &under_way.wanted {
            None => batch.rows,
            Some(wanted) => batch.rows.project(wanted)?,
        };
        Ok(Some(Batch { rows, rejected: batch.rejected, resume }))
    }

    /// Begins the statement, and the task that takes its rows.
    async fn start(&self) -> Result<UnderWay> {
        let relation = self.shared.relation(&self.cx).await?;
        let statement = Statement::new(&self.shared, &relation, &self.piece, self.behind.as_ref())?;
        let mut reader = self.reader().await?;
        let permit = self.cx.permit("").await?;
        let begun = reader.start(&statement.sql, &[]).await;
        let outcome = if begun.is_ok() { Outcome::Success } else { Outcome::Failed };
        permit.finish(outcome, self.cx.clock().monotonic());
        let columns = relation.resolve(&begun.map_err(changed_below)?)?;
        let expected = relation.wanted(statement.columns.as_deref());
        if !columns.iter().eq(expected) {
            return Err(Error::schema("the columns changed since the run began").help("run again"));
        }
        let decoder = Decoder::new(columns.into(), self.shared.config.zero_dates, &self.shared.label());
        let (sender, rows) = mpsc::channel(AHEAD);
        let limit = Limit { rows: self.shared.config.batch_rows, bytes: BATCH_BYTES };
        let task = Task(tokio::spawn(take_rows(reader, limit, sender, self.cx.clone())));
        Ok(UnderWay { rows, decoder, key: statement.key, wanted: statement.wanted, _task: task })
    }

    async fn reader(&self) -> Result<Reader> {
        let (shared, scan) = (&self.shared, &self.piece.scan);
        if scan.one_snapshot {
            shared.snapshot.must_be_one();
        }
        // A look at some rows is not worth a lock.
        if scan.limit.is_some() {
            return shared.readers.control().get(&self.cx).await.map(Reader::Own);
        }
        shared.readers.reader(&self.cx, &shared.snapshot).await
    }
}

/// A table that was made or altered behind the snapshot cannot be read in it, however often one tries.
fn changed_below(error: Error) -> Error {
    const TABLE_DEFINITION_CHANGED: u16 = 1412;
    if crate::errors::code(&error) != Some(TABLE_DEFINITION_CHANGED) {
        return error;
    }
    error
        .retry(towpath_core::Retry::Never)
        .help("the table was made or altered after the run began: run again")
}

/// Takes rows as long as somebody wants them.
async fn take_rows(mut reader: Reader, limit: Limit, sender: mpsc::Sender<Result<Rows>>, cx: Context) {
    loop {
        let rows = reader.next_rows(limit).await.transpose();
        cx.metrics().add_bytes_read(reader.take_received());
        let Some(rows) = rows else { return };
        let is_last = rows.is_err();
        if is_last {
            // Whoever tries again must not get this connection before it was looked at.
            drop(reader);
            let _ = sender.send(rows).await;
            return;
        }
        if sender.send(rows).await.is_err() {
            return;
        }
    }
}

/// What is asked of the server.
struct Statement {
    sql: String,
    columns: Option<Vec<String>>,
    key: Vec<KeyColumn>,
    wanted: Option<Vec<usize>>,
}

impl Statement {
    fn new(shared: &Shared, relation: &Relation, piece: &Piece, behind: Option<&KeyValues>) -> Result<Self> {
        let config = &shared.config;
        let split = relation.split.as_ref();
        let index = split.and_then(|split| split.index.as_deref());
        let key = if index.is_some() { split.map_or(&[][..], |split| &split.columns) } else { &[] };
        let mut conditions = Vec::new();
        if let Some(split) = split {
            conditions.extend(piece.range.conditions(&split.columns, index.is_none())?);
        }
        if let Some(behind) = behind {
            if key.is_empty() {
                return Err(Error::unexpected("a position in a split that has none"));
            }
            conditions.push(condition(key, behind, Order::Greater)?);
        }
        let has_other_conditions = piece.scan.cursor.is_some() || piece.scan.filter.is_some();
        if let Some(range) = &piece.scan.cursor {
            let column = super::cursor_column(relation, range)?;
            conditions.extend(cursor::condition(range, column, &config.cursor_options())?);
        }
        if let Some(filter) = &piece.scan.filter {
            conditions.extend(filter::condition(filter, &relation.columns, config.zero_dates));
        }
        let (columns, wanted) = columns(relation, piece.scan.columns.as_deref(), key);
        let statement = Select {
            columns: columns.as_deref(),
            // With other conditions, another index may find the rows sooner.
            index: index.filter(|_| !has_other_conditions),
            conditions,
            order: key,
            limit: piece.scan.limit.filter(|_| piece.scan.filter.is_none()),
        };
        Ok(Self { sql: relation.select(&statement), columns, key: key.to_vec(), wanted })
    }
}

/// The columns to ask for, those of the key included, and which of them are wanted if not all.
fn columns(
    relation: &Relation,
    wanted: Option<&[String]>,
    key: &[KeyColumn],
) -> (Option<Vec<String>>, Option<Vec<usize>>) {
    let Some(wanted) = wanted else { return (None, None) };
    let is_key = |name: &String| key.iter().any(|column| column.name == *name);
    let names = relation.columns.iter().map(|column| column.name.clone());
    let asked: Vec<String> = names.filter(|name| wanted.contains(name) || is_key(name)).collect();
    let indices = asked.iter().enumerate().filter(|(_, name)| wanted.contains(name));
    let indices: Vec<usize> = indices.map(|(index, _)| index).collect();
    let all = indices.len() == asked.len();
    (Some(asked), (!all).then_some(indices))
}
