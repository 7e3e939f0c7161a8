//! Some columns of a row group, encoded by one job at a time, in order.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow_schema::{FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use towpath_core::{Result, ResultExt};

use super::{failed, storage};

/// The most lanes of a row group: enough to keep all processors busy, few enough for cheap jobs.
const LANES: usize = 32;

/// Neighbouring columns. The job that finds the writers free does all work that waits; the others leave.
pub(super) struct Lane {
    /// The index of each column with its field as it is stored.
    fields: Vec<(usize, FieldRef)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    /// Gone while a job works with them, after the end, and after an error.
    writers: Option<Vec<ArrowColumnWriter>>,
    closed: Vec<ArrowColumnChunk>,
}

/// What a lane is to do.
pub(super) enum Work {
    /// Encode rows: for each column, its arrays.
    Rows(Vec<Vec<ArrayRef>>),
    /// End the row group.
    Close,
}

impl Lane {
    /// Lanes for all columns, each with its share of the writers.
    pub(super) fn share(schema: &SchemaRef, writers: Vec<ArrowColumnWriter>) -> Vec<Arc<Self>> {
        let mut writers = writers.into_iter();
        let fields: Vec<_> = schema.fields().iter().cloned().enumerate().collect();
        let share = fields.len().div_ceil(LANES).max(1);
        let lanes = fields.chunks(share).map(|fields| {
            let leaves = fields.iter().map(|(_, field)| storage::leaves(field.data_type())).sum();
            let writers = Some(writers.by_ref().take(leaves).collect());
            let state = Mutex::new(State { writers, ..State::default() });
            Arc::new(Self { fields: fields.to_vec(), state })
        });
        lanes.collect()
    }

    /// The arrays of this lane's columns.
    pub(super) fn columns_of(&self, chunk: &[RecordBatch]) -> Vec<Vec<ArrayRef>> {
        let arrays = |index: usize| chunk.iter().map(|rows| rows.column(index).clone()).collect();
        self.fields.iter().map(|(index, _)| arrays(*index)).collect()
    }

    /// Queues work. Somebody must call [`run`](Self::run) for it.
    pub(super) fn give(&self, work: Work) {
        self.state().waiting.push_back(work);
    }

    /// Does what waits, unless another job is at it: that one will do this work as well.
    pub(super) fn run(&self) -> Result<()> {
        while let Some((mut writers, work)) = self.take() {
            match work {
                Work::Rows(columns) => {
                    self.encode(&mut writers, columns)?;
                    self.state().writers = Some(writers);
                }
                Work::Close => {
                    let closed = writers.into_iter().map(ArrowColumnWriter::close);
                    let closed = closed.collect::<parquet::errors::Result<_>>().map_err(failed)?;
                    self.state().closed = closed;
                }
            }
        }
        Ok(())
    }

    /// What the row group gets of this lane, once it has ended.
    pub(super) fn closed(&self) -> Vec<ArrowColumnChunk> {
        std::mem::take(&mut self.state().closed)
    }

    fn take(&self) -> Option<(Vec<ArrowColumnWriter>, Work)> {
        let mut state = self.state();
        let writers = state.writers.take()?;
        let work = state.waiting.pop_front();
        if work.is_none() {
            state.writers = Some(writers);
            return None;
        }
        Some((writers, work?))
    }

    fn encode(&self, writers: &mut [ArrowColumnWriter], columns: Vec<Vec<ArrayRef>>) -> Result<()> {
        let mut writers = writers.iter_mut();
        for ((_, field), arrays) in self.fields.iter().zip(columns) {
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            let array = match arrays[..] {
                [one] => storage::store(one, field.data_type()),
                _ => concat(&arrays)
                    .map_err(Into::into)
                    .and_then(|array| storage::store(&array, field.data_type())),
            };
            let array = array.detail("column", field.name())?;
            for (leaf, writer) in compute_leaves(field, &array).map_err(failed)?.iter().zip(writers.by_ref())
            {
                writer.write(leaf).map_err(failed).detail("column", field.name())?;
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
