//! Throwing away what was staged and will not be committed.

use std::sync::{Arc, Mutex, PoisonError};

use towpath_core::{Context, ErrorKind, LoadSpec, Result};
use towpath_sql::TableName;

use super::checkpoints::NO_SUCH_TABLE;
use super::names::{Names, PART, sql};
use super::state::Place;
use crate::client::Client;
use crate::errors::code;
use crate::pool::Pool;
use crate::sql::text;

/// What one writer has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) place: Place,
    pub(super) part: u32,
    pub(super) table: TableName,
    pub(super) parts: TableName,
}

/// Throws away what these writers have staged. What is not there any more is no error.
pub(super) async fn remove(client: &mut Client, leftovers: &[Leftover]) -> Result<()> {
    let (beside, own): (Vec<_>, Vec<_>) =
        leftovers.iter().partition(|leftover| leftover.place == Place::Beside);
    for leftover in own {
        client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&leftover.table))).await?;
        forget(client, &leftover.parts, &[leftover.part]).await?;
    }
    let Some(Leftover { table, parts, .. }) = beside.first() else { return Ok(()) };
    let numbers: Vec<u32> = beside.iter().map(|leftover| leftover.part).collect();
    forget(client, parts, &numbers).await?;
    if empty_if_unused(client, table, parts).await? {
        return Ok(());
    }
    let delete = format!("DELETE FROM {} WHERE {PART} IN ({})", sql(table), list(&numbers));
    ignore_missing(client.execute(&delete).await.map(drop))
}

/// Removes writers from the list. Their own next transactions find that they were; for those under way it waits.
async fn forget(client: &mut Client, parts: &TableName, numbers: &[u32]) -> Result<()> {
    let delete = format!("DELETE FROM {} WHERE part IN ({})", sql(parts), list(numbers));
    ignore_missing(client.execute(&delete).await.map(drop))
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Empties a table that no listed writer has rows in, which is faster by far than deleting rows. Says whether it did.
async fn empty_if_unused(client: &mut Client, table: &TableName, parts: &TableName) -> Result<bool> {
    // Nobody is listed, and nobody writes, while the locks are held.
    let lock = format!("LOCK TABLES {} WRITE, {} WRITE", sql(table), sql(parts));
    match client.execute(&lock).await {
        Ok(_) => {}
        Err(error) if code(&error) == Some(NO_SUCH_TABLE) => return Ok(true),
        // It takes a privilege of its own.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(false),
        Err(error) => return Err(error),
    }
    let emptied = async {
        let is_used = !client.query(&format!("SELECT 1 FROM {} LIMIT 1", sql(parts))).await?.is_empty();
        if !is_used {
            client.execute(&format!("TRUNCATE TABLE {}", sql(table))).await?;
        }
        Ok(!is_used)
    };
    let emptied = emptied.await;
    client.execute("UNLOCK TABLES").await?;
    emptied
}

fn ignore_missing(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if code(&error) == Some(NO_SUCH_TABLE) => Ok(()),
        other => other,
    }
}

/// What dropped writers have left.
#[derive(Debug, Clone, Default)]
pub(super) struct Abandoned {
    leftovers: Arc<Mutex<Vec<Leftover>>>,
    /// Who comes second waits until the first is done.
    cleaning: Arc<tokio::sync::Mutex<()>>,
}

impl Abandoned {
    pub(super) fn add(&self, leftover: Leftover) {
        self.lock().push(leftover);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Leftover>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Throws all of it away.
    pub(super) async fn clean(&self, cx: &Context, pool: &Arc<Pool>) -> Result<()> {
        let _alone = self.cleaning.lock().await;
        let leftovers = self.lock().clone();
        if leftovers.is_empty() {
            return Ok(());
        }
        let mut client = pool.get(cx).await?;
        remove(&mut client, &leftovers).await?;
        self.lock().retain(|leftover| !leftovers.contains(leftover));
        Ok(())
    }
}

/// Throws away all that runs of the stream have left, the keys that an interrupted run has seen excepted if they are still
/// of use. Tells the tables.
pub(super) async fn sweep(
    client: &mut Client,
    names: &Names,
    load: &LoadSpec,
    keeps_keys: bool,
) -> Result<Vec<String>> {
    let prefix = names.prefix();
    let query = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND LEFT(TABLE_NAME, {}) = {}",
        text(names.database()),
        prefix.len(),
        text(prefix)
    );
    let kept = keeps_keys.then(|| names.keys().name);
    let mut removed = Vec::new();
    for name in client.query(&query).await?.into_iter().flatten().flatten() {
        if Some(&name) == kept.as_ref() {
            continue;
        }
        tracing::debug!(stream = load.stream, table = name, "throwing away what a run has left");
        let name = sql(&names.target().sibling(name));
        client.execute(&format!("DROP TABLE IF EXISTS {name}")).await?;
        removed.push(format!("the table {name}"));
    }
    Ok(removed)
}
