//! Rows for which an expression is true.

use towpath_core::{ErrorKind, Result};

use crate::columns::with_named;
use crate::expression::{Evaluator, Expression, parse, predicate};
use crate::transform::{Admission, Needed, Operation};
use crate::work::{Named, Work};

pub(crate) struct FilterRows {
    text: String,
    expression: Expression,
    columns: Vec<Named>,
}

impl FilterRows {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let expression = parse(text).map_err(|problem| problem.into_error(ErrorKind::Config, text))?;
        let mut paths = expression.columns();
        paths.sort();
        paths.dedup();
        let columns = paths.into_iter().cloned().map(Named::path).collect();
        Ok(Self { text: text.to_owned(), expression, columns })
    }
}

impl Operation for FilterRows {
    fn apply(&self, work: &mut Work<'_>) -> Result<()> {
        let evaluator = Evaluator { batch: &work.batch, columns: &self.columns };
        let keep = evaluator
            .truth(&self.expression)
            .map_err(|problem| problem.into_error(ErrorKind::SchemaMismatch, &self.text))?;
        work.filter(&keep)
    }

    fn columns_needed(&self, after: Option<Needed>) -> Option<Needed> {
        with_named(after, &self.columns)
    }

    fn admission(&self) -> Admission {
        Admission::Filtered(predicate(&self.expression))
    }

    fn named(&self) -> Vec<&Named> {
        self.columns.iter().collect()
    }
}
