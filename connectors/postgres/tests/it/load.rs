//! Loads into the sink, step by step, as the engine makes them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Context, DynSink, Finished, Json, LoadSpec, Position, Rejected,
    Result, Split, SplitAdvance, Staged, WriteDisposition,
};
use towpath_testkit::context;

use crate::support::Database;

/// A run that loads the stream `orders` of the pipeline `shop`.
pub(crate) struct Load {
    pub(crate) cx: Context,
    pub(crate) sink: Arc<dyn DynSink>,
    pub(crate) begun: Begun,
    sequence: u64,
    parts: u32,
    planned: Position,
    position: Position,
}

impl Load {
    /// Begins run number `run`. For `merge`, the key is `id`.
    pub(crate) async fn begin(
        database: &Database,
        options: &Json,
        disposition: WriteDisposition,
        run: u32,
    ) -> Result<Self> {
        Self::begin_as(database, options, spec(disposition, run)).await
    }

    /// Begins the run that `spec` says.
    pub(crate) async fn begin_as(database: &Database, options: &Json, spec: LoadSpec) -> Result<Self> {
        Self::begin_within(&context(), database, options, spec).await
    }

    async fn begin_within(cx: &Context, database: &Database, options: &Json, spec: LoadSpec) -> Result<Self> {
        let cx = cx.clone();
        let sink = database.sink(&cx, options).await?;
        let begun = sink.begin(&cx, &spec).await?;
        let progress = begun.checkpoint.progress.clone().unwrap_or_default();
        let position = progress.position(&split().id).cloned().unwrap_or_default();
        let sequence = begun.checkpoint.sequence;
        Ok(Self { cx, sink, begun, sequence, parts: 0, planned: progress.planned, position })
    }

    /// Gives the target these columns, and writes and stages the rows by a writer of their own.
    pub(crate) async fn stage(&mut self, rows: &RecordBatch) -> Result<Staged> {
        if self.begun.state.is_null() || self.begun.schema.as_ref() != Some(rows.schema_ref()) {
            self.begun = self.sink.evolve(&self.cx, &self.begun, rows.schema_ref()).await?;
        }
        self.parts += 1;
        let mut writer = self.sink.writer(&self.cx, &self.begun, self.parts).await?;
        writer.write(rows.clone()).await?;
        writer.finish().await
    }

    /// The token of the next commit.
    pub(crate) fn token(&self, finishes: bool) -> CommitToken {
        let to = if finishes { Position::End } else { Position::At(json!(self.sequence + 1)) };
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.begun.load.run);
        token.epoch = self.begun.checkpoint.epoch;
        token.sequence = self.sequence + 1;
        token.planned = Advance { from: self.planned.clone(), to: Position::At(json!("planned")) };
        token.splits = vec![SplitAdvance { split: split(), from: self.position.clone(), to }];
        token.finished = finishes.then(Finished::default);
        token
    }

    /// Commits until the target refuses no more rows. Returns those that it refused.
    pub(crate) async fn commit(&mut self, staged: Vec<Staged>, finishes: bool) -> Result<Vec<Rejected>> {
        let token = self.token(finishes);
        let mut refused = Vec::new();
        while let Committed::Refused(rows) =
            self.sink.commit(&self.cx, &self.begun, &token, staged.clone()).await?
        {
            assert!(!rows.is_empty(), "a refusal names its rows");
            refused.extend(rows);
        }
        self.sequence = token.sequence;
        self.planned = token.planned.to;
        self.position = if finishes { Position::Start } else { token.splits[0].to.clone() };
        Ok(refused)
    }
}

fn split() -> Split {
    Split::new("only", json!({}))
}

/// Run number `run` of the stream.
fn spec(disposition: WriteDisposition, run: u32) -> LoadSpec {
    let spec = LoadSpec::new("shop", "orders", format!("run-{run:04}"), disposition);
    if disposition == WriteDisposition::Merge { spec.key(vec!["id".to_owned()]) } else { spec }
}

/// A whole run of one commit. Returns all rows that did not make it.
pub(crate) async fn load(
    database: &Database,
    options: &Json,
    disposition: WriteDisposition,
    run: u32,
    rows: &RecordBatch,
) -> Result<Vec<Rejected>> {
    load_within(&context(), database, options, disposition, run, rows).await
}

/// As [`load`], with surroundings that several loads share.
pub(crate) async fn load_within(
    cx: &Context,
    database: &Database,
    options: &Json,
    disposition: WriteDisposition,
    run: u32,
    rows: &RecordBatch,
) -> Result<Vec<Rejected>> {
    let mut load = Load::begin_within(cx, database, options, spec(disposition, run)).await?;
    let mut staged = load.stage(rows).await?;
    let mut rejected = std::mem::take(&mut staged.rejected);
    rejected.extend(load.commit(vec![staged], true).await?);
    Ok(rejected)
}
