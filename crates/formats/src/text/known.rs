//! The columns that a reader has met so far.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{Schema, SchemaRef};
use towpath_core::merge_schemas;

/// The columns so far, shared by all clones of a reader. They only grow and widen.
#[derive(Debug)]
pub(crate) struct Known {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    schema: SchemaRef,
    /// Whether rows were looked at, so that the types are more than what was declared.
    settled: bool,
}

impl Known {
    pub(crate) fn new(declared: Schema) -> Self {
        Self { state: Mutex::new(State { schema: Arc::new(declared), settled: false }) }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.lock().schema.clone()
    }

    /// Whether rows were looked at.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().settled
    }

    /// Adds columns and widens those that are there. Gives the columns now.
    pub(crate) fn remember(&self, met: &Schema) -> SchemaRef {
        let mut state = self.lock();
        state.settled = true;
        if !holds(&state.schema, met) {
            state.schema = Arc::new(merge_schemas(&state.schema, met));
        }
        state.schema.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all columns of the second schema are in the first as they are. Nearly always they are.
fn holds(known: &Schema, met: &Schema) -> bool {
    known.fields() == met.fields()
        || met
            .fields()
            .iter()
            .all(|field| known.fields().find(field.name()).is_some_and(|(_, known)| known == field))
}
