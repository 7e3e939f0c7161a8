//! Feeds splits to the readers: first those that an interrupted run left, then new ones as they are planned.

use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;
use towpath_core::{Checkpoint, ErrorKind, PlanStream, Planned, Position, Result, Split};

use super::{Assignment, Event, Stream};

/// Plans until there is nothing left, or reading ends. The queues are bounded, so planning is only as far ahead as the
/// readers need.
pub(super) async fn run(
    stream: Arc<Stream>,
    splits: PlanStream,
    checkpoint: Checkpoint,
    assignments: mpsc::Sender<Assignment>,
    commits: mpsc::Sender<Event>,
) -> Result<()> {
    let mut planner = Planner { stream, assignments, commits, next: 0 };
    match planner.plan(splits, checkpoint).await {
        Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
        Err(error) => {
            // What was planned before is read and committed; the stream is incomplete.
            planner.stream.tally.fail(&error.operation("plan"), None);
            planner.stream.reading.cancel();
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

struct Planner {
    stream: Arc<Stream>,
    assignments: mpsc::Sender<Assignment>,
    commits: mpsc::Sender<Event>,
    next: u64,
}

impl Planner {
    async fn plan(&mut self, mut splits: PlanStream, checkpoint: Checkpoint) -> Result<()> {
        let held = checkpoint.progress.unwrap_or_default();
        for left in held.splits {
            self.assign(left.split, left.position, held.planned.clone()).await?;
        }
        let mut since = held.since;
        if held.planned != Position::End {
            while let Some(step) = self.next(&mut splits).await? {
                match step {
                    Planned::Split { split, resume } => self.assign(split, Position::Start, resume).await?,
                    Planned::Complete { since: next } => since = Some(next),
                }
            }
        }
        self.stream.reading.check()?;
        // A closed channel means that the stream is ending with an error of its own.
        let _ = self.commits.send(Event::PlanComplete { since }).await;
        Ok(())
    }

    async fn next(&self, splits: &mut PlanStream) -> Result<Option<Planned>> {
        tokio::select! {
            () = self.stream.reading.cancelled() => self.stream.reading.check().map(|()| None),
            step = splits.next() => step.transpose(),
        }
    }

    async fn assign(&mut self, split: Split, from: Position, planned: Position) -> Result<()> {
        self.stream.reading.check()?;
        let estimate = split.estimate.unwrap_or_default();
        let progress = &self.stream.opened.progress;
        progress.add_splits(1);
        progress.add_planned_bytes(estimate.bytes.unwrap_or(0));
        progress.add_planned_rows(estimate.rows.unwrap_or(0));
        let ordinal = self.next;
        self.next += 1;
        let known = (!self.stream.is_replace()).then(|| split.clone());
        let planned = Event::Planned { ordinal, split: known, from: from.clone(), planned };
        let _ = self.commits.send(planned).await;
        tokio::select! {
            () = self.stream.reading.cancelled() => self.stream.reading.check(),
            _ = self.assignments.send(Assignment { ordinal, split, from }) => Ok(()),
        }
    }
}
