//! The writing side of the reference.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow_schema::{Schema, SchemaRef};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use towpath_core::{
    Begun, Checkpoint, ColumnType, CommitToken, Committed, Context, Delivery, DynSink, Error, Json, LoadSpec,
    Realm, Rejected, Result, Secret, Sink, SinkCapabilities, Staged, TypeFamily, WriteDisposition, Writer,
    json_row, merge_schemas,
};

use super::MemoryTarget;
use super::target::{StagedRows, remembers};

/// The options of the memory sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemorySinkConfig {
    /// The name of the [`MemoryTarget`].
    pub target: String,
    /// A password that is never needed, so that tests can look for it.
    #[serde(default)]
    pub password: Option<Secret>,
}

/// Why a row is refused, if it is.
type Refusal = Arc<dyn Fn(&Json) -> Option<String> + Send + Sync>;

/// Writes to a [`MemoryTarget`], each row exactly once.
#[derive(Clone)]
pub struct MemorySink {
    target: MemoryTarget,
    capabilities: SinkCapabilities,
    refusal: Option<Refusal>,
    late_refusal: Option<Refusal>,
}

impl MemorySink {
    /// A sink that knows every disposition, holds every type, evolves, and has as many writers as one likes.
    pub fn new(target: &MemoryTarget) -> Self {
        let dispositions = [WriteDisposition::Append, WriteDisposition::Replace, WriteDisposition::Merge];
        Self {
            target: target.clone(),
            capabilities: SinkCapabilities::new(Delivery::ExactlyOnce, &dispositions),
            refusal: None,
            late_refusal: None,
        }
    }

    /// Makes it one that cannot remember: rows are visible as they are written, nothing is staged, and only `append`
    /// is known.
    pub fn at_least_once(mut self) -> Self {
        self.capabilities.delivery = Delivery::AtLeastOnce;
        self.capabilities.dispositions = vec![WriteDisposition::Append];
        self
    }

    /// Sets the dispositions.
    pub fn dispositions(mut self, dispositions: &[WriteDisposition]) -> Self {
        self.capabilities.dispositions = dispositions.to_vec();
        self
    }

    /// Sets how many writers may be open at once; one more is an error.
    pub fn max_writers(mut self, max_writers: usize) -> Self {
        self.capabilities.max_writers = max_writers;
        self
    }

    /// Says that all rows end up behind each other.
    pub fn one_sequence(mut self) -> Self {
        self.capabilities.one_sequence = true;
        self
    }

    /// Sets how many bytes a writer says to hold for each column.
    pub fn column_bytes(mut self, column_bytes: usize) -> Self {
        self.capabilities.column_bytes = column_bytes;
        self
    }

    /// Sets how many bytes a batch should have.
    pub fn batch_bytes(mut self, batch_bytes: usize) -> Self {
        self.capabilities.batch_bytes = batch_bytes;
        self
    }

    /// Sets the kinds of types that it holds; columns of others are refused.
    pub fn types(mut self, types: &[TypeFamily]) -> Self {
        self.capabilities.types = types.to_vec();
        self
    }

    /// Says out of which realm bytes are copied for it.
    pub fn copies_from(mut self, realm: Realm) -> Self {
        self.capabilities.copies_from = Some(realm);
        self
    }

    /// Keeps the columns once rows are committed.
    pub fn fixed_schema(mut self) -> Self {
        self.capabilities.evolves = false;
        self
    }

    /// Refuses the rows for which `refusal` gives a reason.
    pub fn refusing(mut self, refusal: impl Fn(&Json) -> Option<String> + Send + Sync + 'static) -> Self {
        self.refusal = Some(Arc::new(refusal));
        self
    }

    /// Refuses the rows for which `refusal` gives a reason, and finds that out in the commit, as a database does with a
    /// unique key.
    pub fn refusing_at_commit(
        mut self,
        refusal: impl Fn(&Json) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.late_refusal = Some(Arc::new(refusal));
        self
    }

    /// The boxed form.
    pub fn shared(self) -> Arc<dyn DynSink> {
        Arc::new(self)
    }

    fn check_fixed(&self, stream: &str, schema: &Schema) -> Result<()> {
        let Some(held) = self.target.schema(stream) else { return Ok(()) };
        if self.capabilities.evolves || self.target.batches(stream).is_empty() {
            return Ok(());
        }
        let merged = merge_schemas(&held, schema);
        let differing = merged
            .fields()
            .iter()
            .find(|field| held.field_with_name(field.name()).ok() != Some(field.as_ref()));
        match differing {
            None => Ok(()),
            Some(field) => {
                let column_type = ColumnType::from(field.data_type().clone());
                Err(failure(
                    Error::schema(format!("the target cannot be altered to hold {column_type}")),
                    "evolve",
                )
                .detail("column", field.name()))
            }
        }
    }
}

fn failure(error: Error, operation: &'static str) -> Error {
    error.connector("memory").operation(operation)
}

/// The ids in the receipts.
fn ids(staged: &[Staged]) -> Result<Vec<u64>> {
    let ids = staged.iter().map(|staged| staged.payload.as_u64());
    ids.collect::<Option<_>>().ok_or_else(|| failure(Error::data("a receipt cannot be read"), "commit"))
}

impl Sink for MemorySink {
    type Config = MemorySinkConfig;
    type Writer = MemoryWriter;

    async fn open(config: Self::Config, _cx: &Context) -> Result<Self> {
        Ok(Self::new(&MemoryTarget::find(&config.target)?))
    }

    fn capabilities(&self) -> SinkCapabilities {
        self.capabilities.clone()
    }

    async fn check(&self, _cx: &Context, _load: &LoadSpec) -> Result<()> {
        Ok(())
    }

    async fn begin(&self, _cx: &Context, load: &LoadSpec) -> Result<Begun> {
        if !self.capabilities.dispositions.contains(&load.disposition) {
            let text = format!("the target cannot {:?}", load.disposition).to_lowercase();
            return Err(failure(Error::unsupported(text), "begin"));
        }
        if load.disposition == WriteDisposition::Merge && load.key.is_empty() {
            return Err(failure(Error::config("`merge` needs a `key`"), "begin"));
        }
        let checkpoint = if remembers(self.capabilities.delivery) {
            self.target.table(&load.stream, |table| table.begin(load))?
        } else {
            Checkpoint::begin(None, load)?
        };
        let mut begun = Begun::new(load.clone(), checkpoint, Json::Null);
        if load.disposition != WriteDisposition::Replace {
            begun.schema = self.target.schema(&load.stream);
        }
        Ok(begun)
    }

    async fn evolve(&self, _cx: &Context, begun: &Begun, schema: &SchemaRef) -> Result<Begun> {
        self.capabilities.check_types(schema).map_err(|error| failure(error, "evolve"))?;
        if begun.load.disposition != WriteDisposition::Replace {
            self.check_fixed(&begun.load.stream, schema)?;
        }
        Ok(begun.with_schema(schema))
    }

    async fn writer(&self, _cx: &Context, begun: &Begun, part: u32) -> Result<MemoryWriter> {
        let schema = begun.schema()?.clone();
        let most = self.capabilities.max_writers;
        self.target.table(&begun.load.stream, |table| {
            if table.open_writers >= most {
                return Err(failure(
                    Error::unexpected(format!("more than {most} writers at once")),
                    "writer",
                ));
            }
            table.open_writers += 1;
            table.most_writers = table.most_writers.max(table.open_writers);
            Ok(())
        })?;
        Ok(MemoryWriter {
            sink: self.clone(),
            open: OpenWriter { target: self.target.clone(), stream: begun.load.stream.clone() },
            load: begun.load.clone(),
            schema,
            part,
            batches: Vec::new(),
            rejected: Vec::new(),
            bytes: 0,
            rows: 0,
        })
    }

    async fn commit(
        &self,
        _cx: &Context,
        begun: &Begun,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        if !remembers(self.capabilities.delivery) {
            return Ok(Committed::Applied);
        }
        let ids = ids(&staged)?;
        if let Some(refusal) = &self.late_refusal {
            let refused = self.target.table(&begun.load.stream, |table| {
                table.refuse(&ids, |rows| admit(&begun.load.stream, refusal, rows))
            })?;
            if !refused.is_empty() {
                return Ok(Committed::Refused(refused));
            }
        }
        let committed = self.target.table(&begun.load.stream, |table| table.commit(&begun.load, token, &ids));
        committed.map_err(|error| failure(error, "commit"))
    }

    async fn checkpoint(&self, _cx: &Context, load: &LoadSpec) -> Result<Option<Checkpoint>> {
        Ok(self.target.checkpoint(&load.pipeline, &load.stream))
    }

    async fn forget(&self, _cx: &Context, load: &LoadSpec) -> Result<()> {
        self.target.table(&load.stream, |table| table.forget(&load.pipeline));
        Ok(())
    }

    async fn sweep(&self, _cx: &Context, load: &LoadSpec) -> Result<Vec<String>> {
        Ok(self.target.table(&load.stream, |table| {
            let swept = table.staged.extract_if(.., |_, staged| staged.pipeline == load.pipeline);
            swept.map(|(id, _)| format!("staged rows {id}")).collect()
        }))
    }

    async fn abort(&self, _cx: &Context, begun: &Begun, staged: Vec<Staged>) -> Result<()> {
        if remembers(self.capabilities.delivery) {
            let ids = ids(&staged)?;
            self.target.table(&begun.load.stream, |table| table.staged.retain(|id, _| !ids.contains(id)));
        }
        Ok(())
    }
}

/// Counts as an open writer until it is dropped.
struct OpenWriter {
    target: MemoryTarget,
    stream: String,
}

impl Drop for OpenWriter {
    fn drop(&mut self) {
        self.target.table(&self.stream, |table| table.open_writers -= 1);
    }
}

/// Stages rows in memory.
pub struct MemoryWriter {
    sink: MemorySink,
    open: OpenWriter,
    load: LoadSpec,
    schema: SchemaRef,
    part: u32,
    batches: Vec<RecordBatch>,
    rejected: Vec<Rejected>,
    bytes: u64,
    rows: u64,
}

impl MemoryWriter {
    /// The rows that are not refused.
    fn admit(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let Some(refusal) = &self.sink.refusal else { return Ok(rows) };
        let (rows, refused) = admit(&self.load.stream, refusal, &rows)?;
        self.rejected.extend(refused);
        Ok(rows)
    }
}

/// The rows that are not refused, and those that are.
fn admit(stream: &str, refusal: &Refusal, rows: &RecordBatch) -> Result<(RecordBatch, Vec<Rejected>)> {
    let (mut keep, mut refused) = (Vec::with_capacity(rows.num_rows()), Vec::new());
    for row in 0..rows.num_rows() {
        let object = json_row(rows, row)?;
        let reason = refusal(&object);
        keep.push(reason.is_none());
        if let Some(reason) = reason {
            refused.push(Rejected::new(format!("memory:{stream}"), reason).row(object));
        }
    }
    Ok((filter_record_batch(rows, &BooleanArray::from(keep))?, refused))
}

impl Writer for MemoryWriter {
    async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if rows.schema_ref() != &self.schema {
            let text = format!("a batch has the columns {}, begun were {}", rows.schema_ref(), self.schema);
            return Err(failure(Error::unexpected(text), "write"));
        }
        tokio::task::yield_now().await;
        let rows = self.admit(rows)?;
        self.rows += rows.num_rows() as u64;
        self.bytes += rows.get_array_memory_size() as u64;
        if remembers(self.sink.capabilities.delivery) {
            self.batches.push(rows);
        } else {
            self.sink.target.insert(&self.load.stream, rows);
        }
        Ok(())
    }

    async fn finish(self) -> Result<Staged> {
        let payload = if remembers(self.sink.capabilities.delivery) {
            let staged = StagedRows {
                pipeline: self.load.pipeline.clone(),
                run: self.load.run.clone(),
                batches: self.batches,
            };
            json!(self.sink.target.table(&self.open.stream, |table| table.stage(staged)))
        } else {
            Json::Null
        };
        let mut staged = Staged::new(self.part, self.rows, self.bytes, payload);
        staged.rejected = self.rejected;
        Ok(staged)
    }
}
