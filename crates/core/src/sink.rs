//! The writing side of the contract.

use std::future::Future;

use arrow::record_batch::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{
    Checkpoint, ColumnType, CommitToken, Context, Error, Json, Realm, Rejected, Result, TypeFamily, is_chunks,
};

/// A system that rows can be written to.
///
/// **The destination remembers.** The checkpoint lives with the data that it describes and changes in the same atomic
/// step, so that both can never disagree. A sink that cannot do that declares [`Delivery::AtLeastOnce`], and the engine
/// keeps the checkpoint in a local file.
pub trait Sink: Sized + Send + Sync + 'static {
    /// Its options: the fields of the connection and of the `sink:` together. Deny unknown fields.
    type Config: DeserializeOwned + JsonSchema + Send;
    /// What writes one part of the rows.
    type Writer: Writer;

    /// Called once for a stream, before everything else; as [`Source::open`](crate::Source::open).
    fn open(config: Self::Config, cx: &Context) -> impl Future<Output = Result<Self>> + Send;

    /// What it can do. A constant of this sink and its options; the conformance suite holds it against behaviour.
    fn capabilities(&self) -> SinkCapabilities;

    /// Called by `towpath check`: do the credentials work, may we write as this load does? Leaves nothing behind.
    fn check(&self, cx: &Context, load: &LoadSpec) -> impl Future<Output = Result<()>> + Send;

    /// Called once for a run, before the source is planned. Finds the checkpoint of this pipeline's stream, takes it
    /// over with [`Checkpoint::begin`], and stores that durably: from now on the commits of older runs fail with
    /// `Conflict`. Throws away what older runs staged and never committed. Does not touch committed rows, not even for
    /// `replace`.
    ///
    /// Errors: a retryable one makes the retry layer call again; another ends the stream.
    fn begin(&self, cx: &Context, load: &LoadSpec) -> impl Future<Output = Result<Begun>> + Send;

    /// Called before the first writer, and whenever batches bring new columns or wider types: makes or alters the
    /// target so that it can hold this schema, which holds every column of the schema before it. Returns what later
    /// writers get. Writers of the older schema are finished first. For `replace` the old rows stay until the commit.
    ///
    /// Errors: `SchemaMismatch` names the column and the type that the target cannot hold; any error ends the stream.
    fn evolve(
        &self,
        cx: &Context,
        begun: &Begun,
        schema: &SchemaRef,
    ) -> impl Future<Output = Result<Begun>> + Send;

    /// Called for each writer, up to [`SinkCapabilities::max_writers`] of them at once. `part` is unique in a run.
    fn writer(
        &self,
        cx: &Context,
        begun: &Begun,
        part: u32,
    ) -> impl Future<Output = Result<Self::Writer>> + Send;

    /// Makes the staged rows and the token's progress visible and durable in one atomic step. Applies the token with
    /// [`Checkpoint::apply`] to the checkpoint *as the target holds it now*. For `replace`, called once, at the end,
    /// and the old rows go in the same step. `staged` comes in the order of the splits, where each has a writer of its own,
    /// else of the parts. It may be empty: then only progress is stored.
    ///
    /// Promise: a token that has been applied before changes nothing and answers [`Committed::AlreadyApplied`], so the
    /// retry layer may always call again.
    ///
    /// Rows that the target refuses only now, such as a duplicate of a unique key, are not an error:
    /// [`Committed::Refused`] gives them back.
    ///
    /// Errors: `Conflict` when another run has taken over; it and every other final error end the stream.
    fn commit(
        &self,
        cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> impl Future<Output = Result<Committed>> + Send;

    /// Called by `towpath state show` and `towpath plan`: the checkpoint as the target holds it, changing nothing. `None`
    /// when there is none yet, and for [`Delivery::AtLeastOnce`].
    fn checkpoint(
        &self,
        cx: &Context,
        load: &LoadSpec,
    ) -> impl Future<Output = Result<Option<Checkpoint>>> + Send;

    /// Called by `towpath state reset`: removes the checkpoint and whatever was staged, and leaves the committed rows. The
    /// next run begins as if it were the first. Does nothing when there is none.
    fn forget(&self, cx: &Context, load: &LoadSpec) -> impl Future<Output = Result<()>> + Send;

    /// Called by `towpath state sweep`, while no run is under way: throws away everything that runs have left and never
    /// committed, also what the next `begin` would not find. Tells what it threw away, for people. The checkpoint, what a
    /// resumed run needs of an interrupted one, and the committed rows stay.
    fn sweep(&self, cx: &Context, load: &LoadSpec) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// Throws staged rows away. Called when the stream ends without committing them.
    fn abort(
        &self,
        cx: &Context,
        begun: &Begun,
        staged: Vec<Staged>,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// Stages rows so that a commit can make them visible. Nothing that it writes is visible before. Dropping it without
/// `finish` stages nothing.
pub trait Writer: Send + 'static {
    /// Called with batches of exactly the begun schema, one after the other, in the order of their splits. It may
    /// return before the rows are durable; an error of theirs then comes from a later call.
    ///
    /// Promise: with a retryable error, none of the rows of this call were kept, so the retry layer calls again with
    /// the same rows. Rows that the target refuses are not an error: `finish` returns them.
    fn write(&mut self, rows: RecordBatch) -> impl Future<Output = Result<()>> + Send;

    /// Called once. When it returns, everything that was written is staged durably. Not retried: an error ends the
    /// stream.
    fn finish(self) -> impl Future<Output = Result<Staged>> + Send;
}

/// What a sink can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SinkCapabilities {
    /// What it guarantees when a run is killed and resumed.
    pub delivery: Delivery,
    /// The write dispositions that it knows. The first is the default.
    pub dispositions: Vec<WriteDisposition>,
    /// How many writers may work at once.
    pub max_writers: usize,
    /// Whether all rows end up behind each other, as in one file. Then splits that share writers share a single one, so that
    /// their order stays; splits that have writers of their own are still read side by side, and a commit gets what they
    /// staged in the order of the splits.
    pub one_sequence: bool,
    /// The kinds of types that it can hold. A column of another kind is refused before anything is written.
    pub types: Vec<TypeFamily>,
    /// Whether the target can gain columns and wider types once rows are committed.
    pub evolves: bool,
    /// About how many bytes a writer holds for each column beside the rows that it is given, such as the pages of an
    /// unfinished row group. Where each split has a writer of its own, so many are read at once as fit the run's memory.
    pub column_bytes: usize,
    /// Small batches are joined until they have so many bytes, or nothing more has come for a moment: enough for what a
    /// write costs by itself, such as the round trips of a transaction, to be small beside its rows.
    pub batch_bytes: usize,
    /// What its rows are.
    pub takes: Takes,
    /// Out of which realm it has chunks copied by the service, so that a source may name bytes instead of reading them.
    #[serde(skip)]
    pub copies_from: Option<Realm>,
}

impl SinkCapabilities {
    /// One that holds every type and evolves, with these dispositions and as many writers as the engine likes.
    pub fn new(delivery: Delivery, dispositions: &[WriteDisposition]) -> Self {
        Self {
            delivery,
            dispositions: dispositions.to_vec(),
            max_writers: usize::MAX,
            one_sequence: false,
            types: TypeFamily::ALL.to_vec(),
            evolves: true,
            column_bytes: 0,
            batch_bytes: 512 << 10,
            takes: Takes::Records,
            copies_from: None,
        }
    }

    /// Sets how many writers may work at once.
    pub fn max_writers(mut self, max_writers: usize) -> Self {
        self.max_writers = max_writers;
        self
    }

    /// Says that all rows end up behind each other.
    pub fn one_sequence(mut self) -> Self {
        self.one_sequence = true;
        self
    }

    /// Sets how many bytes a batch should have.
    pub fn batch_bytes(mut self, batch_bytes: usize) -> Self {
        self.batch_bytes = batch_bytes;
        self
    }

    /// Sets how many bytes a writer holds for each column.
    pub fn column_bytes(mut self, column_bytes: usize) -> Self {
        self.column_bytes = column_bytes;
        self
    }

    /// Says that it takes chunks of files and nothing else.
    pub fn takes_chunks(mut self) -> Self {
        self.takes = Takes::Chunks;
        self
    }

    /// Sets out of which realm it has chunks copied by the service.
    pub fn copies_from(mut self, realm: Option<Realm>) -> Self {
        self.copies_from = realm;
        self
    }

    /// Sets the kinds of types that it can hold.
    pub fn types(mut self, types: Vec<TypeFamily>) -> Self {
        self.types = types;
        self
    }

    /// Refuses rows that are not what this sink takes, and columns of a kind that it cannot hold.
    ///
    /// # Errors
    /// `SchemaMismatch` names the first such column and its type.
    pub fn check_types(&self, schema: &Schema) -> Result<()> {
        self.takes.check(schema)?;
        for field in schema.fields() {
            let families = TypeFamily::all_of(field.data_type());
            if families.iter().any(|family| !self.types.contains(family)) {
                let column_type = ColumnType::from(field.data_type().clone());
                return Err(Error::schema(format!(
                    "the sink cannot hold column `{}` of type {column_type}",
                    field.name()
                ))
                .help("cast or drop it under `transform`"));
            }
        }
        Ok(())
    }

    /// Says that a target with committed rows keeps its columns.
    pub fn fixed_schema(mut self) -> Self {
        self.evolves = false;
        self
    }
}

/// What the rows of a sink are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Records, each by itself.
    Records,
    /// Chunks of files, as [`chunk_schema`](crate::chunk_schema) has them.
    Chunks,
}

impl Takes {
    /// Refuses rows of the other kind.
    ///
    /// # Errors
    /// `SchemaMismatch` says what the rows are and what the sink takes.
    pub fn check(self, schema: &Schema) -> Result<()> {
        match (self, is_chunks(schema)) {
            (Self::Records, true) => {
                Err(Error::schema("the source gives whole files as bytes, and the sink takes rows").help(
                    "write them into a sink with `format: bytes`, or set the source's `format` to what the files hold",
                ))
            }
            (Self::Chunks, false) => {
                Err(Error::schema("the sink takes whole files as bytes, and the source gives rows")
                    .help("set `format: bytes` at the source, or another `format` at the sink"))
            }
            (Self::Records, false) | (Self::Chunks, true) => Ok(()),
        }
    }
}

/// What holds when a run is killed anywhere and resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Each row once.
    ExactlyOnce,
    /// Some rows may be written twice, which changes nothing because they have a key.
    Idempotent,
    /// Some rows may come twice.
    AtLeastOnce,
}

/// How rows land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WriteDisposition {
    /// Beside the rows that are there.
    Append,
    /// Instead of all rows that are there, in one step at the end.
    Replace,
    /// Instead of the rows with the same key.
    Merge,
}

/// What a run wants to load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoadSpec {
    /// The pipeline's name. With the stream's it names the checkpoint.
    pub pipeline: String,
    /// The stream's name.
    pub stream: String,
    /// The run's id, unique and growing with time.
    pub run: String,
    /// How rows land.
    pub disposition: WriteDisposition,
    /// The columns that identify a row, for `merge`.
    pub key: Vec<String>,
}

impl LoadSpec {
    /// A load of a stream by a run.
    pub fn new(
        pipeline: impl Into<String>,
        stream: impl Into<String>,
        run: impl Into<String>,
        disposition: WriteDisposition,
    ) -> Self {
        Self {
            pipeline: pipeline.into(),
            stream: stream.into(),
            run: run.into(),
            disposition,
            key: Vec::new(),
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: Vec<String>) -> Self {
        self.key = key;
        self
    }
}

/// A load that was begun: it can cross a process or a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Begun {
    /// The version of the state's form.
    pub version: u16,
    /// What is loaded.
    pub load: LoadSpec,
    /// The checkpoint after [`Checkpoint::begin`].
    pub checkpoint: Checkpoint,
    /// The columns of the rows to come. [`Sink::begin`] gives those that the target has already, or `None` when there is no
    /// target yet or its rows will be replaced; [`Sink::evolve`] sets them.
    pub schema: Option<SchemaRef>,
    /// What the sink itself needs to remember.
    pub state: Json,
}

impl Begun {
    /// A begun load of version 1.
    pub fn new(load: LoadSpec, checkpoint: Checkpoint, state: Json) -> Self {
        Self { version: 1, load, checkpoint, schema: None, state }
    }

    /// The same load with these columns.
    pub fn with_schema(&self, schema: &SchemaRef) -> Self {
        Self { schema: Some(schema.clone()), ..self.clone() }
    }

    /// The columns of the rows to come.
    ///
    /// # Errors
    /// `Unexpected` before [`Sink::evolve`] was called.
    pub fn schema(&self) -> Result<&SchemaRef> {
        self.schema
            .as_ref()
            .ok_or_else(|| Error::unexpected("a writer was asked for before the schema was set"))
    }
}

/// The receipt for staged rows: it can cross a process or a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Staged {
    /// The version of the payload's form.
    pub version: u16,
    /// The writer's part.
    pub part: u32,
    /// Rows staged.
    pub rows: u64,
    /// Bytes staged, as the target stores them.
    pub bytes: u64,
    /// Rows that the target refused.
    pub rejected: Vec<Rejected>,
    /// What the sink needs to commit or abort them.
    pub payload: Json,
}

impl Staged {
    /// A receipt of version 1.
    pub fn new(part: u32, rows: u64, bytes: u64, payload: Json) -> Self {
        Self { version: 1, part, rows, bytes, rejected: Vec::new(), payload }
    }
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Committed {
    /// The rows are in now.
    Applied,
    /// They were in already; nothing changed.
    AlreadyApplied,
    /// Nothing was applied, because the target refuses these rows: a violated constraint. They are not staged any more.
    /// The engine keeps them as dead letters, or ends the stream, by policy, and then commits the rest with the same
    /// token and the same receipts.
    Refused(Vec<Rejected>),
}
