//! Faults at exact calls: a source or sink that fails, stalls or is killed where a test says.
//!
//! ```
//! use towpath_core::ErrorKind;
//! use towpath_testkit::faults::{Fault, Faults, Point};
//! use towpath_testkit::memory::{MemoryData, MemorySource};
//!
//! let faults = Faults::new()
//!     .at(Point::Batch, 3, Fault::fail(ErrorKind::Unavailable, "the line was cut"))
//!     .at(Point::Committed, 1, Fault::Kill);
//! let source = faults.source(MemorySource::new(&MemoryData::new()).shared());
//! # let _ = source;
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use tokio::sync::watch;
use towpath_core::{
    BatchStream, Begun, Checkpoint, CommitToken, Committed, Context, Dataset, DynSink, DynSource, DynWriter,
    Error, ErrorKind, LoadSpec, Planned, Position, Result, ScanPlan, ScanRequest, SinkCapabilities,
    SourceCapabilities, Split, Staged,
};

/// Where a fault can strike. Calls are counted from 1, over all streams, splits and writers of the wrapped source or
/// sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before `check`.
    Check,
    /// Before `discover`.
    Discover,
    /// Before `plan`.
    Plan,
    /// Before a step of planning.
    Planned,
    /// Before the first batch of a read, counted once for each read.
    Read,
    /// Before a batch.
    Batch,
    /// Before `begin`.
    Begin,
    /// Before `evolve`.
    Evolve,
    /// Before `writer`.
    Writer,
    /// Before `write`.
    Write,
    /// After the rows of a `write` were taken: the answer is lost. Only for faults that end the stream.
    Written,
    /// Before `finish`.
    Finish,
    /// Before `commit`: the crash between `finish` and `commit`.
    Commit,
    /// After `commit` was applied: its answer is lost.
    Committed,
    /// Before `abort`.
    Abort,
    /// Before `checkpoint`.
    Checkpoint,
    /// Before `forget`.
    Forget,
}

/// What happens there.
#[derive(Clone)]
pub enum Fault {
    /// The call fails with this error.
    Fail(Arc<dyn Fn() -> Error + Send + Sync>),
    /// The call waits until [`Faults::release`].
    Stall,
    /// The call never returns, as in a process that was killed; [`Faults::killed`] tells the test, which then drops
    /// everything.
    Kill,
}

impl Fault {
    /// A failure of this kind, retryable as the kind is by default.
    pub fn fail(kind: ErrorKind, message: &'static str) -> Self {
        Self::Fail(Arc::new(move || Error::new(kind, message).connector("faults")))
    }

    /// A failure that trying again may heal.
    pub fn transient() -> Self {
        Self::fail(ErrorKind::Unavailable, "a transient fault")
    }

    /// A failure that trying again cannot heal.
    pub fn lasting() -> Self {
        Self::fail(ErrorKind::Unexpected, "a lasting fault")
    }

    /// A failure with an error of one's own.
    pub fn with(error: impl Fn() -> Error + Send + Sync + 'static) -> Self {
        Self::Fail(Arc::new(error))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(error) => f.debug_tuple("Fail").field(&error()).finish(),
            Self::Stall => f.write_str("Stall"),
            Self::Kill => f.write_str("Kill"),
        }
    }
}

/// Which calls a rule means.
#[derive(Debug)]
struct Rule {
    point: Point,
    /// Only calls for this split; they are counted on their own.
    split: Option<String>,
    /// The number of the first and last call.
    calls: (u64, u64),
    fault: Fault,
}

/// A script of faults, shared by the sources and sinks that it wraps; cheap to clone.
#[derive(Clone, Default)]
pub struct Faults(Arc<Script>);

#[derive(Default)]
struct Script {
    state: Mutex<State>,
    killed: watch::Sender<bool>,
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    calls: HashMap<(Point, Option<String>), u64>,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Strikes at the `call`-th call, counted from 1.
    pub fn at(self, point: Point, call: u64, fault: Fault) -> Self {
        self.add(Rule { point, split: None, calls: (call, call), fault })
    }

    /// Strikes at every call.
    pub fn always(self, point: Point, fault: Fault) -> Self {
        self.add(Rule { point, split: None, calls: (1, u64::MAX), fault })
    }

    /// Strikes at the `call`-th read, or the `call`-th batch over all reads, of this split.
    pub fn at_split(self, point: Point, split: &str, call: u64, fault: Fault) -> Self {
        self.add(Rule { point, split: Some(split.to_owned()), calls: (call, call), fault })
    }

    /// Strikes at every read or batch of this split.
    pub fn always_split(self, point: Point, split: &str, fault: Fault) -> Self {
        self.add(Rule { point, split: Some(split.to_owned()), calls: (1, u64::MAX), fault })
    }

    fn add(self, rule: Rule) -> Self {
        self.state().rules.push(rule);
        self
    }

    /// How often a point was passed.
    pub fn count(&self, point: Point) -> u64 {
        self.state().calls.get(&(point, None)).copied().unwrap_or_default()
    }

    /// Completes when a [`Fault::Kill`] has struck.
    pub async fn killed(&self) {
        let mut killed = self.0.killed.subscribe();
        // The sender lives in `self`, so it cannot be gone.
        let _ = killed.wait_for(|killed| *killed).await;
    }

    /// Lets every stalled call go on, now and later.
    pub fn release(&self) {
        self.0.released.send_replace(true);
    }

    /// Wraps a source.
    pub fn source(&self, inner: Arc<dyn DynSource>) -> Arc<dyn DynSource> {
        Arc::new(FaultySource { inner, faults: self.clone() })
    }

    /// Wraps a sink.
    pub fn sink(&self, inner: Arc<dyn DynSink>) -> Arc<dyn DynSink> {
        Arc::new(FaultySink { inner, faults: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the fault that it meets.
    fn meet(&self, point: Point, split: Option<&str>) -> Option<Fault> {
        let mut state = self.state();
        let mut count = |key: Option<String>| {
            let calls = state.calls.entry((point, key)).or_default();
            *calls += 1;
            *calls
        };
        let overall = count(None);
        let of_split = split.map(|split| count(Some(split.to_owned())));
        let strikes = |rule: &&Rule| {
            let call = match &rule.split {
                None => overall,
                Some(wanted) if Some(wanted.as_str()) == split => of_split.unwrap_or_default(),
                Some(_) => return false,
            };
            rule.point == point && (rule.calls.0..=rule.calls.1).contains(&call)
        };
        state.rules.iter().find(strikes).map(|rule| rule.fault.clone())
    }

    async fn pass(&self, point: Point, split: Option<&str>) -> Result<()> {
        match self.meet(point, split) {
            None => Ok(()),
            Some(Fault::Fail(error)) => Err(error()),
            Some(Fault::Stall) => {
                let mut released = self.0.released.subscribe();
                let _ = released.wait_for(|released| *released).await;
                Ok(())
            }
            Some(Fault::Kill) => {
                self.0.killed.send_replace(true);
                std::future::pending().await
            }
        }
    }
}

struct FaultySource {
    inner: Arc<dyn DynSource>,
    faults: Faults,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSource for FaultySource {
    fn capabilities(&self) -> SourceCapabilities {
        self.inner.capabilities()
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        self.inner.parent_fields()
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        self.faults.pass(Point::Check, None).await?;
        self.inner.check(cx).await
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        self.faults.pass(Point::Discover, None).await?;
        self.inner.discover(cx).await
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        self.faults.pass(Point::Plan, None).await?;
        let mut plan = self.inner.plan(cx, request).await?;
        let state = Some((plan.splits, self.faults.clone()));
        plan.splits = stream::unfold(state, |state| async move {
            let (mut steps, faults) = state?;
            if let Err(error) = faults.pass(Point::Planned, None).await {
                return Some((Err(error), None));
            }
            let step: Result<Planned> = steps.next().await?;
            Some((step, Some((steps, faults))))
        })
        .boxed();
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let batches = self.inner.read(cx, split, from)?;
        let state = Some((batches, self.faults.clone(), split.id.to_string(), true));
        let stream = stream::unfold(state, |state| async move {
            let (mut batches, faults, split, first) = state?;
            let passed = async {
                if first {
                    faults.pass(Point::Read, Some(&split)).await?;
                }
                faults.pass(Point::Batch, Some(&split)).await
            };
            if let Err(error) = passed.await {
                return Some((Err(error), None));
            }
            let batch = batches.next().await?;
            Some((batch, Some((batches, faults, split, false))))
        });
        Ok(stream.boxed())
    }
}

struct FaultySink {
    inner: Arc<dyn DynSink>,
    faults: Faults,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynSink for FaultySink {
    fn capabilities(&self) -> SinkCapabilities {
        self.inner.capabilities()
    }

    async fn check(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.faults.pass(Point::Check, None).await?;
        self.inner.check(cx, load).await
    }

    async fn begin(&self, cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.faults.pass(Point::Begin, None).await?;
        self.inner.begin(cx, load).await
    }

    async fn evolve(&self, cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.faults.pass(Point::Evolve, None).await?;
        self.inner.evolve(cx, begun, schema).await
    }

    async fn writer(&self, cx: &Context, begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        self.faults.pass(Point::Writer, None).await?;
        let inner = self.inner.writer(cx, begun, part).await?;
        Ok(Box::new(FaultyWriter { inner, faults: self.faults.clone() }))
    }

    async fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        self.faults.pass(Point::Commit, None).await?;
        let committed = self.inner.commit(cx, begun, token, staged).await?;
        self.faults.pass(Point::Committed, None).await?;
        Ok(committed)
    }

    async fn checkpoint(&self, cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.faults.pass(Point::Checkpoint, None).await?;
        self.inner.checkpoint(cx, load).await
    }

    async fn forget(&self, cx: &Context, load: &LoadSpec) -> Result<()> {
        self.faults.pass(Point::Forget, None).await?;
        self.inner.forget(cx, load).await
    }

    async fn sweep(&self, cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        self.inner.sweep(cx, load).await
    }

    async fn abort(&self, cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        self.faults.pass(Point::Abort, None).await?;
        self.inner.abort(cx, begun, staged).await
    }
}

struct FaultyWriter {
    inner: Box<dyn DynWriter>,
    faults: Faults,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl DynWriter for FaultyWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.faults.pass(Point::Write, None).await?;
        self.inner.write(rows).await?;
        self.faults.pass(Point::Written, None).await
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        self.faults.pass(Point::Finish, None).await?;
        self.inner.finish().await
    }
}
