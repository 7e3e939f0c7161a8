//! The contract step by step, in the order in which the engine calls it: for tests that look at what lies between.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_core::{
    Advance, Applied, Batch, Begun, Checkpoint, CommitToken, Committed, Context, DynSink, DynSource,
    Finished, Json, LoadSpec, Planned, Position, Result, ScanPlan, ScanRequest, Split, SplitAdvance, Staged,
};

use crate::rows;

/// A load under way, with the checkpoint that its target must hold.
pub struct Load {
    /// The surroundings of the sink.
    pub cx: Context,
    /// The sink.
    pub sink: Arc<dyn DynSink>,
    /// What `begin` has answered, with the columns that were last set.
    pub begun: Begun,
    checkpoint: Checkpoint,
    parts: u32,
}

impl Load {
    /// Begins a run.
    pub async fn begin(cx: Context, sink: Arc<dyn DynSink>, spec: LoadSpec) -> Result<Self> {
        let begun = sink.begin(&cx, &spec).await?;
        Ok(Self { checkpoint: begun.checkpoint.clone(), cx, sink, begun, parts: 0 })
    }

    /// Writes batches of the same columns with a writer of their own, and stages them.
    pub async fn stage(&mut self, batches: &[RecordBatch]) -> Result<Staged> {
        let schema = batches[0].schema();
        self.begun = self.sink.evolve(&self.cx, &self.begun, &schema).await?;
        self.parts += 1;
        let mut writer = self.sink.writer(&self.cx, &self.begun, self.parts - 1).await?;
        for batch in batches {
            writer.write(batch.clone()).await?;
        }
        writer.finish().await
    }

    /// The token that ends the run.
    pub fn last_token(&self) -> CommitToken {
        let mut token = self.advance(Position::End);
        token.finished = Some(Finished::default());
        token
    }

    /// A token with which the run goes on to this step.
    pub fn token(&self, step: u64) -> CommitToken {
        self.advance(Position::At(json!(step)))
    }

    fn advance(&self, to: Position) -> CommitToken {
        let split = Split::new("only", json!({}));
        let progress = self.checkpoint.progress.clone().unwrap_or_default();
        let from = progress.position(&split.id).cloned().unwrap_or_default();
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.checkpoint.run);
        token.epoch = self.checkpoint.epoch;
        token.sequence = self.checkpoint.sequence + 1;
        token.planned = Advance { from: progress.planned, to: Position::At(json!(1)) };
        token.splits = vec![SplitAdvance { split, from, to }];
        token
    }

    /// Commits, and remembers what the target holds now.
    pub async fn commit(&mut self, token: &CommitToken, staged: Vec<Staged>) -> Result<Committed> {
        let committed = self.sink.commit(&self.cx, &self.begun, token, staged).await?;
        if !matches!(committed, Committed::Refused(_))
            && let Applied::Now(next) = self.checkpoint.apply(token)?
        {
            self.checkpoint = *next;
        }
        Ok(committed)
    }

    /// Stages batches and ends the run with them.
    pub async fn finish(&mut self, batches: &[RecordBatch]) -> Result<Committed> {
        let staged = self.stage(batches).await?;
        let token = self.last_token();
        self.commit(&token, vec![staged]).await
    }
}

/// What is asked of a source by default.
pub fn request() -> ScanRequest {
    let mut request = ScanRequest::default();
    request.parallelism = 4;
    request
}

/// The plan and its splits.
pub async fn plan(
    source: &dyn DynSource,
    cx: &Context,
    request: &ScanRequest,
) -> Result<(ScanPlan, Vec<Split>)> {
    let mut plan = source.plan(cx, request).await?;
    let steps = std::mem::replace(&mut plan.splits, futures::stream::empty().boxed());
    let steps: Vec<Planned> = steps.try_collect().await?;
    let splits = steps.into_iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    });
    Ok((plan, splits.collect()))
}

/// All batches of a split, from a position on.
pub async fn read(source: &dyn DynSource, cx: &Context, split: &Split, from: Position) -> Result<Vec<Batch>> {
    source.read(cx, split, from)?.try_collect().await
}

/// All batches of all splits, one split behind the other.
pub async fn batches(source: &dyn DynSource, cx: &Context, request: &ScanRequest) -> Result<Vec<Batch>> {
    let mut all = Vec::new();
    for split in plan(source, cx, request).await?.1 {
        all.extend(read(source, cx, &split, Position::Start).await?);
    }
    Ok(all)
}

/// The rows of batches as JSON.
pub fn json_rows(batches: &[Batch]) -> Vec<Json> {
    rows::to_json(batches.iter().map(|batch| &batch.rows))
}
