//! Staging the rows of one part.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use towpath_core::{Begun, Context, Error, ErrorKind, Outcome, Rejected, Result, ResultExt, Staged, Writer};
use towpath_sql::TableName;

use super::MysqlSink;
use super::checkpoints::NO_SUCH_TABLE;
use super::cleaning::{Abandoned, Leftover};
use super::evolve::definition;
use super::load::{Loaded, Loader};
use super::names::{DELETE, Names, ROW, sql};
use super::state::{Place, Receipt, Staging, State};
use crate::encode::{Encoder, Mark};
use crate::errors::code;
use crate::pool::{Pool, Pooled};

/// Stages one part of the rows. Each batch is a transaction of its own, in which the list of writers is told of it: so
/// nobody needs to guess whether a batch whose answer was lost has landed.
#[derive(Debug)]
pub struct MysqlWriter {
    cx: Context,
    pool: Arc<Pool>,
    staging: Staging,
    part: u32,
    /// The target, for people.
    target: String,
    table: TableName,
    parts: TableName,
    /// How many batches are in.
    batches: u64,
    /// How many rows were written, those that were refused included.
    seen: u64,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
    /// A batch of which it is not known whether it is in.
    doubtful: Option<Doubtful>,
    leftover: LeftoverGuard,
}

/// A batch of which it is not known whether it is in.
#[derive(Debug)]
struct Doubtful {
    /// The connection over which it went.
    connection: u32,
    /// What became of it, if it is in.
    outcome: Option<Written>,
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Written {
    seen: u64,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
}

impl MysqlSink {
    pub(super) async fn open_writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<MysqlWriter> {
        self.abandoned.clean(cx, &self.pool).await?;
        let names = self.names(&begun.load)?;
        let staging = match State::of(begun)?.staging {
            Some(staging) => staging,
            // The target had all columns when the run began.
            None => self.evolve_target(cx, begun, begun.schema()?).await?.1,
        };
        let epoch = begun.checkpoint.epoch;
        let (table, parts) = match staging.place {
            Place::Parts => (names.stage(epoch, part), names.parts(epoch)),
            Place::Beside => (names.beside(epoch), names.parts(epoch)),
        };
        let mut client = self.pool.get(cx).await?;
        if staging.place == Place::Parts {
            // A call before this one may have made it.
            client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&table))).await?;
            client.execute(&stage_statement(&staging, &table)).await?;
        }
        let leftover = Leftover { place: staging.place, part, table: table.clone(), parts: parts.clone() };
        let leftover = LeftoverGuard::new(cx, &self.pool, &self.abandoned, leftover);
        let note = format!("REPLACE INTO {} VALUES ({part}, 0)", sql(&parts));
        client.execute(&note).await.map_err(fenced)?;
        Ok(MysqlWriter {
            cx: cx.clone(),
            pool: self.pool.clone(),
            part,
            target: sql(names.target()),
            staging,
            table,
            parts,
            batches: 0,
            seen: 0,
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
            doubtful: None,
            leftover,
        })
    }
}

fn stage_statement(staging: &Staging, table: &TableName) -> String {
    let mut columns = vec![format!("{ROW} bigint unsigned NOT NULL PRIMARY KEY")];
    if staging.operation.is_some() {
        columns.push(format!("{DELETE} tinyint NOT NULL"));
    }
    columns.extend(staging.columns.iter().map(|column| definition(column) + " NULL DEFAULT NULL"));
    format!(
        "CREATE TABLE {} ({}) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4",
        sql(table),
        columns.join(", ")
    )
}

/// The staging is gone because a later run has thrown it away.
pub(super) fn fenced(error: Error) -> Error {
    if code(&error) != Some(NO_SUCH_TABLE) {
        return error;
    }
    Error::new(
        ErrorKind::Conflict,
        "what this run staged is gone: a later run of the pipeline has begun, or it was reset",
    )
    .connector(crate::NAME)
    .source(error)
    .help("let only one run of a pipeline work at a time")
}

impl MysqlWriter {
    async fn write_batch(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 || self.settle().await? {
            return Ok(());
        }
        let mut client = self.pool.get(&self.cx).await?;
        self.doubtful = Some(Doubtful { connection: client.id(), outcome: None });
        let permit = self.cx.permit("").await?;
        let outcome = self.transaction(&mut client, rows).await;
        let ended = match &outcome {
            Ok(()) => Outcome::Success,
            Err(_) => Outcome::Failed,
        };
        permit.finish(ended, self.cx.clock().monotonic());
        if outcome.is_err() && client.is_idle() {
            // Nothing was begun.
            self.doubtful = None;
        }
        outcome.map_err(fenced)?;
        self.landed();
        Ok(())
    }

    async fn transaction(&mut self, client: &mut Pooled, rows: RecordBatch) -> Result<()> {
        client.execute("START TRANSACTION").await?;
        // First of all, so that who asks how far this writer has got waits for the end of the transaction.
        let note = format!(
            "UPDATE {} SET batches = {} WHERE part = {} AND batches = {}",
            sql(&self.parts),
            self.batches + 1,
            self.part,
            self.batches
        );
        if client.execute(&note).await?.affected_rows != 1 {
            return Err(Error::new(ErrorKind::Conflict, "what this writer staged was thrown away")
                .connector(crate::NAME));
        }
        let written = self.load(client, rows).await?;
        self.doubtful = Some(Doubtful { connection: client.id(), outcome: Some(written) });
        client.execute("COMMIT").await.map(drop)
    }

    async fn load(&self, client: &mut Pooled, rows: RecordBatch) -> Result<Written> {
        let mark = match self.staging.place {
            Place::Parts => Mark::Ordinal(self.seen),
            Place::Beside => Mark::Part(self.part),
        };
        let columns: Vec<_> = self.staging.columns.iter().map(super::state::StagedColumn::encoded).collect();
        let operation = self.staging.operation.as_deref();
        let seen = rows.num_rows() as u64;
        let encoder = Arc::new(Encoder::new(rows, &columns, mark, operation)?);
        let table = sql(&self.table);
        let mut loader = Loader { cx: &self.cx, client, table: &table, staging: &self.staging };
        let Loaded { rows, bytes, mut faults } = loader.load(&encoder).await?;
        self.cx.metrics().add_bytes_written(bytes);
        faults.sort_by_key(|fault| fault.row);
        let place =
            |row: usize| format!("{}: row {} of part {}", self.target, self.seen + row as u64 + 1, self.part);
        let rejected = faults.iter().map(|fault| encoder.rejected(fault, place(fault.row))).collect();
        Ok(Written { seen, rows, bytes, rejected })
    }

    /// Finds out what became of a batch whose answer was lost, and whether it is in.
    async fn settle(&mut self) -> Result<bool> {
        let Some(doubtful) = &self.doubtful else { return Ok(false) };
        let mut client = self.pool.get(&self.cx).await?;
        // It may be gone already, or somebody else's by now.
        let _ = client.execute(&format!("KILL {}", doubtful.connection)).await;
        client.execute("START TRANSACTION").await?;
        // This waits until the transaction in doubt has ended.
        let query = format!("SELECT batches FROM {} WHERE part = {} FOR UPDATE", sql(&self.parts), self.part);
        let rows = client.query(&query).await.map_err(fenced)?;
        client.execute("COMMIT").await?;
        let held = rows.into_iter().flatten().flatten().next().and_then(|held| held.parse::<u64>().ok());
        match held {
            Some(held) if held == self.batches + 1 => {
                self.landed();
                Ok(true)
            }
            Some(held) if held == self.batches => {
                self.doubtful = None;
                Ok(false)
            }
            _ => Err(Error::new(ErrorKind::Conflict, "what this writer staged was thrown away")
                .connector(crate::NAME)),
        }
    }

    fn landed(&mut self) {
        let Some(Doubtful { outcome: Some(written), .. }) = self.doubtful.take() else { return };
        self.batches += 1;
        self.seen += written.seen;
        self.rows += written.rows;
        self.bytes += written.bytes;
        self.rejected.extend(written.rejected);
    }
}

impl Writer for MysqlWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.write_batch(rows).await.operation("write").detail("table", &self.target)
    }

    async fn finish(mut self) -> Result<Staged> {
        if self.doubtful.is_some() {
            self.settle().await.operation("finish").detail("table", &self.target)?;
        }
        let receipt = Receipt {
            place: self.staging.place,
            columns: self.staging.columns.iter().map(|column| column.name.clone()).collect(),
            has_deletes: self.staging.operation.is_some(),
        };
        let mut staged = Staged::new(self.part, self.rows, self.bytes, receipt.json()?);
        staged.rejected = std::mem::take(&mut self.rejected);
        self.leftover.keep();
        Ok(staged)
    }
}

/// Lets the rows of a writer that is dropped be thrown away.
struct LeftoverGuard {
    cx: Context,
    pool: Arc<Pool>,
    abandoned: Abandoned,
    leftover: Option<Leftover>,
}

impl LeftoverGuard {
    fn new(cx: &Context, pool: &Arc<Pool>, abandoned: &Abandoned, leftover: Leftover) -> Self {
        Self { cx: cx.clone(), pool: pool.clone(), abandoned: abandoned.clone(), leftover: Some(leftover) }
    }

    /// The rows are staged now, so they stay.
    fn keep(&mut self) {
        self.leftover = None;
    }
}

impl Drop for LeftoverGuard {
    fn drop(&mut self) {
        let Some(leftover) = self.leftover.take() else { return };
        self.abandoned.add(leftover);
        // Soon, if that is possible here; else before the next writer, or by the next run.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (cx, pool, abandoned) = (self.cx.clone(), self.pool.clone(), self.abandoned.clone());
            runtime.spawn(async move {
                if let Err(error) = abandoned.clean(&cx, &pool).await {
                    tracing::warn!(%error, "the rows of a dropped writer are still staged");
                }
            });
        }
    }
}

impl std::fmt::Debug for LeftoverGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LeftoverGuard").field(&self.leftover).finish()
    }
}

/// What receipts stand for.
pub(super) fn leftovers(names: &Names, epoch: u64, staged: &[Staged]) -> Result<Vec<Leftover>> {
    let leftover = |staged: &Staged| {
        let place = Receipt::of(staged)?.place;
        let table = match place {
            Place::Parts => names.stage(epoch, staged.part),
            Place::Beside => names.beside(epoch),
        };
        Ok(Leftover { place, part: staged.part, table, parts: names.parts(epoch) })
    };
    staged.iter().map(leftover).collect()
}
