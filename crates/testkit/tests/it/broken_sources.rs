//! A test of the tests: for each promise of a source, one that breaks it is found out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::json;
use towpath_core::{
    BatchStream, Context, Dataset, DynSource, Error, ErrorKind, Json, Planned, Position, Pushdown, Rejected,
    Result, ScanPlan, ScanRequest, SourceCapabilities, Split,
};
use towpath_testkit::conformance::source::{PROMISES, SourceFixture};
use towpath_testkit::conformance::{ErrorCase, Kept};
use towpath_testkit::memory::{MemoryData, MemorySource};

use crate::reference::{SECRET, seeded};

/// What is wrong with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    RandomIds,
    DoubledIds,
    LastSplitForgotten,
    SplitsOverlap,
    PlanningStartsAgain,
    AnyVersionIsRead,
    RangeIsIgnored,
    UntilIsIgnored,
    ReadSplitsComeAgain,
    ValuesChange,
    GoodRowsAreRejected,
    OtherColumnsThanPlanned,
    ResumeLosesABatch,
    ResumeDoublesABatch,
    OrderIsClaimed,
    ColumnsAreClaimed,
    PositionsAreLost,
    ReadsStayOpen,
    CancelLooksLikeTheEnd,
    CancelIsAnotherError,
    CheckFails,
    WrongKind,
    FutileRetry,
    Anonymous,
    Succeeds,
    SecretInSplit,
    SecretInError,
}

/// Each flaw, the promise that it breaks, and what the suite says about it.
const FLAWS: &[(Flaw, &str, &str)] = &[
    (Flaw::RandomIds, "plan_is_deterministic", "plans once"),
    (Flaw::DoubledIds, "splits_are_disjoint_and_complete", "the same id"),
    (Flaw::LastSplitForgotten, "splits_are_disjoint_and_complete", "missing: {\"at\":\"2026-01-11\""),
    (Flaw::SplitsOverlap, "splits_are_disjoint_and_complete", "too many: {\"at\":\"2026-01-01\""),
    (Flaw::PlanningStartsAgain, "planning_resumes_behind_every_step", "planning behind split a"),
    (Flaw::AnyVersionIsRead, "splits_and_positions_survive_serde", "as if it were known"),
    (Flaw::RangeIsIgnored, "cursor_ranges_are_kept", "too many"),
    (Flaw::UntilIsIgnored, "cursor_ranges_are_kept", "too many"),
    (Flaw::ReadSplitsComeAgain, "what_is_complete_is_not_read_again", "expected 0 rows, found 20"),
    (Flaw::ValuesChange, "reading_gives_what_was_seeded", "missing"),
    (Flaw::GoodRowsAreRejected, "reading_gives_what_was_seeded", "good rows are rejected"),
    (Flaw::OtherColumnsThanPlanned, "reading_gives_what_was_seeded", "the plan told None"),
    (
        Flaw::ResumeLosesABatch,
        "killing_after_every_batch_and_resuming_loses_and_doubles_nothing",
        "split a killed after batch 1: reading on from At(Number(1)): expected 8 rows, found 7",
    ),
    (
        Flaw::ResumeDoublesABatch,
        "killing_after_every_batch_and_resuming_loses_and_doubles_nothing",
        "split a killed after batch 1: reading on from At(Number(1)): expected 8 rows, found 11",
    ),
    (Flaw::OrderIsClaimed, "capabilities_match_behaviour", "`at` goes back"),
    (Flaw::ColumnsAreClaimed, "capabilities_match_behaviour", "was asked for, exactly"),
    (Flaw::PositionsAreLost, "capabilities_match_behaviour", "is `Start`"),
    (Flaw::ReadsStayOpen, "dropping_in_mid_stream_leaves_nothing_behind", "open reads"),
    (Flaw::CancelLooksLikeTheEnd, "cancelled_context_stops", "as if it were finished"),
    (Flaw::CancelIsAnotherError, "cancelled_context_stops", "it must fail with `Cancelled`"),
    (Flaw::CheckFails, "check_and_discover_succeed", "check: "),
    (Flaw::WrongKind, "errors_are_classified", "must fail with NotFound, and failed with Unexpected"),
    (Flaw::FutileRetry, "errors_are_classified", "trying again cannot help"),
    (Flaw::Anonymous, "errors_are_classified", "without naming its connector"),
    (Flaw::Succeeds, "errors_are_classified", "and succeeded"),
    (Flaw::SecretInSplit, "debug_shows_no_secret", "a secret shows in a step of planning"),
    (Flaw::SecretInError, "debug_shows_no_secret", "a secret shows in the error of `broken`"),
];

#[tokio::test(start_paused = true)]
async fn every_flaw_is_found() {
    for (flaw, promise, text) in FLAWS {
        let (_, prove) = PROMISES.iter().find(|(name, _)| name == promise).unwrap();
        match prove(&Breaking { flaw: *flaw, data: seeded() }).await {
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

#[tokio::test(start_paused = true)]
async fn a_fixture_that_proves_nothing_is_found() {
    struct Poor(MemoryData);

    #[async_trait]
    impl SourceFixture for Poor {
        async fn open(&self, _cx: &Context) -> Result<Arc<dyn DynSource>> {
            Ok(MemorySource::new(&self.0).shared())
        }
        fn rows(&self) -> Vec<Json> {
            self.0.rows()
        }
        fn broken(&self) -> Vec<ErrorCase> {
            Vec::new()
        }
        async fn leftovers(&self) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    let poor = Poor(MemoryData::new().split("a", [towpath_testkit::rows::batch("id: int64", &json!([[1]]))]));
    let mut verdicts = Vec::new();
    for (name, prove) in PROMISES {
        match prove(&poor).await {
            Ok(Kept::Proven) => {}
            Ok(Kept::NotApplicable(reason)) => verdicts.push(format!("{name}: {reason}")),
            Err(broken) => verdicts.push(format!("{name} BROKEN: {broken}")),
        }
    }
    let expected = [
        "splits_are_disjoint_and_complete BROKEN: the fixture gives one split only; seed more or cut smaller",
        "cursor_ranges_are_kept: the fixture has no cursor",
        "what_is_complete_is_not_read_again: the source leaves nothing for the next run",
        "killing_after_every_batch_and_resuming_loses_and_doubles_nothing BROKEN: the fixture has no split with two \
         batches; seed more rows or read smaller batches",
        "errors_are_classified BROKEN: the fixture gives no broken configuration; every connector can be configured \
         wrong",
        "debug_shows_no_secret: the configuration has no secrets",
    ];
    assert_eq!(verdicts, expected);
}

struct Breaking {
    flaw: Flaw,
    data: MemoryData,
}

#[async_trait]
impl SourceFixture for Breaking {
    async fn open(&self, _cx: &Context) -> Result<Arc<dyn DynSource>> {
        let source = MemorySource::new(&self.data);
        let source = match self.flaw {
            Flaw::ReadSplitsComeAgain => source.new_splits_only(),
            Flaw::ColumnsAreClaimed => source.column_pushdown(Pushdown::Unsupported),
            _ => source,
        };
        Ok(Arc::new(BrokenSource { inner: source.shared(), flaw: self.flaw }))
    }

    fn rows(&self) -> Vec<Json> {
        self.data.rows()
    }

    fn context(&self) -> Context {
        towpath_testkit::paused_context()
    }

    fn cursor(&self) -> Option<String> {
        Some("at".to_owned())
    }

    fn broken(&self) -> Vec<ErrorCase> {
        let error = Error::new(ErrorKind::NotFound, "gone");
        let outcome = match self.flaw {
            Flaw::Succeeds => Ok(()),
            Flaw::WrongKind => Err(Error::unexpected("gone").connector("broken")),
            Flaw::FutileRetry => Err(error.connector("broken").retry(towpath_core::Retry::Transient)),
            Flaw::Anonymous => Err(error),
            Flaw::SecretInError => Err(error.source(std::io::Error::other(format!("with {SECRET}")))),
            _ => Err(error.connector("broken")),
        };
        vec![ErrorCase::new("broken", ErrorKind::NotFound, async { outcome })]
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let open = self.data.open_reads();
        Ok(if open == 0 { Vec::new() } else { vec![format!("{open} open reads")] })
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

struct BrokenSource {
    inner: Arc<dyn DynSource>,
    flaw: Flaw,
}

#[async_trait]
impl DynSource for BrokenSource {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { ordered: self.flaw == Flaw::OrderIsClaimed, ..self.inner.capabilities() }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        if self.flaw == Flaw::CheckFails {
            Err(Error::unexpected("it never works"))
        } else {
            self.inner.check(cx).await
        }
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        self.inner.discover(cx).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let mut request = request.clone();
        match self.flaw {
            Flaw::PlanningStartsAgain => request.planned = Position::Start,
            Flaw::RangeIsIgnored => request.cursor = None,
            Flaw::UntilIsIgnored => {
                if let Some(range) = &mut request.cursor {
                    range.until = None;
                }
            }
            Flaw::ReadSplitsComeAgain => request.since = Position::Start,
            _ => {}
        }
        let mut plan = self.inner.plan(cx, &request).await?;
        if self.flaw == Flaw::ColumnsAreClaimed {
            plan.columns = Pushdown::Exact;
        }
        let mut steps: Vec<_> = plan.splits.collect().await;
        if self.flaw == Flaw::LastSplitForgotten {
            steps.pop();
        }
        let flaw = self.flaw;
        plan.splits = stream::iter(steps).map(move |step| step.map(|step| misplan(flaw, step))).boxed();
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let mut split = split.clone();
        if self.flaw == Flaw::AnyVersionIsRead {
            split.version = 1;
        }
        let start = match (self.flaw, &from) {
            (Flaw::ResumeLosesABatch, Position::At(next)) => Position::At(json!(next.as_u64().unwrap() + 1)),
            (Flaw::ResumeDoublesABatch, Position::At(next)) => {
                Position::At(json!(next.as_u64().unwrap() - 1))
            }
            _ => from,
        };
        if self.flaw == Flaw::ReadsStayOpen {
            std::mem::forget(self.inner.read(cx, &split, start.clone())?);
        }
        let batches = self.inner.read(cx, &split, start)?;
        if self.flaw == Flaw::SplitsOverlap && split.id == "b".into() {
            let mut other = split.clone();
            other.payload["split"] = json!("a");
            let others = self.inner.read(cx, &other, Position::Start)?;
            return Ok(batches.chain(others).boxed());
        }
        Ok(misread(self.flaw, batches))
    }
}

fn misplan(flaw: Flaw, step: Planned) -> Planned {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Planned::Split { mut split, resume } = step else { return step };
    match flaw {
        Flaw::RandomIds => {
            split.id = format!("{}-{}", split.id, COUNTER.fetch_add(1, Ordering::Relaxed)).into();
        }
        Flaw::DoubledIds => split.id = "same".into(),
        Flaw::SecretInSplit => split.payload["token"] = json!(SECRET),
        _ => {}
    }
    Planned::Split { split, resume }
}

fn misread(flaw: Flaw, batches: BatchStream) -> BatchStream {
    let changed = batches.map(move |batch| {
        let mut batch = batch.map_err(|error| match flaw {
            Flaw::CancelIsAnotherError => Error::unexpected("the connection broke").source(error),
            _ => error,
        })?;
        match flaw {
            Flaw::ValuesChange if batch.rows.num_rows() > 1 => batch.rows = batch.rows.slice(1, 1),
            Flaw::OrderIsClaimed => batch.rows = reversed(&batch.rows),
            Flaw::GoodRowsAreRejected => batch.rejected.push(Rejected::new("here", "no reason")),
            Flaw::OtherColumnsThanPlanned => {
                batch.rows = batch
                    .rows
                    .project(&[0])
                    .and_then(|ids| RecordBatch::try_from_iter([("n", ids.column(0).clone())]))?;
            }
            Flaw::PositionsAreLost => batch.resume = Position::Start,
            _ => {}
        }
        Ok(batch)
    });
    if flaw == Flaw::CancelLooksLikeTheEnd {
        return changed.take_while(|batch: &Result<_>| std::future::ready(batch.is_ok())).boxed();
    }
    changed.boxed()
}

fn reversed(rows: &RecordBatch) -> RecordBatch {
    let order: arrow::array::UInt32Array = (0..u32::try_from(rows.num_rows()).unwrap()).rev().collect();
    arrow::compute::take_record_batch(rows, &order).unwrap()
}
