//! Reads splits, as many at once as the limits allow.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use towpath_core::{Batch, BatchStream, Error, ErrorKind, Position, Result, Resume, Retry, Split};

use super::queue::Sender;
use super::writer::{self, Part, Route};
use super::{Assignment, Event, Item, Stream};
use crate::OnError;
use crate::memory::Lease;

/// The lease of a reader that has not seen a batch yet.
const FIRST_LEASE: usize = 64 << 10;
/// What a decoder holds at the most beside the batch in hand: some blocks, raw and decoded.
const MOST_OVERHEAD: u64 = 16 << 20;
/// How often a split without positions is read anew from its start.
const RESTARTS: u32 = 3;

/// Takes splits from the queue and reads them in tasks, as many as there are splits to read at once. A failed split ends the
/// stream, or only itself.
pub(super) async fn dispatch(
    stream: Arc<Stream>,
    queue: mpsc::Receiver<Assignment>,
    routes: Vec<Route>,
    commits: mpsc::Sender<Event>,
) -> Result<()> {
    let slots = Arc::new(Semaphore::new(stream.readers()));
    let (routes, queue): (Arc<[Route]>, _) = (routes.into(), Arc::new(Mutex::new(queue)));
    let mut readers = JoinSet::new();
    loop {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::unexpected("the reader slots were closed"))?;
        while let Some(ended) = readers.try_join_next() {
            joined(ended)?;
        }
        let Some(assignment) = queue.lock().await.recv().await else { break };
        let (stream, queue) = (stream.clone(), queue.clone());
        let (routes, commits) = (routes.clone(), commits.clone());
        let reading = async move {
            let _slot = slot;
            let mut next = Some(assignment);
            while let Some(assignment) = next.filter(|_| !stream.reading.is_cancelled()) {
                read(&stream, assignment, &routes, &commits).await;
                // Who waits for the next one has the lock; then there is none.
                next = queue.try_lock().ok().and_then(|mut queue| queue.try_recv().ok());
            }
        };
        // A task is moved about while it begins and ends, and this one is large.
        readers.spawn(reading.boxed());
    }
    while let Some(ended) = readers.join_next().await {
        joined(ended)?;
    }
    Ok(())
}

fn joined(ended: std::result::Result<(), tokio::task::JoinError>) -> Result<()> {
    ended.map_err(|panic| Error::unexpected(format!("a reader ended: {panic}")))
}

/// Reads a split and notes how it ended.
async fn read(stream: &Arc<Stream>, assignment: Assignment, routes: &[Route], commits: &mpsc::Sender<Event>) {
    let id = &assignment.split.id.0;
    let progress = &stream.opened.progress;
    let _slot = connection_slot(stream).await;
    let _reading = progress.reading();
    let result = if stream.resume == Resume::Exact {
        read_shared(stream, &assignment, routes).await
    } else {
        // It has a writer in it, and would make every reader as large.
        Box::pin(read_alone(stream, &assignment, commits)).await
    };
    match result {
        Ok(()) => progress.add_splits_done(1),
        Err(error) if error.kind() == ErrorKind::Cancelled => {}
        Err(error)
            if stream.opened.on_error == OnError::Continue && error.kind() != ErrorKind::SchemaMismatch =>
        {
            progress.add_splits_failed(1);
            tracing::warn!(stream = stream.opened.load.stream, split = id, %error, "a split failed; the next run reads it again");
            stream.tally.fail(&error, Some(id));
        }
        Err(error) => {
            progress.add_splits_failed(1);
            stream.tally.fail_stream(&error, id);
            stream.reading.cancel();
        }
    }
}

async fn connection_slot(stream: &Stream) -> Option<OwnedSemaphorePermit> {
    let slots = stream.opened.connection_slots.clone()?;
    tokio::select! {
        slot = slots.acquire_owned() => slot.ok(),
        () = stream.reading.cancelled() => None,
    }
}

/// Reads a split into the writer that it shares with others.
async fn read_shared(stream: &Arc<Stream>, assignment: &Assignment, routes: &[Route]) -> Result<()> {
    let route = stream.pick(routes).ok_or_else(|| Error::unexpected("there is no writer"))?;
    let _assigned = route.assign();
    let _held = hold(stream, &assignment.split, 0).await;
    feed(stream, assignment, assignment.from.clone(), route.sender()).await
}

/// Reads a split into a writer of its own, which is thrown away and begun anew when the split breaks off.
async fn read_alone(
    stream: &Arc<Stream>,
    assignment: &Assignment,
    commits: &mpsc::Sender<Event>,
) -> Result<()> {
    let mut restarts = 0;
    loop {
        let error = match read_once(stream, assignment).await {
            Ok(part) => {
                stream.tally.keep_staged(part.staged_copies());
                // A closed channel means that the stream is ending with an error of its own.
                let _ = commits.send(part.into_event()).await;
                return Ok(());
            }
            Err(error) => error,
        };
        if !may_start_again(&error, stream.resume) || restarts == RESTARTS {
            return Err(error);
        }
        restarts += 1;
        stream.opened.source_cx.metrics().add_retries(1);
        tracing::debug!(split = %assignment.split.id, %error, "a split broke off and is read again from its start");
        stream.opened.source_cx.sleep(Duration::from_millis(200) * 2_u32.pow(restarts)).await?;
    }
}

/// Reads a split from its start into a new writer. When that breaks off, nothing of it is left.
async fn read_once(stream: &Arc<Stream>, assignment: &Assignment) -> Result<Part> {
    let _held = hold(stream, &assignment.split, stream.target.writer_bytes()).await;
    let (sender, own) = writer::own(stream.clone(), assignment.ordinal);
    let reading = async move {
        let sender = sender;
        feed(stream, assignment, Position::Start, &sender).await
    };
    match join(reading, own.run()).await {
        (Ok(()), Ok(part)) => Ok(part),
        // A writer that failed is what cut the reader off. Only it knows whether a new one would do better.
        (Ok(()), Err(error)) => Err(of_writer(error)),
        (Err(cut), Err(error)) if cut.kind() == ErrorKind::Cancelled => Err(of_writer(error)),
        (Err(error), written) => {
            if let Ok(part) = written {
                part.discard(stream).await;
            }
            Err(error)
        }
    }
}

/// The retry layer has tried again what a writer can; only what asks for it is begun anew.
fn of_writer(error: Error) -> Error {
    if error.retry_policy() == Retry::Restart { error } else { error.retry(Retry::Never) }
}

/// Whether reading a split anew from its start may help. Where reads go on behind any batch, the retry layer has done
/// what can be done from there.
fn may_start_again(error: &Error, resume: Resume) -> bool {
    match resume {
        Resume::Split => error.is_retryable() || error.retry_policy() == Retry::Restart,
        Resume::Run => error.retry_policy() == Retry::Restart,
        Resume::None | Resume::Exact => false,
    }
}

/// Reads a split from a position and sends its rows to a writer. A source that never ends may end a read, which then is no
/// end of the split.
async fn feed(stream: &Arc<Stream>, assignment: &Assignment, from: Position, writer: &Sender) -> Result<()> {
    let (split, ordinal) = (&assignment.split, assignment.ordinal);
    let mut last = None;
    if from != Position::End {
        let mut batches = stream.opened.source.read(&stream.opened.source_cx, split, from)?;
        last = feed_batches(stream, &mut batches, split, ordinal, writer).await?;
        if !stream.bounded && last != Some(Position::End) {
            // It has more to come: the next run goes on here.
            stream.tally.pause();
            return Ok(());
        }
    }
    if last == Some(Position::End) {
        // The last rows have told it.
        return Ok(());
    }
    writer.send(Item { ordinal, rows: None, resume: Position::End, seen: None }).await
}

async fn feed_batches(
    stream: &Arc<Stream>,
    batches: &mut BatchStream,
    split: &Split,
    ordinal: u64,
    writer: &Sender,
) -> Result<Option<Position>> {
    let metrics = stream.opened.between_cx.metrics();
    let (mut expected, mut last) = (FIRST_LEASE, None);
    let mut cancelled = stream.reading.cancelled();
    loop {
        let lease = stream.opened.batches.lease(expected, metrics).await;
        let Some(batch) = next(&mut cancelled, batches).await? else { return Ok(last) };
        let size = batch.memory_size();
        // The next batch is likely to be as large as this one.
        expected = size.max(FIRST_LEASE);
        let lease = lease.resize(size, metrics).await;
        let prepared = stream.prepare(batch, size, &split.id.0).await?;
        let super::prepare::Prepared { rows, resume, seen } = prepared;
        let held = writer.hold(lease, size).await?;
        last = Some(resume.clone());
        writer.send(Item { ordinal, rows: Some((rows, held)), resume, seen }).await?;
    }
}

async fn next(cancelled: &mut BoxFuture<'_, ()>, batches: &mut BatchStream) -> Result<Option<Batch>> {
    tokio::select! {
        biased;
        () = cancelled => Err(Error::cancelled()),
        batch = batches.next() => batch.transpose(),
    }
}

/// Waits until the memory is free that reading this split, and a writer of its own, hold beside batches.
async fn hold(stream: &Stream, split: &Split, writer: usize) -> Lease {
    let bytes = overhead(split).saturating_add(writer);
    stream.opened.readers.lease(bytes, stream.opened.between_cx.metrics()).await
}

/// What reading this split holds in memory beside its batches.
fn overhead(split: &Split) -> usize {
    let guessed = || {
        let known = split.estimate.and_then(|estimate| estimate.bytes);
        known.map_or(FIRST_LEASE as u64, |bytes| bytes.saturating_mul(4).min(MOST_OVERHEAD))
    };
    usize::try_from(split.memory.unwrap_or_else(guessed)).unwrap_or(FIRST_LEASE)
}
