//! Throwing away what was staged and will not be committed.

use std::sync::{Arc, Mutex, PoisonError};

use towpath_core::{Context, LoadSpec, Result};
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

impl Leftover {
    /// Throws it away. What is not there any more is no error.
    pub(super) async fn remove(&self, client: &mut Client) -> Result<()> {
        if self.place == Place::Parts {
            client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&self.table))).await?;
            return self.forget(client).await;
        }
        // This waits for a transaction of the writer that may still be under way.
        if self.forget(client).await.is_ok() {
            let delete = format!("DELETE FROM {} WHERE {PART} = {}", sql(&self.table), self.part);
            ignore_missing(client.execute(&delete).await.map(drop))?;
        }
        Ok(())
    }

    /// Removes the writer from the list. Its own next transaction then finds that it was.
    async fn forget(&self, client: &mut Client) -> Result<()> {
        let delete = format!("DELETE FROM {} WHERE part = {}", sql(&self.parts), self.part);
        ignore_missing(client.execute(&delete).await.map(drop))
    }
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
        while let Some(leftover) = { self.lock().last().cloned() } {
            let mut client = pool.get(cx).await?;
            leftover.remove(&mut client).await?;
            self.lock().retain(|other| *other != leftover);
        }
        Ok(())
    }
}

/// Throws away all that runs of the stream have left, the keys that an interrupted run has seen excepted if they are still
/// of use.
pub(super) async fn sweep(
    client: &mut Client,
    names: &Names,
    load: &LoadSpec,
    keeps_keys: bool,
) -> Result<()> {
    let prefix = names.prefix();
    let query = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND LEFT(TABLE_NAME, {}) = {}",
        text(names.database()),
        prefix.len(),
        text(prefix)
    );
    let kept = keeps_keys.then(|| names.keys().name);
    for name in client.query(&query).await?.into_iter().flatten().flatten() {
        if Some(&name) == kept.as_ref() {
            continue;
        }
        tracing::debug!(stream = load.stream, table = name, "throwing away what a run has left");
        client.execute(&format!("DROP TABLE IF EXISTS {}", sql(&names.target().sibling(name)))).await?;
    }
    Ok(())
}
