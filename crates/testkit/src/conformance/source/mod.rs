//! The promises of a source.

mod drops;
mod plan;
mod read;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use futures::{StreamExt, TryStreamExt};
use towpath_core::{
    Batch, Context, DynSource, Json, Planned, Position, Result, ScanPlan, ScanRequest, Split,
};

use super::{Broken, ErrorCase, Kept, Verdict, ensure, errors, no_secret_in};
use crate::rows;

pub use drops::{cancelled_context_stops, dropping_in_mid_stream_leaves_nothing_behind};
pub use plan::{
    cursor_ranges_are_kept, plan_is_deterministic, planning_resumes_behind_every_step,
    splits_and_positions_survive_serde, splits_are_disjoint_and_complete, what_is_complete_is_not_read_again,
};
pub use read::{
    capabilities_match_behaviour, killing_after_every_batch_and_resuming_loses_and_doubles_nothing,
    reading_gives_what_was_seeded,
};

/// A system with known rows, and a source that reads it. Dropping the fixture cleans up.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// Opens the source on the seeded rows, as a new process would. Set batches and splits so small that there are two
    /// splits or more, and two batches or more in one of them.
    async fn open(&self, cx: &Context) -> Result<Arc<dyn DynSource>>;

    /// The rows that were seeded, as [`rows::to_json`] gives them.
    fn rows(&self) -> Vec<Json>;

    /// Configurations and situations that must fail, at least one.
    fn broken(&self) -> Vec<ErrorCase>;

    /// What reads leave behind as long as they are open, for people: connections, open files. Empty when nothing is
    /// read.
    async fn leftovers(&self) -> Result<Vec<String>>;

    /// The surroundings.
    fn context(&self) -> Context {
        crate::context()
    }

    /// What is asked of it.
    fn request(&self) -> ScanRequest {
        let mut request = ScanRequest::default();
        request.parallelism = 4;
        request
    }

    /// The column by which it can be read incrementally, if it can.
    fn cursor(&self) -> Option<String> {
        None
    }

    /// Secrets in the configuration, which must show nowhere.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts in which secrets could show beside errors, splits and positions: `format!("{config:?}")`.
    fn debug_texts(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A promise by name.
pub type Promise = (&'static str, for<'a> fn(&'a dyn SourceFixture) -> LocalBoxFuture<'a, Verdict>);

/// All promises of a source.
pub const PROMISES: &[Promise] = crate::__source_promises! { __conformance_table(SourceFixture, ()) };

#[doc(hidden)]
#[macro_export]
macro_rules! __source_promises {
    ($callback:ident($side:ident, $case:expr)) => {
        $crate::$callback! { $side, $case, [
            plan_is_deterministic
            splits_are_disjoint_and_complete
            planning_resumes_behind_every_step
            splits_and_positions_survive_serde
            cursor_ranges_are_kept
            what_is_complete_is_not_read_again
            reading_gives_what_was_seeded
            killing_after_every_batch_and_resuming_loses_and_doubles_nothing
            capabilities_match_behaviour
            dropping_in_mid_stream_leaves_nothing_behind
            cancelled_context_stops
            check_and_discover_succeed
            errors_are_classified
            debug_shows_no_secret
        ] }
    };
}

/// `check` and `discover` succeed on a system that is as it should be.
pub async fn check_and_discover_succeed(fixture: &dyn SourceFixture) -> Verdict {
    let cx = fixture.context();
    let source = fixture.open(&cx).await?;
    source.check(&cx).await.map_err(|error| Broken::from(error).when("check"))?;
    let datasets = source.discover(&cx).await.map_err(|error| Broken::from(error).when("discover"))?;
    ensure!(datasets.iter().all(|dataset| !dataset.name.is_empty()), "a discovered data set has no name");
    Ok(Kept::Proven)
}

/// Broken configurations fail with the right kind.
pub async fn errors_are_classified(fixture: &dyn SourceFixture) -> Verdict {
    errors::are_classified(fixture.broken()).await
}

/// No secret shows in errors, splits, positions and debug output.
pub async fn debug_shows_no_secret(fixture: &dyn SourceFixture) -> Verdict {
    let secrets = fixture.secrets();
    if secrets.is_empty() {
        return Ok(Kept::not_applicable("the configuration has no secrets"));
    }
    for text in fixture.debug_texts() {
        no_secret_in(&secrets, "debug output", &text)?;
    }
    errors::show_no_secret(fixture.broken(), &secrets).await?;
    let opened = Opened::new(fixture).await?;
    for step in opened.steps(&fixture.request()).await? {
        no_secret_in(&secrets, "a step of planning", &format!("{step:?}"))?;
        if let Planned::Split { split, .. } = &step {
            for batch in opened.read(split, Position::Start).await? {
                no_secret_in(&secrets, "a position", &format!("{:?}", batch.resume))?;
            }
        }
    }
    Ok(Kept::Proven)
}

/// A source that was opened for a proof.
struct Opened {
    cx: Context,
    source: Arc<dyn DynSource>,
}

impl Opened {
    async fn new(fixture: &dyn SourceFixture) -> Result<Self, Broken> {
        Self::with(fixture, fixture.context()).await
    }

    async fn with(fixture: &dyn SourceFixture, cx: Context) -> Result<Self, Broken> {
        let source = fixture.open(&cx).await?;
        ensure!(source.capabilities().bounded, "the suite proves bounded sources only; this one never ends");
        Ok(Self { cx, source })
    }

    async fn plan(&self, request: &ScanRequest) -> Result<(ScanPlan, Vec<Planned>), Broken> {
        let mut plan =
            self.source.plan(&self.cx, request).await.map_err(|error| Broken::from(error).when("plan"))?;
        let steps = std::mem::replace(&mut plan.splits, futures::stream::empty().boxed());
        let steps: Vec<_> = steps.try_collect().await.map_err(|error| Broken::from(error).when("plan"))?;
        Ok((plan, steps))
    }

    async fn steps(&self, request: &ScanRequest) -> Result<Vec<Planned>, Broken> {
        Ok(self.plan(request).await?.1)
    }

    async fn splits(&self, request: &ScanRequest) -> Result<Vec<Split>, Broken> {
        let splits: Vec<_> = only_splits(&self.steps(request).await?).cloned().collect();
        ensure!(!splits.is_empty(), "the plan has no splits");
        Ok(splits)
    }

    /// The batches of a split from a position to its end.
    async fn read(&self, split: &Split, from: Position) -> Result<Vec<Batch>, Broken> {
        self.read_some(split, from, usize::MAX).await
    }

    /// The first batches of a split; the stream is dropped behind them.
    async fn read_some(&self, split: &Split, from: Position, count: usize) -> Result<Vec<Batch>, Broken> {
        let when = format!("read of split {} from {from:?}", split.id);
        let batches =
            self.source.read(&self.cx, split, from).map_err(|error| Broken::from(error).when(&when))?;
        batches.take(count).try_collect().await.map_err(|error| Broken::from(error).when(&when))
    }

    /// The rows of all splits.
    async fn rows(&self, request: &ScanRequest) -> Result<Vec<Json>, Broken> {
        let mut found = Vec::new();
        for split in only_splits(&self.steps(request).await?) {
            found.extend(rows_of(&self.read(split, Position::Start).await?));
        }
        Ok(found)
    }
}

fn only_splits(steps: &[Planned]) -> impl Iterator<Item = &Split> {
    steps.iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    })
}

fn rows_of(batches: &[Batch]) -> Vec<Json> {
    rows::to_json(batches.iter().map(|batch| &batch.rows))
}

fn same_rows(expected: &[Json], found: &[Json], what: &str) -> Result<(), Broken> {
    match rows::difference(expected, found) {
        None => Ok(()),
        Some(difference) => Err(Broken::new(format!("{what}: {difference}"))),
    }
}
