//! Writing: tables, with the checkpoint of each stream in the same database.
//!
//! A writer stages its rows where nobody looks, [batch by batch](writer). For `append` and `merge`, that is a table of its
//! own, from which the [commit] brings them into the target in the transaction that stores the checkpoint. For `replace`,
//! all writers fill one table beside the target, which then [takes its place](swap); where triggers or foreign keys hang
//! on the target, its rows are exchanged in one transaction instead. Views and grants go by the name of a table, so they
//! stay in either case.

mod apply;
mod check;
mod checkpoints;
mod cleaning;
mod commit;
mod evolve;
mod keys;
mod load;
mod names;
mod plan;
mod state;
mod swap;
mod table;
mod warnings;
mod writer;

use std::sync::Arc;

use arrow_schema::SchemaRef;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, Delivery, Error, LoadSpec, Position, Result,
    ResultExt, Sink, SinkCapabilities, Staged, WriteDisposition,
};

use checkpoints::Checkpoints;
use cleaning::{Abandoned, remove, sweep};
use names::{Names, sql};
use state::{Place, State};
use table::{Table, database_exists};

use crate::NAME;
use crate::client::{Client, Role};
use crate::config::{DeleteMissing, SinkConfig};
use crate::errors::config;
use crate::pool::Pool;
use crate::sql::identifier;

pub use writer::MysqlWriter;

/// A batch is a transaction: large enough for its round trips not to count.
const BATCH_BYTES: usize = 2 << 20;

/// The writing side. The traits of `towpath_core` say what each method must promise.
#[derive(Debug)]
pub struct MysqlSink {
    config: SinkConfig,
    /// The database of tables without one.
    database: Option<String>,
    pool: Arc<Pool>,
    abandoned: Abandoned,
}

impl MysqlSink {
    fn names(&self, load: &LoadSpec) -> Result<Names> {
        Names::new(load, &self.config.table, self.database.as_deref())
    }

    async fn begin_load(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        plan::check_options(&self.config, load)?;
        let names = self.names(load)?;
        let checkpoints = Checkpoints::new(&names, load);
        let mut client = self.pool.get(cx).await?;
        if !database_exists(&mut client, names.database()).await? {
            let create = format!(
                "CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4",
                identifier(names.database())
            );
            client.execute(&create).await?;
        }
        checkpoints.ensure(&mut client).await?;
        let checkpoint = self.take_over(&mut client, &names, &checkpoints, load).await?;
        sweep(&mut client, &names, load, self.keeps_keys(&checkpoint)).await?;
        self.run_sql(&mut client, &names, "pre_sql", &self.config.pre_sql).await?;
        let mut begun = Begun::new(load.clone(), checkpoint, State::default().json()?);
        if let Some(table) = Table::find(&mut client, names.target()).await? {
            table.check(names.target())?;
            if load.disposition != WriteDisposition::Replace {
                let stored = checkpoints.read(&mut client).await?.and_then(|record| record.columns);
                let schema =
                    evolve::known_schema(&table, stored.as_ref(), self.config.operation_column.as_deref());
                begun.schema = (!schema.fields().is_empty()).then_some(schema);
            }
        }
        Ok(begun)
    }

    /// Makes the checkpoint that of this run, which fences older ones.
    async fn take_over(
        &self,
        client: &mut Client,
        names: &Names,
        checkpoints: &Checkpoints,
        load: &LoadSpec,
    ) -> Result<Checkpoint> {
        loop {
            swap::resolve(client, names, checkpoints).await?;
            client.execute("START TRANSACTION").await?;
            let record = checkpoints.lock(client).await?;
            if record.swap.is_some() {
                // An older run has noted it in this moment.
                client.execute("ROLLBACK").await?;
                continue;
            }
            let next = Checkpoint::begin(record.checkpoint.as_ref(), load)?;
            self.check_complete(&next)?;
            checkpoints.store(client, &next).await?;
            client.execute("COMMIT").await?;
            return Ok(next);
        }
    }

    /// Only a run that reads everything tells what is missing.
    fn check_complete(&self, checkpoint: &Checkpoint) -> Result<()> {
        let is_complete = checkpoint.cursor.is_none() && checkpoint.since == Position::Start;
        if is_complete || self.config.delete_missing == DeleteMissing::No {
            return Ok(());
        }
        Err(config("`delete_missing` needs a source that is read as a whole in each run, and this one goes on from the last")
            .help("remove `cursor`, or `delete_missing`"))
    }

    async fn run_sql(
        &self,
        client: &mut Client,
        names: &Names,
        option: &str,
        statements: &[String],
    ) -> Result<()> {
        if statements.is_empty() {
            return Ok(());
        }
        client.execute(&format!("USE {}", identifier(names.database()))).await?;
        for statement in statements {
            let outcome = client.execute(statement).await;
            outcome.map_err(|error| error.detail("option", option).detail("statement", statement))?;
        }
        Ok(())
    }

    async fn commit_load(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: &[Staged],
    ) -> Result<Committed> {
        self.abandoned.clean(cx, &self.pool).await?;
        match State::of(begun)?.staging.map(|staging| staging.place) {
            Some(Place::Beside) => self.commit_swap(cx, begun, token, staged).await,
            // Without columns there are no rows, and a `replace` empties the target.
            Some(Place::Parts) | None => self.commit_parts(cx, begun, token, staged).await,
        }
    }

    async fn held_checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        let names = self.names(load)?;
        let mut client = self.pool.get(cx).await?;
        let Some(record) = Checkpoints::new(&names, load).read(&mut client).await? else { return Ok(None) };
        match record.swap {
            Some(swap) if swap::was_done(&mut client, &names, &swap).await? => Ok(Some(swap.next)),
            _ => Ok(record.checkpoint),
        }
    }

    async fn forget_load(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        let names = self.names(load)?;
        let mut client = self.pool.get(cx).await?;
        Checkpoints::new(&names, load).delete(&mut client).await?;
        sweep(&mut client, &names, load, false).await.map(drop)
    }

    async fn sweep_load(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        let names = self.names(load)?;
        let checkpoints = Checkpoints::new(&names, load);
        let mut client = self.pool.get(cx).await?;
        // Of a swap that a crash has cut off, the tables tell whether it was done.
        swap::resolve(&mut client, &names, &checkpoints).await?;
        let held = checkpoints.read(&mut client).await?.and_then(|record| record.checkpoint);
        let keeps_keys = held.is_some_and(|held| self.keeps_keys(&held));
        sweep(&mut client, &names, load, keeps_keys).await
    }

    /// Whether a run that goes on needs the keys that the interrupted one has seen.
    fn keeps_keys(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.is_under_way() && self.config.delete_missing != DeleteMissing::No
    }

    async fn abort_load(&self, cx: &Context, begun: &Begun, staged: &[Staged]) -> Result<()> {
        let names = self.names(&begun.load)?;
        let mut client = self.pool.get(cx).await?;
        remove(&mut client, &writer::leftovers(&names, begun.checkpoint.epoch, staged)?).await
    }

    /// Where an error happened.
    fn place(&self, load: &LoadSpec) -> String {
        self.names(load).map_or_else(|_| self.config.table.clone(), |names| sql(names.target()))
    }
}

/// An error of the server that says that a table cannot be as the columns want it.
fn refusal(error: Error, message: &str) -> Error {
    Error::schema(format!("{message}: {}", error.message()))
        .connector(NAME)
        .source(error)
        .help("rename or cast columns under `transform`")
}

impl Sink for MysqlSink {
    type Config = SinkConfig;
    type Writer = MysqlWriter;

    async fn open(config: SinkConfig, cx: &Context) -> Result<Self> {
        let mut options = config.connection()?;
        // It may have to be made first.
        let database = options.database.take();
        let pool = Pool::shared(cx, &options, Role::Sink)?;
        Ok(Self { config, database, pool, abandoned: Abandoned::default() })
    }

    fn capabilities(&self) -> SinkCapabilities {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Replace, WriteDisposition::Merge];
        SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions)
            .max_writers(self.pool.options().max_connections)
            .batch_bytes(BATCH_BYTES)
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.check_target(cx, load).await.operation("check")
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.begin_load(cx, load).await.operation("begin").detail("table", self.place(load))
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let evolved = self.evolve_target(cx, begun, schema).await;
        evolved.map(|(begun, _)| begun).operation("evolve").detail("table", self.place(&begun.load))
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<MysqlWriter> {
        let writer = self.open_writer(cx, begun, part).await;
        writer.operation("writer").detail("table", self.place(&begun.load))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let committed = self.commit_load(cx, begun, token, &staged).await;
        committed.operation("commit").detail("table", self.place(&begun.load))
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.held_checkpoint(cx, load).await.operation("checkpoint").detail("table", self.place(load))
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.forget_load(cx, load).await.operation("forget").detail("table", self.place(load))
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.sweep_load(cx, load).await.operation("sweep").detail("table", self.place(load))
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        let aborted = self.abort_load(cx, begun, &staged).await;
        aborted.operation("abort").detail("table", self.place(&begun.load))
    }
}
