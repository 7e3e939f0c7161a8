//! Committing what writers have staged in tables of their own.

use towpath_core::{
    Applied, Begun, Checkpoint, CommitToken, Committed, Context, Error, ErrorKind, Json, Rejected, Result,
    Staged,
};

use super::MysqlSink;
use super::apply::{Apply, Stage, stages};
use super::checkpoints::{Checkpoints, Record};
use super::cleaning::remove;
use super::names::{Names, ROW, sql};
use super::state::Receipt;
use super::writer::{fenced, leftovers};
use crate::client::Client;
use crate::pool::Pooled;
use crate::sql::identifier;

/// The most rows that are given back at once.
const MOST_REFUSED: usize = 1_000;

/// The checkpoint of a record.
///
/// # Errors
/// `Conflict` when it is gone.
pub(super) fn held(record: Record) -> Result<Checkpoint> {
    record.checkpoint.ok_or_else(|| {
        Error::new(ErrorKind::Conflict, "the checkpoint is gone: it was reset while the run was under way")
            .connector(crate::NAME)
            .help("run again")
    })
}

impl MysqlSink {
    /// Rows and checkpoint in one transaction.
    pub(super) async fn commit_parts(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: &[Staged],
    ) -> Result<Committed> {
        let names = self.names(&begun.load)?;
        let checkpoints = Checkpoints::new(&names, &begun.load);
        let receipts = staged.iter().map(Receipt::of).collect::<Result<Vec<_>>>()?;
        let mut client = self.pool.get(cx).await?;
        let apply = Apply::new(&mut client, &self.config, &names, begun).await?;
        client.execute("START TRANSACTION").await?;
        let next = match held(checkpoints.lock(&mut client).await?)?.apply(token)? {
            Applied::Now(next) => next,
            Applied::Already => {
                client.execute("ROLLBACK").await?;
                self.settled(&mut client, &names, begun, token, staged).await?;
                return Ok(Committed::AlreadyApplied);
            }
        };
        let tables = stages(&names, begun.checkpoint.epoch, staged, &receipts);
        match bring_in(&mut client, &apply, &tables, token).await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                // Closing the connection takes everything back.
                drop(client);
                return self.refused(cx, &apply, &tables, error).await;
            }
            Err(error) => return Err(error),
        }
        checkpoints.store(&mut client, &next).await?;
        client.execute("COMMIT").await?;
        self.settled(&mut client, &names, begun, token, staged).await?;
        Ok(Committed::Applied)
    }

    /// What follows a commit, and may be done twice.
    pub(super) async fn settled(
        &self,
        client: &mut Client,
        names: &Names,
        begun: &Begun,
        token: &CommitToken,
        staged: &[Staged],
    ) -> Result<()> {
        remove(client, &leftovers(names, begun.checkpoint.epoch, staged)?).await?;
        if token.finished.is_none() {
            return Ok(());
        }
        for table in [names.parts(begun.checkpoint.epoch), names.keys()] {
            client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&table))).await?;
        }
        self.run_sql(client, names, "post_sql", &self.config.post_sql).await
    }

    /// Finds the rows that the target refuses, and removes them from what is staged.
    async fn refused(
        &self,
        cx: &Context,
        apply: &Apply<'_>,
        stages: &[Stage<'_>],
        error: Error,
    ) -> Result<Committed> {
        let mut client = self.pool.get(cx).await?;
        let refused = find_refused(&mut client, apply, stages).await?;
        if refused.is_empty() {
            // None of them alone: it is what becomes of the rows that were there.
            return Err(error);
        }
        let mut rejected = Vec::with_capacity(refused.len());
        for refusal in &refused {
            let stage = &stages[refusal.stage];
            let row = staged_row(&mut client, stage, refusal.row).await?;
            let place = format!("{}: staged row {}", sql(apply.names.target()), refusal.row + 1);
            let mut one = Rejected::new(place, &refusal.message).row(row.clone());
            let complaint = super::warnings::Complaint::new(&refusal.message);
            if let Some(column) = complaint.column {
                let value = row.get(&column).and_then(Json::as_str).unwrap_or("null").to_owned();
                one = one.column(column, value);
            }
            rejected.push(one);
        }
        client.execute("START TRANSACTION").await?;
        for refusal in &refused {
            let table = &stages[refusal.stage].table;
            let delete = format!("DELETE FROM {table} WHERE {ROW} = {}", refusal.row);
            client.execute(&delete).await.map_err(fenced)?;
        }
        client.execute("COMMIT").await?;
        Ok(Committed::Refused(rejected))
    }
}

async fn bring_in(
    client: &mut Pooled,
    apply: &Apply<'_>,
    stages: &[Stage<'_>],
    token: &CommitToken,
) -> Result<()> {
    apply.before(client).await?;
    for stage in stages {
        apply.rows(client, stage).await?;
    }
    apply.missing(client, token).await
}

/// A row that the target refuses.
struct Refusal {
    stage: usize,
    row: u64,
    message: String,
}

/// Tries the rows in halves, quarters and so on, in a transaction that is taken back. What fits stays until then, so that a
/// row that another one excludes is found.
async fn find_refused(client: &mut Pooled, apply: &Apply<'_>, stages: &[Stage<'_>]) -> Result<Vec<Refusal>> {
    let mut waiting = Vec::new();
    for (index, stage) in stages.iter().enumerate().rev() {
        if let Some((first, last)) = bounds(client, &stage.table).await? {
            waiting.push((index, first, last));
        }
    }
    client.execute("START TRANSACTION").await?;
    apply.before(client).await?;
    let mut refused = Vec::new();
    while let Some((index, first, last)) = waiting.pop() {
        let Stage { table, receipt, .. } = &stages[index];
        let some = Stage { table: table.clone(), receipt, rows: Some((first, last)) };
        client.execute("SAVEPOINT towpath_rows").await?;
        match apply.rows(client, &some).await {
            Ok(()) => continue,
            Err(error) if error.kind() == ErrorKind::DataInvalid => {
                client.execute("ROLLBACK TO SAVEPOINT towpath_rows").await?;
                if first == last {
                    refused.push(Refusal { stage: index, row: first, message: error.message().to_owned() });
                }
            }
            Err(error) => return Err(error),
        }
        if refused.len() >= MOST_REFUSED {
            break;
        }
        if first < last {
            let middle = first + (last - first) / 2;
            waiting.push((index, middle + 1, last));
            waiting.push((index, first, middle));
        }
    }
    client.execute("ROLLBACK").await?;
    Ok(refused)
}

/// The first and the last number of staged rows.
async fn bounds(client: &mut Client, table: &str) -> Result<Option<(u64, u64)>> {
    let query = format!("SELECT MIN({ROW}), MAX({ROW}) FROM {table}");
    let rows = client.query(&query).await.map_err(fenced)?;
    let mut numbers = rows.into_iter().flatten().map(|number| number.and_then(|number| number.parse().ok()));
    Ok(numbers.next().flatten().zip(numbers.next().flatten()))
}

/// A staged row, as texts.
async fn staged_row(client: &mut Client, stage: &Stage<'_>, row: u64) -> Result<Json> {
    let columns = &stage.receipt.columns;
    let list: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let query = format!("SELECT {} FROM {} WHERE {ROW} = {row}", list.join(", "), stage.table);
    let values = client.query(&query).await.map_err(fenced)?.into_iter().next().unwrap_or_default();
    let fields = columns.iter().cloned().zip(values.into_iter().map(Json::from));
    Ok(Json::Object(fields.collect()))
}
