//! Cutting what is read into splits.

use std::sync::Arc;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_postgres::SimpleQueryMessage;
use towpath_core::{
    Context, CursorRange, Error, Estimate, Json, PlanStream, Planned, Position, Pushdown, Result, ScanPlan,
    ScanRequest, Split,
};
use towpath_sql::{Dialect, TableName, blocks};

use super::boundaries::boundaries;
use super::scan::{Piece, Scan};
use super::{PostgresSource, Shape, read, schema_of};
use crate::catalog::{self, Relation, RelationKind};
use crate::config::{SplitBy, What};
use crate::errors::{config, failed};
use crate::snapshot::Reading;

/// Bytes of a block, unless the server was built otherwise; only sizes are estimated with it.
pub(super) const BLOCK: u64 = 8192;

/// Where planning goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Behind these blocks of a relation that had so many when it was looked at first.
    Blocks { relation: TableName, next: u64, total: u64 },
    /// Behind the whole of a relation that is read as one piece.
    Relation(TableName),
    /// Behind the piece below this boundary, with those that follow.
    Keys { boundaries: Vec<Json>, next: usize },
}

/// What all splits of a plan have in common.
#[derive(Clone)]
struct Common {
    columns: Option<Vec<String>>,
    cursor: Option<CursorRange>,
    filter: Option<towpath_core::Predicate>,
    limit: Option<u64>,
    /// What reading a split holds in memory beside its batches.
    memory: u64,
}

impl Common {
    fn scan(&self, only: Option<TableName>, piece: Piece) -> Scan {
        Scan {
            only,
            piece,
            columns: self.columns.clone(),
            cursor: self.cursor.clone(),
            filter: self.filter.clone(),
            limit: self.limit,
        }
    }

    fn step(
        &self,
        id: String,
        (only, piece): (Option<TableName>, Piece),
        estimate: Estimate,
        place: &Place,
    ) -> Result<Planned> {
        let payload = serde_json::to_value(self.scan(only, piece))
            .map_err(|error| Error::unexpected("a split is no JSON").source(error))?;
        let split = Split::new(id, payload).estimate(estimate).memory(self.memory);
        Ok(Planned::Split { split, resume: at(place)? })
    }
}

pub(super) async fn plan(source: &PostgresSource, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
    let reading = source.begin(cx).await?;
    let shape = source.shape(&reading).await?;
    check_key(source, &reading, &shape).await?;
    let until = match &request.cursor {
        None => None,
        Some(CursorRange { until: Some(until), .. }) => Some(until.clone()),
        Some(range) => read::greatest(source, cx, &reading, &shape, &range.field).await?,
    };
    let cursor = request
        .cursor
        .as_ref()
        .map(|range| CursorRange::new(range.field.clone(), range.after.clone(), until.clone()));
    let columns = request.columns.clone().map(|mut columns| {
        columns.retain(|column| shape.column(column).is_some());
        columns
    });
    let schema = schema_of(&shape.wanted(columns.as_deref()));
    let common = Common {
        columns,
        cursor,
        filter: request.filter.clone(),
        limit: request.limit,
        memory: read::memory(source),
    };
    let splits = splits(source, cx, &reading, &shape, &common, request).await?;
    reading.end().await?;
    let mut plan = ScanPlan::new(Some(schema), splits);
    plan.cursor = Pushdown::Exact;
    plan.columns = Pushdown::Exact;
    plan.until = until;
    Ok(plan)
}

/// A column to split by must tell rows apart, and what is split by blocks must have some.
pub(super) async fn check_key(source: &PostgresSource, reading: &Reading, shape: &Shape) -> Result<()> {
    let is_stored = shape.has_certain_keys();
    let name = match &source.inner.split_by {
        SplitBy::Column(name) => name,
        SplitBy::Ctid if !is_stored => {
            return Err(config("a view or foreign table has no `ctid` to be split by")
                .help("name a unique column, or leave `split_by` out"));
        }
        _ => return Ok(()),
    };
    let Some(described) = shape.described(name) else {
        let names: Vec<_> = shape.described.iter().map(|described| described.name.as_str()).collect();
        return Err(config(format!("`split_by` names `{name}`, which is no column"))
            .help(format!("the columns are {}", names.join(", "))));
    };
    if !catalog::is_key_type(&described.data_type) {
        return Err(config(format!("`{name}` of type {} cannot be split by", described.type_name))
            .help("name a column of integers, decimals, text, UUIDs, dates or timestamps"));
    }
    let Some(relation) = &shape.relation else { return Ok(()) };
    if is_stored && !catalog::is_unique(&reading.session, relation.oid, name).await? {
        return Err(config(format!("two rows may have the same `{name}`, or none"))
            .help("split by a column that is NOT NULL and has a unique index, or by `ctid`"));
    }
    Ok(())
}

async fn splits(
    source: &PostgresSource,
    cx: &Context,
    reading: &Reading,
    shape: &Shape,
    common: &Common,
    request: &ScanRequest,
) -> Result<PlanStream> {
    let place = place(&request.planned)?;
    if request.planned == Position::End {
        return Ok(stream::empty().boxed());
    }
    match (&source.inner.split_by, &shape.relation) {
        (SplitBy::Column(column), _) => by_key(source, reading, shape, common, column, place).await,
        (SplitBy::Auto, Some(_))
            if place.is_none() && is_found_by_index(source, reading, shape, common).await? =>
        {
            Ok(whole(source, common, shape, None))
        }
        (SplitBy::Auto | SplitBy::Ctid, Some(relation)) => {
            by_blocks(source, cx, reading, common, relation, place).await
        }
        _ => Ok(whole(source, common, shape, place.as_ref())),
    }
}

fn place(planned: &Position) -> Result<Option<Place>> {
    match planned {
        Position::Start | Position::End => Ok(None),
        Position::At(place) => serde_json::from_value(place.clone()).map(Some).map_err(|error| {
            Error::data("the checkpoint holds a place of planning that cannot be read")
                .connector(crate::NAME)
                .source(error)
                .help("`towpath state reset` loads the stream from its beginning")
        }),
    }
}

fn at(place: &Place) -> Result<Position> {
    let place = serde_json::to_value(place);
    place.map(Position::At).map_err(|error| Error::unexpected("a place is no JSON").source(error))
}

/// Whether the server would find what is wanted by an index, so that reading all blocks would be far more work.
async fn is_found_by_index(
    source: &PostgresSource,
    reading: &Reading,
    shape: &Shape,
    common: &Common,
) -> Result<bool> {
    let is_new = common.cursor.as_ref().is_some_and(|range| range.after.is_some());
    if !is_new && common.filter.is_none() {
        return Ok(false);
    }
    let whole = common.scan(None, Piece::Whole);
    let select = whole.select(source.what()?, shape, &source.inner.cursor, None, 0)?.sql;
    let explained = reading.session.client().simple_query(&format!("EXPLAIN {select}")).await;
    let explained = explained.map_err(|error| failed("asking how rows would be found", error))?;
    let lines = explained.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    // Indented lines without a colon, and the first one, are the steps: "->  Index Scan using i on t  (cost=...".
    let steps: Vec<_> = lines.filter(|line| line.contains("(cost=")).collect();
    let step =
        |name: &str| steps.iter().any(|line| line.trim_start_matches([' ', '-', '>']).starts_with(name));
    Ok((step("Index ") || step("Bitmap Heap Scan")) && !step("Seq Scan") && !step("Parallel Seq Scan"))
}

/// Everything as one split.
fn whole(source: &PostgresSource, common: &Common, shape: &Shape, place: Option<&Place>) -> PlanStream {
    if place.is_some() {
        return stream::empty().boxed();
    }
    let name = match &source.inner.what {
        Some(What::Table(table)) => table.to_string(),
        _ => "query".to_owned(),
    };
    let estimate =
        shape.relation.as_ref().map(|relation| estimate(relation, relation.blocks)).unwrap_or_default();
    let place = Place::Relation(TableName::unqualified(""));
    stream::iter([common.step(name, (None, Piece::Whole), estimate, &place)]).boxed()
}

fn estimate(relation: &Relation, blocks: u64) -> Estimate {
    let share = |rows: u64| {
        let share = u128::from(rows) * u128::from(blocks) / u128::from(relation.blocks.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    Estimate { rows: relation.rows.map(share), bytes: (blocks > 0).then_some(blocks * BLOCK) }
}

/// Tables by their blocks, partition by partition; anything else as a whole.
async fn by_blocks(
    source: &PostgresSource,
    cx: &Context,
    reading: &Reading,
    common: &Common,
    relation: &Relation,
    place: Option<Place>,
) -> Result<PlanStream> {
    let ranges = catalog::version(&reading.session).await? >= catalog::TID_RANGES;
    if !ranges && relation.kind != RelationKind::Other {
        cx.metrics().warn("before Postgres 14 a table cannot be read by blocks, so it is read as one split");
    }
    if place.is_some() {
        cx.metrics().warn(
            "the run goes on behind what an earlier attempt has planned: rows that were changed in between may be those of \
             either moment",
        );
    }
    let family = catalog::family(&reading.session, relation.oid).await?;
    let can_cut =
        ranges && relation.kind != RelationKind::Other && family.iter().all(|member| member.may_read);
    if !can_cut {
        // Partitions may be readable only by way of the whole.
        let shape = Shape { relation: Some(relation.clone()), described: Vec::new(), columns: Vec::new() };
        return Ok(whole(source, common, &shape, place.as_ref()));
    }
    let (reached, done) = match place {
        Some(Place::Blocks { relation, next, total }) => {
            (Some((relation.clone(), next, total)), Some(relation))
        }
        Some(Place::Relation(relation)) => (Some((relation.clone(), u64::MAX, 0)), Some(relation)),
        _ => (None, None),
    };
    // The order of planning is that of names.
    let mut members: Vec<_> =
        family.into_iter().filter(|member| member.kind != RelationKind::Partitioned).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members.retain(|member| done.as_ref().is_none_or(|done| member.name >= *done));
    for member in &members {
        if member.oid != relation.oid {
            reading.pin(&member.name.sql(Dialect::Postgres)).await;
        }
    }
    let size = (source.inner.config.split_size.bytes() / BLOCK).max(1);
    let common = Arc::new(common.clone());
    let steps = members.into_iter().flat_map(move |member| {
        let reached = reached.clone().filter(|(name, ..)| *name == member.name);
        let (start, total) = reached.map_or((0, member.blocks), |(_, next, total)| (next, total));
        member_steps(common.clone(), member, start, total, size)
    });
    Ok(stream::iter(steps).boxed())
}

/// The splits of one table, which belongs to what is read.
fn member_steps(
    common: Arc<Common>,
    member: Relation,
    start: u64,
    total: u64,
    size: u64,
) -> Box<dyn Iterator<Item = Result<Planned>> + Send> {
    let name = member.name.clone();
    if member.kind == RelationKind::Other {
        if start > 0 {
            return Box::new(std::iter::empty());
        }
        let rows = (Some(name.clone()), Piece::Whole);
        let place = Place::Relation(name.clone());
        let planned = common.step(name.to_string(), rows, estimate(&member, 0), &place);
        return Box::new(std::iter::once(planned));
    }
    Box::new(blocks(start, total, size).map(move |range| {
        let rows = (Some(name.clone()), Piece::Blocks(range.start, range.end));
        let place = Place::Blocks { relation: name.clone(), next: range.end, total };
        let id = format!("{name}:{}-{}", range.start, range.end);
        common.step(id, rows, estimate(&member, range.end - range.start), &place)
    }))
}

/// By a unique column.
async fn by_key(
    source: &PostgresSource,
    reading: &Reading,
    shape: &Shape,
    common: &Common,
    column: &str,
    place: Option<Place>,
) -> Result<PlanStream> {
    let (boundaries, next) = match place {
        Some(Place::Keys { boundaries, next }) => (boundaries, next),
        _ => (boundaries(source, reading, shape, column).await?, 0),
    };
    let pieces = boundaries.len() as u64 + 1;
    let rows = shape.relation.as_ref().and_then(|relation| relation.rows).map(|rows| rows / pieces);
    let bytes =
        shape.relation.as_ref().map(|relation| relation.blocks * BLOCK / pieces).filter(|bytes| *bytes > 0);
    let (common, column) = (common.clone(), column.to_owned());
    let steps = (next..=boundaries.len()).map(move |index| {
        let from = index.checked_sub(1).map(|before| boundaries[before].clone());
        let piece = Piece::Keys { column: column.clone(), from, to: boundaries.get(index).cloned() };
        let place = Place::Keys { boundaries: boundaries.clone(), next: index + 1 };
        common.step(format!("{column}:{index}"), (None, piece), Estimate { rows, bytes }, &place)
    });
    Ok(stream::iter(steps.collect::<Vec<_>>()).boxed())
}
