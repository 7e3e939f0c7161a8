//! Writers: join small batches, write them, and stage them when it is time to commit.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use towpath_core::{Json, Result, Staged};

use super::covered::Covered;
use super::joined::Joined;
use super::queue::{Held, Sender, queue};
use super::target::{Conformed, OpenWriter};
use super::{Event, Item, Stream};
use crate::cursor::greater;

/// Batches are joined until they hold so many rows, or as many bytes as the sink likes, or nothing more has come for a
/// moment.
const JOINED_ROWS: usize = 64 << 10;
const LINGER: Duration = Duration::from_millis(100);

/// The way to a writer that many splits share.
pub(super) struct Route {
    sender: Sender,
    splits: Arc<AtomicUsize>,
}

/// A split that goes this way, until it is dropped.
pub(super) struct Assigned(Arc<AtomicUsize>);

impl Route {
    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) fn splits(&self) -> usize {
        self.splits.load(Relaxed)
    }

    pub(super) fn assign(&self) -> Assigned {
        self.splits.fetch_add(1, Relaxed);
        Assigned(self.splits.clone())
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Rows that a writer has staged, and how far their splits have got.
#[derive(Default)]
pub(super) struct Part {
    /// The split of which all rows are, if it is one.
    split: Option<u64>,
    staged: Vec<Staged>,
    covered: Covered,
    seen: Option<Json>,
}

impl Part {
    pub(super) fn into_event(self) -> Event {
        Event::Part { split: self.split, staged: self.staged, covered: self.covered, seen: self.seen }
    }

    pub(super) fn staged_copies(&self) -> Vec<Staged> {
        self.staged.clone()
    }

    /// Throws the staged rows away. Best effort: the next `begin` sweeps the rest.
    pub(super) async fn discard(self, stream: &Stream) {
        let begun = stream.target.begun();
        if let Err(error) = stream.opened.sink.abort(&stream.opened.sink_cx, &begun, self.staged).await {
            tracing::warn!(%error, "the rows of a broken split could not be removed; the next run removes them");
        }
    }
}

/// A writer that many splits share. It stages whenever the commit policy says so.
pub(super) fn shared(
    stream: Arc<Stream>,
    commits: mpsc::Sender<Event>,
) -> (Route, impl Future<Output = Result<()>> + Send) {
    let (sender, queue) = queue();
    let route = Route { sender, splits: Arc::default() };
    let task = async move {
        let mut writing = Writing::new(stream, queue, Some(commits));
        writing.run_until_closed().await?;
        writing.stage().await
    };
    (route, task)
}

/// A writer for one split. What it stages is handed out at the end.
pub(super) fn own(stream: Arc<Stream>, ordinal: u64) -> (Sender, Own) {
    let (sender, queue) = queue();
    (sender, Own { writing: Writing::new(stream, queue, None), ordinal })
}

/// A writer for one split.
pub(super) struct Own {
    writing: Writing,
    ordinal: u64,
}

impl Own {
    /// Writes until the reader is done or gone.
    pub(super) async fn run(mut self) -> Result<Part> {
        self.writing.run_until_closed().await?;
        self.writing.stage().await?;
        let mut part = self.writing.part;
        part.split = Some(self.ordinal);
        // Only the end is a position that a split without positions can go on from.
        part.covered.keep_end_of(self.ordinal);
        Ok(part)
    }
}

/// A writer at work.
struct Writing {
    stream: Arc<Stream>,
    queue: mpsc::Receiver<Item>,
    /// Where parts go; `None` keeps them in `part`.
    commits: Option<mpsc::Sender<Event>>,
    changing: watch::Receiver<u64>,
    open: Option<OpenWriter>,
    joined: Joined,
    batch_bytes: usize,
    part: Part,
    /// Rows and bytes since the last part, and when its first item came.
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
}

impl Writing {
    fn new(stream: Arc<Stream>, queue: mpsc::Receiver<Item>, commits: Option<mpsc::Sender<Event>>) -> Self {
        let changing = stream.target.changing();
        let batch_bytes = stream.opened.sink.capabilities().batch_bytes;
        Self {
            stream,
            queue,
            commits,
            changing,
            open: None,
            joined: Joined::default(),
            batch_bytes,
            part: Part::default(),
            rows: 0,
            bytes: 0,
            since: None,
        }
    }

    async fn run_until_closed(&mut self) -> Result<()> {
        loop {
            let linger = (!self.joined.is_empty()).then(|| Instant::now() + LINGER);
            let due = self.due();
            tokio::select! {
                // What is there is taken first: to listen and to set timers costs more than a small batch.
                biased;
                item = self.queue.recv() => match item {
                    Some(item) => self.take(item).await?,
                    None => return self.flush().await,
                },
                _ = self.changing.changed(), if self.open.is_some() => self.finish_writer().await?,
                () = at(linger) => self.flush().await?,
                () = at(due) => self.stage().await?,
            }
            if self.open.is_some() && self.changing.has_changed().unwrap_or(false) {
                self.changing.mark_unchanged();
                self.finish_writer().await?;
            }
            if self.is_due() {
                self.stage().await?;
            }
        }
    }

    async fn take(&mut self, item: Item) -> Result<()> {
        self.since.get_or_insert_with(Instant::now);
        let Item { ordinal, rows, resume, seen } = item;
        if let Some((rows, held)) = rows {
            self.join(rows, held).await?;
        }
        self.part.covered.insert(ordinal, resume);
        self.part.seen = greater(self.part.seen.take(), seen);
        if self.joined.rows >= JOINED_ROWS || self.joined.bytes >= self.batch_bytes {
            self.flush().await?;
        }
        Ok(())
    }

    async fn join(&mut self, rows: Conformed, held: Held) -> Result<()> {
        let Conformed { rows: Some(rows), generation } = rows else { return Ok(()) };
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if generation != self.joined.generation {
            self.flush().await?;
            self.joined.generation = generation;
        }
        self.rows += rows.num_rows() as u64;
        self.bytes += rows.get_array_memory_size() as u64;
        self.joined.push(rows, held)
    }

    /// Writes what was joined, and gives its memory back.
    async fn flush(&mut self) -> Result<()> {
        if self.joined.is_empty() {
            return Ok(());
        }
        let joined = self.joined.take();
        if self.open.as_ref().is_some_and(|open| open.generation < joined.generation) {
            self.finish_writer().await?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            closed => {
                self.changing.mark_unchanged();
                closed.insert(self.stream.target.open(self.stream.next_part()).await?)
            }
        };
        let (rows, _held) = joined.into_rows()?;
        open.write(rows).await
    }

    /// Ends the open writer, so that its rows are staged.
    async fn finish_writer(&mut self) -> Result<()> {
        self.flush_into_open().await?;
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut staged = open.writer.finish().await?;
        let refused = std::mem::take(&mut staged.rejected);
        if self.commits.is_some() {
            self.stream.tally.keep_staged(vec![staged.clone()]);
        }
        self.part.staged.push(staged);
        self.stream.rejects.take(refused).await
    }

    /// Writes what was joined, if the open writer's columns are late enough for it.
    async fn flush_into_open(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.generation < self.joined.generation || self.joined.is_empty() {
            return Ok(());
        }
        let (rows, _held) = self.joined.take().into_rows()?;
        open.write(rows).await
    }

    /// Stages everything that was taken so far, and tells the committer.
    async fn stage(&mut self) -> Result<()> {
        self.flush().await?;
        self.finish_writer().await?;
        (self.rows, self.bytes, self.since) = (0, 0, None);
        let Some(commits) = &self.commits else { return Ok(()) };
        let part = std::mem::take(&mut self.part);
        if !part.staged.is_empty() || !part.covered.is_empty() {
            // A closed channel means that the stream is ending with an error of its own.
            let _ = commits.send(part.into_event()).await;
        }
        Ok(())
    }

    /// When the rows at hand have to be committed; `None` where they are committed at the end.
    fn due(&self) -> Option<Instant> {
        let commits_often = self.commits.is_some() && !self.stream.is_replace();
        self.since.filter(|_| commits_often).map(|since| since + self.stream.opened.commit.interval.get())
    }

    fn is_due(&self) -> bool {
        let policy = &self.stream.opened.commit;
        self.due().is_some_and(|due| {
            due <= Instant::now() || self.rows >= policy.rows || self.bytes >= policy.bytes.bytes()
        })
    }
}

/// Completes at this moment; never, for `None`.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
