//! Cutting what is read into splits.

use std::sync::Arc;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;
use towpath_core::{
    Context, CursorRange, Error, Estimate, Json, PlanStream, Planned, Position, Pushdown, Result, ScanPlan,
    ScanRequest, Split,
};
use towpath_sql::{Dialect, TableName, between_integers, between_uuids, blocks};

use super::scan::{Piece, Scan};
use super::{PostgresSource, Shape, read, schema_of};
use crate::catalog::{self, Relation, RelationKind};
use crate::config::{SplitBy, What};
use crate::errors::{config, failed};
use crate::snapshot::Reading;

/// Bytes of a block, unless the server was built otherwise; only sizes are estimated with it.
const BLOCK: u64 = 8192;

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
    let common = Common { columns, cursor, filter: request.filter.clone(), limit: request.limit };
    let splits = splits(source, &reading, &shape, &common, request).await?;
    reading.end().await?;
    let mut plan = ScanPlan::new(Some(schema), splits);
    plan.cursor = Pushdown::Exact;
    plan.columns = Pushdown::Exact;
    plan.until = until;
    Ok(plan)
}

/// A column to split by must tell rows apart.
pub(super) async fn check_key(source: &PostgresSource, reading: &Reading, shape: &Shape) -> Result<()> {
    let SplitBy::Column(name) = &source.inner.split_by else { return Ok(()) };
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
    if relation.kind != RelationKind::Other
        && !catalog::is_unique(&reading.session, relation.oid, name).await?
    {
        return Err(config(format!("two rows may have the same `{name}`, or none"))
            .help("split by a column that is NOT NULL and has a unique index, or by `ctid`"));
    }
    Ok(())
}

async fn splits(
    source: &PostgresSource,
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
        (SplitBy::Auto | SplitBy::Ctid, Some(relation)) => {
            by_blocks(source, reading, common, relation, place).await
        }
        _ => Ok(whole(source, common, shape, place)),
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

fn step(id: String, scan: &Scan, estimate: Estimate, resume: Position) -> Result<Planned> {
    let payload =
        serde_json::to_value(scan).map_err(|error| Error::unexpected("a split is no JSON").source(error))?;
    Ok(Planned::Split { split: Split::new(id, payload).estimate(estimate), resume })
}

fn at(place: &Place) -> Result<Position> {
    let place = serde_json::to_value(place);
    place.map(Position::At).map_err(|error| Error::unexpected("a place is no JSON").source(error))
}

/// Everything as one split.
fn whole(source: &PostgresSource, common: &Common, shape: &Shape, place: Option<Place>) -> PlanStream {
    if place.is_some() {
        return stream::empty().boxed();
    }
    let name = match &source.inner.what {
        Some(What::Table(table)) => table.to_string(),
        _ => "query".to_owned(),
    };
    let estimate =
        shape.relation.as_ref().map(|relation| estimate(relation, relation.blocks)).unwrap_or_default();
    let step = at(&Place::Relation(TableName::unqualified("")))
        .and_then(|resume| step(name, &common.scan(None, Piece::Whole), estimate, resume));
    stream::iter([step]).boxed()
}

fn estimate(relation: &Relation, blocks: u64) -> Estimate {
    let share = |rows: u64| (rows as f64 * blocks as f64 / relation.blocks.max(1) as f64).round() as u64;
    Estimate { rows: relation.rows.map(share), bytes: (blocks > 0).then_some(blocks * BLOCK) }
}

/// Tables by their blocks, partition by partition; anything else as a whole.
async fn by_blocks(
    source: &PostgresSource,
    reading: &Reading,
    common: &Common,
    relation: &Relation,
    place: Option<Place>,
) -> Result<PlanStream> {
    let ranges = catalog::version(&reading.session).await? >= catalog::TID_RANGES;
    let family = catalog::family(&reading.session, relation.oid).await?;
    let can_cut =
        ranges && relation.kind != RelationKind::Other && family.iter().all(|member| member.may_read);
    if !can_cut {
        // Partitions may be readable only by way of the whole.
        let shape = Shape { relation: Some(relation.clone()), described: Vec::new(), columns: Vec::new() };
        return Ok(whole(source, common, &shape, place));
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
        let scan = common.scan(Some(name.clone()), Piece::Whole);
        let planned = at(&Place::Relation(name.clone()))
            .and_then(|resume| step(name.to_string(), &scan, estimate(&member, 0), resume));
        return Box::new(std::iter::once(planned));
    }
    Box::new(blocks(start, total, size).map(move |range| {
        let scan = common.scan(Some(name.clone()), Piece::Blocks(range.start, range.end));
        let resume = at(&Place::Blocks { relation: name.clone(), next: range.end, total })?;
        let id = format!("{name}:{}-{}", range.start, range.end);
        step(id, &scan, estimate(&member, range.end - range.start), resume)
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
        let resume = at(&Place::Keys { boundaries: boundaries.clone(), next: index + 1 })?;
        step(format!("{column}:{index}"), &common.scan(None, piece), Estimate { rows, bytes }, resume)
    });
    Ok(stream::iter(steps.collect::<Vec<_>>()).boxed())
}

/// Where to cut: by what the server has counted, else evenly between the least and the greatest.
async fn boundaries(
    source: &PostgresSource,
    reading: &Reading,
    shape: &Shape,
    column: &str,
) -> Result<Vec<Json>> {
    let size = source.inner.config.split_size.bytes();
    let pieces = match &shape.relation {
        Some(relation) if relation.blocks > 0 => (relation.blocks * BLOCK).div_ceil(size),
        // Nobody knows how large the result of a query is.
        _ => 16,
    };
    let pieces = usize::try_from(pieces).unwrap_or(usize::MAX).clamp(1, 10_000);
    if pieces == 1 {
        return Ok(Vec::new());
    }
    if let Some(relation) = &shape.relation {
        let known = catalog::histogram(&reading.session, relation, column).await?;
        if known.len() > 2 {
            let inner = &known[1..known.len() - 1];
            let wanted = pieces.min(inner.len() + 1);
            return Ok((1..wanted)
                .map(|piece| inner[piece * inner.len() / wanted].as_str().into())
                .collect());
        }
    }
    evenly(reading, source.what()?, shape, column, pieces).await
}

async fn evenly(
    reading: &Reading,
    what: &What,
    shape: &Shape,
    column: &str,
    pieces: usize,
) -> Result<Vec<Json>> {
    let Some(described) = shape.described(column) else { return Ok(Vec::new()) };
    match described.data_type {
        Type::UUID => return Ok(between_uuids(pieces).into_iter().map(Json::from).collect()),
        Type::INT2 | Type::INT4 | Type::INT8 => {}
        _ => return Ok(Vec::new()),
    }
    let name = Dialect::Postgres.identifier(column);
    let from = match what {
        What::Table(table) => table.sql(Dialect::Postgres),
        What::Query(query) => format!("({query}) AS query"),
    };
    let sql = format!("SELECT min({name})::int8, max({name})::int8 FROM {from}");
    let row = reading.session.client().query_one(&sql, &[]).await;
    let row = row.map_err(|error| failed("looking for the least and the greatest key", error))?;
    let (Some(least), Some(greatest)): (Option<i64>, Option<i64>) = (row.get(0), row.get(1)) else {
        return Ok(Vec::new());
    };
    let inner = between_integers(least.into(), greatest.into(), pieces);
    Ok(inner.into_iter().filter_map(|value| i64::try_from(value).ok()).map(Json::from).collect())
}
