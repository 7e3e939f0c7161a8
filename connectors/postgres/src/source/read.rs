//! Reading a split: `COPY` on one side, columns on the other.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tokio_postgres::CopyOutStream;
use towpath_core::{
    Batch, BatchStream, Context, Error, Json, Outcome, Position, Result, Resume, Retry, Source as _, Split,
    json_value,
};
use towpath_sql::Dialect;

use super::keys::{Ends, key_value};
use super::scan::{Piece, Scan, Selected};
use super::{PostgresSource, Shape, schema_of};
use crate::decode::{Decoded, decode, without_header};
use crate::driver::Driven;
use crate::errors::{config, failed};
use crate::snapshot::Reading;
use crate::types::Column;
use crate::wire::Frames;

/// Rows of one batch at the most.
const BATCH_ROWS: usize = 64 << 10;
/// How many batches of a split are decoded at once, while more come.
const DECODING: usize = 2;
/// Rows come in the order of their blocks, each time, so that it can be gone on behind so many of them. There is no
/// expression worth compiling, and a large piece would make each session of the server load its compiler.
const IN_ORDER: &str = "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL synchronize_seqscans = off; \
     SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL jit = off";

/// What reading a split holds in memory beside its batches: rows as they came, of those that are decoded and of those that
/// come meanwhile.
pub(super) fn memory(source: &PostgresSource) -> u64 {
    source.inner.config.batch_size.bytes().saturating_mul(2 + DECODING as u64)
}

pub(super) fn read(
    source: &PostgresSource,
    cx: &Context,
    split: &Split,
    from: Position,
) -> Result<BatchStream> {
    let unreadable = |what: String| {
        Error::unsupported(what).connector(crate::NAME).operation("read").detail("split", &split.id)
    };
    if split.version != 1 {
        return Err(unreadable(format!("version {} of a split is not known", split.version)));
    }
    let scan: Scan = serde_json::from_value(split.payload.clone())
        .map_err(|error| unreadable("the split cannot be read".to_owned()).source(error))?;
    if from == Position::End {
        return Ok(stream::empty().boxed());
    }
    let place = split.id.to_string();
    let (source, cx) = (source.clone(), cx.clone());
    Ok(stream::once(async move { open(source, cx, scan, from, place).await }).try_flatten().boxed())
}

/// How positions behind batches are told.
enum Positions {
    /// There are none.
    None,
    /// So many rows behind the split's start, as long as the snapshot lives.
    Rows { token: String, done: u64 },
    /// Behind this key. `comes_again`: the row that has it is the first of the next batch.
    Keys { index: usize, is_extra: bool, last: Option<Json>, comes_again: bool },
}

async fn open(
    source: PostgresSource,
    cx: Context,
    scan: Scan,
    from: Position,
    place: String,
) -> Result<BatchStream> {
    let permit = cx.permit("").await?;
    let reading = source.begin(&cx).await?;
    let shape = source.shape(&reading).await?;
    let resume = source.capabilities().resume;
    let (after, skip) = behind(&from, resume, &scan, reading.token.as_deref())?;
    let selected = scan.select(source.what()?, &shape, &source.inner.cursor, after.as_ref(), skip)?;
    let Selected { sql, columns, key, key_is_extra } = selected;
    let positions = match (resume, key) {
        (Resume::Exact, Some(index)) => {
            let comes_again = after.is_some() && !shape.has_certain_keys();
            Positions::Keys { index, is_extra: key_is_extra, last: after, comes_again }
        }
        (Resume::Run, _) => Positions::Rows { token: reading.token.clone().unwrap_or_default(), done: skip },
        _ => Positions::None,
    };
    if matches!(scan.piece, Piece::Blocks(..)) {
        reading.session.execute("preparing to read", IN_ORDER).await?;
    }
    let rows = copy(&reading, &sql).await?;
    permit.finish(Outcome::Success, cx.clock().monotonic());
    let batch_size = usize::try_from(source.inner.config.batch_size.bytes()).unwrap_or(usize::MAX).max(1);
    let schema = schema_of(&columns);
    let columns: Arc<[Column]> = columns.into();
    let chunks = chunks(Incoming { reading, rows, cx: cx.clone(), batch_size });
    let decoding = chunks
        .map(move |chunk| {
            let (cx, columns, schema, place) = (cx.clone(), columns.clone(), schema.clone(), place.clone());
            async move {
                let chunk = chunk?;
                cx.cpu(move || {
                    let decoded = decode(&columns, &schema, &chunk, &place)?;
                    let ends = match key {
                        Some(index) if !decoded.rejected.is_empty() => {
                            Ends::of(&chunk, &columns[index], index)?
                        }
                        _ => Ends::default(),
                    };
                    Ok((decoded, ends))
                })
                .await
            }
        })
        .buffered(DECODING);
    Ok(with_positions(decoding.boxed(), positions))
}

/// The key to go on behind, and how many rows to leave out.
fn behind(from: &Position, resume: Resume, scan: &Scan, token: Option<&str>) -> Result<(Option<Json>, u64)> {
    let Position::At(at) = from else { return Ok((None, 0)) };
    match (resume, &scan.piece) {
        (Resume::Exact, _) if at.get("after").is_some() => Ok((at.get("after").cloned(), 0)),
        (Resume::Run, Piece::Blocks(..)) if token.is_some() && at["snapshot"].as_str() == token => {
            Ok((None, at["rows"].as_u64().unwrap_or(0)))
        }
        _ => Err(Error::unavailable("the snapshot in which the split was read is gone")
            .connector(crate::NAME)
            .retry(Retry::Restart)),
    }
}

async fn copy(reading: &Reading, select: &str) -> Result<Rows> {
    tracing::trace!(select, "reading");
    let sql = format!("COPY ({select}) TO STDOUT (FORMAT BINARY)");
    let rows = reading.session.client().copy_out(&sql).await.map_err(|error| failed("reading", error))?;
    Ok(Rows { driven: reading.session.read(rows), behind: VecDeque::new(), is_begun: false })
}

/// Rows that come.
struct Rows {
    driven: Driven<Pin<Box<CopyOutStream>>>,
    /// Those that came and were not wanted yet.
    behind: VecDeque<Frames>,
    is_begun: bool,
}

impl Rows {
    /// Some more, if there are.
    async fn next(&mut self, what: &str) -> Result<Option<Frames>> {
        if let Some(frames) = self.behind.pop_front() {
            return Ok(Some(frames));
        }
        let frames = self.driven.try_next().await.map_err(|error| failed(what, error))?;
        match frames {
            Some(first) if !std::mem::replace(&mut self.is_begun, true) => {
                self.behind = without_header(&first)?.into();
                Ok(self.behind.pop_front())
            }
            frames => Ok(frames),
        }
    }
}

/// A split that is read.
struct Incoming {
    reading: Reading,
    rows: Rows,
    cx: Context,
    batch_size: usize,
}

/// Rows, as many as make a batch. Behind the last one, the transaction is ended.
fn chunks(incoming: Incoming) -> BoxStream<'static, Result<Vec<Frames>>> {
    stream::try_unfold(Some(incoming), |incoming| async {
        let Some(mut incoming) = incoming else { return Ok(None) };
        let (mut chunk, mut bytes, mut count) = (Vec::new(), 0, 0);
        while bytes < incoming.batch_size && count < BATCH_ROWS {
            incoming.cx.cancellation().check()?;
            let Some(mut frames) = incoming.rows.next("reading").await? else {
                incoming.cx.metrics().add_bytes_read(bytes as u64);
                let Incoming { reading, rows, .. } = incoming;
                drop(rows);
                reading.end().await?;
                return Ok(Some((chunk, None)));
            };
            if let Some(behind) = frames.split_behind(incoming.batch_size - bytes, BATCH_ROWS - count) {
                incoming.rows.behind.push_front(behind);
            }
            bytes += frames.len();
            count += frames.count();
            chunk.push(frames);
        }
        incoming.cx.metrics().add_bytes_read(bytes as u64);
        Ok(Some((chunk, Some(incoming))))
    })
    .boxed()
}

/// Decoded rows. The keys at their ends are told where rows were rejected.
type Chunk = (Decoded, Ends);

fn with_positions(decoded: BoxStream<'static, Result<Chunk>>, positions: Positions) -> BatchStream {
    let empty = |(decoded, _): &Chunk| decoded.count == 0;
    decoded
        .try_filter(move |decoded| std::future::ready(!empty(decoded)))
        .scan(Some(positions), |positions, decoded| {
            // Nothing follows an error.
            let batch = positions.take().map(|mut state| {
                let batch = decoded.and_then(|decoded| state.behind(decoded));
                if batch.is_ok() {
                    *positions = Some(state);
                }
                batch
            });
            std::future::ready(batch)
        })
        .boxed()
}

impl Positions {
    /// The batch with the position behind it.
    fn behind(&mut self, (decoded, ends): Chunk) -> Result<Batch> {
        let Decoded { mut rows, mut rejected, count } = decoded;
        let resume = match self {
            Self::None => Position::Start,
            Self::Rows { token, done } => {
                *done += count;
                Position::At(json!({ "snapshot": token, "rows": done }))
            }
            Self::Keys { index, is_extra, last, comes_again } => {
                let first = |rows: &RecordBatch| match rows.num_rows() {
                    0 => Ok(None),
                    _ => key_value(rows.column(*index), 0).map(Some),
                };
                if std::mem::take(comes_again) {
                    if first(&rows)? == *last {
                        rows = rows.slice(1, rows.num_rows() - 1);
                    } else if ends.first.is_some() && ends.first == *last {
                        // It was rejected, and told before.
                        rejected.remove(0);
                    }
                }
                if rows.num_rows() > 0 {
                    let keys = rows.column(*index);
                    if keys.null_count() > 0 || first(&rows)? == *last {
                        return Err(config(format!(
                            "two rows have the same `{}`, or none, so it cannot be split by",
                            rows.schema_ref().field(*index).name()
                        ))
                        .help("split by a column with a value of its own in each row"));
                    }
                    *last = Some(key_value(keys, rows.num_rows() - 1)?);
                }
                // Rows behind the last good one were rejected, and must not come again.
                if let Some(end) = ends.last {
                    *last = Some(end);
                }
                if *is_extra {
                    let others: Vec<_> = (0..rows.num_columns()).filter(|column| column != index).collect();
                    rows = rows.project(&others)?;
                }
                last.as_ref().map_or(Position::Start, |last| Position::At(json!({ "after": last })))
            }
        };
        Ok(Batch { rows, rejected, resume })
    }
}

/// The greatest value of a column, as the engine sees it.
pub(super) async fn greatest(
    source: &PostgresSource,
    cx: &Context,
    reading: &Reading,
    shape: &Shape,
    field: &str,
) -> Result<Option<Json>> {
    let Some(column) = shape.column(field) else {
        let names: Vec<_> = shape.described.iter().map(|described| described.name.as_str()).collect();
        return Err(config(format!("the cursor `{field}` is no column"))
            .help(format!("the columns are {}", names.join(", "))));
    };
    let from = source.what()?.from();
    let name = Dialect::Postgres.identifier(field);
    // What is selected of a column is its name, with a cast perhaps.
    let select =
        format!("SELECT {} FROM (SELECT max({name}) AS {name} FROM {from}) AS greatest", column.select);
    let mut found = Vec::new();
    let mut rows = copy(reading, &select).await?;
    while let Some(frames) = rows.next("looking for the greatest cursor").await? {
        found.push(frames);
    }
    let columns = [column.clone()];
    let schema: SchemaRef = schema_of(&columns);
    let decoded = cx.cpu(move || decode(&columns, &schema, &found, "cursor")).await?;
    first_value(&decoded.rows).map_err(|error| {
        config(format!("the greatest `{field}` is no bound for the next run")).source(error).help(
            "it is `infinity`, or a value that its column cannot hold: leave such rows out by a `query`, or take another \
             cursor",
        )
    })
}

fn first_value(rows: &RecordBatch) -> Result<Option<Json>> {
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    Ok(Some(json_value(rows.column(0), 0)?).filter(|value| !value.is_null()))
}
