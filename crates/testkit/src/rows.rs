//! Rows in tests: batches from literals, rows as JSON, and differences that a person can read.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};
use serde_json::{Map, Number};
use towpath_core::{ColumnType, Json, json_row};

/// How many differing rows a message shows.
const SHOWN: usize = 8;

/// Columns in the notation of pipeline files.
///
/// # Panics
/// When the notation is wrong.
pub fn schema(columns: &str) -> SchemaRef {
    let parsed: ColumnType =
        format!("struct<{columns}>").parse().unwrap_or_else(|error| panic!("columns `{columns}`: {error}"));
    match parsed.data_type() {
        DataType::Struct(fields) => Arc::new(Schema::new(fields.clone())),
        other => panic!("columns `{columns}` became {other}"),
    }
}

/// A batch of these columns. `rows` is an array of objects, or of arrays in the order of the columns.
///
/// ```
/// use serde_json::json;
/// use towpath_testkit::rows;
///
/// let batch = rows::batch("id: int64, price: decimal(12,2)", &json!([[1, "9.90"], {"id": 2}]));
/// assert_eq!(rows::to_json(&[batch]), [json!({"id": 1, "price": "9.90"}), json!({"id": 2, "price": null})]);
/// ```
///
/// # Panics
/// When a row does not fit the columns.
pub fn batch(columns: &str, rows: &Json) -> RecordBatch {
    let schema = schema(columns);
    let objects: Vec<Json> =
        rows.as_array().expect("rows are an array").iter().map(|row| object(&schema, row)).collect();
    let mut decoder = arrow_json::ReaderBuilder::new(schema.clone())
        .with_batch_size(objects.len().max(1))
        .with_strict_mode(true)
        .build_decoder()
        .unwrap_or_else(|error| panic!("columns `{columns}`: {error}"));
    decoder.serialize(&objects).unwrap_or_else(|error| panic!("rows for `{columns}`: {error}"));
    let batch = decoder.flush().unwrap_or_else(|error| panic!("rows for `{columns}`: {error}"));
    batch.unwrap_or_else(|| RecordBatch::new_empty(schema))
}

fn object(schema: &Schema, row: &Json) -> Json {
    let Json::Array(values) = row else { return row.clone() };
    assert_eq!(values.len(), schema.fields().len(), "row {row} has another number of values than columns");
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.zip(values.iter().cloned()).collect::<Map<_, _>>().into()
}

/// The rows of batches as JSON objects.
///
/// # Panics
/// When Arrow cannot print a value.
pub fn to_json<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Vec<Json> {
    let rows = batches.into_iter().flat_map(|batch| {
        (0..batch.num_rows()).map(|row| json_row(batch, row).unwrap_or_else(|error| panic!("{error}")))
    });
    rows.collect()
}

/// A value in the form in which rows are compared: fields that are null left out, whole floats as integers, keys sorted.
pub fn canonical(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            sorted
                .into_iter()
                .map(|(name, value)| (name.clone(), canonical(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Json::Array(items) => items.iter().map(canonical).collect(),
        Json::Number(number) => Json::Number(canonical_number(number)),
        other => other.clone(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole and within the range of exact floats")]
fn canonical_number(number: &Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            (float as i64).into()
        }
        _ => number.clone(),
    }
}

/// What differs between two multisets of rows, for a person; `None` when they are the same.
///
/// ```
/// use serde_json::json;
/// use towpath_testkit::rows;
///
/// let difference = rows::difference(&[json!({"id": 1}), json!({"id": 2})], &[json!({"id": 1}), json!({"id": 1})]);
/// assert_eq!(
///     difference.unwrap(),
///     "expected 2 rows, found 2\n  missing: {\"id\":2}\n  too many: {\"id\":1}"
/// );
/// ```
pub fn difference(expected: &[Json], found: &[Json]) -> Option<String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for row in expected {
        *counts.entry(canonical(row).to_string()).or_default() += 1;
    }
    for row in found {
        *counts.entry(canonical(row).to_string()).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    if counts.is_empty() {
        return None;
    }
    let mut text = format!("expected {} rows, found {}", expected.len(), found.len());
    for (label, wanted) in [("missing", Ordering::Greater), ("too many", Ordering::Less)] {
        let rows: Vec<_> = counts.iter().filter(|(_, count)| count.cmp(&&0) == wanted).collect();
        for (row, count) in rows.iter().take(SHOWN) {
            let times = if count.abs() == 1 { String::new() } else { format!(" ({} times)", count.abs()) };
            let _ = write!(text, "\n  {label}: {row}{times}");
        }
        if rows.len() > SHOWN {
            let _ = write!(text, "\n  {label}: and {} others", rows.len() - SHOWN);
        }
    }
    Some(text)
}

/// Fails the test with a readable difference unless both hold the same rows, in any order.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same(expected: &[Json], found: &[Json]) {
    if let Some(difference) = difference(expected, found) {
        panic!("{difference}");
    }
}

/// The order of two cursor values: numbers by value, everything else as text.
pub fn compare(left: &Json, right: &Json) -> Ordering {
    match (left, right) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(f64::NAN).total_cmp(&b.as_f64().unwrap_or(f64::NAN)),
        },
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_the_same_whatever_their_order_and_form() {
        let expected = [json!({"a": 1, "b": null}), json!({"a": 2.5, "b": {"y": 1, "x": 2}})];
        let found = [json!({"b": {"x": 2, "y": 1}, "a": 2.5}), json!({"a": 1.0})];
        assert_same(&expected, &found);
    }

    #[test]
    fn a_doubled_row_is_a_difference() {
        let text =
            difference(&[json!({"a": 1})], &[json!({"a": 1}), json!({"a": 1}), json!({"a": 1})]).unwrap();
        assert_eq!(text, "expected 1 rows, found 3\n  too many: {\"a\":1} (2 times)");
    }

    #[test]
    fn a_long_difference_is_cut() {
        let many: Vec<Json> = (0..20).map(|n| json!({ "n": n })).collect();
        assert!(difference(&many, &[]).unwrap().ends_with("missing: and 12 others"));
    }

    #[test]
    #[should_panic(expected = "another number of values than columns")]
    fn a_row_that_is_too_short_is_refused() {
        batch("a: int64, b: int64", &json!([[1]]));
    }

    #[test]
    fn an_empty_batch_keeps_its_columns() {
        let empty = batch("a: int64, b: timestamp(us, UTC)", &json!([]));
        assert_eq!((empty.num_rows(), empty.num_columns()), (0, 2));
    }

    #[test]
    fn cursors_are_ordered_as_numbers_or_as_text() {
        assert_eq!(compare(&json!(9), &json!(10)), Ordering::Less);
        assert_eq!(compare(&json!(9.5), &json!(9)), Ordering::Greater);
        assert_eq!(compare(&json!("2026-01-02"), &json!("2026-01-10")), Ordering::Less);
    }
}
