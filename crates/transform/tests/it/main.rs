//! What the steps do to batches.

mod add;
mod cast;
mod columns;
mod filter;
mod nested;
mod options;
mod protect;
mod unused;

use std::time::{Duration, UNIX_EPOCH};

use arrow::array::{ArrayRef, RecordBatch};
use serde::Deserialize as _;
use serde_json::{Value as Json, json};
use towpath_core::{Error, json_row};
use towpath_transform::{Step, Transform, TransformContext, Transformed};

fn context() -> TransformContext {
    TransformContext {
        run: "run-7".into(),
        source: "customers".into(),
        load_time: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the callers write `json!` in place")]
fn steps(steps: Json) -> Result<Vec<Step>, String> {
    Vec::<Step>::deserialize(&steps).map_err(|error| error.to_string())
}

fn transform(of: Json) -> Transform {
    Transform::new(&steps(of).unwrap(), &context()).unwrap()
}

fn apply(of: Json, batch: RecordBatch) -> Transformed {
    transform(of).apply(batch, "split").unwrap()
}

/// The rows that come through, as JSON.
fn rows_of(of: Json, batch: RecordBatch) -> Json {
    as_json(&apply(of, batch).rows)
}

/// Why the steps cannot be made ready, or fail on the batch.
fn error_of(of: Json, batch: RecordBatch) -> Error {
    match Transform::new(&steps(of).unwrap(), &context()) {
        Ok(transform) => transform.apply(batch, "split").unwrap_err(),
        Err(error) => error,
    }
}

fn as_json(rows: &RecordBatch) -> Json {
    (0..rows.num_rows()).map(|row| json_row(rows, row).unwrap()).collect()
}

/// A batch from JSON rows, in a schema such as `a: int64, b: list<string>`.
#[expect(clippy::needless_pass_by_value, reason = "the callers write `json!` in place")]
fn batch(schema: &str, rows: Json) -> RecordBatch {
    let parsed: towpath_core::ColumnType = format!("struct<{schema}>").parse().unwrap();
    let arrow_schema::DataType::Struct(fields) = parsed.data_type() else { unreachable!() };
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields.clone()));
    let mut decoder = arrow_json::ReaderBuilder::new(schema.clone()).build_decoder().unwrap();
    decoder.serialize(rows.as_array().unwrap()).unwrap();
    decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema))
}

fn one_column(name: &str, array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([(name, array)]).unwrap()
}

#[test]
fn without_steps_a_batch_stays_as_it_is() {
    let rows = batch("a: int64", json!([{"a": 1}]));
    assert!(transform(json!([])).is_empty());
    assert_eq!(apply(json!([]), rows.clone()).rows, rows);
}

#[test]
fn steps_run_in_their_order() {
    let rows = batch(
        "cust: string, amount: string",
        json!([
            {"cust": "Ann", "amount": "1.5"}, {"cust": "Bob", "amount": "-1"}, {"cust": null, "amount": "2"}
        ]),
    );
    let of = json!([
        {"rename": {"cust": "customer"}},
        {"cast": {"amount": "decimal(12,2)"}},
        {"filter": "amount > 0 and customer is not null"},
        {"select": ["amount", "customer"]}
    ]);
    assert_eq!(rows_of(of, rows), json!([{"amount": "1.50", "customer": "Ann"}]));
}

#[test]
fn an_error_names_the_step_by_number_and_name() {
    let of = json!([{"drop": "a"}, {"select": ["nmae"]}]);
    let error = error_of(of, batch("name: string", json!([{"name": "Ann"}])));
    assert_eq!(
        error.to_string(),
        "transform step 2 (select): there is no column `nmae`; did you mean `name`?"
    );
}

#[test]
fn a_transform_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>(value: T) -> T {
        value
    }
    assert_eq!(format!("{:?}", shared(transform(json!([{"drop": "a"}])))), r#"["drop"]"#);
}

#[test]
fn a_source_needs_to_bring_only_the_columns_that_matter() {
    for (of, needed) in [
        (json!([]), None),
        (json!([{"filter": "a = 1"}]), None),
        (json!([{"select": ["b", "a"]}]), Some(vec!["a", "b"])),
        (json!([{"filter": "c.d = 1"}, {"select": ["a"]}]), Some(vec!["a", "c"])),
        (json!([{"rename": {"x": "a", "y": "b"}}, {"select": ["a", "c"]}]), Some(vec!["c", "x", "y"])),
        (json!([{"add": {"a": 1}}, {"select": ["a", "b"]}]), Some(vec!["b"])),
        (
            json!([{"cast": {"c": "int64"}}, {"hash": "d"}, {"mask": "e"}, {"drop": "f"}, {"explode": "g"},
            {"select": "a"}]),
            Some(vec!["a", "c", "d", "e", "f", "g"]),
        ),
        (json!([{"select": "a"}, {"add": {"b": 1}}]), Some(vec!["a"])),
        (json!([{"flatten": "address"}, {"select": ["id"]}]), Some(vec!["address", "id"])),
        // Whether `address_city` comes out of `address` depends on the data.
        (json!([{"flatten": "address"}, {"select": ["address_city"]}]), None),
        (json!([{"flatten": {}}, {"select": ["id"]}]), None),
    ] {
        let expected = needed.map(|columns| columns.into_iter().map(String::from).collect::<Vec<_>>());
        assert_eq!(transform(of.clone()).columns_needed(), expected, "{of}");
    }
}
