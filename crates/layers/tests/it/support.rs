//! A source and a sink in memory that fail where a test wants it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use towpath_core::{
    Batch, BatchStream, Begun, Checkpoint, CommitToken, Committed, Context, Dataset, Delivery, DynSink,
    DynSource, DynWriter, Error, LoadSpec, PlanStream, Planned, Position, Result, Resume, Retry, ScanPlan,
    ScanRequest, SinkCapabilities, SourceCapabilities, Split, Staged, WriteDisposition,
};
use towpath_layers::{RetryPolicy, RetrySettings, TokioClock};

pub(crate) fn context() -> Context {
    Context::builder(Arc::new(TokioClock)).stream("test").build()
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Retries with waits that are the same in each run.
pub(crate) fn policy(attempts: u32) -> RetryPolicy {
    let settings = RetrySettings { attempts: attempts.try_into().unwrap(), ..RetrySettings::default() };
    RetryPolicy::seeded(&settings, 1)
}

/// What goes wrong at an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    Fail(Retry),
    Hang,
    /// It works, and takes this long.
    Slow(Duration),
}

pub(crate) const TRANSIENT: Fault = Fault::Fail(Retry::Transient);

type Script = Box<dyn Fn(usize) -> Option<Fault> + Send + Sync>;

/// Numbers the events of a source or sink, and says what goes wrong at each.
pub(crate) struct Faults {
    script: Script,
    events: AtomicUsize,
    pub(crate) log: Mutex<Vec<String>>,
}

impl Faults {
    pub(crate) fn new(script: impl Fn(usize) -> Option<Fault> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), events: AtomicUsize::new(0), log: Mutex::default() })
    }

    pub(crate) fn none() -> Arc<Self> {
        Self::new(|_| None)
    }

    /// Fails once, at this event.
    pub(crate) fn at(event: usize, fault: Fault) -> Arc<Self> {
        Self::new(move |now| (now == event).then_some(fault))
    }

    pub(crate) fn events(&self) -> usize {
        self.events.load(SeqCst)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn next(&self, what: impl Into<String>) -> Option<Fault> {
        self.log.lock().unwrap().push(what.into());
        (self.script)(self.events.fetch_add(1, SeqCst))
    }

    async fn pass(&self, what: impl Into<String>) -> Result<()> {
        match self.next(what) {
            None => Ok(()),
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Fail(retry)) => Err(broken(retry)),
        }
    }
}

pub(crate) fn broken(retry: Retry) -> Error {
    Error::unavailable("the line is broken").retry(retry)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

pub(crate) fn rows(numbers: &[i64]) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(numbers.to_vec()))]).unwrap()
}

pub(crate) fn numbers(rows: &RecordBatch) -> Vec<i64> {
    rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

/// Gives the numbers from 0, two in a batch; planning gives as many splits as there are batches.
pub(crate) struct Numbers {
    pub(crate) batches: u64,
    pub(crate) resume: Resume,
    pub(crate) faults: Arc<Faults>,
}

impl Numbers {
    pub(crate) fn new(resume: Resume, faults: &Arc<Faults>) -> Arc<Self> {
        Arc::new(Self { batches: 4, resume, faults: faults.clone() })
    }

    pub(crate) fn all(&self) -> Vec<i64> {
        (0..2 * i64::try_from(self.batches).unwrap()).collect()
    }
}

fn index(position: &Position, end: u64) -> u64 {
    match position {
        Position::Start => 0,
        Position::At(at) => at.as_u64().unwrap(),
        Position::End => end,
    }
}

fn position(index: u64, end: u64) -> Position {
    if index == end { Position::End } else { Position::At(json!(index)) }
}

#[async_trait]
impl DynSource for Numbers {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: self.resume, ordered: true, bounded: true }
    }

    async fn check(&self, _cx: &Context) -> Result<()> {
        self.faults.pass("check").await
    }

    async fn discover(&self, _cx: &Context) -> Result<Vec<Dataset>> {
        self.faults.pass("discover").await.map(|()| vec![Dataset::new("numbers", json!({}))])
    }

    async fn plan(&self, _cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let until = request.cursor.as_ref().and_then(|cursor| cursor.until.clone());
        self.faults.pass(format!("plan from {:?} until {until:?}", request.planned)).await?;
        let (end, faults) = (self.batches, self.faults.clone());
        let steps = (index(&request.planned, end)..end).map(move |n| Planned::Split {
            split: Split::new(format!("split {n}"), json!(n)),
            resume: position(n + 1, end),
        });
        let steps = stream::iter(steps.chain([Planned::Complete { since: Position::At(json!("seen")) }]));
        let steps: PlanStream = steps
            .then(move |step| {
                let faults = faults.clone();
                async move { faults.pass("plan step").await.map(|()| step) }
            })
            .boxed();
        // Each plan of its own accord would end where the source is now.
        let until = until.unwrap_or_else(|| json!(self.faults.events()));
        Ok(ScanPlan { until: Some(until), ..ScanPlan::new(Some(schema()), steps) })
    }

    fn read(&self, _cx: &Context, _split: &Split, from: Position) -> Result<BatchStream> {
        if let Some(Fault::Fail(retry)) = self.faults.next(format!("read from {from:?}")) {
            return Err(broken(retry));
        }
        let (end, faults) = (self.batches, self.faults.clone());
        let batches = stream::iter(index(&from, end)..=end).then(move |n| {
            let faults = faults.clone();
            async move {
                faults.pass("batch").await?;
                let first = 2 * i64::try_from(n).unwrap();
                // The last step is the end of the stream, which can fail as well.
                Ok((n < end).then(|| Batch::new(rows(&[first, first + 1]), position(n + 1, end + 1))))
            }
        });
        Ok(batches.try_filter_map(|batch| async { Ok(batch) }).boxed())
    }
}

/// Keeps numbers; what was committed is in `committed`.
pub(crate) struct Memory {
    pub(crate) faults: Arc<Faults>,
    pub(crate) state: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) staged: Vec<i64>,
    pub(crate) committed: Vec<i64>,
    pub(crate) sequence: u64,
}

impl Memory {
    pub(crate) fn new(faults: &Arc<Faults>) -> Arc<Self> {
        Arc::new(Self { faults: faults.clone(), state: Arc::default() })
    }
}

pub(crate) fn load() -> LoadSpec {
    LoadSpec::new("pipeline", "stream", "run", WriteDisposition::Append)
}

pub(crate) fn begun() -> Begun {
    Begun::new(load(), Checkpoint::default(), json!(null))
}

pub(crate) fn token(sequence: u64) -> CommitToken {
    let mut token = CommitToken::default();
    token.sequence = sequence;
    token
}

#[async_trait]
impl DynSink for Memory {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new(Delivery::ExactlyOnce, &[WriteDisposition::Append])
    }

    async fn check(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        self.faults.pass("check").await
    }

    async fn checkpoint(&self, _cx: &Context, _load: &LoadSpec) -> Result<Option<Checkpoint>> {
        self.faults.pass("checkpoint").await.map(|()| Some(Checkpoint::default()))
    }

    async fn forget(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        self.faults.pass("forget").await
    }

    async fn sweep(&self, _cx: &Context, _load: &LoadSpec) -> Result<Vec<String>> {
        self.faults.pass("sweep").await?;
        Ok(Vec::new())
    }

    async fn begin(&self, _cx: &Context, load: &LoadSpec) -> Result<Begun> {
        self.faults.pass("begin").await.map(|()| Begun::new(load.clone(), Checkpoint::default(), json!(null)))
    }

    async fn evolve(&self, _cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.faults.pass("evolve").await.map(|()| begun.with_schema(schema))
    }

    async fn writer(&self, _cx: &Context, _begun: &Begun, part: u32) -> Result<Box<dyn DynWriter>> {
        self.faults.pass("writer").await?;
        Ok(Box::new(MemoryWriter { part, faults: self.faults.clone(), state: self.state.clone(), rows: 0 }))
    }

    async fn commit(
        &self,
        _cx: &Context,
        _begun: &Begun,
        token: &CommitToken,
        _staged: Vec<Staged>,
    ) -> Result<Committed> {
        self.faults.pass("commit").await?;
        let outcome = {
            let mut kept = self.state.lock().unwrap();
            if token.sequence <= kept.sequence {
                Committed::AlreadyApplied
            } else {
                kept.sequence = token.sequence;
                let staged = std::mem::take(&mut kept.staged);
                kept.committed.extend(staged);
                Committed::Applied
            }
        };
        // The answer to a commit can be lost.
        self.faults.pass("committed").await.map(|()| outcome)
    }

    async fn abort(&self, _cx: &Context, _begun: &Begun, _staged: Vec<Staged>) -> Result<()> {
        self.faults.pass("abort").await?;
        self.state.lock().unwrap().staged.clear();
        Ok(())
    }
}

struct MemoryWriter {
    part: u32,
    faults: Arc<Faults>,
    state: Arc<Mutex<Kept>>,
    rows: u64,
}

#[async_trait]
impl DynWriter for MemoryWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.faults.pass("write").await?;
        self.state.lock().unwrap().staged.extend(numbers(&rows));
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Staged> {
        self.faults.pass("finish").await?;
        Ok(Staged::new(self.part, self.rows, 0, json!(null)))
    }
}

/// Everything that a split gives.
pub(crate) async fn read_all(source: &dyn DynSource, cx: &Context) -> Result<Vec<i64>> {
    let batches = source.read(cx, &Split::new("all", json!(null)), Position::Start)?;
    let batches: Vec<_> = batches.try_collect().await?;
    Ok(batches.iter().flat_map(|batch| numbers(&batch.rows)).collect())
}
