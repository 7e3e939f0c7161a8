//! Small batches that wait to be written together.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use towpath_core::Result;

use super::queue::Held;

/// So many batches are joined at once, and only if they are smaller than this on average. A row alone takes many times
/// its size: each of its columns has buffers of its own.
const GROUP: usize = 64;
const SMALL: usize = 16 << 10;

/// Batches of one generation, in order.
#[derive(Default)]
pub(super) struct Joined {
    batches: Vec<RecordBatch>,
    held: Vec<Held>,
    /// How many of the last batches have not been looked at, and their bytes.
    loose: usize,
    loose_bytes: usize,
    pub(super) generation: u64,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Joined {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a batch behind the others.
    pub(super) fn push(&mut self, rows: RecordBatch, held: Held) -> Result<()> {
        let bytes = rows.get_array_memory_size();
        self.rows += rows.num_rows();
        self.bytes += bytes;
        self.batches.push(rows);
        self.held.push(held);
        self.loose += 1;
        self.loose_bytes += bytes;
        if self.loose < GROUP {
            return Ok(());
        }
        let (loose, bytes) = (std::mem::take(&mut self.loose), std::mem::take(&mut self.loose_bytes));
        if bytes < loose * SMALL { self.join_last(loose, bytes) } else { Ok(()) }
    }

    /// Makes one batch of the last ones, and gives back what it does not need of their memory.
    fn join_last(&mut self, count: usize, bytes: usize) -> Result<()> {
        let first = self.batches.len() - count;
        let rows = concat(self.batches.split_off(first))?;
        let size = rows.get_array_memory_size();
        self.batches.push(rows);
        let mut held = self.held.drain(first..);
        if let Some(mut all) = held.next() {
            held.for_each(|other| all.merge(other));
            all.shrink(size);
            self.held.push(all);
        }
        self.bytes = self.bytes - bytes + size;
        Ok(())
    }

    /// What is there, and leaves nothing of this generation.
    pub(super) fn take(&mut self) -> Self {
        let generation = self.generation;
        std::mem::replace(self, Self { generation, ..Self::default() })
    }

    /// One batch of all. What the parts hold is given back once it is written.
    pub(super) fn into_rows(self) -> Result<(RecordBatch, Vec<Held>)> {
        Ok((concat(self.batches)?, self.held))
    }
}

/// One batch of some with the same columns.
fn concat(batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    Ok(match <[RecordBatch; 1]>::try_from(batches) {
        Ok([rows]) => rows,
        Err(batches) => concat_batches(&batches[0].schema(), &batches)?,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, record_batch};
    use arrow::datatypes::Int64Type;
    use towpath_core::{ByteSize, Metrics};

    use super::super::queue::queue;
    use super::*;
    use crate::memory::MemoryBudget;

    #[tokio::test]
    async fn rows_of_small_batches_keep_their_order_and_give_memory_back() {
        let (budget, metrics) = (MemoryBudget::new(ByteSize::mib(4)), Metrics::default());
        let (sender, _queue) = queue();
        let mut joined = Joined::default();
        for row in 0..150_i64 {
            let rows = record_batch!(("id", Int64, [row])).unwrap();
            let lease = budget.lease(2 << 10, &metrics).await;
            joined.push(rows, sender.hold(lease, 2 << 10).await.unwrap()).unwrap();
        }
        assert_eq!((joined.rows, joined.batches.len(), joined.held.len()), (150, 24, 24));
        // Two groups of a little each, and 22 rows that were not joined yet.
        assert!(budget.in_use() < 60 << 10, "{}", budget.in_use());
        let (rows, held) = joined.into_rows().unwrap();
        assert!(rows.column(0).as_primitive::<Int64Type>().values().iter().copied().eq(0..150));
        drop(held);
        assert_eq!(budget.in_use(), 0);
    }
}
