//! Planning: how the rows are cut.
//!
//! Numbers and dates are cut by arithmetic, which costs nothing. Where the server estimates that a piece holds far more
//! rows than it should, because the values lie unevenly, the piece is cut once more, and at last by walking along the key.
//! Texts and bytes are walked along from the start. The walk is lazy: the first pieces are read while it goes on.
//!
//! The position of planning is the planner itself.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use towpath_core::{
    Context, CursorRange, Error, Estimate, Json, PlanStream, Planned, Position, Predicate, Result, Split,
};

use super::axis::{self, Span};
use super::key::{KeyColumn, KeyValues, Order, Range, condition, selected};
use super::relation::{Relation, Select};
use crate::client::Client;
use crate::pool::Pool;
use crate::sql::identifier;
use crate::types::source::Kind;

/// The most pieces that one cut makes.
const MOST: usize = 256;
/// Into how many pieces keys of dates and times are cut.
const MOMENTS: usize = 64;
/// A piece that is estimated to hold so many times what it should is cut again.
const FAR_TOO_MANY: u64 = 4;
/// The version of payloads and positions.
pub(crate) const VERSION: u16 = 1;

/// What a split holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    #[serde(flatten)]
    pub(crate) range: Range,
    #[serde(flatten)]
    pub(crate) scan: Scan,
}

/// What is asked of all pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scan {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) columns: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<CursorRange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<Predicate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    #[serde(default)]
    pub(crate) one_snapshot: bool,
}

/// Where planning stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    version: u16,
    /// Pieces that arithmetic cut, and how many of them are done.
    cuts: Option<Cuts>,
    /// Pieces of a piece.
    inner: Option<Cuts>,
    /// The rest of a piece, along which the planner walks.
    walk: Option<Range>,
    /// What is still whole.
    whole: Option<Range>,
}

/// A range of which some pieces are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cuts {
    span: Span,
    /// Where the first piece begins and the last one ends; not where the span does, so that nothing is outside.
    range: Range,
    done: usize,
}

impl Cuts {
    /// The next piece, and its numbers.
    fn next(&mut self, column: &KeyColumn) -> Option<(Range, (i128, i128))> {
        let bounds = self.span.bounds();
        let index = self.done;
        if index > bounds.len() {
            return None;
        }
        self.done += 1;
        let (least, greatest) = self.span.ends();
        let numbers = (
            index.checked_sub(1).map_or(least, |before| bounds[before]),
            bounds.get(index).map_or(greatest, |next| next - 1),
        );
        let bound = |index: usize| {
            bounds.get(index).and_then(|number| axis::value(column.kind, *number)).map(|value| vec![value])
        };
        let lower = if index == 0 { self.range.lower.clone() } else { bound(index - 1) };
        let upper = if index == bounds.len() { self.range.upper.clone() } else { bound(index) };
        Some((Range { lower, upper }, numbers))
    }
}

/// Plans the pieces of a relation.
pub(crate) struct Planner {
    cx: Context,
    relation: Arc<Relation>,
    control: Arc<Pool>,
    scan: Scan,
    split_size: u64,
    state: State,
}

impl Planner {
    pub(crate) fn new(
        cx: &Context,
        relation: Arc<Relation>,
        control: Arc<Pool>,
        scan: Scan,
        split_size: u64,
    ) -> Self {
        let state = State { version: VERSION, cuts: None, inner: None, walk: None, whole: None };
        Self { cx: cx.clone(), relation, control, scan, split_size, state }
    }

    /// The steps behind a position.
    pub(crate) async fn steps(mut self, from: &Position) -> Result<PlanStream> {
        match from {
            Position::Start => self.begin().await?,
            Position::End => return Ok(stream::empty().boxed()),
            Position::At(state) => self.state = read_state(state)?,
        }
        let steps = stream::try_unfold(self, |mut planner| async move {
            let step = planner.next().await?;
            Ok(step.map(|step| (step, planner)))
        });
        Ok(steps.map_err(|error: Error| error.connector(crate::NAME).operation("plan")).boxed())
    }

    /// Decides how to cut.
    async fn begin(&mut self) -> Result<()> {
        let relation = self.relation.clone();
        // What is new since the last run is little, and an index on the cursor finds it best in one piece.
        let is_increment = self.scan.cursor.as_ref().is_some_and(|cursor| cursor.after.is_some());
        let split = relation.split.as_ref().filter(|_| !is_increment && self.scan.limit.is_none());
        let Some(split) = split else {
            self.state.whole = Some(Range::default());
            return Ok(());
        };
        let mut client = self.control.get(&self.cx).await?;
        if is_small(&mut client, &relation, self.split_size).await? {
            self.state.whole = Some(Range::default());
            return Ok(());
        }
        let column = &split.columns[0];
        match ends(&mut client, &relation, column).await? {
            Some((least, greatest)) => {
                let span = if split.index.is_none() {
                    // Any column: how dense its values are is known only when the rows are counted.
                    let pieces = count(&mut client, &relation).await?.div_ceil(self.split_size);
                    Span::new(least, greatest, usize::try_from(pieces).unwrap_or(MOST).min(MOST))
                } else if is_moment(column) {
                    Span::new(least, greatest, MOMENTS)
                } else {
                    // A number that is a key is about as dense as there are rows.
                    Span::of_width(least, greatest, self.split_size, MOST)
                };
                self.state.cuts = Some(Cuts { span, range: Range::default(), done: 0 });
            }
            None => self.state.walk = Some(Range::default()),
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Planned>> {
        loop {
            if let Some(range) = self.state.whole.take() {
                return self.step(range, self.relation.rows).map(Some);
            }
            if let Some(rest) = self.state.walk.take() {
                return self.walk(rest).await.map(Some);
            }
            let Some(column) = self.relation.split.as_ref().map(|split| split.columns[0].clone()) else {
                return Ok(None);
            };
            if let Some((range, _)) = self.state.inner.as_mut().and_then(|inner| inner.next(&column)) {
                if self.is_far_too_large(&range).await?.is_some() {
                    self.state.walk = Some(range);
                    continue;
                }
                return self.step(range, Some(self.split_size)).map(Some);
            }
            self.state.inner = None;
            let Some((range, numbers)) = self.state.cuts.as_mut().and_then(|cuts| cuts.next(&column)) else {
                return Ok(None);
            };
            match self.is_far_too_large(&range).await? {
                None => return self.step(range, None).map(Some),
                Some(rows) => self.cut_again(range, numbers, rows),
            }
        }
    }

    fn cut_again(&mut self, range: Range, (least, greatest): (i128, i128), rows: u64) {
        let wanted = usize::try_from(rows / self.split_size).unwrap_or(MOST).next_power_of_two().min(MOST);
        let span = Span::new(least, greatest, wanted);
        if span.bounds().is_empty() {
            self.state.walk = Some(range);
        } else {
            self.state.inner = Some(Cuts { span, range, done: 0 });
        }
    }

    /// The first piece of what is walked along.
    async fn walk(&mut self, rest: Range) -> Result<Planned> {
        let relation = self.relation.clone();
        let split = relation.split.as_ref().expect("there is something to walk along");
        let mut client = self.control.get(&self.cx).await?;
        let bound = next_bound(
            &mut client,
            &relation,
            &split.columns,
            split.index.as_deref(),
            &rest,
            self.split_size,
        )
        .await?;
        drop(client);
        let Some(bound) = bound else { return self.step(rest, Some(self.split_size)) };
        self.state.walk = Some(Range { lower: Some(bound.clone()), upper: rest.upper });
        self.step(Range { lower: rest.lower, upper: Some(bound) }, Some(self.split_size))
    }

    /// How many rows the server estimates, if they are far too many for a piece.
    async fn is_far_too_large(&self, range: &Range) -> Result<Option<u64>> {
        let Some(split) = self.relation.split.as_ref().filter(|split| split.index.is_some()) else {
            return Ok(None);
        };
        let statement = Select {
            index: split.index.as_deref(),
            conditions: range.conditions(&split.columns, false)?,
            ..Select::default()
        };
        let mut client = self.control.get(&self.cx).await?;
        let sql = self.relation.select(&statement);
        let explained = client.query(&format!("EXPLAIN FORMAT=JSON {sql}")).await?;
        let explained: Option<Json> = explained
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .and_then(|text| serde_json::from_str(&text).ok());
        let rows = explained.as_ref().and_then(estimated_rows);
        Ok(rows.filter(|rows| *rows > self.split_size.saturating_mul(FAR_TOO_MANY)))
    }

    fn step(&self, range: Range, rows: Option<u64>) -> Result<Planned> {
        let id = range.id();
        let piece = Piece { range, scan: self.scan.clone() };
        let payload = serde_json::to_value(piece).map_err(|error| unwritable(&error))?;
        let mut split = Split::new(id, payload);
        split.version = VERSION;
        let rows = rows.or_else(|| self.share_of_rows());
        if let Some(rows) = rows {
            split = split.estimate(Estimate { rows: Some(rows), bytes: None });
        }
        let is_done = self.state.walk.is_none() && self.state.inner.is_none() && self.state.cuts.is_none();
        let resume = if is_done {
            Position::End
        } else {
            Position::At(serde_json::to_value(&self.state).map_err(|error| unwritable(&error))?)
        };
        Ok(Planned::Split { split, resume })
    }

    /// The rows of a piece when all have as many.
    fn share_of_rows(&self) -> Option<u64> {
        let pieces = self.state.cuts.as_ref()?.span.bounds().len() as u64 + 1;
        Some(self.relation.rows? / pieces)
    }
}

fn is_moment(column: &KeyColumn) -> bool {
    matches!(column.kind, Kind::Date | Kind::Datetime | Kind::Timestamp)
}

fn read_state(state: &Json) -> Result<State> {
    let state: State = serde_json::from_value(state.clone()).map_err(|error| {
        Error::unsupported("a position of planning cannot be read").connector(crate::NAME).source(error)
    })?;
    if state.version == VERSION {
        Ok(state)
    } else {
        Err(Error::unsupported(format!("a position of planning has version {}", state.version))
            .connector(crate::NAME))
    }
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::unexpected(format!("a split cannot be written: {error}")).connector(crate::NAME)
}

/// Whether everything fits into one piece.
async fn is_small(client: &mut Client, relation: &Relation, split_size: u64) -> Result<bool> {
    let sql = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {}) AS towpath_count",
        relation.from(),
        split_size.saturating_add(1)
    );
    let rows = client.query(&sql).await?;
    let count = rows.into_iter().flatten().flatten().next().and_then(|count| count.parse::<u64>().ok());
    Ok(count.is_some_and(|count| count <= split_size))
}

/// How many rows there are.
async fn count(client: &mut Client, relation: &Relation) -> Result<u64> {
    let rows = client.query(&format!("SELECT COUNT(*) FROM {}", relation.from())).await?;
    let count = rows.into_iter().flatten().flatten().next();
    Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// The least and the greatest value of a column that can be counted.
async fn ends(client: &mut Client, relation: &Relation, column: &KeyColumn) -> Result<Option<(i128, i128)>> {
    if !axis::is_countable(column.kind) {
        return Ok(None);
    }
    let name = identifier(&column.name);
    let rows = client.query(&format!("SELECT MIN({name}), MAX({name}) FROM {}", relation.from())).await?;
    let mut values =
        rows.into_iter().flatten().map(|value| value.and_then(|value| axis::number(column.kind, &value)));
    Ok(match (values.next().flatten(), values.next().flatten()) {
        (Some(least), Some(greatest)) => Some((least, greatest)),
        _ => None,
    })
}

/// The key that stands so many rows behind the beginning of a range, if it is within it.
async fn next_bound(
    client: &mut Client,
    relation: &Relation,
    columns: &[KeyColumn],
    index: Option<&str>,
    range: &Range,
    split_size: u64,
) -> Result<Option<KeyValues>> {
    let mut conditions = Vec::new();
    if let Some(lower) = &range.lower {
        // The bound must be behind the last one, also where many rows share a value.
        conditions.push(condition(columns, lower, Order::Greater)?);
    } else {
        conditions.push(format!("{} IS NOT NULL", identifier(&columns[0].name)));
    }
    if let Some(upper) = &range.upper {
        conditions.push(condition(columns, upper, Order::Less)?);
    }
    let conditions: Vec<String> = conditions.iter().map(|one| format!("({one})")).collect();
    let force = index.map(|index| format!(" FORCE INDEX ({})", identifier(index))).unwrap_or_default();
    let values: Vec<String> = columns.iter().map(selected).collect();
    let order: Vec<String> = columns.iter().map(|column| identifier(&column.name)).collect();
    let rows = client
        .query(&format!(
            "SELECT {} FROM {}{force} WHERE {} ORDER BY {} LIMIT 1 OFFSET {}",
            values.join(", "),
            relation.from(),
            conditions.join(" AND "),
            order.join(", "),
            // The lower bound is a row of the piece as well.
            split_size - u64::from(range.lower.is_some())
        ))
        .await?;
    Ok(rows.into_iter().next().and_then(|row| row.into_iter().collect()))
}

/// The rows in an explanation; each server calls them differently.
fn estimated_rows(explained: &Json) -> Option<u64> {
    let mut waiting = VecDeque::from([explained]);
    while let Some(value) = waiting.pop_front() {
        match value {
            Json::Object(fields) => {
                let rows = fields.get("rows_examined_per_scan").or_else(|| fields.get("rows"));
                if let Some(rows) = rows.and_then(Json::as_u64) {
                    return Some(rows);
                }
                waiting.extend(fields.values());
            }
            Json::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_touch_and_are_open_at_both_ends() {
        let column = KeyColumn { name: "id".to_owned(), kind: Kind::Int64 };
        let mut cuts = Cuts { span: Span::new(0, 99, 4), range: Range::default(), done: 0 };
        let pieces: Vec<_> = std::iter::from_fn(|| cuts.next(&column)).collect();
        assert_eq!(pieces.len(), 4);
        assert_eq!((&pieces[0].0.lower, &pieces[3].0.upper), (&None, &None));
        assert!(pieces.windows(2).all(|pair| pair[0].0.upper == pair[1].0.lower));
        assert_eq!(pieces[1].1, (25, 49));
    }

    #[test]
    fn the_estimate_of_either_server_is_found() {
        let mariadb = json!({"query_block": {"select_id": 1, "nested_loop": [{"table": {"rows": 42}}]}});
        let mysql =
            json!({"query_block": {"table": {"rows_examined_per_scan": 42, "rows_produced_per_join": 7}}});
        assert_eq!((estimated_rows(&mariadb), estimated_rows(&mysql)), (Some(42), Some(42)));
        assert_eq!(estimated_rows(&json!({"query_block": {"message": "Impossible WHERE"}})), None);
    }
}
