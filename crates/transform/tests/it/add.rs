//! add.

use arrow_schema::{DataType, TimeUnit};
use serde_json::json;
use towpath_core::ColumnType;

use crate::{apply, batch, error_of, rows_of};

fn one() -> arrow::array::RecordBatch {
    batch("id: int64", json!([{"id": 1}, {"id": 2}]))
}

#[test]
fn constants_and_facts_of_the_run_stand_in_each_row() {
    let of = json!([{"add": {
        "country": "de", "rank": -3, "share": 0.5, "active": true, "big": 18_446_744_073_709_551_615_u64,
        "loaded_at": {"load_time": true}, "run": {"run_id": true}, "origin": {"source_name": true}
    }}]);
    let row = |id| {
        json!({
            "id": id, "country": "de", "rank": -3, "share": 0.5, "active": true,
            "big": 18_446_744_073_709_551_615_u64,
            "loaded_at": "2023-11-14T22:13:20Z", "run": "run-7", "origin": "customers"
        })
    };
    assert_eq!(rows_of(of, one()), json!([row(1), row(2)]));
}

#[test]
fn the_type_of_a_constant_is_that_of_its_json_or_the_one_given() {
    let of = json!([{"add": {
        "a": "x", "b": 1, "c": 1.5, "d": false, "e": 18_446_744_073_709_551_615_u64,
        "f": {"load_time": true}, "g": {"load_time": true, "type": "date"}, "h": {"value": null, "type": "date"}
    }}]);
    let rows = apply(of, one()).rows;
    let types: Vec<_> =
        rows.schema().fields().iter().skip(1).map(|field| field.data_type().clone()).collect();
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(
        types,
        [
            DataType::Utf8,
            DataType::Int64,
            DataType::Float64,
            DataType::Boolean,
            DataType::UInt64,
            utc,
            DataType::Date32,
            DataType::Date32
        ]
    );
}

#[test]
fn a_constant_can_be_of_any_scalar_type() {
    for (value, data_type, shown) in [
        (json!(true), "bool", json!(true)),
        (json!("true"), "bool", json!(true)),
        (json!(-5), "int8", json!(-5)),
        (json!(5), "int16", json!(5)),
        (json!(5), "int32", json!(5)),
        (json!("5"), "int64", json!(5)),
        (json!(5), "uint8", json!(5)),
        (json!(5), "uint16", json!(5)),
        (json!(5), "uint32", json!(5)),
        (json!(5), "uint64", json!(5)),
        (json!(1.5), "float32", json!(1.5)),
        (json!(1), "float64", json!(1.0)),
        (json!("12.3"), "decimal(12,2)", json!("12.30")),
        (json!("1"), "decimal(60,1)", json!("1.0")),
        (json!("x"), "string", json!("x")),
        (json!(7), "string", json!("7")),
        (json!("ab"), "binary", json!("6162")),
        (json!("2024-01-31"), "date", json!("2024-01-31")),
        (json!("12:30:00"), "time", json!("12:30:00")),
        (json!("2024-01-31T12:00:00"), "timestamp", json!("2024-01-31T12:00:00")),
        (json!("2024-01-31T12:00:00Z"), "timestamp(ms, Europe/Berlin)", json!("2024-01-31T13:00:00+01:00")),
        (json!(1_000_000), "duration", json!("PT1S")),
        (json!(null), "list<int64>", json!(null)),
    ] {
        let rows = apply(json!([{"add": {"x": {"value": value, "type": data_type}}}]), one()).rows;
        assert_eq!(ColumnType::from(rows.column(1).data_type().clone()).to_string(), data_type);
        assert_eq!(crate::as_json(&rows)[1]["x"], shown, "{data_type}");
    }
}

#[test]
fn what_cannot_be_added_is_an_error_before_the_first_row() {
    for (column, message) in [
        (json!(null), "null needs a type: write `{value: null, type: string}` (column: x)"),
        (json!({"value": [1]}), "a constant is a text, a number, true, false or null"),
        (json!({"value": "x", "type": "int64"}), "the value does not fit int64"),
        (json!({"value": 300, "type": "uint8"}), "the value does not fit uint8"),
        (json!({"run_id": true, "load_time": true}), "write exactly one of"),
        (json!({"value": 1, "source_name": true}), "write exactly one of"),
        (json!({"run_id": false}), "write exactly one of"),
        (json!({}), "write exactly one of"),
    ] {
        let error = error_of(json!([{"add": {"x": column}}]), one()).to_string();
        assert!(error.starts_with("transform step 1 (add): ") && error.contains(message), "{error}");
    }
}

#[test]
fn a_column_that_is_there_is_not_overwritten() {
    let error = error_of(json!([{"add": {"id": 1}}]), one()).to_string();
    assert!(error.contains("two columns called `id`; drop the column first"), "{error}");
}
