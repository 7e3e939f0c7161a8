//! Planning a child: row by row of its parent.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{Context, CursorRange, Error, Json, Planned, Position, Result, ScanRequest, Split};

use super::ahead::{Ahead, Block, Next, Reading};
use super::asked::child_request;
use super::children::{Children, Next as Child};
use super::kept::Kept;
use super::row::{Carried, ParentRow, is_of_row};
use super::{MissingParent, Shared};
use crate::cursor::{Cursor, greater};

/// What a split of the child holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    /// The split as its own source planned it.
    for_each: Split,
    /// What its rows get from the parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    include: Vec<Carried>,
}

/// For how many rows the child is planned at once.
const ROWS_AT_ONCE: usize = 16;

/// What the next run starts from.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Since {
    /// Where only new rows of the parent are planned: what its source has seen, and its cursor.
    parent: Position,
    cursor: Option<Json>,
    /// What the child's source keeps in mind of each row.
    #[serde(skip_serializing_if = "String::is_empty")]
    children: String,
}

/// Where planning goes on: behind a split of the child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// The parent.
    for_each: String,
    /// The parent's planning, behind the split under way.
    planned: Position,
    /// The upper bound of the parent's cursor in this run.
    until: Option<Json>,
    /// The greatest cursor of the parent's rows so far.
    seen: Option<Json>,
    /// How many splits of the parent there were so far, with the one under way.
    splits: u64,
    /// The parent's split under way.
    split: Option<Split>,
    /// How many of its rows are done.
    rows: u64,
    /// The position of its rows in hand.
    at: Position,
    /// How many of the rows behind `at` are done. They are counted, because they may come in other batches another time.
    done: u64,
    /// The row in hand.
    key: String,
    /// The child's planning for the row in hand.
    child: Position,
    /// What the child's source wants to get in the next run, for the rows so far.
    #[serde(skip_serializing_if = "String::is_empty")]
    kept: String,
}

impl Payload {
    /// The split of the child's own source, and what its rows get.
    pub(super) fn of(split: &Split) -> Result<(Split, Vec<Carried>)> {
        let payload = Self::deserialize(&split.payload).map_err(|error| {
            Error::unsupported("this split was planned without `for_each`, or by another version")
                .detail("split", &split.id)
                .source(error)
                .help("finish the run with the old options, or `towpath state reset`")
        })?;
        Ok((payload.for_each, payload.include))
    }
}

/// The planning of a child.
pub(super) struct Planning {
    shared: Arc<Shared>,
    cx: Context,
    /// What the child is asked for, for each row.
    request: ScanRequest,
    parent: Ahead,
    place: Place,
    /// What the last run left.
    since: Since,
    /// How many rows are left out before planning goes on.
    skip: u64,
    block: Option<Rest>,
    row: Option<Current>,
    /// What the child's source keeps in mind of each row.
    kept: Kept,
    is_kept_full: bool,
    /// How far the child looks back.
    back: Back,
    skipped: u64,
    is_complete: bool,
}

/// How far the child looks back before the cursor's last value: known once a row's planning has begun, and then for all.
enum Back {
    Unknown,
    To(Option<Json>),
}

/// The rows in hand.
struct Rest {
    rows: VecDeque<Waiting>,
    block: Block,
}

/// A row that is not in hand yet.
struct Waiting {
    row: ParentRow,
    children: Option<Children>,
}

/// The row in hand.
struct Current {
    children: Children,
    carried: Vec<Carried>,
    shown: String,
}

impl Planning {
    /// Plans on from where the request says.
    pub(super) async fn begin(shared: Arc<Shared>, cx: &Context, request: &ScanRequest) -> Result<Self> {
        let mut place = shared.place(&request.planned)?;
        let since = shared.since(&request.since)?;
        let parent = &shared.parent;
        let mut asked = ScanRequest::default();
        asked.columns.clone_from(&parent.columns);
        asked.filter = parent.transform.filter();
        asked.planned = place.planned.clone();
        asked.one_snapshot = request.one_snapshot;
        asked.parallelism = request.parallelism;
        if shared.incremental {
            asked.since = since.parent.clone();
            asked.cursor = parent
                .cursor
                .as_ref()
                .map(|field| CursorRange::new(field, since.cursor.clone(), place.until.clone()));
        }
        let parent_cx = parent.cx.with_cancellation(cx.cancellation().clone());
        let plan = parent.source.plan(&parent_cx, &asked).await.map_err(|error| shared.of_parent(error))?;
        place.until = place.until.take().or(plan.until);
        let cursor = asked.cursor.map(|range| {
            let after = plan.after.clone().or(range.after);
            Cursor::new(CursorRange::new(range.field, after, place.until.clone()), plan.cursor)
        });
        let reading = Reading {
            source: parent.source.clone(),
            cx: parent_cx,
            transform: parent.transform.clone(),
            wanted: shared.wanted.clone(),
            cursor,
        };
        let kept = Kept::new(&since.children, &place.kept).ok_or_else(|| {
            Error::unsupported("what was kept of the parent's rows was kept by another version of towpath")
                .help("`towpath state reset` and run again, to read for all of them")
        })?;
        let under_way = place.split.clone().map(|split| (split, place.at.clone()));
        let skip = place.done;
        Ok(Self {
            parent: Ahead::new(reading, plan.splits, under_way, request.parallelism),
            request: child_request(request, &shared.wanted),
            cx: cx.clone(),
            place,
            since,
            skip,
            block: None,
            row: None,
            kept,
            is_kept_full: false,
            back: Back::Unknown,
            skipped: 0,
            is_complete: false,
            shared,
        })
    }

    /// The next step.
    pub(super) async fn step(mut self) -> Result<Option<(Planned, Self)>> {
        loop {
            if self.is_complete {
                return Ok(None);
            }
            self.plan_ahead();
            if let Some(mut current) = self.row.take() {
                match current.children.next().await {
                    Ok(Child::Begun { after }) => {
                        self.looks_back_to(after)?;
                        self.row = Some(current);
                    }
                    Ok(Child::Split { split, resume }) => {
                        self.place.child = resume;
                        let planned = self.planned(split, &current);
                        self.row = Some(current);
                        return Ok(Some((planned, self)));
                    }
                    Ok(Child::Done { since }) => {
                        self.keep(since);
                        self.row_is_done();
                    }
                    Err(error) => self.refused(error, &current.shown)?,
                }
            } else if let Some(row) = self.next_row() {
                self.plan_row(row)?;
            } else {
                match self.parent.next().await.map_err(|error| self.shared.of_parent(error))? {
                    Next::Split { split, planned } => self.split_begins(split, planned),
                    Next::Block(block) => self.take(block)?,
                    Next::Complete { since } => {
                        self.is_complete = true;
                        self.tell();
                        if let Some(since) = self.since_of_next(since) {
                            return Ok(Some((Planned::Complete { since }, self)));
                        }
                    }
                }
            }
        }
    }

    fn split_begins(&mut self, split: Split, planned: Position) {
        self.skip = 0;
        self.place = Place {
            for_each: std::mem::take(&mut self.place.for_each),
            until: self.place.until.take(),
            seen: self.place.seen.take(),
            kept: std::mem::take(&mut self.place.kept),
            splits: self.place.splits + 1,
            planned,
            split: Some(split),
            ..Place::default()
        };
    }

    /// Takes rows in hand, without those that an earlier run has planned for.
    fn take(&mut self, mut block: Block) -> Result<()> {
        if let Some(first) = block.unreadable.first() {
            if self.shared.missing == MissingParent::Error {
                let text = format!("a row of `{}` could not be read: {first}", self.shared.parent.name);
                return Err(Error::data(text)
                    .help("set `missing: skip` at `for_each` to leave out rows that cannot be used"));
            }
            self.skipped += block.unreadable.len() as u64;
        }
        self.place.seen = greater(self.place.seen.take(), block.seen.take());
        let mut rows = VecDeque::from(std::mem::take(&mut block.rows));
        if self.shared.is_ordered {
            let done = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows.len());
            rows.drain(..done);
            self.skip -= done as u64;
            self.place.done = done as u64;
        } else {
            let last = std::mem::take(&mut self.place.key);
            while rows.front().is_some_and(|row| row.key() < last) {
                rows.pop_front();
            }
            self.place.key = last;
        }
        let rows = rows.into_iter().map(|row| Waiting { row, children: None }).collect();
        self.block = Some(Rest { rows, block });
        Ok(())
    }

    /// The next of the rows in hand. When none is left, the place is behind them.
    fn next_row(&mut self) -> Option<Waiting> {
        let rest = self.block.as_mut()?;
        let row = rest.rows.pop_front();
        if row.is_none() {
            self.place.at = rest.block.after.clone();
            self.place.done = 0;
            self.block = None;
        }
        row
    }

    /// Begins to plan for rows that are not in hand yet.
    fn plan_ahead(&mut self) {
        let most = self.request.parallelism.min(ROWS_AT_ONCE).saturating_sub(1);
        let Some(mut rest) = self.block.take() else { return };
        // The first one might be gone on with.
        if self.row.is_some() {
            for waiting in rest.rows.iter_mut().take(most).filter(|waiting| waiting.children.is_none()) {
                if self.shared.wanted.missing(&waiting.row).is_none() {
                    waiting.children = Some(self.children(&waiting.row, Position::Start));
                }
            }
        }
        self.block = Some(rest);
    }

    fn children(&self, row: &ParentRow, planned: Position) -> Children {
        let mut request = self.request.clone();
        request.since = self.kept.of(&row.key());
        request.planned = planned;
        request.parent = Some(row.parent.clone());
        Children::plan(self.shared.child.clone(), self.cx.clone(), request)
    }

    fn plan_row(&mut self, Waiting { row, children }: Waiting) -> Result<()> {
        let key = row.key();
        let goes_on = key == self.place.key && self.place.child != Position::Start;
        // A row that is not the one that was in hand is planned from its beginning.
        if key != self.place.key {
            self.place.child = Position::Start;
            self.place.key = key;
        }
        let shown = self.shared.wanted.shown(&row);
        if let Some(field) = self.shared.wanted.missing(&row) {
            let text = format!("a row of `{}` has no `{field}`", self.shared.parent.name);
            let error = Error::data(text).help("set `missing: skip` at `for_each` to leave out such rows");
            return self.refused(error, &shown);
        }
        let children =
            children.filter(|_| !goes_on).unwrap_or_else(|| self.children(&row, self.place.child.clone()));
        self.row = Some(Current { children, carried: row.carried, shown });
        Ok(())
    }

    /// The engine leaves out rows by one value of the cursor, whichever row of the parent they are of.
    fn looks_back_to(&mut self, after: Option<Json>) -> Result<()> {
        match &self.back {
            Back::To(known) if *known != after => {
                let text = "each row of the parent would look back to another value of the cursor";
                Err(Error::config(text).help("remove the `lookback` that depends on the row"))
            }
            _ => {
                self.back = Back::To(after);
                Ok(())
            }
        }
    }

    /// The value of the cursor behind which rows are wanted, where that is not the last one; known with the first split.
    pub(super) fn after(&self) -> Option<Json> {
        match &self.back {
            Back::To(after) => after.clone(),
            Back::Unknown => None,
        }
    }

    /// Keeps what the child's source wants to get in the next run for the row in hand.
    fn keep(&mut self, since: Option<Position>) {
        let has_room = self.kept.note(&mut self.place.kept, &self.place.key, since);
        if !has_room && !std::mem::replace(&mut self.is_kept_full, true) {
            self.cx.metrics().warn(format!(
                "there are more rows of `{}` than can be kept in mind; for those beyond, each run reads everything",
                self.shared.parent.name
            ));
        }
    }

    fn row_is_done(&mut self) {
        self.place.rows += 1;
        self.place.done += 1;
        self.place.child = Position::Start;
        if self.shared.is_ordered {
            self.place.key.clear();
        }
    }

    /// A row that cannot be planned for is left out, if the pipeline says so.
    fn refused(&mut self, error: Error, shown: &str) -> Result<()> {
        if self.shared.missing == MissingParent::Skip && is_of_row(&error) {
            tracing::debug!(stream = self.cx.stream(), row = shown, %error, "a row of the parent is left out");
            self.skipped += 1;
            self.row_is_done();
            return Ok(());
        }
        let split = self.place.split.as_ref().map(|split| split.id.to_string()).unwrap_or_default();
        Err(error.detail("for_each", &self.shared.parent.name).detail("row", shown).detail("split", split))
    }

    /// A split of the child under a name that no other row gives it.
    fn planned(&self, split: Split, current: &Current) -> Planned {
        let Place { splits, rows, .. } = self.place;
        let parent = &self.shared.parent.name;
        // Rows that come in the order of their values may have another number another time; each value comes once.
        let row = if self.shared.is_ordered { format!("{splits}.{}", rows + 1) } else { splits.to_string() };
        let id = format!("{} [{parent} {row}: {}]", split.id, current.shown);
        let (estimate, memory, has_effects) = (split.estimate, split.memory, split.has_effects);
        let payload = Payload { for_each: split, include: current.carried.clone() };
        let mut split = Split::new(id, json!(payload));
        (split.estimate, split.memory, split.has_effects) = (estimate, memory, has_effects);
        Planned::Split { split, resume: Position::At(json!(self.place)) }
    }

    /// Says what was left out.
    fn tell(&self) {
        if self.skipped > 0 {
            let rows = if self.skipped == 1 { "row" } else { "rows" };
            self.cx.metrics().warn(format!(
                "{} {rows} of `{}` could not be used and were left out (`missing: skip`)",
                self.skipped, self.shared.parent.name
            ));
        }
    }

    fn since_of_next(&mut self, parent: Option<Position>) -> Option<Position> {
        let children = self.kept.next(&self.place.kept, self.shared.incremental);
        let last = std::mem::take(&mut self.since);
        let of_parent = self.since_of_parent(parent, &last);
        let is_nothing = of_parent.is_none() && children.is_empty() && last.children.is_empty();
        let (parent, cursor) = of_parent.unwrap_or_default();
        (!is_nothing).then(|| Position::At(json!(Since { parent, cursor, children })))
    }

    /// What tells the next run which rows of the parent are new, where it wants to know.
    fn since_of_parent(
        &mut self,
        parent: Option<Position>,
        last: &Since,
    ) -> Option<(Position, Option<Json>)> {
        if !self.shared.incremental {
            return None;
        }
        if parent.is_none() && self.shared.parent.cursor.is_none() {
            self.cx.metrics().warn(format!(
                "`incremental` of `for_each` has no effect: `{}` has no `cursor`, and its source keeps in mind nothing",
                self.shared.parent.name
            ));
            return None;
        }
        let seen = greater(last.cursor.clone(), self.place.seen.take());
        Some((parent.unwrap_or_else(|| last.parent.clone()), seen))
    }
}

impl Shared {
    fn place(&self, planned: &Position) -> Result<Place> {
        let place = match planned {
            Position::Start => {
                return Ok(Place { for_each: self.parent.name.clone(), ..Place::default() });
            }
            Position::At(at) => Place::deserialize(at).ok(),
            Position::End => None,
        };
        place.filter(|place| place.for_each == self.parent.name).ok_or_else(|| {
            let text = format!("the run under way was not planned for each row of `{}`", self.parent.name);
            Error::config(text).help("finish the run with the old options, or `towpath state reset`")
        })
    }

    fn since(&self, since: &Position) -> Result<Since> {
        match since {
            Position::At(at) if self.incremental => Since::deserialize(at).map_err(|error| {
                Error::config("what the last run left for this one was not left by `for_each`")
                    .source(error)
                    .help("`towpath state reset` loads the stream from its beginning")
            }),
            // What the child keeps in mind has nothing to do with new rows.
            Position::At(at) => {
                let children = Since::deserialize(at).unwrap_or_default().children;
                Ok(Since { children, ..Since::default() })
            }
            Position::Start | Position::End => Ok(Since::default()),
        }
    }

    fn of_parent(&self, error: Error) -> Error {
        error.detail("for_each", &self.parent.name)
    }
}
