//! Cutting into pieces.

use std::sync::Arc;

use bson::{Bson, Document, doc};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use towpath_core::{
    Context, Error, Estimate, Json, Planned, Position, Pushdown, Result, ScanPlan, ScanRequest, Split,
};

use super::Shared;
use super::bounds::{Cuts, piece_rows};
use super::cursor::{CursorField, reaches_back};
use super::natural::{self, Natural};
use super::pushdown;
use super::relation::Relation;
use crate::config::Order;
use crate::convert::{from_json, to_json};
use crate::errors::config;

/// The version of splits that are ranges of keys.
const KEYS: u16 = 1;
/// The version of splits that are stretches of records.
const RECORDS: u16 = 2;
/// About how many bytes the server sends at once.
const BATCH_BYTES: u64 = 2 << 20;
/// The most documents that it sends at once.
const MOST_ROWS: u64 = 32_768;

/// What a split is: a range of keys, and what is read of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// The first key; `None` for whatever is least.
    pub(super) from: Option<Json>,
    /// The key before which it ends; `None` for whatever is greatest.
    pub(super) to: Option<Json>,
    pub(super) scan: Scan,
    /// How records are read, if the bounds are marks among them: behind the one and up to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) natural: Option<Natural>,
}

/// What is read of all pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scan {
    /// The wanted columns; `None` for all.
    pub(super) columns: Option<Vec<String>>,
    /// The conditions of the cursor and of the filter.
    pub(super) condition: Option<Json>,
    /// Whether few documents fulfil it, which an index may find sooner than a walk along all.
    pub(super) is_increment: bool,
    pub(super) limit: Option<u64>,
    pub(super) batch_size: Option<u32>,
}

/// How far planning has got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Progress {
    /// Where the next piece begins.
    from: Option<Json>,
    /// The cuts behind that.
    cuts: Cuts,
    /// How records are read, if the cuts are marks among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    natural: Option<Natural>,
}

pub(super) async fn plan(shared: &Arc<Shared>, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
    let relation = shared.relation(cx).await?;
    if request.one_snapshot {
        shared.snapshot.must_be_one();
    }
    if request.planned != Position::Start && !shared.snapshot.is_off() {
        cx.metrics().warn("the run goes on with an interrupted one: the rows are of the moments of both");
    }
    let mut scan = Scan {
        columns: request.columns.clone(),
        condition: None,
        is_increment: false,
        limit: request.limit.filter(|_| request.filter.is_none() && request.cursor.is_none()),
        batch_size: batch_size(shared, &relation, request.limit),
    };
    let (mut until, mut pushed, mut from, mut conditions) = (None, Pushdown::Unsupported, None, Vec::new());
    if let Some(range) = &request.cursor
        && let Some(field) = CursorField::of(&relation, &range.field).filter(|_| !shared.query.is_pipeline())
    {
        let mut range = range.clone();
        if range.until.is_none() && request.limit.is_none() {
            range.until = field.greatest(shared, cx).await?;
        }
        conditions.extend(field.condition(&range, &shared.config)?);
        scan.is_increment = range.after.is_some() && !field.is_id();
        if field.is_id() && shared.order == Order::Id {
            from = field.after(&range, &shared.config)?;
        }
        let is_exact = range.after.is_some() && reaches_back(&shared.config);
        (until, pushed) = (range.until, if is_exact { Pushdown::Exact } else { Pushdown::Inexact });
    } else if let Some(range) = &request.cursor
        && reaches_back(&shared.config)
        && (shared.query.is_pipeline() || relation.fields.kind(&range.field).is_some())
    {
        return Err(no_lookback());
    }
    // Other fields than those that are stored may be called so behind a projection or stages.
    if let Some(filter) = request.filter.as_ref().filter(|_| shared.query.gives_fields_as_they_are()) {
        conditions.extend(pushdown::condition(filter, &relation.fields));
    }
    scan.condition = all(conditions).map(|condition| to_json(&Bson::Document(condition)));
    let progress = match &request.planned {
        Position::Start => Some(begin(shared, cx, &relation, request, &scan, from.as_ref()).await?),
        Position::At(position) => Some(serde_json::from_value(position.clone()).map_err(unreadable)?),
        Position::End => None,
    };
    let schema = wanted(&shared.form.schema(&relation.fields), request.columns.as_deref());
    let mut plan = ScanPlan::new(
        (!relation.fields.is_empty()).then(|| Arc::new(schema)),
        Planner { shared: shared.clone(), cx: cx.clone(), relation, scan, parallelism: request.parallelism }
            .steps(progress),
    );
    (plan.until, plan.cursor) = (until, pushed);
    plan.columns = Pushdown::Exact;
    Ok(plan)
}

/// One condition of all.
fn all(mut conditions: Vec<Document>) -> Option<Document> {
    match conditions.len() {
        0 | 1 => conditions.pop(),
        _ => Some(doc! { "$and": conditions }),
    }
}

fn no_lookback() -> Error {
    config("the server cannot compare this cursor's values, so `lookback` and `cursor_inclusive` have no effect")
        .help("choose a cursor of one type that is a field of the documents, and no pipeline; or leave the options out")
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::unsupported("a position of planning cannot be read").connector(crate::NAME).source(error)
}

/// The columns that are wanted.
pub(super) fn wanted(schema: &arrow_schema::Schema, columns: Option<&[String]>) -> arrow_schema::Schema {
    let is_wanted = |name: &String| columns.is_none_or(|columns| columns.contains(name));
    let fields: Vec<_> = schema.fields().iter().filter(|field| is_wanted(field.name())).cloned().collect();
    arrow_schema::Schema::new(fields)
}

/// As many documents as make a good batch.
fn batch_size(shared: &Shared, relation: &Relation, limit: Option<u64>) -> Option<u32> {
    if shared.config.batch_size.is_some() {
        return shared.config.batch_size;
    }
    let of_bytes = relation.document_bytes().map_or(MOST_ROWS / 8, |bytes| BATCH_BYTES / bytes);
    let size = of_bytes.clamp(1, MOST_ROWS).min(limit.unwrap_or(u64::MAX)).max(1);
    u32::try_from(size).ok()
}

/// Where planning begins.
async fn begin(
    shared: &Shared,
    cx: &Context,
    relation: &Relation,
    request: &ScanRequest,
    scan: &Scan,
    from: Option<&Bson>,
) -> Result<Progress> {
    if let Some((natural, marks)) = natural::plan(shared, cx, relation, request, scan).await? {
        let cuts = marks.iter().map(|mark| to_json(&mark.to_bson())).collect();
        return Ok(Progress { from: None, cuts: Cuts::At(cuts), natural: Some(natural) });
    }
    let cuts = cuts(shared, cx, relation, request, scan).await?;
    Ok(Progress { from: from.map(to_json), cuts, natural: None })
}

async fn cuts(
    shared: &Shared,
    cx: &Context,
    relation: &Relation,
    request: &ScanRequest,
    scan: &Scan,
) -> Result<Cuts> {
    // A look at some rows, and what is new since the last run, are one piece.
    if request.limit.is_some() || scan.is_increment {
        return Ok(Cuts::At([].into()));
    }
    match &shared.order {
        Order::Whole => Ok(Cuts::At([].into())),
        Order::Id => Cuts::by_id(shared, cx, relation, request.parallelism).await,
        Order::Field(field) => Cuts::by_field(shared, cx, relation, field, request.parallelism).await,
    }
}

/// Cuts as it is asked for pieces.
struct Planner {
    shared: Arc<Shared>,
    cx: Context,
    relation: Arc<Relation>,
    scan: Scan,
    parallelism: usize,
}

impl Planner {
    fn steps(self, progress: Option<Progress>) -> towpath_core::PlanStream {
        stream::try_unfold((self, progress), |(planner, progress)| async move {
            let Some(progress) = progress else { return Ok(None) };
            let (step, next) = planner.step(progress).await?;
            Ok(Some((step, (planner, next))))
        })
        .boxed()
    }

    async fn step(&self, mut progress: Progress) -> Result<(Planned, Option<Progress>)> {
        let from = progress.from.as_ref().map(from_json).transpose()?;
        let to = progress.cuts.next(&self.shared, &self.cx, from.as_ref()).await;
        let to = to.map_err(|error| self.shared.named(error, "plan"))?.as_ref().map(to_json);
        let natural = progress.natural;
        let piece =
            Piece { from: progress.from, to: to.clone(), scan: self.scan.clone(), natural: natural.clone() };
        // Where it begins is what no other piece shares.
        let id = piece.from.as_ref().map_or_else(|| "start".to_owned(), Json::to_string);
        let version = if natural.is_some() { RECORDS } else { KEYS };
        let estimate = self.estimate(natural.as_ref());
        let next = to.is_some().then_some(Progress { from: to, cuts: progress.cuts, natural });
        let resume = match &next {
            None => Position::End,
            Some(progress) => Position::At(json(progress)?),
        };
        let mut split = Split::new(id, json(&piece)?).estimate(estimate);
        if version == RECORDS {
            // One reply is on its way while another is decoded.
            split.memory = Some(4 * BATCH_BYTES);
        }
        split.version = version;
        Ok((Planned::Split { split, resume }, next))
    }

    fn estimate(&self, natural: Option<&Natural>) -> Estimate {
        let Some(all) = self.relation.estimate.rows else { return Estimate::default() };
        if self.scan.is_increment || self.shared.order == Order::Whole {
            return Estimate::default();
        }
        let rows = natural.map_or_else(
            || piece_rows(&self.shared, &self.relation, self.parallelism),
            |natural| natural.rows,
        );
        let rows = rows.min(all);
        Estimate { rows: Some(rows), bytes: self.relation.document_bytes().map(|bytes| bytes * rows) }
    }
}

/// Whether we can read splits of this version.
pub(super) fn is_known(version: u16) -> bool {
    version == KEYS || version == RECORDS
}

fn json<T: Serialize>(value: &T) -> Result<Json> {
    serde_json::to_value(value).map_err(|error| Error::unexpected("a split is no JSON").source(error))
}
