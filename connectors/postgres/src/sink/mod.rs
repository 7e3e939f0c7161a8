//! The sink: rows are staged in tables of their own, and land in one transaction with the checkpoint.
//!
//! ```text
//! append, merge   writer ──COPY──> staging table ──INSERT ... SELECT──> table     (commit)
//! replace         writer ──COPY──> table beside ──────────rename──────> table     (commit)
//! ```
//!
//! Where a column's type has no binary form that we know, `replace` takes the way by the staging table too, and the
//! server casts.

mod check;
mod checkpoints;
mod commit;
mod landing;
mod merge;
mod refused;
mod replace;
mod table;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SchemaRef;
use bytes::Bytes;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, Error, LoadSpec, Result, Sink,
    SinkCapabilities, Staged, WriteDisposition,
};
use towpath_sql::{Dialect, StagingNames, TableName};

pub use writer::PostgresWriter;

use crate::config::PostgresSinkConfig;
use crate::connect::{Role, settings};
use crate::errors::config;
use crate::pool::{Pool, Pooled};
use landing::Landing;

/// A batch is a transaction: large enough for its round trips not to count.
const BATCH_BYTES: usize = 4 << 20;

/// Writes into a table.
#[derive(Clone)]
pub struct PostgresSink {
    inner: Arc<Inner>,
}

struct Inner {
    config: PostgresSinkConfig,
    pool: Arc<Pool>,
    /// How many rows were taken out of staged tables because the target refuses them.
    refused: Mutex<HashMap<String, u64>>,
}

/// A transaction that writes. Dropping it rolls it back.
pub(crate) struct Transaction {
    session: Pooled,
}

impl Transaction {
    fn client(&self) -> &tokio_postgres::Client {
        self.session.client()
    }

    async fn execute(&self, what: &str, sql: &str) -> Result<()> {
        self.session.execute(what, sql).await
    }

    /// Sends rows in the midst of a `COPY`.
    async fn write(&self, messages: Bytes) {
        self.session.write(messages).await;
    }

    async fn commit(self) -> Result<()> {
        self.session.execute("committing", "COMMIT").await?;
        self.session.give_back();
        Ok(())
    }

    async fn roll_back(self) -> Result<()> {
        self.session.execute("rolling back", "ROLLBACK").await?;
        self.session.give_back();
        Ok(())
    }
}

impl PostgresSink {
    async fn begin_transaction(&self, cx: &Context) -> Result<Transaction> {
        self.begin_transaction_with(cx, "").await
    }

    /// Begins a transaction with more settings of its own, such as `; SET LOCAL a = b`.
    async fn begin_transaction_with(&self, cx: &Context, more: &str) -> Result<Transaction> {
        let settings = settings(self.inner.pool.options());
        // Violations are told by the statement that causes them.
        let sql = format!("BEGIN; {settings}SET CONSTRAINTS ALL IMMEDIATE{more}");
        let session = self.inner.pool.begin(cx, "beginning a transaction", &sql).await?;
        Ok(Transaction { session })
    }

    /// The table that a load writes to.
    fn table(&self, load: &LoadSpec) -> Result<TableName> {
        let name =
            self.inner.config.table.replace("{stream}", &load.stream).replace("{pipeline}", &load.pipeline);
        let table: TableName = name.parse().map_err(|error: Error| error.connector(crate::NAME))?;
        let longest = Dialect::Postgres.longest_identifier();
        for part in table.schema.iter().chain([&table.name]) {
            // Postgres would cut it, and two long names could become one.
            if part.len() > longest {
                return Err(config(format!(
                    "`{part}` is longer than {longest} bytes, the most for a name in Postgres"
                )));
            }
        }
        Ok(table)
    }

    fn names(load: &LoadSpec) -> StagingNames {
        StagingNames::new(&load.pipeline, &load.stream)
    }

    fn note_refused(&self, staged: &str, rows: u64) {
        *self
            .inner
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(staged.to_owned())
            .or_default() += rows;
    }

    fn refused(&self, staged: &str) -> u64 {
        self.inner.refused.lock().unwrap_or_else(PoisonError::into_inner).get(staged).copied().unwrap_or(0)
    }
}

impl Sink for PostgresSink {
    type Config = PostgresSinkConfig;
    type Writer = PostgresWriter;

    async fn open(config: Self::Config, cx: &Context) -> Result<Self> {
        let pool = Pool::shared(cx, &config.connection()?, Role::Sink)?;
        for index in &config.indexes {
            if index.columns.is_empty() {
                return Err(crate::errors::config("an index needs `columns`"));
            }
        }
        Ok(Self { inner: Arc::new(Inner { config, pool, refused: Mutex::default() }) })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Merge, WriteDisposition::Replace];
        // One connection is left for commits.
        let writers = self.inner.pool.options().max_connections - 1;
        SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions)
            .max_writers(writers)
            .batch_bytes(BATCH_BYTES)
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        check::check(self, cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        checkpoints::begin(self, cx, load).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let landing = table::evolve(self, cx, &begun.load, begun.checkpoint.epoch, schema).await?;
        let mut next = begun.with_schema(schema);
        next.state = landing.to_json()?;
        Ok(next)
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<PostgresWriter> {
        let landing = Landing::of(begun)?;
        Ok(PostgresWriter::new(self.clone(), cx.clone(), begun, landing, part))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        commit::commit(self, cx, begun, token, &staged).await
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        checkpoints::held(self, cx, load).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        checkpoints::forget(self, cx, load).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        checkpoints::throw_away(self, cx, load).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        commit::abort(self, cx, begun, &staged).await
    }
}
