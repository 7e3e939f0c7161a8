//! The columns of the target, which may grow while writers work.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, watch};
use towpath_core::{Begun, Context, DynSink, DynWriter, Error, Result, conform};

/// How many columns are expected where none are known yet.
const UNKNOWN_COLUMNS: usize = 16;

/// The target of a stream. Each change of its columns begins a new generation.
pub(super) struct Target {
    sink: Arc<dyn DynSink>,
    cx: Context,
    /// The columns that the target had before this run.
    held: Option<SchemaRef>,
    current: Mutex<Current>,
    /// Held for reading by each open writer, for writing while the columns change.
    gate: Arc<RwLock<()>>,
    /// One change at a time, so that only those are told to writers that will happen.
    evolving: tokio::sync::Mutex<()>,
    /// Tells writers that a change is waiting for them to finish.
    changing: watch::Sender<u64>,
}

#[derive(Clone)]
struct Current {
    begun: Arc<Begun>,
    /// The schema that batches are brought to; `None` before the first generation.
    schema: Option<SchemaRef>,
    generation: u64,
}

/// Rows in the columns of a generation; `None` where there were neither rows nor columns.
pub(super) struct Conformed {
    pub(super) rows: Option<RecordBatch>,
    pub(super) generation: u64,
}

/// A writer that is open, and keeps the columns from changing.
pub(super) struct OpenWriter {
    pub(super) writer: Box<dyn DynWriter>,
    pub(super) schema: SchemaRef,
    pub(super) generation: u64,
    _open: OwnedRwLockReadGuard<()>,
}

impl Target {
    pub(super) fn new(sink: Arc<dyn DynSink>, cx: Context, begun: Begun) -> Self {
        let held = begun.schema.clone();
        let current = Current { schema: None, begun: Arc::new(begun), generation: 0 };
        Self {
            sink,
            cx,
            held,
            current: Mutex::new(current),
            gate: Arc::default(),
            evolving: tokio::sync::Mutex::default(),
            changing: watch::Sender::new(0),
        }
    }

    /// The generation and its columns.
    pub(super) fn schema(&self) -> (u64, Option<SchemaRef>) {
        let current = self.current();
        (current.generation, current.schema)
    }

    /// The columns that the target had before this run, if it was there.
    pub(super) fn held(&self) -> Option<&SchemaRef> {
        self.held.as_ref()
    }

    /// What a writer holds beside the rows that it is given, as far as its columns are known.
    pub(super) fn writer_bytes(&self) -> usize {
        let columns = self.schema().1.map_or(UNKNOWN_COLUMNS, |schema| schema.fields().len());
        self.sink.capabilities().column_bytes.saturating_mul(columns)
    }

    /// The load as it stands now.
    pub(super) fn begun(&self) -> Arc<Begun> {
        self.current().begun
    }

    /// Told whenever writers should finish, so that the columns can change.
    pub(super) fn changing(&self) -> watch::Receiver<u64> {
        self.changing.subscribe()
    }

    /// Gives the target these columns, unless another batch has changed them since `generation`.
    ///
    /// # Errors
    /// `SchemaMismatch` for a type that the sink cannot hold; the sink's own.
    pub(super) async fn evolve(&self, generation: u64, wanted: &SchemaRef) -> Result<()> {
        self.sink.capabilities().check_types(wanted)?;
        let _next = self.evolving.lock().await;
        let current = self.current();
        if current.generation != generation {
            return Ok(());
        }
        self.changing.send_modify(|wishes| *wishes += 1);
        let _alone = self.gate.write().await;
        let begun = self.sink.evolve(&self.cx, &current.begun, wanted).await?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Current { begun: Arc::new(begun), schema: Some(wanted.clone()), generation: generation + 1 };
        Ok(())
    }

    /// Opens a writer.
    ///
    /// # Errors
    /// The sink's own.
    pub(super) async fn open(&self, part: u32) -> Result<OpenWriter> {
        let open = self.gate.clone().read_owned().await;
        let current = self.current();
        let Some(schema) = current.schema else {
            return Err(Error::unexpected("rows came before the target had columns"));
        };
        let writer = self.sink.writer(&self.cx, &current.begun, part).await?;
        Ok(OpenWriter { writer, schema, generation: current.generation, _open: open })
    }

    /// Makes the target with these columns if no row has made it yet: an empty stream has columns, too.
    ///
    /// # Errors
    /// The sink's own.
    pub(super) async fn ensure(&self, schema: &SchemaRef) -> Result<()> {
        if self.current().generation == 0 && self.held.is_none() {
            self.evolve(0, schema).await
        } else {
            Ok(())
        }
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OpenWriter {
    /// Writes rows of this or an earlier generation.
    ///
    /// # Errors
    /// The sink's own.
    pub(super) async fn write(&mut self, rows: RecordBatch) -> Result<()> {
        self.writer.write(conform(&rows, &self.schema)?).await
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};
    use towpath_core::{LoadSpec, WriteDisposition};
    use towpath_testkit::context;
    use towpath_testkit::memory::{MemorySink, MemoryTarget};

    use super::*;

    #[tokio::test]
    async fn a_change_that_another_batch_has_made_disturbs_no_writer() {
        let (cx, sink) = (context(), MemorySink::new(&MemoryTarget::new()).shared());
        let load = LoadSpec::new("p", "s", "run", WriteDisposition::Append);
        let begun = sink.begin(&cx, &load).await.unwrap();
        let target = Target::new(sink, cx, begun);
        let wanted = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
        target.evolve(0, &wanted).await.unwrap();
        let changing = target.changing();
        let writer = target.open(0).await.unwrap();
        target.evolve(0, &wanted).await.unwrap();
        assert!(!changing.has_changed().unwrap());
        assert_eq!(writer.generation, target.schema().0);
    }
}
