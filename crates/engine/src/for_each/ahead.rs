//! Reads the parent ahead: several of its splits at once, and their rows in order.
//!
//! A reader whose rows are not wanted yet is put aside: its stream is dropped, with all permits and connections that it
//! holds, and opened again behind its last batch. So the child's own requests always find room below the limits that both
//! share, and the parent never fills the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use towpath_core::{
    Batch, Context, DynSource, Error, Json, PlanStream, Planned, Position, Rejected, Result, Resume, Retry,
    Split,
};
use towpath_transform::Transform;

use super::row::{ParentRow, Wanted};
use crate::cursor::{Cursor, greater};

/// How many splits are read ahead at the most.
const SPLITS_AHEAD: usize = 8;
/// How many rows of a split are read ahead for each split of the child that is read at once.
const ROWS_AHEAD: usize = 256;
/// How often a split without positions is read anew from its start.
const RESTARTS: u32 = 3;

/// The parent as it is read.
pub(super) struct Reading {
    pub(super) source: Arc<dyn DynSource>,
    pub(super) cx: Context,
    pub(super) transform: Arc<Transform>,
    pub(super) wanted: Wanted,
    /// What leaves out rows that an earlier run has planned for.
    pub(super) cursor: Option<Cursor>,
}

/// Rows of the parent that belong together.
pub(super) struct Block {
    pub(super) rows: Vec<ParentRow>,
    /// Rows that could not be read.
    pub(super) unreadable: Vec<Rejected>,
    /// Where the split goes on behind them.
    pub(super) after: Position,
    /// The greatest cursor among them.
    pub(super) seen: Option<Json>,
    _held: Held,
}

/// What comes next.
pub(super) enum Next {
    /// A split begins; planning goes on behind it at `planned`.
    Split { split: Split, planned: Position },
    /// Rows of the split that began last.
    Block(Block),
    /// Everything was planned and read.
    Complete { since: Option<Position> },
}

/// The parent's rows, in the order of its splits.
pub(super) struct Ahead {
    reading: Arc<Reading>,
    steps: PlanStream,
    is_planned: bool,
    since: Option<Position>,
    splits: VecDeque<SplitAhead>,
    most: usize,
    rows: usize,
}

/// A split that is being read.
struct SplitAhead {
    /// Told once, when it is the first.
    begins: Option<(Split, Position)>,
    blocks: mpsc::UnboundedReceiver<Result<Block>>,
    task: JoinHandle<()>,
}

impl Drop for SplitAhead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ahead {
    /// Reads on in the split under way, if there is one, and then those of the plan.
    pub(super) fn new(
        reading: Reading,
        steps: PlanStream,
        under_way: Option<(Split, Position)>,
        parallelism: usize,
    ) -> Self {
        let parallelism = parallelism.max(1);
        let mut ahead = Self {
            reading: Arc::new(reading),
            steps,
            is_planned: false,
            since: None,
            splits: VecDeque::new(),
            most: parallelism.min(SPLITS_AHEAD),
            // One at a time means that there is no room for two: then each batch is used up before the next is read.
            rows: ROWS_AHEAD.saturating_mul(parallelism - 1) + 1,
        };
        if let Some((split, from)) = under_way {
            ahead.read(split, from, None);
        }
        ahead
    }

    /// What comes next; after an error nothing.
    pub(super) async fn next(&mut self) -> Result<Next> {
        loop {
            let Self { steps, splits, .. } = self;
            let wants_more = !self.is_planned && splits.len() < self.most;
            let first = match splits.front_mut() {
                None if self.is_planned => return Ok(Next::Complete { since: self.since.take() }),
                None => None,
                Some(first) => {
                    if let Some((split, planned)) = first.begins.take() {
                        return Ok(Next::Split { split, planned });
                    }
                    Some(first)
                }
            };
            let Some(first) = first else {
                let step = steps.next().await.transpose()?;
                self.planned(step);
                continue;
            };
            tokio::select! {
                biased;
                step = steps.next(), if wants_more => {
                    let step = step.transpose()?;
                    self.planned(step);
                }
                block = first.blocks.recv() => {
                    if let Some(block) = block {
                        return block.map(Next::Block);
                    }
                    let ended = (&mut first.task).await;
                    ended.map_err(|panic| Error::unexpected(format!("the parent's reader ended: {panic}")))?;
                    splits.pop_front();
                }
            }
        }
    }

    fn planned(&mut self, step: Option<Planned>) {
        match step {
            None => self.is_planned = true,
            Some(Planned::Complete { since }) => self.since = Some(since),
            Some(Planned::Split { split, resume }) => {
                self.read(split.clone(), Position::Start, Some((split, resume)));
            }
        }
    }

    fn read(&mut self, split: Split, from: Position, begins: Option<(Split, Position)>) {
        let (sender, blocks) = mpsc::unbounded_channel();
        let reader =
            Reader { reading: self.reading.clone(), split, blocks: sender, room: Room::new(self.rows) };
        let task = tokio::spawn(reader.run(from));
        self.splits.push_back(SplitAhead { begins, blocks, task });
    }
}

/// Reads a split into a queue.
struct Reader {
    reading: Arc<Reading>,
    split: Split,
    blocks: mpsc::UnboundedSender<Result<Block>>,
    room: Room,
}

impl Reader {
    async fn run(self, from: Position) {
        let is_exact = self.reading.source.capabilities().resume == Resume::Exact;
        let read = if is_exact { self.in_order(from).await } else { self.by_value(from).await };
        if let Err(error) = read {
            // Nobody listens when the child's planning has ended.
            let _ = self.blocks.send(Err(error));
        }
    }

    /// Reads a split that goes on behind any batch, and pauses where nobody wants more.
    async fn in_order(&self, mut from: Position) -> Result<()> {
        while from != Position::End {
            let mut batches = self.reading.source.read(&self.reading.cx, &self.split, from)?;
            loop {
                let Some(batch) = batches.next().await.transpose()? else { return Ok(()) };
                from = batch.resume.clone();
                let block = self.block(batch).await?;
                let _ = self.blocks.send(Ok(block));
                if self.room.is_full() {
                    break;
                }
            }
            drop(batches);
            self.room.wait().await;
        }
        Ok(())
    }

    /// Reads a split whose positions do not outlive a run. Its rows come in the order of their values, each value once,
    /// so that a later run finds its place again whatever the order is then.
    async fn by_value(&self, from: Position) -> Result<()> {
        if from == Position::End {
            return Ok(());
        }
        let resume = self.reading.source.capabilities().resume;
        let mut restarts = 0;
        let mut whole = loop {
            let error = match self.whole().await {
                Ok(whole) => break whole,
                Err(error) => error,
            };
            let again = match resume {
                Resume::Split => error.is_retryable() || error.retry_policy() == Retry::Restart,
                Resume::Run => error.retry_policy() == Retry::Restart,
                Resume::None | Resume::Exact => false,
            };
            if !again || restarts == RESTARTS {
                return Err(error);
            }
            restarts += 1;
            self.reading.cx.metrics().add_retries(1);
            self.reading.cx.sleep(Duration::from_millis(200) * 2_u32.pow(restarts)).await?;
        };
        whole.rows.sort_by_cached_key(ParentRow::key);
        whole.rows.dedup_by_key(|row| row.key());
        let _ = self.blocks.send(Ok(whole));
        Ok(())
    }

    async fn whole(&self) -> Result<Block> {
        let mut batches = self.reading.source.read(&self.reading.cx, &self.split, Position::Start)?;
        let mut whole = Block {
            rows: Vec::new(),
            unreadable: Vec::new(),
            after: Position::End,
            seen: None,
            _held: self.room.take(0),
        };
        while let Some(batch) = batches.next().await.transpose()? {
            let block = self.block(batch).await?;
            whole.rows.extend(block.rows);
            whole.unreadable.extend(block.unreadable);
            whole.seen = greater(whole.seen.take(), block.seen);
        }
        Ok(whole)
    }

    /// What the child needs of a batch.
    async fn block(&self, batch: Batch) -> Result<Block> {
        let (reading, place) = (self.reading.clone(), self.split.id.to_string());
        let work = move || {
            let (rows, seen) = match &reading.cursor {
                Some(cursor) if batch.rows.num_columns() > 0 => cursor.apply(batch.rows)?,
                _ => (batch.rows, None),
            };
            let made = reading.transform.apply(rows, &place)?;
            let unreadable = batch.rejected.into_iter().chain(made.rejected).collect();
            Ok((reading.wanted.rows(&made.rows)?, unreadable, seen, batch.resume))
        };
        let (rows, unreadable, seen, after) = self.reading.cx.cpu(work).await?;
        let held = self.room.take(rows.len());
        Ok(Block { rows, unreadable, after, seen, _held: held })
    }
}

/// How many rows may wait.
struct Room {
    most: usize,
    waiting: watch::Sender<usize>,
}

/// Rows that wait until this is dropped.
struct Held {
    rows: usize,
    waiting: watch::Sender<usize>,
}

impl Room {
    fn new(most: usize) -> Self {
        Self { most, waiting: watch::Sender::new(0) }
    }

    fn take(&self, rows: usize) -> Held {
        self.waiting.send_modify(|waiting| *waiting += rows);
        Held { rows, waiting: self.waiting.clone() }
    }

    fn is_full(&self) -> bool {
        *self.waiting.borrow() >= self.most
    }

    /// Waits until half of what may wait is used up.
    async fn wait(&self) {
        let mut waiting = self.waiting.subscribe();
        // The sender is here, so it cannot be gone.
        let _ = waiting.wait_for(|waiting| *waiting <= self.most / 2).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.waiting.send_modify(|waiting| *waiting -= self.rows);
    }
}
