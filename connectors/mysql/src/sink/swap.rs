//! A `replace` by a table that was filled beside the target.
//!
//! A definition commits by itself, so the swap cannot be a part of the transaction that stores the checkpoint. In order
//! that both still change as one:
//!
//! 1. The table beside gets another name, under which no writer finds it. Rows of writers that were given up are deleted.
//! 2. The checkpoint's row notes the swap: the tables, and the checkpoint that holds behind it.
//! 3. `RENAME TABLE target TO old, full TO target` is one step: either both or none.
//! 4. The checkpoint is stored, and the old table dropped.
//!
//! Whoever finds a noted swap looks for `old`: if it is there, the swap was done, and step 4 is made up for. If it is not, a
//! later run first drops `full`, so that the swap can never be done any more, and then looks.

use towpath_core::{
    Applied, Begun, Checkpoint, CommitToken, Committed, Context, Error, ErrorKind, Result, Staged,
};
use towpath_sql::TableName;

use super::MysqlSink;
use super::checkpoints::{Checkpoints, NO_SUCH_TABLE, Swap};
use super::commit::held;
use super::names::{Names, PART, sql};
use super::table::exists;
use super::writer::fenced;
use crate::client::Client;
use crate::errors::code;

impl MysqlSink {
    pub(super) async fn commit_swap(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: &[Staged],
    ) -> Result<Committed> {
        let names = self.names(&begun.load)?;
        let epoch = begun.checkpoint.epoch;
        let checkpoints = Checkpoints::new(&names, &begun.load);
        let mut client = self.pool.get(cx).await?;
        let swap = |next: Box<Checkpoint>| Swap {
            full: names.full(epoch).name,
            old: names.old(epoch).name,
            next: *next,
        };
        let record = checkpoints.read(&mut client).await?.unwrap_or_default();
        let noted = record.swap.clone();
        let committed = match held(record)?.apply(token)? {
            Applied::Already => Committed::AlreadyApplied,
            Applied::Now(next) => {
                let swap = swap(next);
                if noted.as_ref() == Some(&swap) && exists(&mut client, &names.old(epoch)).await? {
                    // The swap was done, and the answer lost.
                    store(&mut client, &checkpoints, &swap).await?;
                    Committed::AlreadyApplied
                } else {
                    seal(&mut client, &names, epoch, staged).await?;
                    note(&mut client, &checkpoints, token, &swap).await?;
                    rename(&mut client, &names, epoch).await?;
                    store(&mut client, &checkpoints, &swap).await?;
                    Committed::Applied
                }
            }
        };
        client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&names.old(epoch)))).await?;
        self.settled(&mut client, &names, begun, token, &[]).await?;
        Ok(committed)
    }
}

/// Keeps writers from the table beside, and makes it what it will be.
async fn seal(client: &mut Client, names: &Names, epoch: u64, staged: &[Staged]) -> Result<()> {
    let (beside, full) = (names.beside(epoch), names.full(epoch));
    if !exists(client, &full).await? {
        let rename = format!("RENAME TABLE {} TO {}", sql(&beside), sql(&full));
        // It waits for transactions of writers that are still under way.
        client.execute(&rename).await.map_err(fenced)?;
    }
    if !has_part(client, &full).await? {
        return Ok(());
    }
    let query = format!("SELECT part FROM {}", sql(&names.parts(epoch)));
    let parts = client.query(&query).await.map_err(fenced)?;
    let parts = parts.into_iter().flatten().flatten().filter_map(|part| part.parse::<u32>().ok());
    let given_up: Vec<String> = parts
        .filter(|part| !staged.iter().any(|staged| staged.part == *part))
        .map(|part| part.to_string())
        .collect();
    if !given_up.is_empty() {
        let delete = format!("DELETE FROM {} WHERE {PART} IN ({})", sql(&full), given_up.join(", "));
        client.execute(&delete).await?;
    }
    // An instant on servers that only note that the column is gone: MariaDB from 10.4, MySQL from 8.0.29.
    client.execute(&format!("ALTER TABLE {} DROP COLUMN {PART}", sql(&full))).await.map(drop)
}

async fn has_part(client: &mut Client, table: &TableName) -> Result<bool> {
    let query = format!("SHOW COLUMNS FROM {} LIKE '{}'", sql(table), PART.replace('_', "\\_"));
    Ok(!client.query(&query).await?.is_empty())
}

/// Notes the swap, if the token still applies.
async fn note(
    client: &mut Client,
    checkpoints: &Checkpoints,
    token: &CommitToken,
    swap: &Swap,
) -> Result<()> {
    client.execute("START TRANSACTION").await?;
    match held(checkpoints.lock(client).await?)?.apply(token)? {
        Applied::Now(next) if *next == swap.next => {}
        _ => {
            return Err(Error::new(ErrorKind::Conflict, "another commit of the same run came in between")
                .connector(crate::NAME));
        }
    }
    checkpoints.note_swap(client, Some(swap)).await?;
    client.execute("COMMIT").await.map(drop)
}

async fn rename(client: &mut Client, names: &Names, epoch: u64) -> Result<()> {
    let (target, full, old) = (sql(names.target()), sql(&names.full(epoch)), sql(&names.old(epoch)));
    // There is always an old table, because it tells that the swap was done.
    let create = client.execute(&format!("CREATE TABLE IF NOT EXISTS {target} LIKE {full}")).await;
    create.map_err(fenced)?;
    let renamed = client.execute(&format!("RENAME TABLE {target} TO {old}, {full} TO {target}")).await;
    renamed.map(drop).map_err(|error| match code(&error) {
        Some(NO_SUCH_TABLE) => fenced(error),
        _ => error,
    })
}

/// Stores the checkpoint that holds behind the swap, unless somebody else has done so.
async fn store(client: &mut Client, checkpoints: &Checkpoints, swap: &Swap) -> Result<()> {
    client.execute("START TRANSACTION").await?;
    if checkpoints.lock(client).await?.swap.as_ref() == Some(swap) {
        checkpoints.store(client, &swap.next).await?;
    }
    client.execute("COMMIT").await.map(drop)
}

/// Ends a swap that an earlier run has noted: it was done, or it never will be.
pub(super) async fn resolve(client: &mut Client, names: &Names, checkpoints: &Checkpoints) -> Result<()> {
    let Some(swap) = checkpoints.read(client).await?.and_then(|record| record.swap) else { return Ok(()) };
    let full = names.target().sibling(&swap.full);
    client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&full))).await?;
    if was_done(client, names, &swap).await? {
        return store(client, checkpoints, &swap).await;
    }
    client.execute("START TRANSACTION").await?;
    if checkpoints.lock(client).await?.swap.as_ref() == Some(&swap) {
        checkpoints.note_swap(client, None).await?;
    }
    client.execute("COMMIT").await.map(drop)
}

/// Whether a noted swap was done.
pub(super) async fn was_done(client: &mut Client, names: &Names, swap: &Swap) -> Result<bool> {
    exists(client, &names.target().sibling(&swap.old)).await
}
