//! The table of checkpoints, in the database of the rows.

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};
use towpath_core::{Checkpoint, Error, ErrorKind, LoadSpec, Result};

use super::names::{Names, sql};
use crate::client::Client;
use crate::errors::code;
use crate::sql::text;

/// The server's number for a table that is not there.
pub(super) const NO_SUCH_TABLE: u16 = 1146;

/// What the target holds of a stream.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// `None` until the first run has begun.
    pub(super) checkpoint: Option<Checkpoint>,
    /// The columns of the last run.
    pub(super) columns: Option<Schema>,
    /// A swap of tables that was about to be done.
    pub(super) swap: Option<Swap>,
}

/// A swap of tables that is about to be done. Definitions commit by themselves, so it cannot be part of a transaction:
/// it is noted before, and whether `old` is there tells whether it was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Swap {
    /// The table that takes the target's place.
    pub(super) full: String,
    /// Where the target goes.
    pub(super) old: String,
    /// The checkpoint that holds once it was done.
    pub(super) next: Checkpoint,
}

/// The row of one stream.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    table: String,
    id: String,
    pipeline: String,
    stream: String,
}

impl Checkpoints {
    pub(super) fn new(names: &Names, load: &LoadSpec) -> Self {
        Self {
            table: sql(&names.checkpoints()),
            id: text(names.prefix().trim_end_matches('_')),
            pipeline: load.pipeline.clone(),
            stream: load.stream.clone(),
        }
    }

    /// Reads the row; `None` when there is none.
    pub(super) async fn read(&self, client: &mut Client) -> Result<Option<Record>> {
        match self.select(client, "").await {
            Err(error) if matches!(code(&error), Some(NO_SUCH_TABLE | 1049)) => Ok(None),
            other => other,
        }
    }

    /// Reads the row in a transaction, and keeps all others from changing it until its end.
    ///
    /// # Errors
    /// `Conflict` when it is gone.
    pub(super) async fn lock(&self, client: &mut Client) -> Result<Record> {
        let gone = || {
            Error::new(
                ErrorKind::Conflict,
                "the checkpoint is gone: it was reset while the run was under way",
            )
            .connector(crate::NAME)
            .help("run again")
        };
        match self.select(client, " FOR UPDATE").await {
            Err(error) if code(&error) == Some(NO_SUCH_TABLE) => Err(gone()),
            Ok(None) => Err(gone()),
            Ok(Some(record)) => Ok(record),
            Err(error) => Err(error),
        }
    }

    async fn select(&self, client: &mut Client, lock: &str) -> Result<Option<Record>> {
        let query = format!(
            "SELECT checkpoint, columns, swap, pipeline, stream FROM {} WHERE id = {}{lock}",
            self.table, self.id
        );
        let rows = client.query(&query).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let [checkpoint, columns, swap, pipeline, stream] =
            <[Option<String>; 5]>::try_from(row).map_err(|_| Error::unexpected("a row of checkpoints"))?;
        if pipeline.as_deref() != Some(&self.pipeline) || stream.as_deref() != Some(&self.stream) {
            return Err(Error::unexpected(format!(
                "the checkpoint of stream `{}` belongs to another one, {pipeline:?} {stream:?}",
                self.stream
            ))
            .connector(crate::NAME)
            .help("rename the stream"));
        }
        Ok(Some(Record { checkpoint: parsed(checkpoint)?, columns: parsed(columns)?, swap: parsed(swap)? }))
    }

    /// Makes the table and the row where they are not there.
    pub(super) async fn ensure(&self, client: &mut Client) -> Result<()> {
        match self.insert(client).await {
            Err(error) if code(&error) == Some(NO_SUCH_TABLE) => {
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS {} (id varchar(64) CHARACTER SET ascii NOT NULL PRIMARY KEY, \
                     pipeline text NOT NULL, stream text NOT NULL, checkpoint longtext NULL, columns longtext NULL, \
                     swap longtext NULL, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP \
                     ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4",
                    self.table
                );
                client.execute(&create).await?;
                self.insert(client).await
            }
            other => other,
        }
    }

    async fn insert(&self, client: &mut Client) -> Result<()> {
        let insert = format!(
            "INSERT INTO {} (id, pipeline, stream) VALUES ({}, {}, {}) ON DUPLICATE KEY UPDATE id = id",
            self.table,
            self.id,
            text(&self.pipeline),
            text(&self.stream)
        );
        client.execute(&insert).await.map(drop)
    }

    /// Stores the checkpoint, and that no swap is about to be done.
    pub(super) async fn store(&self, client: &mut Client, checkpoint: &Checkpoint) -> Result<()> {
        self.update(client, &format!("checkpoint = {}, swap = NULL", json(checkpoint)?)).await
    }

    /// Notes a swap, or that none is about to be done.
    pub(super) async fn note_swap(&self, client: &mut Client, swap: Option<&Swap>) -> Result<()> {
        let swap = swap.map(json).transpose()?.unwrap_or_else(|| "NULL".to_owned());
        self.update(client, &format!("swap = {swap}")).await
    }

    /// Stores the columns of the run.
    pub(super) async fn store_columns(&self, client: &mut Client, columns: &Schema) -> Result<()> {
        self.update(client, &format!("columns = {}", json(columns)?)).await
    }

    async fn update(&self, client: &mut Client, assignments: &str) -> Result<()> {
        let update = format!("UPDATE {} SET {assignments} WHERE id = {}", self.table, self.id);
        client.execute(&update).await.map(drop)
    }

    /// Removes the row.
    pub(super) async fn delete(&self, client: &mut Client) -> Result<()> {
        let delete = format!("DELETE FROM {} WHERE id = {}", self.table, self.id);
        match client.execute(&delete).await {
            Err(error) if matches!(code(&error), Some(NO_SUCH_TABLE | 1049)) => Ok(()),
            other => other.map(drop),
        }
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_string(value);
    value
        .map(|value| text(&value))
        .map_err(|error| Error::unexpected("a checkpoint is no JSON").source(error))
}

fn parsed<T: for<'de> Deserialize<'de>>(value: Option<String>) -> Result<Option<T>> {
    let parsed = value.map(|value| serde_json::from_str(&value)).transpose();
    parsed.map_err(|error| {
        Error::data("the checkpoint in the target cannot be read")
            .connector(crate::NAME)
            .source(error)
            .help("use the newer towpath that wrote it, or `towpath state reset`")
    })
}
