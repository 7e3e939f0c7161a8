//! Staging rows: each batch is a `COPY` in a transaction of its own.
//!
//! Where the connection breaks off in a commit, the server is asked later whether the transaction made it. So a batch is
//! written again if, and only if, it was not written.

use std::fmt;

use arrow::array::RecordBatch;
use bytes::Bytes;
use tokio_postgres::SimpleQueryMessage;
use towpath_core::{
    Begun, Context, Error, ErrorKind, Rejected, Result, Retry, Staged, WriteDisposition, Writer, json_row,
};
use towpath_sql::{Dialect, TableName};

use super::landing::{Landing, LandingColumn, Receipt};
use super::merge::ROW_NUMBER;
use super::{PostgresSink, Transaction};
use crate::encode::{Refused, encode};
use crate::errors::failed;
use crate::types::Wire;

/// Asks for the number of a transaction that writes no rows.
const NO_ROWS: &str = "SELECT txid_current()";

/// Stages rows.
pub struct PostgresWriter {
    sink: PostgresSink,
    cx: Context,
    landing: Landing,
    part: u32,
    /// Where the rows go.
    goal: TableName,
    /// Whether the order in which rows come matters.
    ordered: bool,
    /// Whether the staging table was made, or need not be.
    is_made: bool,
    /// The transactions that put rows into the table beside.
    transactions: Vec<String>,
    /// When the server was started. One that crashed may have lost what it said was written.
    server_start: Option<String>,
    /// A transaction of which nobody knows whether it made it.
    doubtful: Option<Doubtful>,
    rows: u64,
    bytes: u64,
    rejected: Vec<Rejected>,
    finished: bool,
}

/// A transaction of which nobody knows whether it made it, and what holds if it did.
struct Doubtful {
    transaction: String,
    rows: u64,
    rejected: Vec<Rejected>,
}

impl PostgresWriter {
    pub(super) fn new(sink: PostgresSink, cx: Context, begun: &Begun, landing: Landing, part: u32) -> Self {
        let staging =
            landing.table.sibling(PostgresSink::names(&begun.load).part(begun.checkpoint.epoch, part));
        let goal = landing.beside.clone().filter(|_| landing.direct).unwrap_or(staging);
        Self {
            sink,
            cx,
            ordered: begun.load.disposition == WriteDisposition::Merge,
            is_made: landing.direct,
            landing,
            part,
            goal,
            transactions: Vec::new(),
            server_start: None,
            doubtful: None,
            rows: 0,
            bytes: 0,
            rejected: Vec::new(),
            finished: false,
        }
    }

    /// Begins a transaction that writes rows, and tells its number. Where rows go beside, the ledger tells it too.
    async fn begin(&mut self) -> Result<(Transaction, String)> {
        let number =
            self.noting().map_or_else(|| NO_ROWS.to_owned(), |note| format!("{note} RETURNING number"));
        self.begin_numbered(&number).await
    }

    /// Notes in the ledger the transaction under way, where rows go beside.
    fn noting(&self) -> Option<String> {
        let ledger = self.landing.ledger.as_ref().filter(|_| self.landing.direct)?;
        Some(format!("INSERT INTO {} VALUES (txid_current())", ledger.sql(Dialect::Postgres)))
    }

    /// Begins a transaction, makes the staging table if it is the first, and asks for the transaction's number.
    async fn begin_numbered(&mut self, number: &str) -> Result<(Transaction, String)> {
        // What is staged need not survive a crash of the server, and `finish` waits for the rest.
        let more = "; SET LOCAL synchronous_commit = off";
        let transaction = self.sink.begin_transaction_with(&self.cx, more).await?;
        if !self.is_made {
            let columns: Vec<_> = self
                .landing
                .columns
                .iter()
                .map(|column| format!("{} {}", column.quoted(), column.staged_type()))
                .collect();
            let name = self.goal.sql(Dialect::Postgres);
            let order = if self.ordered {
                format!(", {ROW_NUMBER} bigint GENERATED ALWAYS AS IDENTITY")
            } else {
                String::new()
            };
            let sql = format!("CREATE UNLOGGED TABLE IF NOT EXISTS {name} ({}{order})", columns.join(", "));
            transaction.execute("making a staging table", &sql).await?;
        }
        let (number, start) = number_and_start(&transaction, number).await?;
        if self.server_start.as_ref().is_some_and(|known| *known != start) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the server was restarted, and may have lost staged rows",
            )
            .connector(crate::NAME)
            .retry(Retry::Restart)
            .help("run again: nothing of them was committed"));
        }
        self.server_start = Some(start);
        Ok((transaction, number))
    }

    /// Finds out whether the transaction in doubt made it, if there is one: `true` when its rows are there.
    async fn settle(&mut self) -> Result<bool> {
        let Some(doubtful) = &self.doubtful else { return Ok(false) };
        let number = doubtful.transaction.clone();
        let (transaction, _) = self.begin_numbered(NO_ROWS).await?;
        let row = transaction.client().query_one("SELECT txid_status($1::text::bigint)", &[&number]).await;
        let status: Option<String> =
            row.map_err(|error| failed("asking what became of a transaction", error))?.get(0);
        transaction.roll_back().await?;
        if status.as_deref() == Some("in progress") {
            let text = "the server still works on a transaction whose connection broke off";
            return Err(Error::unavailable(text).connector(crate::NAME));
        }
        match self.doubtful.take() {
            Some(doubtful) if status.as_deref() == Some("committed") => {
                self.landed(doubtful);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn landed(&mut self, landed: Doubtful) {
        let Doubtful { transaction, rows, rejected } = landed;
        self.is_made = true;
        self.rows += rows;
        self.rejected.extend(rejected);
        if self.landing.direct {
            self.transactions.push(transaction);
        }
    }

    fn copy_sql(&self) -> String {
        let names: Vec<_> = self.landing.columns.iter().map(LandingColumn::quoted).collect();
        format!("COPY {} ({}) FROM STDIN (FORMAT BINARY)", self.goal.sql(Dialect::Postgres), names.join(", "))
    }

    fn wires(&self) -> Vec<Wire> {
        self.landing.columns.iter().map(LandingColumn::wire).collect()
    }

    async fn encoded(&self, rows: &RecordBatch) -> Result<(Bytes, Vec<Refused>)> {
        let (rows, wires) = (rows.clone(), self.wires());
        self.cx
            .cpu(move || {
                let (bytes, refused) = encode(&rows, &wires)?;
                Ok((bytes.into(), refused))
            })
            .await
    }

    /// One batch in one transaction.
    async fn write_batch(&mut self, rows: &RecordBatch) -> Result<()> {
        let (bytes, refused) = self.encoded(rows).await?;
        let count = (rows.num_rows() - refused.len()) as u64;
        let size = bytes.len() as u64;
        let (transaction, number) = self.begin().await?;
        match copy(&transaction, &self.copy_sql(), bytes).await {
            Ok(()) => {
                let rejected =
                    refused.iter().map(|refused| self.refusal(rows, refused)).collect::<Result<_>>()?;
                self.finish_transaction(transaction, Doubtful { transaction: number, rows: count, rejected })
                    .await?;
                self.bytes += size;
                self.cx.metrics().add_bytes_written(size);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                drop(transaction);
                self.write_what_fits(rows, error).await
            }
            Err(error) => Err(error),
        }
    }

    async fn finish_transaction(&mut self, transaction: Transaction, outcome: Doubtful) -> Result<()> {
        self.doubtful = Some(outcome);
        transaction.commit().await?;
        if let Some(landed) = self.doubtful.take() {
            self.landed(landed);
        }
        Ok(())
    }

    /// Finds the rows that the server cannot read by halving, and writes the others, all in one transaction.
    async fn write_what_fits(&mut self, rows: &RecordBatch, reason: Error) -> Result<()> {
        let (transaction, number) = self.begin().await?;
        let mut parts = vec![(rows.clone(), Some(reason))];
        let (mut written, mut rejected) = (0, Vec::new());
        while let Some((part, reason)) = parts.pop() {
            if let Some(reason) = reason {
                if part.num_rows() == 1 {
                    rejected.push(self.rejection(&part, &reason)?);
                } else {
                    let half = part.num_rows() / 2;
                    parts.push((part.slice(half, part.num_rows() - half), None));
                    parts.push((part.slice(0, half), None));
                }
                continue;
            }
            let (bytes, refused) = self.encoded(&part).await?;
            // Rows get a number of their own behind a savepoint, and the ledger must know that one too.
            let savepoint = format!("SAVEPOINT part; {}", self.noting().unwrap_or_default());
            transaction.execute("writing", &savepoint).await?;
            match copy(&transaction, &self.copy_sql(), bytes).await {
                Ok(()) => {
                    transaction.execute("writing", "RELEASE SAVEPOINT part").await?;
                    written += (part.num_rows() - refused.len()) as u64;
                    for refused in &refused {
                        rejected.push(self.refusal(&part, refused)?);
                    }
                }
                Err(error) if error.kind() == ErrorKind::DataInvalid => {
                    transaction
                        .execute("writing", "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
                        .await?;
                    parts.push((part, Some(error)));
                }
                Err(error) => return Err(error),
            }
        }
        self.finish_transaction(transaction, Doubtful { transaction: number, rows: written, rejected }).await
    }

    fn place(&self) -> String {
        format!("postgres:{}", self.landing.table)
    }

    fn refusal(&self, rows: &RecordBatch, refused: &Refused) -> Result<Rejected> {
        let column = &self.landing.columns[refused.column].name;
        let rejected =
            Rejected::new(self.place(), refused.reason.clone()).column(column, refused.value.clone());
        Ok(rejected.row(json_row(rows, refused.row)?))
    }

    fn rejection(&self, row: &RecordBatch, reason: &Error) -> Result<Rejected> {
        Ok(Rejected::new(self.place(), reason.message()).row(json_row(row, 0)?))
    }
}

/// What `number` asks for, and when the server was started, in one round trip.
async fn number_and_start(transaction: &Transaction, number: &str) -> Result<(String, String)> {
    let sql = format!("{number}, pg_postmaster_start_time()");
    let messages = transaction.client().simple_query(&sql).await;
    let messages = messages.map_err(|error| failed("beginning to write", error))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).zip(row.get(1)),
        _ => None,
    });
    let (number, start) = row.ok_or_else(|| Error::unexpected("the server told no transaction"))?;
    Ok((number.to_owned(), start.to_owned()))
}

/// Rows in the form of `COPY`, as messages.
async fn copy(transaction: &Transaction, sql: &str, messages: Bytes) -> Result<()> {
    let failed = |error| failed("writing", error);
    let sink = transaction.client().copy_in::<_, Bytes>(sql).await.map_err(failed)?;
    transaction.write(messages).await;
    std::pin::pin!(sink).finish().await.map(drop).map_err(failed)
}

impl Writer for PostgresWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        // The rows are the same as in the call that broke off.
        if self.settle().await? {
            return Ok(());
        }
        if rows.num_rows() == 0 {
            return Ok(());
        }
        self.write_batch(&rows).await
    }

    async fn finish(mut self) -> Result<Staged> {
        self.settle().await?;
        let receipt = if self.landing.direct {
            if !self.transactions.is_empty() {
                self.make_durable().await?;
            }
            Receipt::Transactions(std::mem::take(&mut self.transactions))
        } else if self.is_made {
            let column = |column: &LandingColumn| (column.name.clone(), column.staged_type().to_owned());
            let columns = self.landing.columns.iter().map(column).collect();
            Receipt::Table { table: self.goal.clone(), columns }
        } else {
            Receipt::Nothing
        };
        let mut staged = Staged::new(self.part, self.rows, self.bytes, receipt.to_json()?);
        staged.rejected = std::mem::take(&mut self.rejected);
        self.finished = true;
        Ok(staged)
    }
}

impl PostgresWriter {
    /// Waits until the log is on disk as far as our transactions. One that is committed later and waits does that.
    async fn make_durable(&mut self) -> Result<()> {
        let (transaction, _) = self.begin_numbered(NO_ROWS).await?;
        transaction.execute("making rows durable", "SET LOCAL synchronous_commit = on").await?;
        transaction.commit().await
    }
}

impl Drop for PostgresWriter {
    fn drop(&mut self) {
        // Rows beside are left out by the commit, which knows the transactions that count.
        if self.finished || self.landing.direct || !(self.is_made || self.doubtful.is_some()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (sink, cx, goal) = (self.sink.clone(), self.cx.clone(), self.goal.sql(Dialect::Postgres));
        runtime.spawn(async move {
            let removing = async {
                let transaction = sink.begin_transaction(&cx).await?;
                transaction
                    .execute("removing a staging table", &format!("DROP TABLE IF EXISTS {goal}"))
                    .await?;
                transaction.commit().await
            };
            if let Err(error) = removing.await {
                tracing::debug!(%error, "the next run removes what a writer has left");
            }
        });
    }
}

impl fmt::Debug for PostgresWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresWriter")
            .field("goal", &self.goal)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
