//! Durable progress, and the one place that decides whether a commit fits it.

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Json, LoadSpec, Position, Result, Split, SplitId, WriteDisposition};

/// The durable progress of a stream, stored beside its rows.
///
/// Sinks store it as JSON and never look inside: [`begin`](Self::begin) takes it over for a run,
/// [`apply`](Self::apply) advances it with a commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The version of this form.
    pub version: u16,
    /// The run that may commit. An older one is fenced.
    pub run: String,
    /// How many runs have begun.
    pub epoch: u64,
    /// How many commits this run has made.
    pub sequence: u64,
    /// What the source left for the next run.
    pub since: Position,
    /// The cursor up to which everything is in.
    pub cursor: Option<Json>,
    /// The run under way, which a later run goes on with. `None` when the last one finished.
    pub progress: Option<Progress>,
}

/// How far a run has got.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Progress {
    /// The upper bound of the cursor in this run.
    pub until: Option<Json>,
    /// The greatest cursor that was committed so far; it counts when the run finishes.
    pub seen: Option<Json>,
    /// How far planning has got: all splits before it are finished or listed here.
    pub planned: Position,
    /// The splits that were planned and not finished.
    pub splits: Vec<SplitProgress>,
    /// What the source left for the next run, once planning was complete.
    pub since: Option<Position>,
}

/// A split that was planned and not finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitProgress {
    /// The split.
    pub split: Split,
    /// Where it goes on.
    pub position: Position,
}

/// A step from one value to the next. It applies only where `from` is what the target holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Advance<T> {
    /// What the target must hold.
    pub from: T,
    /// What it holds afterwards.
    pub to: T,
}

/// The progress that a commit brings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CommitToken {
    /// The version of this form.
    pub version: u16,
    /// The run that commits.
    pub run: String,
    /// The epoch of that run.
    pub epoch: u64,
    /// The number of this commit in the run, from 1.
    pub sequence: u64,
    /// How far planning has got.
    pub planned: Advance<Position>,
    /// The splits that began, went on or finished (`to` is [`Position::End`]).
    pub splits: Vec<SplitAdvance>,
    /// The upper bound of the cursor in this run.
    pub until: Option<Json>,
    /// The greatest cursor among the rows committed so far.
    pub seen: Option<Json>,
    /// What the source left for the next run, once planning was complete.
    pub since: Option<Position>,
    /// Set by the last commit of a run that read everything.
    pub finished: Option<Finished>,
}

/// A step of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitAdvance {
    /// The split.
    pub split: Split,
    /// Where the target holds it to be; `Start` also for one that it does not know yet.
    pub from: Position,
    /// Where it is afterwards.
    pub to: Position,
}

/// What holds when a run has read everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finished {
    /// What the next run gets as [`ScanRequest::since`](crate::ScanRequest::since).
    pub since: Position,
    /// The cursor up to which everything is in.
    pub cursor: Option<Json>,
}

/// What [`Checkpoint::apply`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// The token fits: store this checkpoint together with the rows.
    Now(Box<Checkpoint>),
    /// The token was applied before: change nothing.
    Already,
}

impl Checkpoint {
    /// The version of the form that this build writes.
    pub const VERSION: u16 = 1;

    /// The checkpoint with which a run begins, from the one that the target holds.
    ///
    /// A `replace` that was interrupted starts again; `append` and `merge` keep the progress and go on.
    ///
    /// # Errors
    /// `Unsupported` when a newer Towpath wrote it. `Conflict` when this run has begun before and was fenced since.
    pub fn begin(held: Option<&Self>, load: &LoadSpec) -> Result<Self> {
        let mut next = held.cloned().unwrap_or_default();
        if next.version > Self::VERSION {
            return Err(Error::unsupported(format!(
                "the checkpoint of stream `{}` has version {}, this build reads up to {}",
                load.stream,
                next.version,
                Self::VERSION
            ))
            .help("use the newer towpath that wrote it, or `towpath state reset`"));
        }
        next.version = Self::VERSION;
        // A retried `begin` of the same run finds its own mark.
        if next.run != load.run {
            next.epoch += 1;
            next.run.clone_from(&load.run);
            next.sequence = 0;
        }
        if load.disposition == WriteDisposition::Replace {
            next.progress = None;
            next.since = Position::Start;
            next.cursor = None;
        }
        Ok(next)
    }

    /// Forgets the run under way: what the target holds of it cannot be completed any more, so the next run reads
    /// everything again. The cursor and what the last finished run left stay.
    pub fn start_again(&mut self) {
        self.progress = None;
    }

    /// Whether a run was interrupted, so that the next one goes on with it.
    pub fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// The checkpoint after this token, if it fits.
    ///
    /// # Errors
    /// `Conflict` when another run has begun since, or the token's `from` is not what this checkpoint holds.
    pub fn apply(&self, token: &CommitToken) -> Result<Applied> {
        if token.run != self.run || token.epoch != self.epoch {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("run {} was fenced by run {}, which began later", token.run, self.run),
            )
            .help("let only one run of a pipeline work at a time; nothing of the fenced run was written"));
        }
        if token.sequence <= self.sequence {
            return Ok(Applied::Already);
        }
        if token.sequence != self.sequence + 1 {
            return Err(misfit(&format!("commit {} came after commit {}", token.sequence, self.sequence)));
        }
        let mut next = self.clone();
        next.sequence = token.sequence;
        let mut progress = next.progress.take().unwrap_or_default();
        if progress.planned != token.planned.from {
            return Err(misfit("planning has advanced from elsewhere"));
        }
        progress.planned = token.planned.to.clone();
        for step in &token.splits {
            progress.step(step)?;
        }
        progress.until.clone_from(&token.until);
        progress.seen.clone_from(&token.seen);
        if token.since.is_some() {
            progress.since.clone_from(&token.since);
        }
        match &token.finished {
            None => next.progress = Some(progress),
            Some(_) if !progress.splits.is_empty() => {
                return Err(misfit(&format!(
                    "the run is finished, yet split {} is not",
                    progress.splits[0].split.id
                )));
            }
            Some(finished) => {
                next.since = finished.since.clone();
                next.cursor.clone_from(&finished.cursor);
            }
        }
        Ok(Applied::Now(Box::new(next)))
    }
}

impl Progress {
    /// Where a split stands; `None` when it is not known or finished.
    pub fn position(&self, id: &SplitId) -> Option<&Position> {
        self.splits.iter().find(|known| known.split.id == *id).map(|known| &known.position)
    }

    fn step(&mut self, step: &SplitAdvance) -> Result<()> {
        let index = self.splits.iter().position(|known| known.split.id == step.split.id);
        let held = index.map_or(&Position::Start, |index| &self.splits[index].position);
        if *held != step.from {
            return Err(misfit(&format!("split {} has advanced from elsewhere", step.split.id)));
        }
        match (index, step.to == Position::End) {
            (Some(index), true) => {
                self.splits.remove(index);
            }
            (Some(index), false) => self.splits[index].position = step.to.clone(),
            (None, true) => {}
            (None, false) => {
                self.splits.push(SplitProgress { split: step.split.clone(), position: step.to.clone() });
            }
        }
        Ok(())
    }
}

fn misfit(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("a commit does not fit the checkpoint: {what}"))
        .help("another writer changed the target; run again to go on from what it holds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(run: &str, disposition: WriteDisposition) -> LoadSpec {
        LoadSpec::new("p", "s", run, disposition)
    }

    fn begun() -> Checkpoint {
        Checkpoint::begin(None, &load("run1", WriteDisposition::Append)).unwrap()
    }

    fn at(n: u64) -> Position {
        Position::At(json!(n))
    }

    fn step(id: &str, from: Position, to: Position) -> SplitAdvance {
        SplitAdvance { split: Split::new(id, json!({})), from, to }
    }

    fn token(checkpoint: &Checkpoint, splits: Vec<SplitAdvance>) -> CommitToken {
        let planned =
            checkpoint.progress.as_ref().map_or(Position::Start, |progress| progress.planned.clone());
        CommitToken {
            version: 1,
            run: checkpoint.run.clone(),
            epoch: checkpoint.epoch,
            sequence: checkpoint.sequence + 1,
            planned: Advance { from: planned.clone(), to: planned },
            splits,
            ..CommitToken::default()
        }
    }

    fn apply(checkpoint: &Checkpoint, token: &CommitToken) -> Checkpoint {
        match checkpoint.apply(token).unwrap() {
            Applied::Now(next) => *next,
            Applied::Already => panic!("it was not applied before"),
        }
    }

    #[test]
    fn the_same_token_twice_changes_nothing() {
        let start = begun();
        let token = token(&start, vec![step("a", Position::Start, at(1))]);
        let next = apply(&start, &token);
        assert_eq!(next.apply(&token).unwrap(), Applied::Already);
    }

    #[test]
    fn a_later_run_fences_an_earlier_one() {
        let first = begun();
        let stale = token(&first, vec![]);
        let second = Checkpoint::begin(Some(&first), &load("run2", WriteDisposition::Append)).unwrap();
        let error = second.apply(&stale).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("run run1 was fenced by run run2"), "{error}");
    }

    #[test]
    fn beginning_twice_in_one_run_is_the_same_as_once() {
        let first = begun();
        assert_eq!(Checkpoint::begin(Some(&first), &load("run1", WriteDisposition::Append)).unwrap(), first);
    }

    #[test]
    fn a_split_advances_only_from_where_it_is() {
        let start = begun();
        let held = apply(&start, &token(&start, vec![step("a", Position::Start, at(1))]));
        let error = held.apply(&token(&held, vec![step("a", Position::Start, at(2))])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let next = apply(&held, &token(&held, vec![step("a", at(1), at(2))]));
        assert_eq!(next.progress.unwrap().position(&"a".into()), Some(&at(2)));
    }

    #[test]
    fn a_finished_split_is_forgotten_and_an_interrupted_one_kept_for_the_next_run() {
        let start = begun();
        let steps = vec![step("a", Position::Start, Position::End), step("b", Position::Start, at(7))];
        let held = apply(&start, &token(&start, steps));
        let resumed = Checkpoint::begin(Some(&held), &load("run2", WriteDisposition::Append)).unwrap();
        let progress = resumed.progress.unwrap();
        assert_eq!(progress.splits.len(), 1);
        assert_eq!(progress.position(&"b".into()), Some(&at(7)));
    }

    #[test]
    fn an_interrupted_replace_starts_again() {
        let start = begun();
        let held = apply(&start, &token(&start, vec![step("a", Position::Start, at(1))]));
        let again = Checkpoint::begin(Some(&held), &load("run2", WriteDisposition::Replace)).unwrap();
        assert!(!again.is_under_way());
    }

    #[test]
    fn finishing_moves_the_cursor_and_needs_every_split_done() {
        let start = begun();
        let finished = Some(Finished { since: at(9), cursor: Some(json!("2026")) });
        let open = CommitToken {
            finished: finished.clone(),
            ..token(&start, vec![step("a", Position::Start, at(1))])
        };
        assert_eq!(start.apply(&open).unwrap_err().kind(), ErrorKind::Conflict);
        let done = CommitToken { finished, ..token(&start, vec![step("a", Position::Start, Position::End)]) };
        let next = apply(&start, &done);
        assert_eq!((next.since, next.cursor, next.progress), (at(9), Some(json!("2026")), None));
    }

    #[test]
    fn a_checkpoint_of_a_newer_build_is_refused() {
        let newer = Checkpoint { version: Checkpoint::VERSION + 1, ..Checkpoint::default() };
        let error = Checkpoint::begin(Some(&newer), &load("r", WriteDisposition::Append)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_checkpoint_survives_json() {
        let start = begun();
        let held = apply(&start, &token(&start, vec![step("a", Position::Start, at(1))]));
        let text = serde_json::to_string(&held).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&text).unwrap(), held);
    }
}
