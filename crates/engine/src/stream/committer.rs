//! Brings staged rows and the progress that they mean into the target, in one step each time.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use tokio::sync::mpsc;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Error, Finished, Json, Position, Result, Split, SplitAdvance,
    Staged,
};

use super::covered::{Covered, Ordinals};
use super::{Event, Stream};
use crate::cursor::greater;

/// Collects what planner and writers tell, and commits it.
pub(super) struct Committer {
    stream: Arc<Stream>,
    /// The splits of all but a `replace`, whose only commit comes when no split is left.
    splits: BTreeMap<u64, Tracked>,
    /// How many splits a `replace` has been told, and which of them are over.
    told: u64,
    ended: Ordinals,
    /// What was staged since the last commit, and the split of which all of it is, if it is one.
    staged: Vec<(Option<u64>, Staged)>,
    planned: Advance<Position>,
    since: Option<Position>,
    plan_complete: bool,
    until: Option<Json>,
    seen: Option<Json>,
    /// The columns of the plan, for a stream that brings no rows.
    schema: Option<SchemaRef>,
    cursor: Option<Json>,
    last_since: Position,
    epoch: u64,
    sequence: u64,
}

/// A split between its planning and its end.
struct Tracked {
    split: Split,
    /// What the target holds; `None` when it does not know the split.
    held: Option<Position>,
    /// What it holds after the next commit.
    next: Position,
}

impl Committer {
    pub(super) fn new(
        stream: Arc<Stream>,
        begun: &Begun,
        until: Option<Json>,
        schema: Option<SchemaRef>,
    ) -> Self {
        let checkpoint = &begun.checkpoint;
        let held = checkpoint.progress.clone().unwrap_or_default();
        Self {
            stream,
            splits: BTreeMap::new(),
            told: 0,
            ended: Ordinals::default(),
            staged: Vec::new(),
            planned: Advance { from: held.planned.clone(), to: held.planned },
            since: held.since,
            plan_complete: false,
            until,
            seen: held.seen,
            schema,
            cursor: checkpoint.cursor.clone(),
            last_since: checkpoint.since.clone(),
            epoch: checkpoint.epoch,
            sequence: checkpoint.sequence,
        }
    }

    /// Commits whenever rows were staged, and once more at the end.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) -> Result<()> {
        while let Some(event) = events.recv().await {
            let mut part_came = self.take(event)?;
            // Parts that came meanwhile go in the same commit.
            while let Ok(event) = events.try_recv() {
                part_came |= self.take(event)?;
            }
            if part_came && !self.stream.is_replace() {
                self.commit(false).await?;
            }
        }
        self.end().await
    }

    /// Takes an event; `true` when rows or positions have come.
    fn take(&mut self, event: Event) -> Result<bool> {
        match event {
            Event::Planned { ordinal, split, from, planned } => {
                self.told += 1;
                if let Some(split) = split {
                    // Splits that an interrupted run left are known to the target.
                    let held = self.stream_knows(&split, &from).then(|| from.clone());
                    self.splits.insert(ordinal, Tracked { split, held, next: from });
                }
                self.planned.to = planned;
                Ok(false)
            }
            Event::PlanComplete { since } => {
                self.plan_complete = true;
                self.planned.to = Position::End;
                self.since = since.or(self.since.take());
                Ok(false)
            }
            Event::Part { split, staged, covered, seen } => {
                self.cover(covered)?;
                self.seen = greater(self.seen.take(), seen);
                self.staged.extend(staged.into_iter().map(|staged| (split, staged)));
                Ok(true)
            }
        }
    }

    /// Notes how far splits have got. Of those of a `replace`, only the end matters.
    fn cover(&mut self, covered: Covered) -> Result<()> {
        let (ended, under_way) = covered.into_parts();
        if self.stream.is_replace() {
            self.ended.extend(&ended);
            return Ok(());
        }
        let ended = ended.iter().map(|ordinal| (ordinal, Position::End));
        under_way.into_iter().chain(ended).try_for_each(|(ordinal, position)| self.advance(ordinal, position))
    }

    /// Whether all splits so far have been read to their ends.
    fn everything_read(&self) -> bool {
        if self.stream.is_replace() {
            self.ended.has_all_below(self.told)
        } else {
            self.splits.values().all(|tracked| tracked.next == Position::End)
        }
    }

    /// Notes how far a split has got.
    fn advance(&mut self, ordinal: u64, position: Position) -> Result<()> {
        match self.splits.get_mut(&ordinal) {
            // The target need not hear of it: what was planned and is not listed is finished.
            Some(Tracked { held: None, .. }) if position == Position::End => {
                self.splits.remove(&ordinal);
            }
            Some(tracked) => tracked.next = position,
            // A last batch may say itself that nothing follows; then the split is known to be done.
            None if position == Position::End => {}
            None => return Err(Error::unexpected("rows of an unknown split were staged")),
        }
        Ok(())
    }

    /// Whether the checkpoint with which this run began holds the split.
    fn stream_knows(&self, split: &Split, from: &Position) -> bool {
        let begun = self.stream.target.begun();
        let held = begun.checkpoint.progress.as_ref();
        held.and_then(|held| held.position(&split.id)).is_some_and(|position| position == from)
    }

    /// The last commit: the rest, and that the run is finished, if it is. A `replace` that is not complete changes
    /// nothing.
    async fn end(mut self) -> Result<()> {
        let complete = self.plan_complete && self.everything_read() && !self.stream.tally.has_failed();
        if self.stream.is_replace() && !complete {
            self.stream.discard_staged().await;
            return Ok(());
        }
        if complete && let Some(schema) = self.stream.empty_schema(self.schema.take())? {
            self.stream.target.ensure(&schema).await?;
        }
        self.commit(complete).await?;
        if complete {
            self.stream.tally.finish();
        }
        Ok(())
    }

    async fn commit(&mut self, finished: bool) -> Result<()> {
        let token = self.token(finished);
        let staged = self.take_staged();
        let refused = self.commit_what_fits(&token, &staged).await?;
        let opened = &self.stream.opened;
        self.stream.tally.committed(&staged);
        let rows: u64 = staged.iter().map(|staged| staged.rows).sum();
        opened.progress.add_rows_committed(rows.saturating_sub(refused));
        opened.progress.add_commits(1);
        self.sequence = token.sequence;
        self.planned.from = token.planned.to;
        self.splits.retain(|_, tracked| tracked.next != Position::End);
        for tracked in self.splits.values_mut() {
            tracked.held = Some(tracked.next.clone());
        }
        Ok(())
    }

    /// What was staged, in the order of the splits, or of the writers that they share.
    fn take_staged(&mut self) -> Vec<Staged> {
        let mut staged = std::mem::take(&mut self.staged);
        staged.sort_by_key(|(split, staged)| (*split, staged.part));
        staged.into_iter().map(|(_, staged)| staged).collect()
    }

    /// Commits until the target refuses no more rows. Returns how many it refused.
    async fn commit_what_fits(&self, token: &CommitToken, staged: &[Staged]) -> Result<u64> {
        let (begun, opened) = (self.stream.target.begun(), &self.stream.opened);
        let mut refused = 0;
        loop {
            self.stream.rejects.commit().await?;
            match opened.sink.commit(&opened.sink_cx, &begun, token, staged.to_vec()).await? {
                Committed::Refused(rows) if rows.is_empty() => {
                    return Err(Error::unexpected("the sink refused a commit without naming a row"));
                }
                Committed::Refused(rows) => {
                    refused += rows.len() as u64;
                    self.stream.rejects.take(rows).await?;
                }
                Committed::Applied | Committed::AlreadyApplied => return Ok(refused),
            }
        }
    }

    fn token(&self, finished: bool) -> CommitToken {
        let moved = self.splits.values().filter(|tracked| tracked.held.as_ref() != Some(&tracked.next));
        let steps = moved.map(|tracked| {
            let from = tracked.held.clone().unwrap_or_default();
            SplitAdvance { split: tracked.split.clone(), from, to: tracked.next.clone() }
        });
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.stream.opened.load.run);
        token.epoch = self.epoch;
        token.sequence = self.sequence + 1;
        token.planned = self.planned.clone();
        token.splits = steps.collect();
        token.until.clone_from(&self.until);
        token.seen.clone_from(&self.seen);
        token.since.clone_from(&self.since);
        token.finished = finished.then(|| Finished {
            since: self.since.clone().unwrap_or_else(|| self.last_since.clone()),
            cursor: greater(self.cursor.clone(), self.seen.clone()),
        });
        token
    }
}

impl Stream {
    /// The columns of a stream without rows: those of the plan, transformed.
    fn empty_schema(&self, planned: Option<SchemaRef>) -> Result<Option<SchemaRef>> {
        let Some(planned) = planned else { return Ok(None) };
        let empty = arrow::array::RecordBatch::new_empty(planned);
        Ok(Some(self.opened.transform.apply(empty, "")?.rows.schema()))
    }
}
