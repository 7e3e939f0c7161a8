//! A pipeline made ready: shared limits, pools and connections, and the run over all streams.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use towpath_core::{
    Clock, Connection, Context, ContextBuilder, CpuPool, Delivery, DynSink, DynSource, Error, ErrorKind,
    LoadSpec, Metrics, Result, Traffic, WriteDisposition,
};
use towpath_layers::{
    ConnectionLimiter, LayerSettings, LimitSettings, RayonPool, RunLimit, TokioClock, layer_sink,
};
use towpath_transform::{Transform, TransformContext};

use crate::ledger::{Limits, Sides};
use crate::memory::MemoryBudget;
use crate::state::StateFileSink;
use crate::stream::{self, Opened, Outcome};
use crate::{
    Advice, ConnectionSpec, Ledger, LimitCourse, Pipeline, RunProgress, RunReport, RunStatus, Shutdown,
    SinkSpec, StreamProgress, StreamReport, StreamSpec, StreamStatus,
};

/// A pipeline that can be run, checked, planned and previewed.
pub struct Engine {
    pub(crate) pipeline: Pipeline,
    connections: HashMap<String, Shared>,
    clock: Arc<dyn Clock>,
    cpu: Arc<dyn CpuPool>,
    batches: MemoryBudget,
    readers: MemoryBudget,
    progress: RunProgress,
    traffic: Traffic,
}

/// What the streams of a connection share.
struct Shared {
    spec: ConnectionSpec,
    reading: Side,
    writing: Side,
    slots: Option<Arc<Semaphore>>,
}

/// A connection as sources or as sinks see it. Each side has limits of its own: a reader may hold a permit while it waits
/// for memory, and must not keep the sink from the permit with which it would free that memory.
struct Side {
    connection: Arc<Connection>,
    limiter: Arc<ConnectionLimiter>,
}

impl Side {
    fn new(spec: &ConnectionSpec, run: &RunLimit, limits: &LimitSettings) -> Self {
        let limiter = Arc::new(ConnectionLimiter::new(run, limits));
        Self { connection: Arc::new(Connection::new(spec.name.clone(), limiter.clone())), limiter }
    }
}

impl Engine {
    /// Makes a pipeline ready. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config` when a stream names a connection that is not there; `Unexpected` when threads cannot be started.
    pub fn new(pipeline: Pipeline) -> Result<Self> {
        Self::with_traffic(pipeline, Traffic::Live)
    }

    /// The same, with what its sources hear from servers kept, or out of a recording.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_traffic(pipeline: Pipeline, traffic: Traffic) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock);
        let side = || RunLimit::new(pipeline.max_in_flight, clock.clone());
        let (reading, writing) = (side(), side());
        let shared = |spec: &ConnectionSpec| {
            let slots = spec.limits.max_in_flight.map(|most| Arc::new(Semaphore::new(most.get())));
            // A recording need not be spared.
            let unlimited = traffic.is_replayed().then(LimitSettings::default);
            let reading = Side::new(spec, &reading, unlimited.as_ref().unwrap_or(&spec.limits));
            let writing = Side::new(spec, &writing, &spec.limits);
            (spec.name.clone(), Shared { spec: spec.clone(), reading, writing, slots })
        };
        let connections: HashMap<_, _> = pipeline.connections.iter().map(shared).collect();
        for stream in &pipeline.streams {
            let letter = stream.dead_letter.as_ref().map(|letter| &letter.connection);
            let parents = stream.parents().map(|parent| &parent.source.connection);
            let own = [&stream.source.connection, &stream.sink.connection];
            for name in own.into_iter().chain(letter).chain(parents) {
                if !connections.contains_key(name) {
                    return Err(Error::config(format!(
                        "stream `{}` names the connection `{name}`, which is not there",
                        stream.name
                    )));
                }
            }
        }
        let half = towpath_core::ByteSize::new(pipeline.memory.bytes() / 2);
        Ok(Self {
            cpu: Arc::new(RayonPool::new(pipeline.threads.get())?),
            progress: RunProgress::new(pipeline.streams.iter().map(|stream| stream.name.clone())),
            batches: MemoryBudget::new(half),
            readers: MemoryBudget::new(half),
            pipeline,
            connections,
            clock,
            traffic,
        })
    }

    /// Live counts, for progress bars.
    pub fn progress(&self) -> &RunProgress {
        &self.progress
    }

    /// Runs all streams at once, until each has ended. What fails is in the report.
    pub async fn run(&self, shutdown: &Shutdown) -> RunReport {
        let (started, since) = (SystemTime::now(), Instant::now());
        let run = run_id(started);
        let streams = self.pipeline.streams.iter().zip(self.progress.streams());
        let streams =
            join_all(streams.map(|(spec, progress)| self.run_stream(spec, progress, &run, shutdown))).await;
        let advice = streams
            .iter()
            .max_by(|(a, _), (b, _)| a.seconds.total_cmp(&b.seconds))
            .and_then(|(report, limits)| Advice::new(&report.ledger, limits));
        let streams: Vec<_> = streams.into_iter().map(|(report, _)| report).collect();
        let status = if shutdown.stop.is_cancelled() {
            RunStatus::Interrupted
        } else if streams
            .iter()
            .all(|stream| stream.status == StreamStatus::Done && stream.rows_rejected == 0)
        {
            RunStatus::Done
        } else {
            RunStatus::Incomplete
        };
        RunReport {
            pipeline: self.pipeline.name.clone(),
            run,
            status,
            started: rfc3339(started),
            seconds: since.elapsed().as_secs_f64(),
            streams,
            limits: self.limits(),
            peak_budget: self.batches.peak() + self.readers.peak(),
            advice,
        }
    }

    fn limits(&self) -> Vec<LimitCourse> {
        let sides = self.pipeline.connections.iter().flat_map(|spec| {
            let shared = &self.connections[&spec.name];
            [(spec, "read", &shared.reading), (spec, "write", &shared.writing)]
        });
        sides
            .map(|(spec, direction, side)| (spec, direction, side.limiter.course()))
            .filter(|(.., course)| !course.origins.is_empty())
            .map(|(spec, direction, course)| LimitCourse {
                connection: spec.name.clone(),
                direction: direction.to_owned(),
                course: serde_json::to_value(course).unwrap_or_default(),
            })
            .collect()
    }

    async fn run_stream(
        &self,
        spec: &StreamSpec,
        progress: &Arc<StreamProgress>,
        run: &str,
        shutdown: &Shutdown,
    ) -> (StreamReport, Limits) {
        let since = Instant::now();
        let opened = self.open(spec, progress, run, shutdown).await;
        let (outcome, disposition, delivery) = match opened {
            Err(error) => {
                progress.end(false);
                (Outcome::failed(&error), None, None)
            }
            Ok(opened) => {
                let (disposition, delivery) = (opened.load.disposition, opened.sink.capabilities().delivery);
                (stream::run(opened).await, Some(disposition), Some(delivery))
            }
        };
        let report = report(spec, progress, outcome, disposition, delivery, since.elapsed());
        let limits = self.limits_of(spec, &report);
        (report, limits)
    }

    fn limits_of(&self, spec: &StreamSpec, report: &StreamReport) -> Limits {
        let settings = &self.connections[&spec.source.connection].spec.limits;
        Limits {
            stream: spec.name.clone(),
            connection: spec.source.connection.clone(),
            max_in_flight: settings.max_in_flight.map(NonZeroUsize::get),
            rate_limited: settings.rate_limit.is_some(),
            throttled: report.throttled > 0,
            run_max_in_flight: self.pipeline.max_in_flight.get(),
            splits: report.splits,
        }
    }

    async fn open(
        &self,
        spec: &StreamSpec,
        progress: &Arc<StreamProgress>,
        run: &str,
        shutdown: &Shutdown,
    ) -> Result<Opened> {
        if !spec.datasets.is_empty() {
            // They could not be listed when the pipeline was read; the reason is most likely still there.
            self.streams_of(spec, shutdown).await?;
            let text = "the data sets could not be listed when the run began";
            return Err(Error::new(ErrorKind::Unavailable, text).help("run again"));
        }
        let (source, source_cx) = self.open_source(spec, run, &progress.source, shutdown).await?;
        let (sink, sink_cx) = self.open_sink(&spec.sink, &spec.name, &progress.sink, shutdown).await?;
        let dead_letter = match &spec.dead_letter {
            None => None,
            Some(letter) => Some(self.open_sink(letter, &spec.name, &Arc::default(), shutdown).await?),
        };
        let load = load_spec(&self.pipeline.name, spec, run, &*sink)?;
        let transform =
            TransformContext { run: run.to_owned(), source: spec.name.clone(), load_time: SystemTime::now() };
        let cancellation = shutdown.kill.child();
        Ok(Opened {
            between_cx: source_cx.for_stream(&spec.name, progress.between.clone(), cancellation),
            transform: Transform::new(&spec.transform, &transform)?,
            cursor: if load.disposition == WriteDisposition::Replace { None } else { spec.cursor.clone() },
            schema_contract: spec.schema_contract,
            on_error: spec.on_error,
            commit: spec.commit,
            progress: progress.clone(),
            batches: self.batches.clone(),
            readers: self.readers.clone(),
            max_readers: self.max_readers(&spec.source.connection),
            connection_slots: self.connections[&spec.source.connection].slots.clone(),
            max_writers: self.pipeline.threads.get().max(2),
            shutdown: shutdown.clone(),
            source,
            source_cx,
            sink,
            sink_cx,
            dead_letter,
            load,
        })
    }

    pub(crate) fn max_readers(&self, connection: &str) -> usize {
        let own =
            self.connections[connection].spec.limits.max_in_flight.map_or(usize::MAX, NonZeroUsize::get);
        own.min(self.pipeline.max_in_flight.get())
    }

    /// Opens a stream's own source, without its parent.
    pub(crate) async fn open_reader(
        &self,
        spec: &StreamSpec,
        layers: fn(Arc<dyn DynSource>, &LayerSettings) -> Arc<dyn DynSource>,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Result<(Arc<dyn DynSource>, Context)> {
        let connector = &spec.source.connector;
        let entry = connector.source_entry().ok_or_else(|| {
            Error::config(format!("the connector `{}` cannot read; use it as a sink", connector.name()))
        })?;
        let shared = &self.connections[&spec.source.connection];
        let cx = self.context(&spec.name, &shared.reading, metrics, shutdown).traffic(self.traffic.clone());
        let cx = cx.build();
        let source = entry
            .open(spec.source.options.clone(), &cx)
            .await
            .map_err(|error| error.connector(connector.name()))?;
        Ok((layers(source, &shared.spec.layers), cx))
    }

    pub(crate) async fn open_sink(
        &self,
        spec: &SinkSpec,
        stream: &str,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> Result<(Arc<dyn DynSink>, Context)> {
        let connector = &spec.connector;
        let entry = connector.sink_entry().ok_or_else(|| {
            Error::config(format!("the connector `{}` cannot write; use it as a source", connector.name()))
        })?;
        let shared = &self.connections[&spec.connection];
        let cx = self.context(stream, &shared.writing, metrics, shutdown).build();
        let sink =
            entry.open(spec.options.clone(), &cx).await.map_err(|error| error.connector(connector.name()))?;
        let sink = layer_sink(sink, &shared.spec.layers);
        let remembers = sink.capabilities().delivery != Delivery::AtLeastOnce;
        let sink =
            if remembers { sink } else { Arc::new(StateFileSink::new(sink, &self.pipeline.state_dir)) };
        Ok((sink, cx))
    }

    fn context(
        &self,
        stream: &str,
        side: &Side,
        metrics: &Arc<Metrics>,
        shutdown: &Shutdown,
    ) -> ContextBuilder {
        Context::builder(self.clock.clone())
            .stream(stream)
            .connection(side.connection.clone())
            .cancellation(shutdown.kill.child())
            .cpu(self.cpu.clone())
            .outside(self.pipeline.outside.clone())
            .metrics(metrics.clone())
    }
}

/// A run's id: sorts by time, and no two are the same.
pub(crate) fn run_id(now: SystemTime) -> String {
    format!("{}-{:06x}", DateTime::<Utc>::from(now).format("%Y%m%dT%H%M%S%3fZ"), fastrand::u32(..1 << 24))
}

fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// What a run loads, held against what the sink can do.
pub(crate) fn load_spec(
    pipeline: &str,
    spec: &StreamSpec,
    run: &str,
    sink: &dyn DynSink,
) -> Result<LoadSpec> {
    let capabilities = sink.capabilities();
    let known = &capabilities.dispositions;
    let disposition = spec.write_disposition.or(known.first().copied());
    let disposition = disposition.ok_or_else(|| Error::config("the sink knows no write disposition"))?;
    if !known.contains(&disposition) {
        let known: Vec<_> = known.iter().map(|known| format!("{known:?}").to_lowercase()).collect();
        return Err(Error::config(format!(
            "stream `{}`: this sink does not know `write_disposition: {}`; it knows {}",
            spec.name,
            format!("{disposition:?}").to_lowercase(),
            known.join(", ")
        ))
        .connector(spec.sink.connector.name()));
    }
    if disposition == WriteDisposition::Merge && spec.key.is_empty() {
        return Err(Error::config(format!(
            "stream `{}`: `write_disposition: merge` needs a `key`",
            spec.name
        ))
        .help("name the columns that identify a row, such as `key: [id]`"));
    }
    Ok(LoadSpec::new(pipeline, &spec.name, run, disposition).key(spec.key.clone()))
}

fn report(
    spec: &StreamSpec,
    progress: &StreamProgress,
    outcome: Outcome,
    disposition: Option<WriteDisposition>,
    delivery: Option<Delivery>,
    wall: Duration,
) -> StreamReport {
    let sides = Sides {
        source: progress.source.snapshot(),
        sink: progress.sink.snapshot(),
        between: progress.between.snapshot(),
    };
    let mut status = outcome.status.unwrap_or(StreamStatus::Failed);
    if status == StreamStatus::Done && progress.rows_rejected() > 0 {
        status = StreamStatus::Incomplete;
    }
    StreamReport {
        name: spec.name.clone(),
        status,
        disposition,
        delivery,
        resumed: outcome.resumed,
        rows_read: sides.source.rows_read,
        rows_committed: progress.rows_committed(),
        rows_rejected: progress.rows_rejected(),
        // A sink reads what a service does not copy for it.
        bytes_read: sides.source.bytes_read + sides.sink.bytes_read,
        bytes_written: sides.sink.bytes_written,
        bytes_copied: sides.sink.bytes_copied,
        splits: progress.splits(),
        splits_done: progress.splits_done(),
        splits_failed: progress.splits_failed(),
        commits: progress.commits(),
        requests: sides.source.requests + sides.sink.requests,
        retries: sides.source.retries + sides.sink.retries,
        throttled: sides.source.throttled + sides.sink.throttled,
        seconds: wall.as_secs_f64(),
        ledger: Ledger::new(&sides, wall),
        failures: outcome.failures,
        rejected: outcome.rejected,
        warnings: outcome.warnings,
    }
}
