//! The checkpoints: a row for each stream of each pipeline, in the schema of its table.

use std::sync::Arc;

use arrow_schema::Schema;
use towpath_core::{Begun, Checkpoint, Context, Error, Json, LoadSpec, Result, WriteDisposition};
use towpath_sql::{CHECKPOINTS, Dialect, TableName};

use super::table::{self, DELETED_AT};
use super::{PostgresSink, Transaction};
use crate::config::{Arrays, Numeric};
use crate::errors::{config, failed};
use crate::types::column;

/// Waits for others that make this table: two that do so at the same time would fail.
pub(super) async fn lock_definitions(transaction: &Transaction, table: &TableName) -> Result<()> {
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(\
               format('%I.%I', coalesce($1, current_schema()), $2::text), 8246187321650113))";
    let locked = transaction.client().query_one(sql, &[&table.schema, &table.name]).await;
    locked.map(drop).map_err(|error| failed("waiting for others that make the table", error))
}

fn checkpoints(table: &TableName) -> String {
    table.sibling(CHECKPOINTS).sql(Dialect::Postgres)
}

/// Whether there is such a table. What `to_regclass` says may be older than the lock that was waited for.
async fn exists(transaction: &Transaction, table: &TableName) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = $2 \
               AND (n.nspname = $1 OR $1 IS NULL AND pg_table_is_visible(c.oid)))";
    let row = transaction.client().query_one(sql, &[&table.schema, &table.name]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking for a table", error))
}

pub(super) async fn begin(sink: &PostgresSink, cx: &Context, load: &LoadSpec) -> Result<Begun> {
    if load.disposition == WriteDisposition::Merge && load.key.is_empty() {
        return Err(config("`merge` needs a `key`"));
    }
    let table = sink.table(load)?;
    prepare(sink, cx, &table).await?;
    let transaction = sink.begin_transaction(cx).await?;
    // For the time of `pre_sql` too, and so for no other table.
    lock_definitions(&transaction, &table).await?;
    let held = locked(&transaction, &table, load).await?;
    let next = Checkpoint::begin(held.as_ref(), load)?;
    if held.as_ref().is_none_or(|held| held.run != next.run) {
        sweep(&transaction, &table, load, next.is_under_way()).await?;
        for statement in &sink.inner.config.pre_sql {
            transaction.execute("running `pre_sql`", statement).await?;
        }
    }
    store(&transaction, &table, load, &next).await?;
    let mut begun = Begun::new(load.clone(), next, Json::Null);
    if load.disposition != WriteDisposition::Replace {
        begun.schema = held_schema(&transaction, &table).await?.map(Arc::new);
    }
    transaction.commit().await?;
    Ok(begun)
}

/// Makes the schema and the table of checkpoints, if they are not there, in a transaction of its own: all streams of the
/// schema wait for it.
async fn prepare(sink: &PostgresSink, cx: &Context, table: &TableName) -> Result<()> {
    let name = table.sibling(CHECKPOINTS);
    let transaction = sink.begin_transaction(cx).await?;
    if schema_exists(&transaction, table).await? && exists(&transaction, &name).await? {
        return transaction.roll_back().await;
    }
    lock_definitions(&transaction, &name).await?;
    if let Some(schema) = &table.schema
        && !schema_exists(&transaction, table).await?
    {
        let sql = format!("CREATE SCHEMA {}", Dialect::Postgres.identifier(schema));
        transaction.execute("making the schema", &sql).await?;
    }
    if !exists(&transaction, &name).await? {
        let sql = format!(
            "CREATE TABLE {} (pipeline text NOT NULL, stream text NOT NULL, checkpoint jsonb NOT NULL, \
             changed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, stream))",
            name.sql(Dialect::Postgres)
        );
        transaction.execute("making the table of checkpoints", &sql).await?;
    }
    transaction.commit().await
}

async fn schema_exists(transaction: &Transaction, table: &TableName) -> Result<bool> {
    let Some(schema) = &table.schema else { return Ok(true) };
    let sql = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    let row = transaction.client().query_one(sql, &[schema]).await;
    row.map(|row| row.get(0)).map_err(|error| failed("looking for the schema", error))
}

/// The checkpoint, locked until the end of the transaction.
pub(super) async fn locked(
    transaction: &Transaction,
    table: &TableName,
    load: &LoadSpec,
) -> Result<Option<Checkpoint>> {
    read(transaction, table, load, " FOR UPDATE").await
}

async fn read(
    transaction: &Transaction,
    table: &TableName,
    load: &LoadSpec,
    lock: &str,
) -> Result<Option<Checkpoint>> {
    let sql = format!(
        "SELECT checkpoint::text FROM {} WHERE pipeline = $1 AND stream = $2{lock}",
        checkpoints(table)
    );
    let row = transaction.client().query_opt(&sql, &[&load.pipeline, &load.stream]).await;
    let row = row.map_err(|error| failed("reading the checkpoint", error))?;
    let Some(row) = row else { return Ok(None) };
    let text: String = row.get(0);
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::data("the checkpoint cannot be read")
            .connector(crate::NAME)
            .detail("table", checkpoints(table))
            .source(error)
            .help("`towpath state reset` removes it, and the next run loads everything")
    })
}

pub(super) async fn store(
    transaction: &Transaction,
    table: &TableName,
    load: &LoadSpec,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let text = serde_json::to_string(checkpoint).map_err(|error| {
        Error::unexpected("the checkpoint is no JSON").connector(crate::NAME).source(error)
    })?;
    let sql = format!(
        "INSERT INTO {} (pipeline, stream, checkpoint) VALUES ($1, $2, $3::text::jsonb) \
         ON CONFLICT (pipeline, stream) DO UPDATE SET checkpoint = EXCLUDED.checkpoint, changed_at = now()",
        checkpoints(table)
    );
    let stored = transaction.client().execute(&sql, &[&load.pipeline, &load.stream, &text]).await;
    stored.map(drop).map_err(|error| failed("storing the checkpoint", error))
}

/// Removes what earlier runs of this stream staged and never committed. The keys that an interrupted run has seen stay, if
/// this run goes on with it. Tells the tables.
async fn sweep(
    transaction: &Transaction,
    table: &TableName,
    load: &LoadSpec,
    goes_on: bool,
) -> Result<Vec<String>> {
    let names = PostgresSink::names(load);
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = coalesce($1, current_schema()) AND c.relkind = 'r' AND starts_with(c.relname, $2)";
    let rows = transaction.client().query(sql, &[&table.schema, &names.prefix()]).await;
    let mut removed = Vec::new();
    for row in rows.map_err(|error| failed("looking for what a crashed run left", error))? {
        let name: String = row.get(0);
        if !(goes_on && name == names.keys()) {
            let name = table.sibling(name).sql(Dialect::Postgres);
            transaction.execute("removing what a crashed run left", &format!("DROP TABLE {name}")).await?;
            removed.push(format!("the table {name}"));
        }
    }
    Ok(removed)
}

/// The columns of the table, if it is there, as the source would tell them.
async fn held_schema(transaction: &Transaction, table: &TableName) -> Result<Option<Schema>> {
    let Some(columns) = table::columns(transaction, table).await? else { return Ok(None) };
    let fields: Vec<_> = columns
        .iter()
        .filter(|described| described.name != DELETED_AT)
        .map(|described| {
            column(described, Numeric::Exact, Arrays::List).field.as_ref().clone().with_nullable(true)
        })
        .collect();
    Ok(Some(Schema::new(fields)))
}

pub(super) async fn held(sink: &PostgresSink, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
    let table = sink.table(load)?;
    let transaction = sink.begin_transaction(cx).await?;
    let held = if exists(&transaction, &table.sibling(CHECKPOINTS)).await? {
        read(&transaction, &table, load, "").await?
    } else {
        None
    };
    transaction.roll_back().await?;
    Ok(held)
}

/// Throws away what runs have staged and never committed.
pub(super) async fn throw_away(sink: &PostgresSink, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
    let table = sink.table(load)?;
    let transaction = sink.begin_transaction(cx).await?;
    let mut removed = Vec::new();
    if exists(&transaction, &table.sibling(CHECKPOINTS)).await? {
        let held = locked(&transaction, &table, load).await?;
        let goes_on = held.is_some_and(|held| held.is_under_way());
        removed = sweep(&transaction, &table, load, goes_on).await?;
    }
    transaction.commit().await?;
    Ok(removed)
}

pub(super) async fn forget(sink: &PostgresSink, cx: &Context, load: &LoadSpec) -> Result<()> {
    let table = sink.table(load)?;
    let transaction = sink.begin_transaction(cx).await?;
    if exists(&transaction, &table.sibling(CHECKPOINTS)).await? {
        locked(&transaction, &table, load).await?;
        sweep(&transaction, &table, load, false).await?;
        let sql = format!("DELETE FROM {} WHERE pipeline = $1 AND stream = $2", checkpoints(&table));
        let removed = transaction.client().execute(&sql, &[&load.pipeline, &load.stream]).await;
        removed.map_err(|error| failed("removing the checkpoint", error))?;
    }
    transaction.commit().await
}
