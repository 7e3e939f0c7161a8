//! The reading side of the reference.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{
    Batch, BatchStream, Context, CursorRange, Dataset, DynSource, Error, Estimate, Json, Planned, Position,
    Pushdown, Result, Resume, Retry, ScanPlan, ScanRequest, Secret, Source, SourceCapabilities, Split,
    json_value,
};

use super::MemoryData;
use super::data::{MemoryBatch, MemorySplit, OpenRead};
use crate::rows::compare;

static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// The options of the memory source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemorySourceConfig {
    /// The name of the [`MemoryData`].
    pub data: String,
    /// A password that is never needed, so that tests can look for it.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// Reads [`MemoryData`]: a split for each of its splits, a batch for each of its batches.
#[derive(Clone)]
pub struct MemorySource {
    data: MemoryData,
    capabilities: SourceCapabilities,
    cursor: Pushdown,
    columns: Pushdown,
    schema_known: bool,
    new_splits_only: bool,
    parent: Option<&'static str>,
    look_back: Option<i64>,
    /// Tells this opening of the source from others.
    opening: u64,
}

/// What a split's payload holds, so that it can be read alone and later.
#[derive(Serialize, Deserialize)]
struct Payload {
    split: String,
    range: Option<CursorRange>,
    columns: Option<Vec<String>>,
}

impl MemorySource {
    /// A source that resumes exactly, knows its columns, and itself keeps to columns and cursor range.
    pub fn new(data: &MemoryData) -> Self {
        Self {
            data: data.clone(),
            capabilities: SourceCapabilities { resume: Resume::Exact, ordered: false, bounded: true },
            cursor: Pushdown::Exact,
            columns: Pushdown::Exact,
            schema_known: true,
            new_splits_only: false,
            parent: None,
            look_back: None,
            opening: OPENINGS.fetch_add(1, Relaxed),
        }
    }

    /// Sets where a split that broke off can go on.
    pub fn resume(mut self, resume: Resume) -> Self {
        self.capabilities.resume = resume;
        self
    }

    /// Makes a source that never ends: what is there is read, and more may come behind it.
    pub fn unbounded(mut self) -> Self {
        self.capabilities.bounded = false;
        self
    }

    /// Declares that the rows of a split come in the order of the cursor. The data must be so.
    pub fn ordered(mut self) -> Self {
        self.capabilities.ordered = true;
        self
    }

    /// Sets how well it keeps to the cursor range: row by row, batch by batch, or not.
    pub fn cursor_pushdown(mut self, pushdown: Pushdown) -> Self {
        self.cursor = pushdown;
        self
    }

    /// Sets whether it reads only the wanted columns; [`Pushdown::Inexact`] is the same as not.
    pub fn column_pushdown(mut self, pushdown: Pushdown) -> Self {
        self.columns = pushdown;
        self
    }

    /// Makes the plan tell no columns, as a source does that learns them from the first rows.
    pub fn unknown_schema(mut self) -> Self {
        self.schema_known = false;
        self
    }

    /// Reads only splits that no finished run has read, and leaves their names to the next run.
    pub fn new_splits_only(mut self) -> Self {
        self.new_splits_only = true;
        self
    }

    /// Reads for each row of a parent the splits that are called as this field of the row, alone or with `/` and more
    /// behind it.
    pub fn of_parent(mut self, field: &'static str) -> Self {
        self.parent = Some(field);
        self
    }

    /// Whether a split is of the row of the parent that is asked for.
    fn is_of(&self, split: &MemorySplit, request: &ScanRequest) -> bool {
        let (Some(field), Some(parent)) = (self.parent, &request.parent) else { return true };
        let value = match parent.get(field) {
            Some(Json::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => return false,
        };
        split.id.strip_prefix(&value).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Gives everything, and asks for the rows from so far before the cursor's last value, which must be a number.
    pub fn looking_back(mut self, by: i64) -> Self {
        (self.cursor, self.look_back) = (Pushdown::Unsupported, Some(by));
        self
    }

    /// The boxed form.
    pub fn shared(self) -> Arc<dyn DynSource> {
        Arc::new(self)
    }

    /// The range with its upper bound: the greatest cursor that is there now.
    fn bounded(&self, range: &CursorRange, splits: &[MemorySplit]) -> Result<CursorRange> {
        let mut range = range.clone();
        if range.until.is_some() || self.cursor == Pushdown::Unsupported {
            return Ok(range);
        }
        for batch in splits.iter().flat_map(|split| &split.batches) {
            for value in
                cursor_values(&batch.rows, &range.field)?.into_iter().filter(|value| !value.is_null())
            {
                if range.until.as_ref().is_none_or(|until| compare(&value, until).is_gt()) {
                    range.until = Some(value);
                }
            }
        }
        Ok(range)
    }

    fn restrict(&self, rows: &RecordBatch, payload: &Payload) -> Result<RecordBatch> {
        let mut rows = rows.clone();
        if let Some(range) = &payload.range {
            let keep: Vec<bool> =
                cursor_values(&rows, &range.field)?.iter().map(|value| in_range(range, value)).collect();
            let whole_batch = self.cursor == Pushdown::Inexact && keep.contains(&true);
            if self.cursor != Pushdown::Unsupported && !whole_batch {
                rows = filter_record_batch(&rows, &BooleanArray::from(keep))?;
            }
        }
        if let (Some(columns), Pushdown::Exact) = (&payload.columns, self.columns) {
            let wanted = columns.iter().filter_map(|name| rows.schema_ref().index_of(name).ok());
            rows = rows.project(&wanted.collect::<Vec<_>>())?;
        }
        Ok(rows)
    }

    fn batch(&self, batch: &MemoryBatch, payload: &Payload, resume: Position) -> Result<Batch> {
        Ok(Batch { rows: self.restrict(&batch.rows, payload)?, rejected: batch.rejected.clone(), resume })
    }

    /// The position behind batch `index` of so many.
    fn behind(&self, index: usize, batches: usize) -> Position {
        match self.capabilities.resume {
            _ if index + 1 == batches && self.capabilities.bounded => Position::End,
            Resume::Exact => Position::At(json!(index + 1)),
            Resume::Run => Position::At(json!([self.opening, index + 1])),
            Resume::Split | Resume::None => Position::Start,
        }
    }
}

fn cursor_values(rows: &RecordBatch, field: &str) -> Result<Vec<Json>> {
    let column = rows.column_by_name(field).ok_or_else(|| {
        Error::config(format!("the cursor `{field}` is not a column")).connector("memory").operation("read")
    })?;
    (0..rows.num_rows()).map(|row| json_value(column, row)).collect()
}

fn in_range(range: &CursorRange, value: &Json) -> bool {
    let behind = range.after.as_ref().is_none_or(|after| compare(value, after) == Ordering::Greater);
    let within = range.until.as_ref().is_none_or(|until| compare(value, until) != Ordering::Greater);
    !value.is_null() && behind && within
}

impl Source for MemorySource {
    type Config = MemorySourceConfig;

    async fn open(config: Self::Config, _cx: &Context) -> Result<Self> {
        Ok(Self::new(&MemoryData::find(&config.data)?))
    }

    fn capabilities(&self) -> SourceCapabilities {
        self.capabilities
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        self.parent.map(|field| vec![field.to_owned()])
    }

    async fn check(&self, _cx: &Context) -> Result<()> {
        Ok(())
    }

    async fn discover(&self, _cx: &Context) -> Result<Vec<Dataset>> {
        let mut dataset = Dataset::new("memory", json!({}));
        dataset.schema = Some(self.data.schema());
        Ok(vec![dataset])
    }

    async fn plan(&self, _cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let splits = self.data.splits();
        let range = match &request.cursor {
            Some(range) => Some(self.bounded(range, &splits)?),
            None => None,
        };
        let known = match &request.since {
            Position::At(ids) if self.new_splits_only => serde_json::from_value(ids.clone())
                .map_err(|error| Error::data("the names of read splits cannot be read").source(error))?,
            _ => Vec::<String>::new(),
        };
        let done = match &request.planned {
            Position::Start => 0,
            Position::At(done) => {
                done.as_u64().and_then(|done| usize::try_from(done).ok()).unwrap_or(usize::MAX)
            }
            Position::End => usize::MAX,
        };
        let until = range.as_ref().and_then(|range| range.until.clone());
        let mut steps = Vec::new();
        let fresh = splits.iter().filter(|split| !known.contains(&split.id) && self.is_of(split, request));
        for (index, split) in fresh.enumerate().skip(done) {
            let payload =
                Payload { split: split.id.clone(), range: range.clone(), columns: request.columns.clone() };
            let rows: usize = split.batches.iter().map(|batch| batch.rows.num_rows()).sum();
            let estimate = Estimate { rows: u64::try_from(rows).ok(), bytes: None };
            let split = Split::new(&split.id, json!(payload)).estimate(estimate);
            steps.push(Ok(Planned::Split { split, resume: Position::At(json!(index + 1)) }));
        }
        if self.new_splits_only {
            let ids: Vec<_> = splits.iter().map(|split| &split.id).collect();
            steps.push(Ok(Planned::Complete { since: Position::At(json!(ids)) }));
        }
        let schema = self.schema_known.then(|| self.data.schema());
        let mut plan = ScanPlan::new(schema, stream::iter(steps).boxed());
        (plan.cursor, plan.columns, plan.until) = (self.cursor, self.columns, until);
        let last = request.cursor.as_ref().and_then(|range| range.after.as_ref()?.as_i64());
        plan.after = last.zip(self.look_back).map(|(last, by)| json!(last - by));
        Ok(plan)
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        let refuse = |what: String| {
            Error::unsupported(what).connector("memory").operation("read").detail("split", &split.id)
        };
        if split.version != 1 {
            return Err(refuse(format!("version {} of a split is not known", split.version)));
        }
        let payload: Payload = serde_json::from_value(split.payload.clone())
            .map_err(|error| refuse("the split cannot be read".to_owned()).source(error))?;
        let index = |next: &Json| {
            let index = next.as_u64().and_then(|next| usize::try_from(next).ok());
            index.ok_or_else(|| refuse(format!("the position {next} cannot be read")))
        };
        let start = match (&from, self.capabilities.resume) {
            (Position::Start, _) => 0,
            (Position::At(next), Resume::Exact) => index(next)?,
            (Position::At(next), Resume::Run) if next[0] == self.opening => index(&next[1])?,
            (Position::At(_), Resume::Run) => {
                return Err(refuse("the position is one of another run".to_owned()).retry(Retry::Restart));
            }
            (Position::At(_), _) => return Err(refuse("the source can only start a split again".to_owned())),
            (Position::End, _) => usize::MAX,
        };
        let batches = match self.data.find_split(&payload.split) {
            Some(split) => split.batches,
            None => return Err(refuse("the split is gone".to_owned())),
        };
        let read = Read {
            source: self.clone(),
            cx: cx.clone(),
            payload,
            batches,
            next: start,
            _open: self.data.open_read(),
        };
        Ok(stream::unfold(Some(read), Read::step).boxed())
    }
}

/// A read under way.
struct Read {
    source: MemorySource,
    cx: Context,
    payload: Payload,
    batches: Vec<MemoryBatch>,
    next: usize,
    _open: OpenRead,
}

impl Read {
    async fn step(read: Option<Self>) -> Option<(Result<Batch>, Option<Self>)> {
        let mut read = read?;
        // Others get their turn between batches, as with a source that waits for a wire.
        tokio::task::yield_now().await;
        let batch = read.batches.get(read.next)?;
        let resume = read.source.behind(read.next, read.batches.len());
        let batch =
            read.cx.cancellation().check().and_then(|()| read.source.batch(batch, &read.payload, resume));
        read.next += 1;
        let rest = batch.is_ok().then_some(read);
        Some((batch, rest))
    }
}
