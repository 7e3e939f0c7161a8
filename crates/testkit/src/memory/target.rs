//! What a memory sink writes to.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow_schema::SchemaRef;
use towpath_core::{
    Applied, Checkpoint, CommitToken, Committed, Delivery, Error, Json, LoadSpec, Rejected, Result,
    WriteDisposition, conform, merge_schemas,
};

use super::{Registry, find, lock, named};
use crate::rows;

static NAMED: Registry<MemoryTarget> = Registry::new(Mutex::default);

/// Tables of committed rows with their checkpoints, shared with the sinks that write them. It survives them.
#[derive(Clone, Default)]
pub struct MemoryTarget(Arc<Mutex<BTreeMap<String, Table>>>);

/// What one stream has written.
#[derive(Default)]
pub(super) struct Table {
    pub(super) schema: Option<SchemaRef>,
    pub(super) rows: Vec<RecordBatch>,
    /// By pipeline.
    pub(super) checkpoints: BTreeMap<String, Checkpoint>,
    pub(super) staged: BTreeMap<u64, StagedRows>,
    pub(super) open_writers: usize,
    pub(super) most_writers: usize,
    next_staged: u64,
    tokens: Vec<CommitToken>,
}

pub(super) struct StagedRows {
    pub(super) pipeline: String,
    pub(super) run: String,
    pub(super) batches: Vec<RecordBatch>,
}

impl MemoryTarget {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The target of this name in this process, made by the first who asks.
    pub fn named(name: &str) -> Self {
        named(&NAMED, name)
    }

    pub(super) fn find(name: &str) -> Result<Self> {
        find(&NAMED, "target", name)
    }

    /// The committed batches of a stream, each in the columns that the stream has now.
    ///
    /// # Panics
    /// When rows cannot be cast to the columns of later ones.
    pub fn batches(&self, stream: &str) -> Vec<RecordBatch> {
        self.table(stream, |table| {
            let Some(schema) = &table.schema else { return table.rows.clone() };
            let conformed = table.rows.iter().map(|rows| conform(rows, schema));
            conformed.map(|rows| rows.unwrap_or_else(|error| panic!("{error}"))).collect()
        })
    }

    /// The committed rows of a stream as JSON.
    pub fn rows(&self, stream: &str) -> Vec<Json> {
        rows::to_json(&self.batches(stream))
    }

    /// The columns of a stream.
    pub fn schema(&self, stream: &str) -> Option<SchemaRef> {
        self.table(stream, |table| table.schema.clone())
    }

    /// The checkpoint that a pipeline has left with a stream.
    pub fn checkpoint(&self, pipeline: &str, stream: &str) -> Option<Checkpoint> {
        self.table(stream, |table| table.checkpoints.get(pipeline).cloned())
    }

    /// The tokens that were applied to a stream, in their order.
    pub fn tokens(&self, stream: &str) -> Vec<CommitToken> {
        self.table(stream, |table| table.tokens.clone())
    }

    /// The most writers that a stream had open at once.
    pub fn most_writers(&self, stream: &str) -> usize {
        self.table(stream, |table| table.most_writers)
    }

    /// What lies around uncommitted: open writers and staged rows.
    pub fn leftovers(&self) -> Vec<String> {
        let tables = lock(&self.0);
        let mut leftovers = Vec::new();
        for (stream, table) in tables.iter() {
            if table.open_writers > 0 {
                leftovers.push(format!("{stream}: {} open writers", table.open_writers));
            }
            leftovers.extend(table.staged.iter().map(|(id, staged)| {
                let rows: usize = staged.batches.iter().map(RecordBatch::num_rows).sum();
                format!("{stream}: staged {id} of run {} with {rows} rows", staged.run)
            }));
        }
        leftovers
    }

    /// Adds rows as somebody else would, beside all checkpoints.
    pub fn insert(&self, stream: &str, rows: RecordBatch) {
        self.table(stream, |table| {
            table.widen(&rows.schema());
            table.rows.push(rows);
        });
    }

    pub(super) fn table<T>(&self, stream: &str, work: impl FnOnce(&mut Table) -> T) -> T {
        work(lock(&self.0).entry(stream.to_owned()).or_default())
    }
}

impl Table {
    /// Takes the checkpoint over for a run and throws away what older ones staged.
    pub(super) fn begin(&mut self, load: &LoadSpec) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::begin(self.checkpoints.get(&load.pipeline), load)?;
        self.checkpoints.insert(load.pipeline.clone(), checkpoint.clone());
        self.staged.retain(|_, staged| staged.pipeline != load.pipeline);
        Ok(checkpoint)
    }

    pub(super) fn forget(&mut self, pipeline: &str) {
        self.checkpoints.remove(pipeline);
        self.staged.retain(|_, staged| staged.pipeline != pipeline);
    }

    pub(super) fn widen(&mut self, schema: &SchemaRef) {
        self.schema = Some(match &self.schema {
            Some(held) => Arc::new(merge_schemas(held, schema)),
            None => schema.clone(),
        });
    }

    pub(super) fn stage(&mut self, staged: StagedRows) -> u64 {
        self.next_staged += 1;
        self.staged.insert(self.next_staged, staged);
        self.next_staged
    }

    /// Takes rows out of what is staged.
    pub(super) fn refuse(
        &mut self,
        staged: &[u64],
        admit: impl Fn(&RecordBatch) -> Result<(RecordBatch, Vec<Rejected>)>,
    ) -> Result<Vec<Rejected>> {
        let mut refused = Vec::new();
        for (_, staged) in self.staged.iter_mut().filter(|(id, _)| staged.contains(id)) {
            for batch in &mut staged.batches {
                let (rows, out) = admit(batch)?;
                *batch = rows;
                refused.extend(out);
            }
        }
        Ok(refused)
    }

    pub(super) fn commit(
        &mut self,
        load: &LoadSpec,
        token: &CommitToken,
        staged: &[u64],
    ) -> Result<Committed> {
        let held =
            self.checkpoints.get(&load.pipeline).ok_or_else(|| Error::unexpected("nothing was begun"))?;
        let next = match held.apply(token)? {
            Applied::Already => return Ok(Committed::AlreadyApplied),
            Applied::Now(next) => *next,
        };
        if let Some(gone) = staged.iter().find(|id| !self.staged.contains_key(id)) {
            return Err(Error::unexpected(format!("the staged rows {gone} are gone")).connector("memory"));
        }
        let batches: Vec<RecordBatch> =
            staged.iter().filter_map(|id| self.staged.remove(id)).flat_map(|staged| staged.batches).collect();
        self.land(load, batches)?;
        self.checkpoints.insert(load.pipeline.clone(), next);
        self.tokens.push(token.clone());
        Ok(Committed::Applied)
    }

    fn land(&mut self, load: &LoadSpec, batches: Vec<RecordBatch>) -> Result<()> {
        if load.disposition == WriteDisposition::Replace {
            self.rows.clear();
            self.schema = None;
        }
        for batch in &batches {
            self.widen(&batch.schema());
        }
        self.rows.extend(batches);
        if load.disposition == WriteDisposition::Merge {
            self.keep_last_of_each_key(&load.key)?;
        }
        Ok(())
    }

    fn keep_last_of_each_key(&mut self, key: &[String]) -> Result<()> {
        let mut seen = HashSet::new();
        for batch in self.rows.iter_mut().rev() {
            let mut keep = vec![false; batch.num_rows()];
            for (row, object) in rows::to_json([&*batch]).iter().enumerate().rev() {
                let values: Json =
                    key.iter().map(|column| rows::canonical(&object[column.as_str()])).collect();
                keep[row] = seen.insert(values.to_string());
            }
            *batch = filter_record_batch(batch, &BooleanArray::from(keep))?;
        }
        self.rows.retain(|batch| batch.num_rows() > 0);
        Ok(())
    }
}

/// Whether a sink with this delivery keeps the checkpoint itself.
pub(super) fn remembers(delivery: Delivery) -> bool {
    delivery != Delivery::AtLeastOnce
}
