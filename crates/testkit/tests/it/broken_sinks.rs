//! A test of the tests: for each promise of a sink, one that breaks it is found out.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use serde_json::json;
use towpath_core::{
    Begun, Checkpoint, CommitToken, Committed, Context, DynSink, DynWriter, Error, ErrorKind, Finished, Json,
    LoadSpec, Result, SinkCapabilities, Staged, TypeFamily, WriteDisposition,
};
use towpath_testkit::conformance::ErrorCase;
use towpath_testkit::conformance::sink::{PROMISES, SinkFixture};
use towpath_testkit::memory::{MemorySink, MemoryTarget};
use towpath_testkit::rows;

use crate::reference::SECRET;

/// What is wrong with a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    LastRowIsLost,
    AppendReplaces,
    BeginEmpties,
    EmptyCommitsAreSkipped,
    MergeAppends,
    ManyWritersAreClaimed,
    OrderIsClaimed,
    RowsShowEarly,
    RepeatedTokensLandAgain,
    StagedRowsStay,
    FencedRunsCommit,
    AbortDoesNothing,
    DroppedWritersStay,
    NothingIsSwept,
    ReceiptsAreLocal,
    ProgressIsLost,
    NothingIsForgotten,
    NewColumnsAreLeftOut,
    WideValuesAreCut,
    TypesAreDenied,
    TypesAreClaimed,
    RefusalsNameNothing,
    CheckLeavesARow,
    WrongKind,
    SecretInState,
}

/// Each flaw, the promise that it breaks, and what the suite says about it.
const FLAWS: &[(Flaw, &str, &str)] = &[
    (Flaw::LastRowIsLost, "rows_come_back_as_written", "missing: {\"id\":3,\"name\":\"person 3\"}"),
    (Flaw::AppendReplaces, "append_adds", "missing: {\"id\":1,"),
    (
        Flaw::BeginEmpties,
        "replace_swaps_at_once_and_keeps_old_rows_until_then",
        "after `begin` of a `replace`",
    ),
    (Flaw::EmptyCommitsAreSkipped, "replace_with_no_rows_empties", "expected 0 rows, found 3"),
    (Flaw::MergeAppends, "merge_replaces_by_key", "too many"),
    (Flaw::ManyWritersAreClaimed, "many_writers_at_once", "more than 1 writers at once"),
    (Flaw::OrderIsClaimed, "one_sequence_lands_in_the_order_of_the_commit", "and lie in the order"),
    (Flaw::RowsShowEarly, "nothing_is_visible_before_the_commit", "after `write`: expected 0 rows"),
    (Flaw::RepeatedTokensLandAgain, "the_same_token_twice_lands_once", "after the same token twice"),
    (Flaw::StagedRowsStay, "a_crash_between_finish_and_commit_is_healed", "this was left behind"),
    (Flaw::FencedRunsCommit, "a_fenced_run_gets_conflict", "a fenced run committed"),
    (Flaw::AbortDoesNothing, "abort_leaves_nothing", "this was left behind"),
    (Flaw::DroppedWritersStay, "dropping_a_writer_leaves_nothing", "open writers"),
    (Flaw::NothingIsSwept, "sweeping_throws_away_what_was_never_committed", "`sweep` told nothing"),
    (Flaw::ReceiptsAreLocal, "stale_staged_survives_serde", "commit by another process"),
    (Flaw::EmptyCommitsAreSkipped, "commit_without_rows_stores_progress", "and `begin` gives"),
    (Flaw::ProgressIsLost, "checkpoint_comes_back_at_begin", "and `begin` gives"),
    (Flaw::NothingIsForgotten, "forgetting_removes_the_checkpoint_and_keeps_the_rows", "after `forget`"),
    (Flaw::NewColumnsAreLeftOut, "new_columns_evolve", "missing: {\"extra\":\"more\""),
    (Flaw::WideValuesAreCut, "wider_types_evolve", "missing: {\"id\":4,\"measure\":4000000000}"),
    (Flaw::TypesAreDenied, "every_arrow_type_is_carried_or_refused", "and the column was taken"),
    (Flaw::TypesAreClaimed, "every_arrow_type_is_carried_or_refused", "and the column was refused"),
    (Flaw::RefusalsNameNothing, "every_arrow_type_is_carried_or_refused", "does not name the column"),
    (Flaw::WideValuesAreCut, "every_arrow_type_is_carried_or_refused", "int64: "),
    (Flaw::CheckLeavesARow, "check_succeeds_and_leaves_nothing", "after `check`"),
    (Flaw::WrongKind, "errors_are_classified", "must fail with NotFound, and failed with Config"),
    (Flaw::SecretInState, "debug_shows_no_secret", "a secret shows in a begun load"),
];

#[tokio::test(start_paused = true)]
async fn every_flaw_is_found() {
    for (flaw, promise, text) in FLAWS {
        let (_, prove) = PROMISES.iter().find(|(name, _)| name == promise).unwrap();
        match prove(&Breaking { flaw: *flaw, target: MemoryTarget::new() }).await {
            Err(broken) => assert!(broken.to_string().contains(text), "{flaw:?} breaks {promise}: {broken}"),
            Ok(kept) => panic!("{flaw:?} must break {promise}, and it is {kept:?}"),
        }
    }
}

#[test]
fn every_promise_has_a_flaw() {
    let broken: BTreeSet<_> = FLAWS.iter().map(|(_, promise, _)| *promise).collect();
    let promises: BTreeSet<_> = PROMISES.iter().map(|(name, _)| *name).collect();
    assert_eq!(broken, promises);
}

struct Breaking {
    flaw: Flaw,
    target: MemoryTarget,
}

#[async_trait]
impl SinkFixture for Breaking {
    async fn open(&self, _cx: &Context, _stream: &str) -> Result<Arc<dyn DynSink>> {
        let sink = MemorySink::new(&self.target);
        let sink = match self.flaw {
            Flaw::ManyWritersAreClaimed => sink.max_writers(1),
            Flaw::TypesAreClaimed | Flaw::RefusalsNameNothing => {
                sink.types(&[TypeFamily::Int, TypeFamily::String])
            }
            _ => sink,
        };
        let (inner, target) = (sink.shared(), self.target.clone());
        Ok(Arc::new(BrokenSink {
            inner,
            target,
            flaw: self.flaw,
            receipts: Arc::default(),
            landed: Arc::default(),
        }))
    }

    async fn rows(&self, stream: &str) -> Result<Vec<Json>> {
        Ok(self.target.rows(stream))
    }

    fn context(&self) -> Context {
        towpath_testkit::paused_context()
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let kind = if self.flaw == Flaw::WrongKind { ErrorKind::Config } else { ErrorKind::NotFound };
        let error = Error::new(kind, "gone").connector("broken");
        vec![ErrorCase::new("broken", ErrorKind::NotFound, async { Err(error) })]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        Ok(self.target.leftovers())
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

struct BrokenSink {
    inner: Arc<dyn DynSink>,
    target: MemoryTarget,
    flaw: Flaw,
    /// Real receipts by part, for [`Flaw::ReceiptsAreLocal`].
    receipts: Arc<Mutex<HashMap<u32, Staged>>>,
    /// What was written, for [`Flaw::RepeatedTokensLandAgain`].
    landed: Arc<Mutex<Vec<RecordBatch>>>,
}

impl BrokenSink {
    /// Removes all committed rows by a load of another pipeline.
    async fn empty(&self, cx: &Context, stream: &str) -> Result<()> {
        let load = LoadSpec::new("intruder", stream, "r", WriteDisposition::Replace);
        let begun = self.inner.begin(cx, &load).await?;
        let mut token = CommitToken::default();
        (token.run, token.epoch, token.sequence) =
            ("r".to_owned(), begun.checkpoint.epoch, begun.checkpoint.sequence + 1);
        token.finished = Some(Finished::default());
        self.inner.commit(cx, &begun, &token, Vec::new()).await.map(drop)
    }

    /// The columns that this sink really writes.
    fn written(&self, schema: &SchemaRef) -> SchemaRef {
        let fields = schema
            .fields()
            .iter()
            .filter(|field| self.flaw != Flaw::NewColumnsAreLeftOut || field.name() != "extra");
        let fields = fields.map(|field| match field.name().as_str() {
            "measure" | "measured_thing"
                if self.flaw == Flaw::WideValuesAreCut && field.data_type().is_integer() =>
            {
                Arc::new(Field::new(field.name(), DataType::Int32, true))
            }
            _ => field.clone(),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

#[async_trait]
impl DynSink for BrokenSink {
    fn capabilities(&self) -> SinkCapabilities {
        let capabilities = self.inner.capabilities();
        match self.flaw {
            Flaw::ManyWritersAreClaimed => capabilities.max_writers(8),
            Flaw::OrderIsClaimed => capabilities.one_sequence(),
            Flaw::TypesAreDenied => capabilities.types(vec![TypeFamily::Int, TypeFamily::String]),
            Flaw::TypesAreClaimed => capabilities.types(TypeFamily::ALL.to_vec()),
            _ => capabilities,
        }
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        if self.flaw == Flaw::CheckLeavesARow {
            self.target.insert("conformance", rows::batch("id: int64", &json!([[1]])));
        }
        self.inner.check(cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        let mut begun = self.inner.begin(cx, load).await?;
        match self.flaw {
            Flaw::BeginEmpties => self.empty(cx, &load.stream).await?,
            Flaw::StagedRowsStay => {
                let stale = rows::batch("id: int64", &json!([[1]]));
                let stale_load = self.inner.evolve(cx, &begun, &stale.schema()).await?;
                let mut writer = self.inner.writer(cx, &stale_load, 99).await?;
                writer.write(stale).await?;
                writer.finish().await?;
            }
            Flaw::ProgressIsLost => begun.checkpoint.progress = None,
            Flaw::SecretInState => begun.state = json!({"url": format!("db://me:{SECRET}@host")}),
            _ => {}
        }
        Ok(begun)
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        let evolved = self.inner.evolve(cx, begun, schema).await;
        evolved.map_err(|error| match self.flaw {
            Flaw::RefusalsNameNothing => Error::schema("this cannot be held"),
            _ => error,
        })
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        let schema = self.written(begun.schema()?);
        let inner = self.inner.writer(cx, &begun.with_schema(&schema), part).await?;
        Ok(Box::new(BrokenWriter {
            inner: Some(inner),
            schema,
            flaw: self.flaw,
            target: self.target.clone(),
            stream: begun.load.stream.clone(),
            rows: 0,
            receipts: self.receipts.clone(),
            landed: self.landed.clone(),
        }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        mut staged: Vec<Staged>,
    ) -> Result<Committed> {
        let (mut begun, mut token) = (begun.clone(), token.clone());
        match self.flaw {
            Flaw::EmptyCommitsAreSkipped if staged.is_empty() => return Ok(Committed::Applied),
            Flaw::OrderIsClaimed => staged.sort_by_key(|staged| staged.part),
            Flaw::AppendReplaces => begun.load.disposition = WriteDisposition::Replace,
            Flaw::MergeAppends => begun.load.disposition = WriteDisposition::Append,
            Flaw::ReceiptsAreLocal => {
                for receipt in &mut staged {
                    let known = self.receipts.lock().unwrap().get(&receipt.part).cloned();
                    *receipt = known.ok_or_else(|| Error::unexpected("this receipt is not known here"))?;
                }
            }
            Flaw::FencedRunsCommit => {
                let held = self.inner.checkpoint(cx, &begun.load).await?.expect("the load was begun");
                (token.run, token.epoch, token.sequence) = (held.run, held.epoch, held.sequence + 1);
                token.splits.clear();
                token.planned.from = held.progress.map(|progress| progress.planned).unwrap_or_default();
                staged.clear();
            }
            _ => {}
        }
        let committed = self.inner.commit(cx, &begun, &token, staged).await?;
        if self.flaw == Flaw::RepeatedTokensLandAgain && committed == Committed::AlreadyApplied {
            let landed = self.landed.lock().unwrap().clone();
            for rows in landed {
                self.target.insert(&begun.load.stream, rows);
            }
        }
        Ok(committed)
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.inner.checkpoint(cx, load).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        if self.flaw == Flaw::NothingIsForgotten { Ok(()) } else { self.inner.forget(cx, load).await }
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        if self.flaw == Flaw::NothingIsSwept { Ok(Vec::new()) } else { self.inner.sweep(cx, load).await }
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        if self.flaw == Flaw::AbortDoesNothing { Ok(()) } else { self.inner.abort(cx, begun, staged).await }
    }
}

struct BrokenWriter {
    inner: Option<Box<dyn DynWriter>>,
    schema: SchemaRef,
    flaw: Flaw,
    target: MemoryTarget,
    stream: String,
    rows: u64,
    receipts: Arc<Mutex<HashMap<u32, Staged>>>,
    landed: Arc<Mutex<Vec<RecordBatch>>>,
}

#[async_trait]
impl DynWriter for BrokenWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.rows += rows.num_rows() as u64;
        // Casts that lose a value give null.
        let columns =
            self.schema.fields().iter().map(|field| cast(&rows[field.name().as_str()], field.data_type()));
        let mut rows =
            RecordBatch::try_new(self.schema.clone(), columns.collect::<std::result::Result<_, _>>()?)?;
        match self.flaw {
            Flaw::LastRowIsLost => rows = rows.slice(0, rows.num_rows() - 1),
            Flaw::RowsShowEarly => {
                self.target.insert(&self.stream, rows);
                return Ok(());
            }
            _ => {}
        }
        self.landed.lock().unwrap().push(rows.clone());
        self.inner.as_mut().expect("it is not finished").write(rows).await
    }

    async fn finish(mut self: Box<Self>) -> Result<Staged> {
        let mut staged = self.inner.take().expect("it is finished once").finish().await?;
        staged.rows = self.rows;
        if self.flaw == Flaw::ReceiptsAreLocal {
            self.receipts.lock().unwrap().insert(staged.part, staged.clone());
            staged.payload = json!("ask the process that wrote it");
        }
        Ok(staged)
    }
}

impl Drop for BrokenWriter {
    fn drop(&mut self) {
        if self.flaw == Flaw::DroppedWritersStay {
            std::mem::forget(self.inner.take());
        }
    }
}
