//! Steps, made ready to run, and what they make of a batch.

use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use towpath_core::{Error, Predicate, Rejected, Result};

use crate::work::{Named, UnusedColumn, Work};
use crate::{Step, add, cast, columns, explode, filter, flatten, protect};

/// What `add` can put into columns.
#[derive(Debug, Clone)]
pub struct TransformContext {
    /// The id of the run.
    pub run: String,
    /// The name of the stream.
    pub source: String,
    /// When the run began.
    pub load_time: SystemTime,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Transformed {
    /// The rows that came through.
    pub rows: RecordBatch,
    /// The rows with a value that did not fit its new type, as they were before that step. What `hash` and `mask`
    /// hide is hidden here only if these steps stand before the cast.
    pub rejected: Vec<Rejected>,
}

/// Steps from batch to batch. It does no I/O and can be shared between threads.
pub struct Transform {
    operations: Vec<(&'static str, Box<dyn Operation>)>,
    rejects: bool,
}

/// A step, made ready to run.
pub(crate) trait Operation: Send + Sync {
    /// Changes the batch.
    fn apply(&self, work: &mut Work<'_>) -> Result<()>;

    /// The columns that the batch must have so that those in `after` are right afterwards; none means all or unknown.
    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed>;

    /// The columns that the step names.
    fn named(&self) -> Vec<&Named>;

    /// Whether it may reject rows.
    fn rejects(&self) -> bool {
        false
    }

    /// Which rows it lets through.
    fn admission(&self) -> Admission {
        Admission::Changed
    }
}

/// Which rows a step lets through.
pub(crate) enum Admission {
    /// Those that meet the condition, as they are. `None` is a condition that a source cannot apply.
    Filtered(Option<Predicate>),
    /// It does more than leave out rows.
    Changed,
}

/// Names of top-level columns.
pub(crate) type Needed = BTreeSet<String>;

impl Transform {
    /// Makes the steps ready to run. Checks what can be checked before there are rows: expressions, formats, names that
    /// are given twice, constants that do not fit their type.
    ///
    /// # Errors
    /// `Config`, which names the step.
    pub fn new(steps: &[Step], context: &TransformContext) -> Result<Self> {
        let operations = steps.iter().enumerate().map(|(index, step)| {
            let operation =
                operation(step, context).map_err(|error| error.operation(title(index, step.name())))?;
            Ok((step.name(), operation))
        });
        let operations = operations.collect::<Result<Vec<_>>>()?;
        let rejects = operations.iter().any(|(_, operation)| operation.rejects());
        Ok(Self { operations, rejects })
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Runs the steps over a batch. `place` is where the batch comes from, such as the id of its split; a rejected row
    /// is at `place#row`, counted from 1 in the batch as it came.
    ///
    /// # Errors
    /// `SchemaMismatch` where the columns do not fit a step: a missing column in `select`, a name that is given twice,
    /// types that cannot be compared or converted. The error names the step.
    pub fn apply(&self, batch: RecordBatch, place: &str) -> Result<Transformed> {
        let mut work = Work::new(batch, place, self.rejects);
        for (index, (name, operation)) in self.operations.iter().enumerate() {
            operation.apply(&mut work).map_err(|error| error.operation(title(index, name)))?;
        }
        Ok(work.finish())
    }

    /// The columns that a source has to bring, so that it can leave out the others; none when it needs all, or when
    /// that depends on the data.
    ///
    /// Columns that the engine itself needs, such as the cursor, are not among them.
    pub fn columns_needed(&self) -> Option<Vec<String>> {
        let steps = self.operations.iter().rev();
        let needed = steps.fold(None, |after, (_, operation)| operation.columns_needed(after));
        needed.map(|columns| columns.into_iter().collect())
    }

    /// What a source may leave out by itself: the rows that the first steps filter away, as far as they stand before all
    /// others and a source could tell. The steps filter all the same.
    pub fn filter(&self) -> Option<Predicate> {
        let filters = self.operations.iter().map_while(|(_, operation)| match operation.admission() {
            Admission::Filtered(condition) => Some(condition),
            Admission::Changed => None,
        });
        let mut conditions: Vec<Predicate> = filters.flatten().collect();
        match conditions.len() {
            0 | 1 => conditions.pop(),
            _ => Some(Predicate::And(conditions)),
        }
    }

    /// The columns that steps name and that no batch had. To be called after the last batch; without any batch there
    /// are none.
    pub fn unused_columns(&self) -> Vec<UnusedColumn> {
        let steps = self.operations.iter().enumerate();
        let unused = steps.flat_map(|(index, (name, operation))| {
            operation.named().into_iter().filter_map(move |named| named.unused(title(index, name)))
        });
        unused.collect()
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.operations.iter().map(|(name, _)| name)).finish()
    }
}

/// How messages call a step.
fn title(index: usize, name: &str) -> String {
    format!("transform step {} ({name})", index + 1)
}

fn operation(step: &Step, context: &TransformContext) -> Result<Box<dyn Operation>> {
    Ok(match step {
        Step::Select(select) => Box::new(columns::SelectColumns::new(select)?),
        Step::Drop(columns) => Box::new(columns::DropColumns::new(columns)?),
        Step::Rename(names) => Box::new(columns::RenameColumns::new(names)?),
        Step::Cast(types) => Box::new(cast::CastColumns::new(types)?),
        Step::Filter(text) => Box::new(filter::FilterRows::new(text)?),
        Step::Add(columns) => Box::new(add::AddColumns::new(columns, context)?),
        Step::Flatten(flatten) => Box::new(flatten::FlattenColumns::new(flatten)?),
        Step::Explode(explode) => Box::new(explode::ExplodeColumn::new(explode)),
        Step::Hash(hash) => Box::new(protect::HashColumns::new(hash)?),
        Step::Mask(mask) => Box::new(protect::MaskColumns::new(mask)?),
    })
}

/// The columns named in a step, each once.
pub(crate) fn named_once(columns: &[String]) -> Result<Vec<Named>> {
    if columns.is_empty() {
        return Err(Error::config("no column is named"));
    }
    let mut seen = BTreeSet::new();
    match columns.iter().find(|column| !seen.insert(column.as_str())) {
        Some(twice) => Err(Error::config(format!("`{twice}` is named twice"))),
        None => Ok(columns.iter().map(|column| Named::column(column)).collect()),
    }
}
