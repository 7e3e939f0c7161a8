//! Bringing staged rows into the target, in the transaction of the checkpoint.

use std::fmt::Write;

use towpath_core::{Begun, CommitToken, Error, ErrorKind, Result, Staged, WriteDisposition};

use super::checkpoints::NO_SUCH_TABLE;
use super::keys::Key;
use super::names::{DELETE, DELETED_AT, Names, ROW, sql};
use super::state::Receipt;
use super::table::{Table, exists};
use super::warnings;
use super::writer::fenced;
use crate::client::Client;
use crate::config::{DeleteMissing, SinkConfig};
use crate::errors::code;
use crate::sql::identifier;

/// The number of a note that says that a statement is unsafe for replication by statements.
const UNSAFE_STATEMENT: &str = "Unsafe statement written to the binary log";

/// What a commit does to the target.
pub(super) struct Apply<'a> {
    pub(super) config: &'a SinkConfig,
    pub(super) names: &'a Names,
    pub(super) begun: &'a Begun,
    key: Key,
}

/// The rows of one writer, or some of them.
pub(super) struct Stage<'a> {
    pub(super) table: String,
    pub(super) receipt: &'a Receipt,
    /// The first and the last number of the rows; all by default.
    pub(super) rows: Option<(u64, u64)>,
}

impl Stage<'_> {
    /// A condition on these rows, behind `WHERE` or `AND`.
    fn condition(&self, alias: &str) -> String {
        self.rows.map_or_else(
            || "TRUE".to_owned(),
            |(first, last)| format!("{alias}.{ROW} BETWEEN {first} AND {last}"),
        )
    }
}

impl<'a> Apply<'a> {
    pub(super) async fn new(
        client: &mut Client,
        config: &'a SinkConfig,
        names: &'a Names,
        begun: &'a Begun,
    ) -> Result<Self> {
        let is_merge = begun.load.disposition == WriteDisposition::Merge;
        let table = if is_merge { Table::find(client, names.target()).await? } else { None };
        let key = table.map_or_else(Key::default, |table| Key::new(&table, &begun.load.key));
        Ok(Self { config, names, begun, key })
    }

    fn key(&self) -> &[String] {
        &self.begun.load.key
    }

    /// Empties the target, where a `replace` takes place in it.
    pub(super) async fn before(&self, client: &mut Client) -> Result<()> {
        if self.begun.load.disposition == WriteDisposition::Replace
            && exists(client, self.names.target()).await?
        {
            client.execute(&format!("DELETE FROM {}", sql(self.names.target()))).await?;
        }
        Ok(())
    }

    /// Brings these rows in.
    ///
    /// # Errors
    /// `DataInvalid` when the target refuses one of them. `Conflict` when they are gone.
    pub(super) async fn rows(&self, client: &mut Client, stage: &Stage<'_>) -> Result<()> {
        for statement in self.statements(stage) {
            run(client, &statement).await?;
        }
        Ok(())
    }

    fn statements(&self, stage: &Stage<'_>) -> Vec<String> {
        let is_merge = self.begun.load.disposition == WriteDisposition::Merge;
        let mut statements = Vec::new();
        match (is_merge, self.key.is_the_only_one) {
            (false, _) => statements.push(self.insert(stage)),
            (true, true) => statements.push(self.insert(stage) + &self.on_duplicate(stage)),
            (true, false) => statements.extend([self.update_last(stage), self.insert_last(stage)]),
        }
        if stage.receipt.has_deletes {
            statements.push(self.delete_last(stage));
        }
        if is_merge && self.config.delete_missing != DeleteMissing::No {
            statements.push(self.note_keys(stage));
        }
        statements
    }

    fn target(&self) -> String {
        sql(self.names.target())
    }

    fn insert(&self, stage: &Stage<'_>) -> String {
        let condition = stage.condition("s");
        let written = if stage.receipt.has_deletes { format!(" AND s.{DELETE} = 0") } else { String::new() };
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {} AS s WHERE {condition}{written} ORDER BY s.{ROW}",
            self.target(),
            names(&stage.receipt.columns, ""),
            names(&stage.receipt.columns, "s."),
            stage.table
        )
    }

    /// The last row of a key comes last, so it wins.
    fn on_duplicate(&self, stage: &Stage<'_>) -> String {
        let mut assignments = self.assignments(stage, "");
        if assignments.is_empty() {
            let key = identifier(&self.key()[0]);
            assignments.push(format!("{key} = s.{key}"));
        }
        format!(" ON DUPLICATE KEY UPDATE {}", assignments.join(", "))
    }

    /// `alias` stands before the columns of the target.
    fn assignments(&self, stage: &Stage<'_>, alias: &str) -> Vec<String> {
        let columns = stage.receipt.columns.iter().filter(|column| !self.key().contains(column));
        let mut assignments: Vec<String> = columns
            .map(|column| {
                let column = identifier(column);
                format!("{alias}{column} = s.{column}")
            })
            .collect();
        if self.config.delete_missing == DeleteMissing::Soft {
            // It came again.
            assignments.push(format!("{alias}{DELETED_AT} = NULL"));
        }
        assignments
    }

    /// The last row of each key, by the name `s`.
    fn last_rows(&self, stage: &Stage<'_>) -> String {
        format!(
            "{table} AS s JOIN (SELECT MAX(m.{ROW}) AS last FROM {table} AS m WHERE {condition} GROUP BY {key}) AS l \
             ON l.last = s.{ROW}",
            table = stage.table,
            condition = stage.condition("m"),
            key = self.key.of("m").join(", ")
        )
    }

    fn same_key(&self, left: &str, right: &str) -> String {
        let pairs = self.key.of(left).into_iter().zip(self.key.of(right));
        pairs.map(|(left, right)| format!("{left} = {right}")).collect::<Vec<_>>().join(" AND ")
    }

    /// Whether the key of a row stands in the list of those that came.
    fn is_listed(&self) -> String {
        let listed = self.key().iter().map(|name| format!("k.{}", identifier(name)));
        let pairs = self.key.of(&self.target()).into_iter().zip(listed);
        pairs.map(|(own, listed)| format!("{own} = {listed}")).collect::<Vec<_>>().join(" AND ")
    }

    fn written(stage: &Stage<'_>) -> String {
        if stage.receipt.has_deletes { format!("s.{DELETE} = 0") } else { "TRUE".to_owned() }
    }

    fn update_last(&self, stage: &Stage<'_>) -> String {
        let mut assignments = self.assignments(stage, "t.");
        if assignments.is_empty() {
            let key = identifier(&self.key()[0]);
            assignments.push(format!("t.{key} = s.{key}"));
        }
        format!(
            "UPDATE {} AS t JOIN ({}) ON {} SET {} WHERE {}",
            self.target(),
            self.last_rows(stage),
            self.same_key("t", "s"),
            assignments.join(", "),
            Self::written(stage)
        )
    }

    fn insert_last(&self, stage: &Stage<'_>) -> String {
        format!(
            "INSERT INTO {target} ({}) SELECT {} FROM {} LEFT JOIN {target} AS t ON {} WHERE t.{} IS NULL AND {} \
             ORDER BY s.{ROW}",
            names(&stage.receipt.columns, ""),
            names(&stage.receipt.columns, "s."),
            self.last_rows(stage),
            self.same_key("t", "s"),
            identifier(&self.key()[0]),
            Self::written(stage),
            target = self.target()
        )
    }

    /// Without an alias: the server looks for that in the session's database, which there is none.
    fn delete_last(&self, stage: &Stage<'_>) -> String {
        let target = self.target();
        let (last, on) = (self.last_rows(stage), self.same_key(&target, "s"));
        format!("DELETE {target} FROM {target} JOIN ({last}) ON {on} WHERE s.{DELETE} = 1")
    }

    fn note_keys(&self, stage: &Stage<'_>) -> String {
        let key = names(self.key(), "");
        let first = identifier(&self.key()[0]);
        format!(
            "INSERT INTO {keys} ({key}) SELECT {} FROM {} AS s WHERE {} ON DUPLICATE KEY UPDATE {keys}.{first} = {keys}.{first}",
            self.key.of("s").join(", "),
            stage.table,
            stage.condition("s"),
            keys = sql(&self.names.keys())
        )
    }

    /// Deletes the rows whose key did not come, when the run has read everything.
    pub(super) async fn missing(&self, client: &mut Client, token: &CommitToken) -> Result<()> {
        if token.finished.is_none()
            || self.config.delete_missing == DeleteMissing::No
            || !exists(client, self.names.target()).await?
        {
            return Ok(());
        }
        // Without rows in the whole run there is no list, and every key is missing.
        let (join, condition) = if exists(client, &self.names.keys()).await? {
            let on = self.is_listed();
            let first = identifier(&self.key()[0]);
            (format!(" LEFT JOIN {} AS k ON {on}", sql(&self.names.keys())), format!("k.{first} IS NULL"))
        } else {
            (String::new(), "TRUE".to_owned())
        };
        let target = self.target();
        let statement = match self.config.delete_missing {
            DeleteMissing::Soft => format!(
                "UPDATE {target}{join} SET {target}.{DELETED_AT} = CURRENT_TIMESTAMP(6) \
                 WHERE {condition} AND {target}.{DELETED_AT} IS NULL"
            ),
            _ => format!("DELETE {target} FROM {target}{join} WHERE {condition}"),
        };
        run(client, &statement).await
    }
}

/// Runs a statement that must not change a value on its way.
async fn run(client: &mut Client, statement: &str) -> Result<()> {
    let outcome = client.execute(statement).await.map_err(|error| match code(&error) {
        Some(NO_SUCH_TABLE) if error.message().contains("_towpath_") => fenced(error),
        _ => error,
    })?;
    if outcome.warnings == 0 {
        return Ok(());
    }
    let complaints = warnings::show(client).await?;
    let complaint = complaints.into_iter().find(|complaint| !complaint.message.contains(UNSAFE_STATEMENT));
    complaint.map_or(Ok(()), |complaint| {
        Err(Error::new(ErrorKind::DataInvalid, complaint.message).connector(crate::NAME))
    })
}

/// Identifiers with commas between, each behind a prefix.
fn names(columns: &[String], prefix: &str) -> String {
    let mut list = String::new();
    for column in columns {
        let comma = if list.is_empty() { "" } else { ", " };
        write!(list, "{comma}{prefix}{}", identifier(column)).expect("memory takes what is written");
    }
    list
}

/// The stages of receipts.
pub(super) fn stages<'a>(
    names: &Names,
    epoch: u64,
    staged: &[Staged],
    receipts: &'a [Receipt],
) -> Vec<Stage<'a>> {
    let stage = |(staged, receipt): (&Staged, &'a Receipt)| Stage {
        table: sql(&names.stage(epoch, staged.part)),
        receipt,
        rows: None,
    };
    staged.iter().zip(receipts).map(stage).collect()
}
