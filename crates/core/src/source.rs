//! The reading side of the contract.

use std::fmt;
use std::future::Future;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Context, Json, Rejected, Result};

/// A system that rows can be read from.
///
/// Implement it with plain `async fn`s. A source is opened once for a stream and shared by all its readers, so it holds
/// its clients behind `Arc`s. It has no retry loops: the retry layer calls again, and reopens a read at the last
/// position.
pub trait Source: Sized + Send + Sync + 'static {
    /// Its options: the fields of the connection and of the stream's `source:` together. Deny unknown fields.
    type Config: DeserializeOwned + JsonSchema + Send;

    /// Called once for a stream, before everything else. Checks the options as far as it can without I/O, and builds
    /// clients; heavy ones are shared through [`Connection::shared`](crate::Connection::shared).
    ///
    /// Errors: `Config` for options that do not fit together. Any error ends the stream.
    fn open(config: Self::Config, cx: &Context) -> impl Future<Output = Result<Self>> + Send;

    /// What it can do. A constant of this source and its options; the conformance suite holds it against behaviour.
    fn capabilities(&self) -> SourceCapabilities;

    /// The fields of a parent's row that planning needs, as [`Parent::get`] names them, for a stream that is read once for
    /// each row of another (`for_each`). `None` for a source that knows no parent, as most do. A constant of the options.
    ///
    /// Such a source is planned with [`ScanRequest::parent`] for each row, for some rows at once. Its splits hold what they
    /// need of that row, and its planning depends on nothing else than the request. What its [`Planned::Complete`] carries
    /// comes back as [`ScanRequest::since`] with the same row of the next run, or not, where there is no room for all rows.
    /// [`ScanPlan::after`] is the same for each row, as the cursor is one for all of them.
    fn parent_fields(&self) -> Option<Vec<String>> {
        None
    }

    /// Called by `towpath check`: do the credentials work, is everything there that a run will read? Reads as little as
    /// possible. The error says what is missing and what to do. What cannot be told without changing something is left alone, and
    /// said by [`Metrics::warn`](crate::Metrics::warn).
    fn check(&self, cx: &Context) -> impl Future<Output = Result<()>> + Send;

    /// Called by `towpath discover`: the data sets that could be streams, at most a few thousand.
    fn discover(&self, cx: &Context) -> impl Future<Output = Result<Vec<Dataset>>> + Send;

    /// Called once for a run, after the sink has told its checkpoint. Cuts the stream into splits, lazily: the engine
    /// reads the first splits while later ones are still planned, and stops polling while it has enough of them.
    ///
    /// Promise: the same request gives the same splits with the same ids; splits share no row and leave none out; with
    /// [`ScanRequest::planned`] set, planning goes on behind that position.
    ///
    /// Errors: a retryable one makes the retry layer plan again behind the last position; another ends the stream.
    fn plan(&self, cx: &Context, request: &ScanRequest) -> impl Future<Output = Result<ScanPlan>> + Send;

    /// Called for each split, many at once, and again with a later position after an error or a crash. It must return at
    /// once: the work happens as the stream is polled, and stops when it is dropped, leaving nothing behind.
    ///
    /// Promise: reading on from a batch's `resume` gives exactly the rows behind that batch, as long as
    /// [`SourceCapabilities::resume`] says (with [`Resume::Split`], only [`Position::Start`] is ever passed). Batches hold some thousand rows or a few MiB. CPU
    /// work goes through [`Context::cpu`]. The stream ends after its first error.
    ///
    /// Errors: a retryable one makes the retry layer read again from the last position; another ends the split, and by
    /// policy the stream. A row that cannot be read is not an error but a [`Rejected`] of its batch.
    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream>;
}

/// What a source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCapabilities {
    /// Where a split that broke off can go on.
    pub resume: Resume,
    /// Whether the rows of a split come in the order of the cursor.
    pub ordered: bool,
    /// Whether it ends by itself. One that does not resumes exactly, and may end a read before a batch with the position
    /// `End`: then the run ends there, its split stays under way, and the next run goes on with it.
    pub bounded: bool,
}

/// Where a split that broke off can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Nowhere: it can be read once.
    None,
    /// At its start: its rows are written by a writer of their own, which is thrown away and begun anew.
    Split,
    /// Behind any batch as long as the source that gave the batch is open, for example within its snapshot. After that
    /// only at its start: its rows are committed when it has been read to its end. A read from a position that no longer
    /// holds fails with [`Retry::Restart`](crate::Retry::Restart).
    Run,
    /// Exactly behind any batch.
    Exact,
}

/// What the engine wants to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ScanRequest {
    /// The columns that the pipeline needs; `None` for all. A source may ignore it and say so in the plan.
    pub columns: Option<Vec<String>>,
    /// The incremental range, for a stream with a `cursor`.
    pub cursor: Option<CursorRange>,
    /// What the last finished run left: the position of its [`Planned::Complete`]. `Start` for a first run.
    pub since: Position,
    /// How far the planning of an interrupted run had got. `Start` when this run is a new one.
    pub planned: Position,
    /// How many rows are wanted at most; a hint for previews.
    pub limit: Option<u64>,
    /// How many splits are read at once; a hint for cutting.
    pub parallelism: usize,
    /// Whether all rows must be of one moment, because they will stand instead of all others. A source that can give a
    /// snapshot, and loses it, then fails rather than go on with another one.
    pub one_snapshot: bool,
    /// Whether a row may come twice, because the target keeps one of each key (`merge`).
    pub repeatable: bool,
    /// Rows of which only these are wanted. The engine filters in any case, so a source may give more of them, and must
    /// not give fewer.
    pub filter: Option<Predicate>,
    /// The row of another stream for which this one is planned; only for a source with
    /// [`parent_fields`](Source::parent_fields).
    pub parent: Option<Parent>,
}

/// A row of the stream for whose rows another one is read, as far as that one needs it.
///
/// Numbers and booleans are what they are in JSON, other values are text in ISO form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Parent(pub serde_json::Map<String, Json>);

impl Parent {
    /// The value of a field: a column, or with dots a field in it (`owner.login`). `None` where there is none: it is
    /// missing, null or an empty text.
    pub fn get(&self, field: &str) -> Option<&Json> {
        let mut names = field.split('.');
        let column = self.0.get(names.next()?)?;
        let value = names.try_fold(column, |value, name| value.get(name))?;
        (!value.is_null() && value.as_str() != Some("")).then_some(value)
    }
}

/// A condition on columns that a source may apply itself, to send less. A comparison with null is not true.
///
/// Values are numbers, texts and booleans, and `{"date": "2024-01-31"}` or `{"timestamp": "2024-01-31T12:00:00Z"}`. A
/// source leaves out what it cannot compare exactly as Arrow does: texts by their bytes, dates only with columns of dates
/// or timestamps. Leaving out is right below `And`; elsewhere it is leaving out the whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// A column compared with a value.
    Compare {
        /// The column.
        column: String,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Json,
    },
    /// A column whose value is one of these.
    In {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Json>,
    },
    /// A column without a value.
    IsNull(String),
    /// A column with a value.
    IsNotNull(String),
    /// All of these.
    And(Vec<Predicate>),
    /// At least one of these.
    Or(Vec<Predicate>),
}

/// How a column is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The part of an incremental stream that a run reads: `after < field <= until`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CursorRange {
    /// The cursor's column.
    pub field: String,
    /// The value up to which everything has been loaded; `None` for a first run.
    pub after: Option<Json>,
    /// The upper bound of the run under way, if the source gave one when the run began.
    pub until: Option<Json>,
}

impl CursorRange {
    /// The range behind a value.
    pub fn new(field: impl Into<String>, after: Option<Json>, until: Option<Json>) -> Self {
        Self { field: field.into(), after, until }
    }
}

/// How a stream will be read.
pub struct ScanPlan {
    /// The columns, if they are known before the first row.
    pub schema: Option<SchemaRef>,
    /// The splits, planned as they are asked for.
    pub splits: PlanStream,
    /// How far the source itself keeps to the cursor range. The engine filters what it did not.
    pub cursor: Pushdown,
    /// How far the source itself reads only the wanted columns.
    pub columns: Pushdown,
    /// The upper bound of the cursor in this run, if the source can tell.
    pub until: Option<Json>,
    /// The cursor's value behind which rows are wanted, for a source that was told to look back before the last value.
    /// The engine filters by it instead of [`CursorRange::after`].
    pub after: Option<Json>,
}

impl ScanPlan {
    /// A plan of these splits that keeps to nothing.
    pub fn new(schema: Option<SchemaRef>, splits: PlanStream) -> Self {
        let (cursor, columns) = (Pushdown::Unsupported, Pushdown::Unsupported);
        Self { schema, splits, cursor, columns, until: None, after: None }
    }
}

impl fmt::Debug for ScanPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanPlan")
            .field("schema", &self.schema)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// How well the source itself applies a restriction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pushdown {
    /// It gives exactly what was asked for.
    Exact,
    /// It leaves out some of what was not asked for.
    Inexact,
    /// It gives everything.
    Unsupported,
}

/// A stream of planning steps.
pub type PlanStream = BoxStream<'static, Result<Planned>>;

/// A step of planning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Planned {
    /// One more split.
    Split {
        /// The split.
        split: Split,
        /// Where planning goes on behind it.
        resume: Position,
    },
    /// The last step, which a source sends when the next run is to start from something that only it understands, for
    /// example the files that have been seen.
    Complete {
        /// What the next run gets as [`ScanRequest::since`].
        since: Position,
    },
}

/// A piece of a source that can be read on its own, anywhere, in parallel with the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Split {
    /// Its name, unique within a plan and the same in each plan.
    pub id: SplitId,
    /// The version of the payload's form. A source refuses versions that it does not know.
    pub version: u16,
    /// What the source needs to read it.
    pub payload: Json,
    /// How much it holds, for progress and scheduling.
    pub estimate: Option<Estimate>,
    /// How many bytes reading it holds in memory beside its batches; `None` to have it guessed from the estimate, as for a
    /// format that is decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Whether reading it changes something at the source, such as a report that is prepared for it. Who only wants to look
    /// does not read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_effects: bool,
}

impl Split {
    /// A split of version 1.
    pub fn new(id: impl Into<SplitId>, payload: Json) -> Self {
        Self { id: id.into(), version: 1, payload, estimate: None, memory: None, has_effects: false }
    }

    /// Sets how much it holds.
    pub fn estimate(mut self, estimate: Estimate) -> Self {
        self.estimate = Some(estimate);
        self
    }

    /// Says that reading it changes something at the source.
    pub fn with_effects(mut self) -> Self {
        self.has_effects = true;
        self
    }

    /// Sets how many bytes reading it holds in memory beside its batches.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }
}

/// The name of a split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SplitId(pub String);

impl<T: Into<String>> From<T> for SplitId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a split or a data set holds, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes as the source stores them, the measure of [`Metrics::add_bytes_read`](crate::Metrics::add_bytes_read).
    pub bytes: Option<u64>,
}

/// Where to go on; opaque to everyone but the source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// At the beginning.
    #[default]
    Start,
    /// Behind what this describes.
    At(Json),
    /// There is nothing behind it.
    End,
}

/// Rows, those that could not be read, and where the next batch starts.
///
/// A batch without columns and rows says how far the split has got, for what took long and brought no row.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows. Batches of one stream may differ in columns; the schema contract brings them together.
    pub rows: RecordBatch,
    /// The rows that could not be read.
    pub rejected: Vec<Rejected>,
    /// The position after this batch.
    pub resume: Position,
}

impl Batch {
    /// Rows with the position after them.
    pub fn new(rows: RecordBatch, resume: Position) -> Self {
        Self { rows, rejected: Vec::new(), resume }
    }
}

/// The batches of a split.
pub type BatchStream = BoxStream<'static, Result<Batch>>;

/// A data set that could be a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Dataset {
    /// A good name for the stream.
    pub name: String,
    /// The options that read it, to be merged into the stream's `source:`.
    pub source: Json,
    /// Its columns, if they are known.
    pub schema: Option<SchemaRef>,
    /// The column or columns that identify a row.
    pub key: Vec<String>,
    /// How much it holds.
    pub estimate: Estimate,
}

impl Dataset {
    /// A data set of this name, read with these options.
    pub fn new(name: impl Into<String>, source: Json) -> Self {
        Self { name: name.into(), source, schema: None, key: Vec::new(), estimate: Estimate::default() }
    }
}
