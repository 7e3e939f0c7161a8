//! Planning a child: row by row of its parent.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    Context, CursorRange, Error, Json, Planned, Position, Predicate, Result, ScanRequest, Split,
};

use super::ahead::{Ahead, Block, Next, Reading};
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

/// What the next run starts from, where only new rows of the parent are planned.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Since {
    parent: Position,
    cursor: Option<Json>,
}

/// Where planning goes on: behind a split of the child.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    row: Option<Children>,
    skipped: u64,
    is_complete: bool,
}

/// The rows in hand.
struct Rest {
    rows: VecDeque<ParentRow>,
    block: Block,
}

/// The splits of the child for a row of the parent.
struct Children {
    steps: towpath_core::PlanStream,
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
            Cursor::new(CursorRange::new(range.field, range.after, place.until.clone()), plan.cursor)
        });
        let reading = Reading {
            source: parent.source.clone(),
            cx: parent_cx,
            transform: parent.transform.clone(),
            wanted: shared.wanted.clone(),
            cursor,
        };
        let under_way = place.split.clone().map(|split| (split, place.at.clone()));
        let skip = place.done;
        Ok(Self {
            parent: Ahead::new(reading, plan.splits, under_way, request.parallelism),
            request: child_request(request, &shared),
            cx: cx.clone(),
            place,
            since,
            skip,
            block: None,
            row: None,
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
            if let Some(mut children) = self.row.take() {
                match children.steps.next().await {
                    None => self.row_is_done(),
                    Some(Ok(Planned::Split { split, resume })) => {
                        self.place.child = resume;
                        let planned = self.planned(split, &children);
                        self.row = Some(children);
                        return Ok(Some((planned, self)));
                    }
                    Some(Ok(Planned::Complete { .. })) => {
                        return Err(Error::unsupported(
                            "a source that remembers what it has seen cannot be read for each row of another stream",
                        ));
                    }
                    Some(Err(error)) => self.refused(error, &children.shown)?,
                }
            } else if let Some(row) = self.next_row() {
                self.plan_row(row).await?;
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
        self.block = Some(Rest { rows, block });
        Ok(())
    }

    /// The next of the rows in hand. When none is left, the place is behind them.
    fn next_row(&mut self) -> Option<ParentRow> {
        let rest = self.block.as_mut()?;
        let row = rest.rows.pop_front();
        if row.is_none() {
            self.place.at = rest.block.after.clone();
            self.place.done = 0;
            self.block = None;
        }
        row
    }

    async fn plan_row(&mut self, row: ParentRow) -> Result<()> {
        let key = row.key();
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
        let mut request = self.request.clone();
        request.planned = self.place.child.clone();
        request.parent = Some(row.parent);
        match self.shared.child.plan(&self.cx, &request).await {
            // Each row might look back to another value, and the engine filters by one.
            Ok(plan) if plan.after.is_some() => {
                let text = "a stream with `for_each` cannot look back before its cursor's last value";
                return Err(Error::config(text).help("remove `lookback` from its source"));
            }
            Ok(plan) => self.row = Some(Children { steps: plan.splits, carried: row.carried, shown }),
            Err(error) => self.refused(error, &shown)?,
        }
        Ok(())
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
    fn planned(&self, split: Split, children: &Children) -> Planned {
        let Place { splits, rows, .. } = self.place;
        let parent = &self.shared.parent.name;
        // Rows that come in the order of their values may have another number another time; each value comes once.
        let row = if self.shared.is_ordered { format!("{splits}.{}", rows + 1) } else { splits.to_string() };
        let id = format!("{} [{parent} {row}: {}]", split.id, children.shown);
        let estimate = split.estimate;
        let payload = Payload { for_each: split, include: children.carried.clone() };
        let mut split = Split::new(id, json!(payload));
        split.estimate = estimate;
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
        let last = std::mem::take(&mut self.since);
        let since = Since {
            parent: parent.unwrap_or(last.parent),
            cursor: greater(last.cursor, self.place.seen.take()),
        };
        Some(Position::At(json!(since)))
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
            _ => Ok(Since::default()),
        }
    }

    fn of_parent(&self, error: Error) -> Error {
        error.detail("for_each", &self.parent.name)
    }
}

/// What the child's own source is asked for: nothing of what its rows get from the parent.
fn child_request(request: &ScanRequest, shared: &Shared) -> ScanRequest {
    let is_included = |column: &String| shared.wanted.include.iter().any(|(name, _)| name == column);
    let mut asked = request.clone();
    if let Some(columns) = &mut asked.columns {
        columns.retain(|column| !is_included(column));
    }
    asked.since = Position::Start;
    asked.columns = asked.columns.filter(|columns| !columns.is_empty());
    asked.cursor = asked.cursor.filter(|range| !is_included(&range.field));
    asked.filter = asked.filter.and_then(|filter| without(filter, &is_included));
    asked
}

/// A condition without those on some columns; it holds for no fewer rows.
fn without(filter: Predicate, is_out: &impl Fn(&String) -> bool) -> Option<Predicate> {
    let own = match &filter {
        Predicate::Compare { column, .. }
        | Predicate::In { column, .. }
        | Predicate::IsNull(column)
        | Predicate::IsNotNull(column) => !is_out(column),
        Predicate::Or(any) => any.iter().all(|one| without(one.clone(), is_out).as_ref() == Some(one)),
        Predicate::And(all) => {
            let mut kept: Vec<_> = all.iter().filter_map(|one| without(one.clone(), is_out)).collect();
            return if kept.len() < 2 { kept.pop() } else { Some(Predicate::And(kept)) };
        }
    };
    own.then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::Comparison;

    fn equal(column: &str) -> Predicate {
        Predicate::Compare { column: column.to_owned(), comparison: Comparison::Equal, value: json!(1) }
    }

    #[test]
    fn conditions_on_included_columns_are_not_for_the_childs_source() {
        let is_out = |column: &String| column == "customer_id";
        let both = Predicate::And(vec![equal("id"), equal("customer_id")]);
        assert_eq!(without(both, &is_out), Some(equal("id")));
        let either = Predicate::Or(vec![equal("id"), equal("customer_id")]);
        assert_eq!(without(either, &is_out), None);
        let either = Predicate::Or(vec![equal("id"), equal("name")]);
        assert_eq!(without(either.clone(), &is_out), Some(either));
    }
}
