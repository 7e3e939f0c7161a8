//! select, drop, rename.

use serde_json::json;

use crate::{apply, batch, error_of, rows_of};

fn abc() -> arrow::array::RecordBatch {
    batch("a: int64, b: int64, c: int64", json!([{"a": 1, "b": 2, "c": 3}]))
}

fn names(of: serde_json::Value) -> Vec<String> {
    apply(of, abc()).rows.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn select_keeps_columns_in_the_order_given() {
    assert_eq!(names(json!([{"select": ["c", "a"]}])), ["c", "a"]);
    assert_eq!(names(json!([{"select": "b"}])), ["b"]);
    assert_eq!(names(json!([{"select": {"columns": ["b"]}}])), ["b"]);
}

#[test]
fn select_of_a_missing_column_fails_or_skips_as_told() {
    let error = error_of(json!([{"select": ["a", "zzzz"]}]), abc()).to_string();
    assert!(error.contains("there is no column `zzzz`; the columns are `a`, `b`, `c`"), "{error}");
    assert_eq!(names(json!([{"select": {"columns": ["zzzz", "a"], "missing": "skip"}}])), ["a"]);
    assert!(
        error_of(json!([{"select": {"columns": ["zzzz"], "missing": "error"}}]), abc())
            .to_string()
            .contains("zzzz")
    );
}

#[test]
fn an_empty_page_without_columns_never_fails() {
    let empty = arrow::array::RecordBatch::new_empty(std::sync::Arc::new(arrow_schema::Schema::empty()));
    let of = json!([{"select": ["a"]}, {"hash": {"columns": "a", "missing": "error"}}, {"filter": "b = 1"},
        {"cast": {"a": "int64"}}, {"explode": "a"}, {"flatten": "a"}, {"rename": {"a": "b"}}, {"add": {"x": 1}}]);
    assert_eq!(apply(of, empty).rows.num_rows(), 0);
}

#[test]
fn rows_are_counted_even_when_no_column_is_left() {
    assert_eq!(apply(json!([{"drop": ["a", "b", "c"]}]), abc()).rows.num_rows(), 1);
}

#[test]
fn drop_removes_columns_and_skips_missing_ones() {
    assert_eq!(names(json!([{"drop": ["a", "nope"]}])), ["b", "c"]);
}

#[test]
fn rename_can_swap_and_skips_missing_columns() {
    assert_eq!(
        rows_of(json!([{"rename": {"a": "b", "b": "a", "nope": "x"}}]), abc()),
        json!([{"b": 1, "a": 2, "c": 3}])
    );
}

#[test]
fn two_columns_never_get_one_name() {
    let error = error_of(json!([{"rename": {"a": "c"}}]), abc()).to_string();
    assert_eq!(
        error,
        "transform step 1 (rename): there would be two columns called `c`; drop or rename the other one first"
    );
    let error = error_of(json!([{"rename": {"a": "x", "b": "x"}}]), abc()).to_string();
    assert_eq!(error, "transform step 1 (rename): two columns would be called `x`");
}

#[test]
fn columns_are_named_once_and_at_least_one() {
    for step in ["select", "drop", "hash", "mask", "flatten"] {
        let error = error_of(json!([{step: []}]), abc()).to_string();
        assert_eq!(error, format!("transform step 1 ({step}): no column is named"));
        let error = error_of(json!([{step: ["a", "a"]}]), abc()).to_string();
        assert_eq!(error, format!("transform step 1 ({step}): `a` is named twice"));
    }
    for step in ["rename", "cast", "add"] {
        let error = error_of(json!([{step: {}}]), abc()).to_string();
        assert_eq!(error, format!("transform step 1 ({step}): no column is named"));
    }
}
