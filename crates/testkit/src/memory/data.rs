//! What a memory source reads.

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use towpath_core::{Json, Rejected, Result, merge_schemas};

use super::{Registry, find, lock, named};
use crate::rows;

static NAMED: Registry<MemoryData> = Registry::new(Mutex::default);

/// Splits of batches, shared with the sources that read them. It may grow between and during runs.
#[derive(Clone, Default)]
pub struct MemoryData(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    splits: Vec<MemorySplit>,
    open_reads: usize,
}

#[derive(Clone)]
pub(super) struct MemorySplit {
    pub(super) id: String,
    pub(super) batches: Vec<MemoryBatch>,
}

#[derive(Clone)]
pub(super) struct MemoryBatch {
    pub(super) rows: RecordBatch,
    pub(super) rejected: Vec<Rejected>,
}

impl MemoryData {
    /// No splits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The data of this name in this process, made by the first who asks.
    pub fn named(name: &str) -> Self {
        named(&NAMED, name)
    }

    pub(super) fn find(name: &str) -> Result<Self> {
        find(&NAMED, "data", name)
    }

    /// Adds a split with these batches, or batches to the split of this id.
    pub fn split(self, id: &str, batches: impl IntoIterator<Item = RecordBatch>) -> Self {
        batches.into_iter().for_each(|rows| self.push(id, rows));
        self
    }

    /// Adds a batch at the end of a split, which is made if there is none of this id.
    pub fn push(&self, id: &str, rows: RecordBatch) {
        let mut state = lock(&self.0);
        let batch = MemoryBatch { rows, rejected: Vec::new() };
        match state.splits.iter_mut().find(|split| split.id == id) {
            Some(split) => split.batches.push(batch),
            None => state.splits.push(MemorySplit { id: id.to_owned(), batches: vec![batch] }),
        }
    }

    /// Adds a row that cannot be read to the last batch of a split.
    ///
    /// # Panics
    /// When there is no such batch.
    pub fn reject(self, id: &str, rejected: Rejected) -> Self {
        let mut state = lock(&self.0);
        let split = state.splits.iter_mut().find(|split| split.id == id);
        let batch = split.and_then(|split| split.batches.last_mut());
        batch.unwrap_or_else(|| panic!("split `{id}` has no batch")).rejected.push(rejected);
        drop(state);
        self
    }

    /// All rows as JSON.
    pub fn rows(&self) -> Vec<Json> {
        let splits = self.splits();
        rows::to_json(splits.iter().flat_map(|split| &split.batches).map(|batch| &batch.rows))
    }

    /// How many reads are open now.
    pub fn open_reads(&self) -> usize {
        lock(&self.0).open_reads
    }

    pub(super) fn splits(&self) -> Vec<MemorySplit> {
        lock(&self.0).splits.clone()
    }

    pub(super) fn find_split(&self, id: &str) -> Option<MemorySplit> {
        lock(&self.0).splits.iter().find(|split| split.id == id).cloned()
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let splits = self.splits();
        let batches = splits.iter().flat_map(|split| &split.batches);
        let merged = batches.map(|batch| batch.rows.schema()).reduce(|a, b| Arc::new(merge_schemas(&a, &b)));
        merged.unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    pub(super) fn open_read(&self) -> OpenRead {
        lock(&self.0).open_reads += 1;
        OpenRead(self.clone())
    }
}

/// Counts as an open read until it is dropped.
pub(super) struct OpenRead(MemoryData);

impl Drop for OpenRead {
    fn drop(&mut self) {
        lock(&self.0.0).open_reads -= 1;
    }
}
