//! Expressions over batches, by Arrow's kernels, with SQL's three-valued logic.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Datum, RecordBatch, new_null_array};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, ilike, is_not_null, is_null, like, not, or_kleene};
use arrow::error::ArrowError;
use arrow_schema::DataType;
use towpath_core::ColumnType;

use super::coerce::{common_type, comparable, is_text, plain};
use super::{Comparison, Expression, Literal, Node, Problem};
use crate::work::Named;

/// Evaluates one expression over one batch.
pub(crate) struct Evaluator<'a> {
    pub(crate) batch: &'a RecordBatch,
    /// The columns of the expression.
    pub(crate) columns: &'a [Named],
}

/// An array of all rows, or of one value that is the same in each.
struct Value {
    array: ArrayRef,
    scalar: bool,
}

impl Datum for Value {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

/// A side of a comparison. A literal takes its type from the other side.
enum Side<'a> {
    Literal(&'a Literal, usize),
    Value(Value, &'a Expression),
}

impl Side<'_> {
    /// The value, beside one of this type.
    fn beside(&self, other: Option<&DataType>) -> Result<Cow<'_, ArrayRef>, Problem> {
        match self {
            Side::Value(value, _) => Ok(Cow::Borrowed(&value.array)),
            Side::Literal(literal, at) => {
                let array = match other {
                    Some(other) => literal.array_beside(&plain(other)),
                    None => literal.array(),
                };
                array.map(Cow::Owned).map_err(|message| Problem::new(*at, message))
            }
        }
    }

    fn data_type(&self) -> Option<&DataType> {
        match self {
            Side::Value(value, _) => Some(value.array.data_type()),
            Side::Literal(..) => None,
        }
    }

    fn scalar(&self) -> bool {
        match self {
            Side::Value(value, _) => value.scalar,
            Side::Literal(..) => true,
        }
    }

    fn describe(&self, data_type: &DataType) -> String {
        let kind = ColumnType::from(data_type.clone());
        match self {
            Side::Value(_, expression) => format!("`{expression}` ({kind})"),
            Side::Literal(literal, _) => format!("{literal} ({kind})"),
        }
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, ArrowError>;

impl Evaluator<'_> {
    /// Whether the expression is true, false or unknown (null) in each row.
    pub(crate) fn truth(&self, expression: &Expression) -> Result<BooleanArray, Problem> {
        let value = self.value(expression)?;
        match value.array.data_type() {
            DataType::Boolean => Ok(self.in_each_row(value.array.as_boolean().clone())),
            DataType::Null => Ok(BooleanArray::new_null(self.batch.num_rows())),
            other => {
                let kind = ColumnType::from(other.clone());
                let message =
                    format!("`{expression}` is {kind}, which is neither true nor false: compare it");
                Err(Problem::new(expression.at, message))
            }
        }
    }

    /// One value for all rows becomes one for each.
    fn in_each_row(&self, values: BooleanArray) -> BooleanArray {
        let rows = self.batch.num_rows();
        match values.len() {
            length if length == rows => values,
            _ if values.is_null(0) => BooleanArray::new_null(rows),
            _ => BooleanArray::from(vec![values.value(0); rows]),
        }
    }

    fn value(&self, expression: &Expression) -> Result<Value, Problem> {
        let truth = match &expression.node {
            Node::Column(path) => return self.column(path, expression.at),
            Node::Literal(literal) => {
                let array = literal.array().map_err(|message| Problem::new(expression.at, message))?;
                return Ok(Value { array, scalar: true });
            }
            Node::Or(parts) => self.fold(parts, or_kleene)?,
            Node::And(parts) => self.fold(parts, and_kleene)?,
            Node::Not(value) => negate(&self.truth(value)?)?,
            Node::Compare { left, operator, right } => {
                self.compare(&self.side(left)?, *operator, &self.side(right)?, expression.at)?
            }
            Node::In { value, items, negated } => {
                negate_if(*negated, self.any_equal(value, items, expression.at)?)?
            }
            Node::Between { value, low, high, negated } => {
                let (value, low, high) = (self.side(value)?, self.side(low)?, self.side(high)?);
                let above = self.compare(&value, Comparison::GreaterOrEqual, &low, expression.at)?;
                let below = self.compare(&value, Comparison::LessOrEqual, &high, expression.at)?;
                negate_if(*negated, and_kleene(&above, &below).map_err(broken)?)?
            }
            Node::Like { value, pattern, ignore_case, negated } => {
                let kernel = if *ignore_case { ilike } else { like };
                let sides = (self.side(value)?, self.side(pattern)?);
                negate_if(*negated, self.matches(&sides.0, kernel, &sides.1, expression.at)?)?
            }
            Node::IsNull { value, negated } => {
                let kernel = if *negated { is_not_null } else { is_null };
                self.in_each_row(kernel(&self.value(value)?.array).map_err(broken)?)
            }
        };
        Ok(Value { array: Arc::new(truth), scalar: false })
    }

    fn column(&self, path: &[String], at: usize) -> Result<Value, Problem> {
        let named =
            self.columns.iter().find(|named| named.is_path(path)).expect("all columns were collected");
        let values = named.values(self.batch).map_err(|message| Problem::new(at, message))?;
        Ok(match values {
            Some(array) => Value { array, scalar: false },
            None => Value { array: new_null_array(&DataType::Null, 1), scalar: true },
        })
    }

    fn fold(
        &self,
        parts: &[Expression],
        join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, ArrowError>,
    ) -> Result<BooleanArray, Problem> {
        let mut truths = parts.iter().map(|part| self.truth(part));
        let first = truths.next().expect("the parser joins at least two")?;
        truths.try_fold(first, |left, right| join(&left, &right?).map_err(broken))
    }

    fn side<'e>(&self, expression: &'e Expression) -> Result<Side<'e>, Problem> {
        match &expression.node {
            Node::Literal(literal) => Ok(Side::Literal(literal, expression.at)),
            _ => Ok(Side::Value(self.value(expression)?, expression)),
        }
    }

    fn any_equal(
        &self,
        value: &Expression,
        items: &[Expression],
        at: usize,
    ) -> Result<BooleanArray, Problem> {
        let value = self.side(value)?;
        let mut found =
            items.iter().map(|item| self.compare(&value, Comparison::Equal, &self.side(item)?, at));
        let first = found.next().expect("the parser wants at least one item")?;
        found.try_fold(first, |left, right| or_kleene(&left, &right?).map_err(broken))
    }

    fn compare(
        &self,
        left: &Side<'_>,
        operator: Comparison,
        right: &Side<'_>,
        at: usize,
    ) -> Result<BooleanArray, Problem> {
        let kernel = match operator {
            Comparison::Equal => cmp::eq,
            Comparison::NotEqual => cmp::neq,
            Comparison::Less => cmp::lt,
            Comparison::LessOrEqual => cmp::lt_eq,
            Comparison::Greater => cmp::gt,
            Comparison::GreaterOrEqual => cmp::gt_eq,
        };
        let arrays = (left.beside(right.data_type())?, right.beside(left.data_type())?);
        let (left_type, right_type) = (arrays.0.data_type(), arrays.1.data_type());
        let common = common_type(left_type, right_type).ok_or_else(|| {
            let (left, right) = (left.describe(left_type), right.describe(right_type));
            Problem::new(at, format!("{left} cannot be compared with {right}: cast one of them first"))
        })?;
        self.run(kernel, (&arrays.0, left.scalar()), (&arrays.1, right.scalar()), &common, at)
    }

    fn matches(
        &self,
        value: &Side<'_>,
        kernel: Kernel,
        pattern: &Side<'_>,
        at: usize,
    ) -> Result<BooleanArray, Problem> {
        let arrays = (value.beside(None)?, pattern.beside(None)?);
        let types = (arrays.0.data_type(), arrays.1.data_type());
        let common = common_type(types.0, types.1).filter(|common| is_text(common) || common.is_null());
        let common = common.ok_or_else(|| {
            let (value, pattern) = (value.describe(types.0), pattern.describe(types.1));
            Problem::new(at, format!("{value} cannot be matched with {pattern}: both must be text"))
        })?;
        self.run(kernel, (&arrays.0, value.scalar()), (&arrays.1, pattern.scalar()), &common, at)
    }

    /// Brings both sides to the common type and runs the kernel.
    fn run(
        &self,
        kernel: Kernel,
        left: (&ArrayRef, bool),
        right: (&ArrayRef, bool),
        common: &DataType,
        at: usize,
    ) -> Result<BooleanArray, Problem> {
        if common.is_null() {
            return Ok(BooleanArray::new_null(self.batch.num_rows()));
        }
        let value = |(array, scalar): (&ArrayRef, bool)| {
            let array = comparable(array, common).map_err(|error| Problem::new(at, error.to_string()))?;
            Ok(Value { array, scalar })
        };
        let truth = kernel(&value(left)?, &value(right)?);
        let truth = truth.map_err(|error| Problem::new(at, error.to_string()))?;
        Ok(self.in_each_row(truth))
    }
}

fn negate_if(negated: bool, truth: BooleanArray) -> Result<BooleanArray, Problem> {
    if negated { negate(&truth) } else { Ok(truth) }
}

fn negate(truth: &BooleanArray) -> Result<BooleanArray, Problem> {
    not(truth).map_err(broken)
}

/// Kernels fail only on arrays of different lengths, which do not get here.
#[expect(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn broken(error: ArrowError) -> Problem {
    Problem::new(0, error.to_string())
}
