//! Looking without loading: check, plan, preview, discover, and the checkpoints.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use towpath_core::{
    Checkpoint, Context, CursorRange, Dataset, DynSink, Error, Estimate, LoadSpec, Planned, Position,
    Rejected, Result, ScanRequest, WriteDisposition,
};
use towpath_transform::{Transform, TransformContext};

use crate::engine::{load_spec, run_id};
use crate::request::scan_request;
use crate::stream::is_position_only;
use crate::{Engine, Failure, Shutdown, StreamSpec};

/// What `towpath check` found of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// The stream.
    pub stream: String,
    /// Why its source would fail.
    pub source: Option<Failure>,
    /// Why its sink would fail.
    pub sink: Option<Failure>,
    /// What a person should know besides, such as what could not be checked.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Checked {
    /// Whether both sides are fine.
    pub fn is_fine(&self) -> bool {
        self.source.is_none() && self.sink.is_none()
    }
}

/// What a run would read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedStream {
    /// The stream.
    pub stream: String,
    /// How rows would land.
    pub disposition: WriteDisposition,
    /// Whether it would go on with an interrupted run.
    pub resumes: bool,
    /// The columns after the transforms, if they are known before the first row.
    pub schema: Option<SchemaRef>,
    /// The first splits, with those that an interrupted run left.
    pub splits: Vec<String>,
    /// How many splits there are.
    pub count: u64,
    /// How much they hold, as far as it is known.
    pub estimate: Estimate,
}

/// The first rows of a stream.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Preview {
    /// The stream.
    pub stream: String,
    /// The rows, after the transforms.
    pub rows: Vec<RecordBatch>,
    /// Rows among them that could not be read.
    pub rejected: Vec<Rejected>,
}

/// How many splits a plan lists by name.
const LISTED: usize = 1000;

impl Engine {
    /// Checks both sides of each stream, all at once.
    pub async fn check(&self, shutdown: &Shutdown) -> Vec<Checked> {
        let checks = self.pipeline.streams.iter().map(|spec| async move {
            let metrics = Arc::default();
            let source = async {
                let (source, cx) = self.open_source(spec, "check", &metrics, shutdown).await?;
                transform(spec, "check")?;
                source.check(&cx).await
            };
            let sink = async {
                let (sink, cx) = self.open_sink(&spec.sink, &spec.name, &metrics, shutdown).await?;
                let load = load_spec(&self.pipeline.name, spec, "check", &*sink)?;
                sink.check(&cx, &load).await
            };
            let (source, sink) = futures::future::join(source, sink).await;
            let failure = |result: Result<()>| result.err().map(|error| Failure::new(&error, None));
            let (source, sink) = (failure(source), failure(sink));
            Checked { stream: spec.name.clone(), source, sink, notes: metrics.warnings() }
        });
        futures::future::join_all(checks).await
    }

    /// Plans a stream as the next run would, and moves nothing.
    ///
    /// # Errors
    /// What source and sink return.
    pub async fn plan(&self, stream: &str, shutdown: &Shutdown) -> Result<PlannedStream> {
        let spec = self.stream(stream)?;
        let (source, cx) = self.open_source(spec, "plan", &Arc::default(), shutdown).await?;
        let (sink, sink_cx) = self.open_sink(&spec.sink, &spec.name, &Arc::default(), shutdown).await?;
        let load = load_spec(&self.pipeline.name, spec, &run_id(SystemTime::now()), &*sink)?;
        let held = sink.checkpoint(&sink_cx, &load).await?;
        let checkpoint = Checkpoint::begin(held.as_ref(), &load)?;
        let mut planned = PlannedStream {
            stream: spec.name.clone(),
            disposition: load.disposition,
            resumes: checkpoint.is_under_way(),
            schema: None,
            splits: Vec::new(),
            count: 0,
            estimate: Estimate::default(),
        };
        let progress = checkpoint.progress.clone().unwrap_or_default();
        for left in progress.splits {
            planned.add(left.split.id.to_string(), left.split.estimate);
        }
        let transform = transform(spec, &load.run)?;
        let cursor = spec.cursor.as_deref().filter(|_| load.disposition != WriteDisposition::Replace);
        let parallelism = self.max_readers(&spec.source.connection);
        let request = scan_request(&checkpoint, cursor, load.disposition, &transform, parallelism);
        let plan = source.plan(&cx, &request).await?;
        planned.schema = match plan.schema {
            None => None,
            Some(schema) => Some(transform.apply(RecordBatch::new_empty(schema), "")?.rows.schema()),
        };
        if progress.planned != Position::End {
            let mut splits = plan.splits;
            while let Some(step) = splits.next().await.transpose()? {
                if let Planned::Split { split, .. } = step {
                    planned.add(split.id.to_string(), split.estimate);
                }
            }
        }
        Ok(planned)
    }

    /// The first rows of a stream, after its transforms.
    ///
    /// # Errors
    /// What the source and the transforms return.
    pub async fn preview(&self, stream: &str, limit: usize, shutdown: &Shutdown) -> Result<Preview> {
        let spec = self.stream(stream)?;
        let (source, cx) = self.open_source(spec, "preview", &Arc::default(), shutdown).await?;
        let transform = transform(spec, "preview")?;
        let mut request = ScanRequest::default();
        // With steps, more rows may be needed than are shown.
        request.limit = transform.is_empty().then_some(limit as u64);
        request.columns = transform.columns_needed();
        request.filter = transform.filter();
        request.cursor = spec.cursor.as_ref().map(|field| CursorRange::new(field, None, None));
        request.parallelism = 1;
        let mut preview = Preview { stream: spec.name.clone(), rows: Vec::new(), rejected: Vec::new() };
        let mut splits = source.plan(&cx, &request).await?.splits;
        let mut missing = limit;
        while missing > 0 {
            let Some(step) = splits.next().await.transpose()? else { break };
            let Planned::Split { split, .. } = step else { continue };
            let mut batches = source.read(&cx, &split, Position::Start)?;
            while missing > 0 {
                let Some(batch) = batches.next().await.transpose()? else { break };
                if is_position_only(&batch.rows) {
                    preview.rejected.extend(batch.rejected);
                    continue;
                }
                let made = transform.apply(batch.rows, &split.id.0)?;
                preview.rejected.extend(batch.rejected.into_iter().chain(made.rejected));
                let rows = made.rows.slice(0, made.rows.num_rows().min(missing));
                missing -= rows.num_rows();
                if rows.num_rows() > 0 {
                    preview.rows.push(rows);
                }
            }
        }
        Ok(preview)
    }

    /// The data sets that a stream's source holds.
    ///
    /// # Errors
    /// What the source returns.
    pub async fn discover(&self, stream: &str, shutdown: &Shutdown) -> Result<Vec<Dataset>> {
        let spec = self.stream(stream)?;
        let (source, cx) = self.open_source(spec, "discover", &Arc::default(), shutdown).await?;
        source.discover(&cx).await
    }

    /// The checkpoint that a stream's target holds.
    ///
    /// # Errors
    /// What the sink returns.
    pub async fn checkpoint(&self, stream: &str, shutdown: &Shutdown) -> Result<Option<Checkpoint>> {
        let (sink, cx, load) = self.sink_of(stream, shutdown).await?;
        sink.checkpoint(&cx, &load).await
    }

    /// Makes a stream's target forget its checkpoint. Its rows stay.
    ///
    /// # Errors
    /// What the sink returns.
    pub async fn forget(&self, stream: &str, shutdown: &Shutdown) -> Result<()> {
        let (sink, cx, load) = self.sink_of(stream, shutdown).await?;
        sink.forget(&cx, &load).await
    }

    /// Throws away what runs of a stream have left in its target and never committed, and tells what that was. No run may be
    /// under way.
    ///
    /// # Errors
    /// What the sink returns.
    pub async fn sweep(&self, stream: &str, shutdown: &Shutdown) -> Result<Vec<String>> {
        let (sink, cx, load) = self.sink_of(stream, shutdown).await?;
        sink.sweep(&cx, &load).await
    }

    async fn sink_of(
        &self,
        stream: &str,
        shutdown: &Shutdown,
    ) -> Result<(Arc<dyn DynSink>, Context, LoadSpec)> {
        let spec = self.stream(stream)?;
        let (sink, cx) = self.open_sink(&spec.sink, &spec.name, &Arc::default(), shutdown).await?;
        let load = load_spec(&self.pipeline.name, spec, &run_id(SystemTime::now()), &*sink)?;
        Ok((sink, cx, load))
    }

    fn stream(&self, name: &str) -> Result<&StreamSpec> {
        let streams = &self.pipeline.streams;
        streams.iter().find(|spec| spec.name == name).ok_or_else(|| {
            let names: Vec<_> = streams.iter().map(|spec| spec.name.as_str()).collect();
            Error::config(format!("there is no stream `{name}`; the pipeline has {}", names.join(", ")))
        })
    }
}

fn transform(spec: &StreamSpec, run: &str) -> Result<Transform> {
    let context =
        TransformContext { run: run.to_owned(), source: spec.name.clone(), load_time: SystemTime::now() };
    Transform::new(&spec.transform, &context)
}

impl PlannedStream {
    fn add(&mut self, split: String, estimate: Option<Estimate>) {
        self.count += 1;
        if self.splits.len() < LISTED {
            self.splits.push(split);
        }
        let estimate = estimate.unwrap_or_default();
        let sum = |total: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *total = Some(total.unwrap_or(0) + more);
            }
        };
        sum(&mut self.estimate.rows, estimate.rows);
        sum(&mut self.estimate.bytes, estimate.bytes);
    }
}
