//! One stream from its plan to its last commit.
//!
//! Tasks and what flows between them:
//!
//! ```text
//! planner ── assignments ──> dispatcher ──> readers ── rows ──> writers
//!    └───────── planned ──────────> committer <───────── parts ────┘
//! ```
//!
//! A split's rows all go to one writer, in order, so the position behind the last row that a writer has staged is where
//! the split goes on. The committer hears of a split before any of its rows can reach it.

mod committer;
mod covered;
mod joined;
mod outcome;
mod planner;
mod prepare;
mod queue;
mod reader;
mod target;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use towpath_core::{
    Begun, Cancellation, Context, CursorRange, DynSink, DynSource, Error, ErrorKind, Json, LoadSpec,
    Position, Realm, Result, Resume, Split, Staged, WriteDisposition,
};
use towpath_transform::Transform;

use crate::dead_letter::{DeadLetter, Rejects};
use crate::memory::MemoryBudget;
use crate::request::scan_request;
use crate::{CommitPolicy, OnError, SchemaContract, Shutdown, StreamProgress};
use committer::Committer;
use covered::Covered;
pub(crate) use outcome::Outcome;
use outcome::Tally;
use prepare::Prepare;
pub(crate) use prepare::is_position_only;
use target::Target;
use writer::Route;

/// Everything that a stream needs, opened and checked.
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn DynSource>,
    pub(crate) source_cx: Context,
    pub(crate) sink: Arc<dyn DynSink>,
    pub(crate) sink_cx: Context,
    pub(crate) dead_letter: Option<(Arc<dyn DynSink>, Context)>,
    pub(crate) between_cx: Context,
    pub(crate) transform: Transform,
    pub(crate) load: LoadSpec,
    pub(crate) cursor: Option<String>,
    pub(crate) schema_contract: SchemaContract,
    pub(crate) on_error: OnError,
    pub(crate) commit: CommitPolicy,
    pub(crate) progress: Arc<StreamProgress>,
    /// The budget for batches.
    pub(crate) batches: MemoryBudget,
    /// The budget for what readers, and writers of one split, hold beside batches.
    pub(crate) readers: MemoryBudget,
    /// How many splits are read at once.
    pub(crate) max_readers: usize,
    /// How many splits of the connection are read at once, over all its streams.
    pub(crate) connection_slots: Option<Arc<Semaphore>>,
    /// How many writers work at once, before the sink's own limit.
    pub(crate) max_writers: usize,
    pub(crate) shutdown: Shutdown,
}

impl Opened {
    /// Out of which realm the sink has bytes copied, unless something in between wants to see them.
    fn copier(&self) -> Option<Realm> {
        let nobody_looks = self.transform.is_empty() && self.cursor.is_none();
        nobody_looks.then(|| self.sink.capabilities().copies_from).flatten()
    }
}

/// What the tasks of a stream share.
struct Stream {
    opened: Opened,
    prepare: Prepare,
    target: Target,
    rejects: Rejects,
    tally: Tally,
    /// Set when reading is to end: by a shutdown, or by a failure.
    reading: Cancellation,
    parts: AtomicU32,
    next_route: AtomicUsize,
    resume: Resume,
    /// Whether the source ends by itself.
    bounded: bool,
}

/// A split to be read, and from where. The ordinal counts the splits of this run.
#[derive(Debug)]
struct Assignment {
    ordinal: u64,
    split: Split,
    from: Position,
}

/// What a reader tells a writer: rows with their lease, and how far the split has got with them.
struct Item {
    ordinal: u64,
    /// `None` where the split got further without rows.
    rows: Option<(target::Conformed, queue::Held)>,
    resume: Position,
    seen: Option<Json>,
}

/// What the committer hears.
enum Event {
    /// A split was planned, and planning has got this far. A `replace` tells no split: what it commits is all or nothing.
    Planned { ordinal: u64, split: Option<Split>, from: Position, planned: Position },
    /// Planning is complete.
    PlanComplete { since: Option<Position> },
    /// A writer has staged rows; these splits have got this far. `split` is the one of which all of them are, if it is one.
    Part { split: Option<u64>, staged: Vec<Staged>, covered: Covered, seen: Option<Json> },
}

/// Runs a stream. Failures are in the outcome.
pub(crate) async fn run(opened: Opened) -> Outcome {
    let progress = opened.progress.clone();
    progress.begin();
    let outcome = begin_and_load(opened).await;
    progress.end(outcome.is_done());
    outcome
}

async fn begin_and_load(opened: Opened) -> Outcome {
    let begun = match opened.sink.begin(&opened.sink_cx, &opened.load).await {
        Ok(begun) => begun,
        Err(error) => return Outcome::failed(&error),
    };
    let letter = match &opened.dead_letter {
        None => None,
        Some((sink, cx)) => match DeadLetter::begin(sink.clone(), cx.clone(), &opened.load).await {
            Ok(letter) => Some(letter),
            Err(error) => return Outcome::failed(&error.operation("dead letter")),
        },
    };
    let resumed = begun.checkpoint.is_under_way();
    let mut outcome = load(opened, begun, letter).await;
    outcome.resumed = resumed;
    outcome
}

async fn load(opened: Opened, begun: Begun, letter: Option<DeadLetter>) -> Outcome {
    let capabilities = opened.source.capabilities();
    if !capabilities.bounded && opened.load.disposition == WriteDisposition::Replace {
        return Outcome::failed(
            &Error::config("`replace` needs all rows at once, and this source never ends")
                .help("set `write_disposition: append` or `merge`"),
        );
    }
    let reading = opened.shutdown.stop.child();
    let source_cx = opened.source_cx.with_cancellation(reading.clone()).with_copier(opened.copier());
    let request = scan_request(
        &begun.checkpoint,
        opened.cursor.as_deref(),
        opened.load.disposition,
        &opened.transform,
        opened.max_readers,
    );
    let plan = match opened.source.plan(&source_cx, &request).await {
        Ok(plan) => plan,
        Err(error) if error.kind() == ErrorKind::Cancelled => return Outcome::interrupted(),
        Err(error) => return Outcome::failed(&error),
    };
    let until =
        begun.checkpoint.progress.as_ref().and_then(|held| held.until.clone()).or_else(|| plan.until.clone());
    let behind = plan.after.clone();
    let range =
        request.cursor.map(|range| CursorRange::new(range.field, behind.or(range.after), until.clone()));
    let (commits, events) = mpsc::channel(64);
    let stream = Arc::new(Stream {
        prepare: Prepare::new(range, plan.cursor),
        target: Target::new(opened.sink.clone(), opened.sink_cx.clone(), begun.clone()),
        rejects: Rejects::new(opened.on_error, opened.progress.clone(), letter),
        tally: Tally::default(),
        resume: capabilities.resume,
        bounded: capabilities.bounded,
        parts: AtomicU32::new(0),
        next_route: AtomicUsize::new(0),
        opened: Opened { source_cx, ..opened },
        reading,
    });
    let mut tasks = JoinSet::new();
    let committer = Committer::new(stream.clone(), &begun, until, plan.schema.clone());
    tasks.spawn(committer.run(events));
    let (assignments, queue) = mpsc::channel(2 * stream.readers());
    tasks.spawn(planner::run(
        stream.clone(),
        plan.splits,
        begun.checkpoint.clone(),
        assignments,
        commits.clone(),
    ));
    let routes = stream.clone().open_routes(&mut tasks, &commits);
    tasks.spawn(reader::dispatch(stream.clone(), queue, routes, commits));
    finish(&stream, tasks).await
}

/// Waits for all tasks. The first error of a writer or of the committer ends the others at once; failures of readers
/// are in the tally already, and let the rest be committed.
async fn finish(stream: &Stream, mut tasks: JoinSet<Result<()>>) -> Outcome {
    loop {
        let joined = tokio::select! {
            joined = tasks.join_next() => joined,
            () = stream.opened.shutdown.kill.cancelled() => {
                tasks.shutdown().await;
                stream.discard_staged().await;
                return stream.outcome(true);
            }
        };
        let error = match joined {
            None => break,
            Some(Ok(Ok(()))) => continue,
            Some(Ok(Err(error))) => error,
            Some(Err(panic)) => Error::unexpected(format!("a task of the stream ended: {panic}")),
        };
        if stream.tally.fail(&error, None) {
            stream.reading.cancel();
            tasks.shutdown().await;
            stream.discard_staged().await;
            break;
        }
    }
    stream.outcome(stream.opened.shutdown.stop.is_cancelled())
}

impl Stream {
    /// How many splits are read at once. Where each needs a writer of its own, not more than those.
    fn readers(&self) -> usize {
        let most = self.opened.max_readers.max(1);
        if self.resume == Resume::Exact {
            most
        } else {
            most.min(self.opened.sink.capabilities().max_writers)
        }
    }

    fn is_replace(&self) -> bool {
        self.opened.load.disposition == WriteDisposition::Replace
    }

    fn next_part(&self) -> u32 {
        self.parts.fetch_add(1, Relaxed)
    }

    /// The writers that many splits share; none where each split needs its own.
    fn open_routes(
        self: Arc<Self>,
        tasks: &mut JoinSet<Result<()>>,
        commits: &mpsc::Sender<Event>,
    ) -> Vec<Route> {
        if self.resume != Resume::Exact {
            return Vec::new();
        }
        let capabilities = self.opened.sink.capabilities();
        let most = if capabilities.one_sequence { 1 } else { capabilities.max_writers };
        let writers = self.opened.max_writers.min(most).max(1);
        (0..writers)
            .map(|_| {
                let (route, task) = writer::shared(self.clone(), commits.clone());
                tasks.spawn(task);
                route
            })
            .collect()
    }

    /// The writer with the fewest splits, in turn among equals.
    fn pick<'a>(&self, routes: &'a [Route]) -> Option<&'a Route> {
        let start = self.next_route.fetch_add(1, Relaxed);
        (0..routes.len())
            .map(|step| &routes[(start + step) % routes.len()])
            .min_by_key(|route| route.splits())
    }

    /// Throws away what was staged and will not be committed. Best effort: the next `begin` sweeps the rest.
    async fn discard_staged(&self) {
        let staged = self.tally.take_staged();
        if staged.is_empty() {
            return;
        }
        let begun = self.target.begun();
        if let Err(error) = self.opened.sink.abort(&self.opened.sink_cx, &begun, staged).await {
            tracing::warn!(stream = self.opened.load.stream, %error, "staged rows could not be removed; the next run removes them");
        }
    }

    fn outcome(&self, interrupted: bool) -> Outcome {
        let mut outcome = self.tally.outcome(interrupted);
        outcome.rejected = self.rejects.shown();
        let unused = self.opened.transform.unused_columns();
        outcome.warnings.extend(unused.iter().map(ToString::to_string));
        outcome.warnings.extend(self.opened.source_cx.metrics().warnings());
        outcome.warnings.extend(self.opened.sink_cx.metrics().warnings());
        outcome
    }
}
