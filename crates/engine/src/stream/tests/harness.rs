//! A stream between memory and memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::SystemTime;

use serde_json::json;
use towpath_core::{ByteSize, DynSink, DynSource, Json, LoadSpec, Resume, WriteDisposition};
use towpath_layers::{LayerSettings, layer_sink, layer_source};
use towpath_testkit::faults::Faults;
use towpath_testkit::memory::{MemoryData, MemorySink, MemorySource, MemoryTarget};
use towpath_testkit::{context_with, rows};
use towpath_transform::{Step, Transform, TransformContext};

use super::for_each::Parents;
use crate::memory::MemoryBudget;
use crate::stream::{Opened, Outcome, run};
use crate::{CommitPolicy, OnError, RunProgress, SchemaContract, Shutdown, StreamProgress};

/// A stream that can be run again and again against the same memory.
pub(super) struct Harness {
    pub(super) data: MemoryData,
    pub(super) target: MemoryTarget,
    pub(super) letters: Option<MemoryTarget>,
    pub(super) faults: Faults,
    pub(super) disposition: WriteDisposition,
    pub(super) key: Vec<String>,
    pub(super) cursor: Option<String>,
    pub(super) on_error: OnError,
    pub(super) contract: SchemaContract,
    pub(super) commit: CommitPolicy,
    pub(super) steps: Json,
    pub(super) memory: ByteSize,
    pub(super) shutdown: Shutdown,
    pub(super) max_readers: usize,
    pub(super) source: fn(MemorySource) -> MemorySource,
    pub(super) sink: fn(MemorySink) -> MemorySink,
    pub(super) parents: Option<Parents>,
    runs: AtomicU32,
}

impl Harness {
    /// `splits` splits of `batches` batches of three rows each, all committed as they come.
    pub(super) fn new(splits: u64, batches: u64) -> Self {
        Self::with(grid(splits, batches))
    }

    pub(super) fn with(data: MemoryData) -> Self {
        Self {
            data,
            target: MemoryTarget::new(),
            letters: None,
            faults: Faults::new(),
            disposition: WriteDisposition::Append,
            key: Vec::new(),
            cursor: None,
            on_error: OnError::Fail,
            contract: SchemaContract::Evolve,
            commit: CommitPolicy { rows: 1, ..CommitPolicy::default() },
            steps: json!([]),
            memory: ByteSize::mib(64),
            shutdown: Shutdown::new(),
            max_readers: 4,
            source: |source| source,
            sink: |sink| sink,
            parents: None,
            runs: AtomicU32::new(0),
        }
    }

    /// One run, with the faults that are set now. Retries come at once.
    pub(super) async fn run(&self) -> (Outcome, Arc<StreamProgress>) {
        let opened = self.opened();
        let progress = opened.progress.clone();
        (run(opened).await, progress)
    }

    pub(super) fn opened(&self) -> Opened {
        let run = format!("run{}", self.runs.fetch_add(1, Relaxed));
        let progress = RunProgress::new(std::iter::once("s".to_owned())).streams()[0].clone();
        let cx = |metrics| {
            context_with(|cx| cx.stream("s").metrics(metrics).cancellation(self.shutdown.kill.child()))
        };
        let layers: LayerSettings =
            serde_json::from_value(json!({"retry": {"base": "1us", "max_delay": "1us"}})).unwrap();
        let source: Arc<dyn DynSource> =
            self.faults.source((self.source)(MemorySource::new(&self.data)).shared());
        let sink: Arc<dyn DynSink> = self.faults.sink((self.sink)(MemorySink::new(&self.target)).shared());
        let steps: Vec<Step> = serde_json::from_value(self.steps.clone()).unwrap();
        let context =
            TransformContext { run: run.clone(), source: "s".into(), load_time: SystemTime::UNIX_EPOCH };
        let source_cx = cx(progress.source.clone());
        let mut source = layer_source(source, &layers);
        if let Some(parents) = &self.parents {
            source = parents.above(source, &self.faults, &source_cx);
        }
        Opened {
            source,
            source_cx,
            sink: layer_sink(sink, &layers),
            sink_cx: cx(progress.sink.clone()),
            dead_letter: self
                .letters
                .as_ref()
                .map(|letters| (MemorySink::new(letters).shared(), cx(Arc::default()))),
            between_cx: cx(progress.between.clone()),
            transform: Transform::new(&steps, &context).unwrap(),
            load: LoadSpec::new("p", "s", run, self.disposition).key(self.key.clone()),
            cursor: self.cursor.clone(),
            schema_contract: self.contract,
            on_error: self.on_error,
            commit: self.commit,
            batches: MemoryBudget::new(self.memory),
            readers: MemoryBudget::new(self.memory),
            max_readers: self.max_readers,
            connection_slots: None,
            max_writers: 2,
            shutdown: self.shutdown.clone(),
            progress,
        }
    }

    /// What the target shows.
    pub(super) fn rows(&self) -> Vec<Json> {
        self.target.rows("s")
    }

    /// The target shows each row of the source once, and nothing else lies around.
    pub(super) fn assert_complete(&self) {
        rows::assert_same(&self.data.rows(), &self.rows());
        assert_eq!(self.target.leftovers(), Vec::<String>::new());
        assert_eq!(self.data.open_reads(), 0);
    }

    pub(super) fn without_faults(mut self) -> Self {
        self.faults = Faults::new();
        self
    }

    pub(super) fn resume(mut self, resume: Resume) -> Self {
        self.source = match resume {
            Resume::None => |source| source.resume(Resume::None),
            Resume::Split => |source| source.resume(Resume::Split),
            Resume::Run => |source| source.resume(Resume::Run),
            Resume::Exact => |source| source.resume(Resume::Exact),
        };
        self
    }
}

/// Rows `{id, split}` with ids that are all different.
pub(super) fn grid(splits: u64, batches: u64) -> MemoryData {
    (0..splits).fold(MemoryData::new(), |data, split| {
        let batch = |batch: u64| {
            let first = (split * batches + batch) * 3;
            let ids: Vec<Json> = (first..first + 3).map(|id| json!([id, split])).collect();
            rows::batch("id: int64, split: int64", &ids.into())
        };
        data.split(&format!("split{split}"), (0..batches).map(batch))
    })
}
