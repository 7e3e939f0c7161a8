//! The cursor of an incremental stream: which rows are new, and how far they reach.

use arrow::array::{Array, ArrayRef, RecordBatch, Scalar};
use arrow::compute::kernels::cmp::{gt, lt_eq};
use arrow::compute::{SortOptions, and, filter_record_batch, is_null, or_kleene, sort_to_indices};
use arrow_schema::DataType;
use towpath_core::{CursorRange, Error, Json, Pushdown, Result, json_value};

use crate::value::array_of;

/// Keeps the rows of `after < field <= until` and finds the greatest value.
///
/// Rows without a value are loaded by the first run only: later ones cannot tell whether they have seen them.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    range: CursorRange,
    /// Whether the source already gave exactly the range.
    exact: bool,
}

impl Cursor {
    pub(crate) fn new(range: CursorRange, pushed: Pushdown) -> Self {
        Self { range, exact: pushed == Pushdown::Exact }
    }

    /// The new rows of a batch, and the greatest cursor among them.
    ///
    /// # Errors
    /// `SchemaMismatch` when the column is missing or its type has no order.
    pub(crate) fn apply(&self, rows: RecordBatch) -> Result<(RecordBatch, Option<Json>)> {
        let field = &self.range.field;
        let Some(column) = rows.column_by_name(field) else {
            return Err(Error::schema(format!("the cursor `{field}` is not among the columns"))
                .help("name a column that the source gives, as it is called before any transform"));
        };
        let rows = if self.exact { rows } else { self.filter(&rows, column)? };
        let column = rows.column_by_name(field).expect("filtering keeps columns");
        let greatest = greatest(column)?;
        Ok((rows, greatest))
    }

    fn filter(&self, rows: &RecordBatch, column: &ArrayRef) -> Result<RecordBatch> {
        let mut keep = None;
        if let Some(after) = &self.range.after {
            keep = Some(gt(column, &scalar(after, column.data_type())?)?);
        }
        if let Some(until) = &self.range.until {
            let below = lt_eq(column, &scalar(until, column.data_type())?)?;
            let below =
                if self.range.after.is_none() { or_kleene(&below, &is_null(column)?)? } else { below };
            keep = Some(match keep {
                None => below,
                Some(above) => and(&above, &below)?,
            });
        }
        match keep {
            None => Ok(rows.clone()),
            Some(keep) => Ok(filter_record_batch(rows, &keep)?),
        }
    }
}

/// The greater of two cursors, compared as the column's type would.
pub(crate) fn greater(left: Option<Json>, right: Option<Json>) -> Option<Json> {
    let (Some(a), Some(b)) = (&left, &right) else { return left.or(right) };
    let later = match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => b > a,
            _ => b.as_f64() > a.as_f64(),
        },
        // Decimals come as text; their order is that of numbers. Dates and times in ISO form are ordered as text.
        (Json::String(a), Json::String(b)) => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => b > a,
            _ => b > a,
        },
        // Cursors of two kinds have no order; the later one counts.
        _ => true,
    };
    if later { right } else { left }
}

fn greatest(column: &ArrayRef) -> Result<Option<Json>> {
    let options = SortOptions { descending: true, nulls_first: false };
    let first = sort_to_indices(column, Some(options), Some(1))
        .map_err(|error| Error::schema("the cursor's type has no order").source(error))?;
    match first.values().first() {
        Some(&row) if !column.is_null(row as usize) => json_value(column, row as usize).map(Some),
        _ => Ok(None),
    }
}

/// A JSON value as a scalar of this type.
fn scalar(value: &Json, data_type: &DataType) -> Result<Scalar<ArrayRef>> {
    let array = array_of(value, data_type).map_err(|error| {
        Error::schema("the cursor of the checkpoint does not fit the column's type any more")
            .source(error)
            .help("`towpath state reset` loads the stream from its beginning")
    })?;
    Ok(Scalar::new(array))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::record_batch;
    use serde_json::json;
    use towpath_core::conform_array;

    fn rows() -> RecordBatch {
        record_batch!(("id", Int64, [Some(1), Some(5), None, Some(3)])).unwrap()
    }

    fn apply(after: Option<Json>, until: Option<Json>, pushed: Pushdown) -> (usize, Option<Json>) {
        let cursor = Cursor::new(CursorRange::new("id", after, until), pushed);
        let (rows, greatest) = cursor.apply(rows()).unwrap();
        (rows.num_rows(), greatest)
    }

    #[test]
    fn a_first_run_takes_everything_nulls_included() {
        assert_eq!(apply(None, None, Pushdown::Unsupported), (4, Some(json!(5))));
        assert_eq!(apply(None, Some(json!(3)), Pushdown::Unsupported), (3, Some(json!(3))));
    }

    #[test]
    fn a_later_run_takes_what_is_behind_the_cursor_up_to_the_bound() {
        assert_eq!(apply(Some(json!(1)), None, Pushdown::Unsupported), (2, Some(json!(5))));
        assert_eq!(apply(Some(json!(1)), Some(json!(3)), Pushdown::Inexact), (1, Some(json!(3))));
        assert_eq!(apply(Some(json!(9)), None, Pushdown::Unsupported), (0, None));
    }

    #[test]
    fn what_the_source_filtered_exactly_is_not_filtered_again() {
        assert_eq!(apply(Some(json!(1)), None, Pushdown::Exact).0, 4);
    }

    #[test]
    fn dates_and_decimals_are_compared_as_such() {
        let rows = record_batch!(("at", Utf8, ["2026-01-01", "2026-03-01"])).unwrap();
        let dates = conform_array(rows.column(0), &DataType::Date32).unwrap();
        let rows = RecordBatch::try_from_iter([("at", dates)]).unwrap();
        let cursor =
            Cursor::new(CursorRange::new("at", Some(json!("2026-02-01")), None), Pushdown::Unsupported);
        let (rows, greatest) = cursor.apply(rows).unwrap();
        assert_eq!((rows.num_rows(), greatest), (1, Some(json!("2026-03-01"))));
        assert_eq!(greater(Some(json!("9.5")), Some(json!("10.25"))), Some(json!("10.25")));
        assert_eq!(greater(Some(json!(9)), Some(json!(10))), Some(json!(10)));
    }

    #[test]
    fn a_missing_cursor_says_so() {
        let cursor = Cursor::new(CursorRange::new("updated_at", None, None), Pushdown::Unsupported);
        let error = cursor.apply(rows()).unwrap_err().to_string();
        assert!(error.contains("the cursor `updated_at` is not among the columns"), "{error}");
    }
}
