//! A load as the engine would run it, step by step.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use serde_json::json;
use towpath_core::{
    Advance, Applied, Begun, Checkpoint, CommitToken, Committed, Context, DynSink, Finished, Json, LoadSpec,
    Position, Split, SplitAdvance, Staged, WriteDisposition,
};

use super::{Broken, SinkFixture};
use crate::rows;

/// The id of the n-th run.
pub(super) fn run_id(number: u32) -> String {
    format!("run-{number:04}")
}

/// Rows with these ids, in the columns that most proofs use.
pub(super) fn people(ids: Range<i64>) -> RecordBatch {
    named_people(ids, "person")
}

/// Rows with these ids and this name.
pub(super) fn named_people(ids: Range<i64>, name: &str) -> RecordBatch {
    let rows: Vec<Json> = ids.map(|id| json!([id, format!("{name} {id}")])).collect();
    rows::batch("id: int64, name: string", &json!(rows))
}

/// A load under way, with the checkpoint that its target must hold.
pub(super) struct Load {
    pub(super) cx: Context,
    pub(super) sink: Arc<dyn DynSink>,
    pub(super) begun: Begun,
    pub(super) checkpoint: Checkpoint,
    parts: u32,
}

impl Load {
    /// Opens the sink as a new process does, and begins.
    pub(super) async fn begin(
        fixture: &dyn SinkFixture,
        stream: &str,
        run: &str,
        disposition: WriteDisposition,
    ) -> Result<Self, Broken> {
        let cx = fixture.context();
        let sink = fixture.open(&cx, stream).await.map_err(|error| Broken::from(error).when("open"))?;
        let begun = sink.begin(&cx, &spec(stream, run, disposition)).await;
        let begun = begun.map_err(|error| Broken::from(error).when("begin"))?;
        Ok(Self { cx, sink, checkpoint: begun.checkpoint.clone(), begun, parts: 0 })
    }

    pub(super) async fn evolve(&mut self, schema: &SchemaRef) -> towpath_core::Result<()> {
        self.begun = self.sink.evolve(&self.cx, &self.begun, schema).await?;
        Ok(())
    }

    /// Writes batches of the same columns with a writer of their own, and stages them.
    pub(super) async fn try_stage(&mut self, batches: &[RecordBatch]) -> towpath_core::Result<Staged> {
        let schema = batches[0].schema();
        if self.begun.schema.as_ref() != Some(&schema) {
            self.evolve(&schema).await?;
        }
        let part = self.next_part();
        let mut writer = self.sink.writer(&self.cx, &self.begun, part).await?;
        for batch in batches {
            writer.write(batch.clone()).await?;
        }
        writer.finish().await
    }

    /// As [`try_stage`](Self::try_stage), where nothing may fail or be refused.
    pub(super) async fn stage(&mut self, batches: &[RecordBatch]) -> Result<Staged, Broken> {
        let staged = self.try_stage(batches).await.map_err(|error| Broken::from(error).when("write"))?;
        let written: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if staged.rows != written as u64 || !staged.rejected.is_empty() {
            return Err(Broken::new(format!(
                "{written} rows were written, and the receipt tells {staged:?}"
            )));
        }
        Ok(staged)
    }

    pub(super) fn next_part(&mut self) -> u32 {
        self.parts += 1;
        self.parts - 1
    }

    /// The next token: its split goes on to step `to`.
    pub(super) fn token(&self, to: u64) -> CommitToken {
        self.advance(Position::At(json!({ "step": to })))
    }

    /// The last token of the run.
    pub(super) fn last_token(&self) -> CommitToken {
        let mut token = self.advance(Position::End);
        token.finished =
            Some(Finished { since: Position::At(json!("seen")), cursor: Some(json!("2026-01-31")) });
        token
    }

    fn advance(&self, to: Position) -> CommitToken {
        let split = Split::new("only", json!({ "path": "a" }));
        let progress = self.checkpoint.progress.clone().unwrap_or_default();
        let from = progress.position(&split.id).cloned().unwrap_or_default();
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.checkpoint.run);
        token.epoch = self.checkpoint.epoch;
        token.sequence = self.checkpoint.sequence + 1;
        token.planned = Advance { from: progress.planned, to: Position::At(json!(1)) };
        token.splits = vec![SplitAdvance { split, from, to }];
        token.until = Some(json!("2026-01-31"));
        token.seen = Some(json!("2026-01-15"));
        token
    }

    pub(super) async fn try_commit(
        &self,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> towpath_core::Result<Committed> {
        self.sink.commit(&self.cx, &self.begun, token, staged).await
    }

    /// Commits where that must apply, and remembers what the target holds now.
    pub(super) async fn commit(&mut self, token: &CommitToken, staged: Vec<Staged>) -> Result<(), Broken> {
        match self.try_commit(token, staged).await.map_err(|error| Broken::from(error).when("commit"))? {
            Committed::Applied => {}
            Committed::AlreadyApplied => {
                return Err(Broken::new("a new token was answered with `AlreadyApplied`"));
            }
            Committed::Refused(rows) => {
                return Err(Broken::new(format!("the target refused rows that it must take: {rows:?}")));
            }
        }
        match self.checkpoint.apply(token)? {
            Applied::Now(next) => self.checkpoint = *next,
            Applied::Already => return Err(Broken::new("the suite used a token twice")),
        }
        Ok(())
    }

    /// Stages batches and ends the run with them.
    pub(super) async fn finish(&mut self, batches: &[RecordBatch]) -> Result<(), Broken> {
        let staged = self.stage(batches).await?;
        self.commit(&self.last_token(), vec![staged]).await
    }

    pub(super) async fn abort(&self, staged: Vec<Staged>) -> Result<(), Broken> {
        let aborted = self.sink.abort(&self.cx, &self.begun, staged).await;
        aborted.map_err(|error| Broken::from(error).when("abort"))
    }

    pub(super) async fn held(&self) -> Result<Option<Checkpoint>, Broken> {
        let held = self.sink.checkpoint(&self.cx, &self.begun.load).await;
        held.map_err(|error| Broken::from(error).when("checkpoint"))
    }
}

pub(super) fn spec(stream: &str, run: &str, disposition: WriteDisposition) -> LoadSpec {
    let spec = LoadSpec::new("conformance", stream, run, disposition);
    if disposition == WriteDisposition::Merge { spec.key(vec!["id".to_owned()]) } else { spec }
}
