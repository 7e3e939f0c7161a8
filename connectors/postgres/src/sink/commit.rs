//! The commit: staged rows and the checkpoint, in one transaction.

use towpath_core::{
    Applied, Begun, CommitToken, Committed, Context, Error, ErrorKind, Result, Staged, WriteDisposition,
};
use towpath_sql::Dialect;

use super::landing::{Landing, Receipt};
use super::{PostgresSink, Transaction, checkpoints, merge, refused, replace};
use crate::config::DeleteMissing;
use crate::errors::{config, failed};

/// Rows that wait in a table of their own.
#[derive(Debug, Clone)]
pub(super) struct StagedTable {
    /// The table's name as it stands in statements.
    pub(super) name: String,
    /// How many rows it must hold, where a receipt tells it.
    pub(super) rows: Option<u64>,
    /// How they land.
    pub(super) landing: Landing,
}

/// All that a commit is about.
pub(super) struct Commit<'a> {
    pub(super) sink: &'a PostgresSink,
    pub(super) cx: &'a Context,
    pub(super) begun: &'a Begun,
    /// `None` where no rows have come in the whole run.
    pub(super) landing: Option<Landing>,
    pub(super) tables: Vec<StagedTable>,
    /// The transactions that put rows into the table beside.
    pub(super) transactions: Vec<String>,
    pub(super) finishes: bool,
}

pub(super) async fn commit(
    sink: &PostgresSink,
    cx: &Context,
    begun: &Begun,
    token: &CommitToken,
    staged: &[Staged],
) -> Result<Committed> {
    let commit = Commit::new(sink, cx, begun, token, staged)?;
    refuse_partial_deletes(sink, begun, token)?;
    let transaction = sink.begin_transaction(cx).await?;
    let table = sink.table(&begun.load)?;
    let held = checkpoints::locked(&transaction, &table, &begun.load).await?.ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the checkpoint is gone")
            .connector(crate::NAME)
            .help("somebody reset it while the run was under way; run again")
    })?;
    let next = match held.apply(token)? {
        Applied::Already => {
            transaction.roll_back().await?;
            return Ok(Committed::AlreadyApplied);
        }
        Applied::Now(next) => next,
    };
    match commit.land(&transaction).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::DataInvalid => {
            drop(transaction);
            return refused::find(&commit, error).await.map(Committed::Refused);
        }
        Err(error) => return Err(error),
    }
    if commit.finishes {
        for statement in &sink.inner.config.post_sql {
            transaction.execute("running `post_sql`", statement).await?;
        }
    }
    checkpoints::store(&transaction, &table, &begun.load, &next).await?;
    transaction.commit().await?;
    Ok(Committed::Applied)
}

/// A run that reads what is new does not bring every row that is there.
fn refuse_partial_deletes(sink: &PostgresSink, begun: &Begun, token: &CommitToken) -> Result<()> {
    let has_cursor = token.until.is_some()
        || token.seen.is_some()
        || token.finished.as_ref().is_some_and(|finished| finished.cursor.is_some());
    let deletes = begun.load.disposition == WriteDisposition::Merge
        && sink.inner.config.delete_missing != DeleteMissing::No;
    if has_cursor && deletes {
        return Err(config("`delete_missing` would delete the rows that a `cursor` leaves out")
            .help("leave out the one or the other"));
    }
    Ok(())
}

impl<'a> Commit<'a> {
    fn new(
        sink: &'a PostgresSink,
        cx: &'a Context,
        begun: &'a Begun,
        token: &CommitToken,
        staged: &[Staged],
    ) -> Result<Self> {
        let landing = if begun.state.is_null() { None } else { Some(Landing::of(begun)?) };
        let finishes = token.finished.is_some();
        let mut commit =
            Self { sink, cx, begun, landing, tables: Vec::new(), transactions: Vec::new(), finishes };
        for staged in staged {
            match Receipt::of(staged)? {
                Receipt::Nothing => {}
                Receipt::Table { table, columns } => {
                    let name = table.sql(Dialect::Postgres);
                    let rows = Some(staged.rows.saturating_sub(sink.refused(&name)));
                    let landing = Landing::of(begun)?.staged(&columns);
                    commit.tables.push(StagedTable { name, rows, landing });
                }
                Receipt::Transactions(transactions) => commit.transactions.extend(transactions),
            }
        }
        Ok(commit)
    }

    /// Brings the rows into the table.
    async fn land(&self, transaction: &Transaction) -> Result<()> {
        let Some(landing) = &self.landing else {
            return if self.begun.load.disposition == WriteDisposition::Replace {
                replace::empty(self, transaction).await
            } else {
                Ok(())
            };
        };
        match self.begun.load.disposition {
            WriteDisposition::Append => {
                let goal = landing.table.sql(Dialect::Postgres);
                for table in &self.tables {
                    let inserted = insert(transaction, &goal, table, "").await?;
                    all_there(table, inserted)?;
                }
            }
            WriteDisposition::Merge => merge::land(self, transaction, landing).await?,
            WriteDisposition::Replace => replace::land(self, transaction, landing).await?,
        }
        for table in &self.tables {
            transaction.execute("removing a staging table", &format!("DROP TABLE {}", table.name)).await?;
        }
        Ok(())
    }
}

/// A server that crashed leaves unlogged tables empty.
pub(super) fn all_there(table: &StagedTable, found: u64) -> Result<()> {
    let Some(rows) = table.rows.filter(|rows| *rows != found) else { return Ok(()) };
    let text = format!("{rows} staged rows should be there, and {found} are");
    Err(Error::new(ErrorKind::Unavailable, text)
        .connector(crate::NAME)
        .retry(towpath_core::Retry::Never)
        .detail("table", &table.name)
        .help("the server has crashed meanwhile; run again: nothing of them was committed"))
}

/// Puts staged rows into a table, cast as its columns need it. `condition` is what stands behind `FROM`.
pub(super) async fn insert(
    transaction: &Transaction,
    goal: &str,
    table: &StagedTable,
    condition: &str,
) -> Result<u64> {
    let (names, values, staged) = (table.landing.names(), table.landing.values(), &table.name);
    let sql = format!(
        "INSERT INTO {goal} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {staged}{condition}"
    );
    transaction.client().execute(&sql, &[]).await.map_err(|error| failed("inserting staged rows", error))
}

pub(super) async fn abort(sink: &PostgresSink, cx: &Context, begun: &Begun, staged: &[Staged]) -> Result<()> {
    let receipts = staged.iter().map(Receipt::of).collect::<Result<Vec<_>>>()?;
    if receipts.iter().all(|receipt| *receipt == Receipt::Nothing) {
        return Ok(());
    }
    let transaction = sink.begin_transaction(cx).await?;
    for receipt in &receipts {
        match receipt {
            Receipt::Nothing => {}
            Receipt::Table { table, .. } => {
                let sql = format!("DROP TABLE IF EXISTS {}", table.sql(Dialect::Postgres));
                transaction.execute("throwing staged rows away", &sql).await?;
            }
            Receipt::Transactions(numbers) => {
                let numbers: Vec<&String> = numbers.iter().collect();
                replace::give_up(&transaction, &Landing::of(begun)?, &numbers).await?;
            }
        }
    }
    transaction.commit().await
}
