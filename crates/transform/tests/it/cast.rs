//! cast.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array};
use serde_json::{Value as Json, json};
use towpath_core::ColumnType;

use crate::{apply, as_json, batch, error_of, one_column, rows_of};

/// The values of a text column after the cast; those that do not fit are gone.
fn cast_text(values: &[&str], to: Json) -> Vec<Json> {
    cast(batch("a: string", values.iter().map(|value| json!({"a": value})).collect()), to)
}

#[expect(clippy::needless_pass_by_value, reason = "the callers write `json!` in place")]
fn cast(rows: arrow::array::RecordBatch, to: Json) -> Vec<Json> {
    let rows = rows_of(json!([{"cast": {"a": to}}]), rows);
    rows.as_array().unwrap().iter().map(|row| row["a"].clone()).collect()
}

#[test]
fn text_becomes_any_type_and_what_does_not_fit_is_left_out() {
    for (to, texts, values) in [
        ("bool", ["true", "maybe"], json!([true])),
        ("int8", ["-128", "128"], json!([-128])),
        ("int16", ["5", "x"], json!([5])),
        ("int32", ["5", "5.5"], json!([5])),
        ("int64", ["9223372036854775807", "9223372036854775808"], json!([i64::MAX])),
        ("uint8", ["255", "-1"], json!([255])),
        ("uint16", ["5", ""], json!([5])),
        ("uint32", ["5", "1e3"], json!([5])),
        ("uint64", ["18446744073709551615", "x"], json!([u64::MAX])),
        ("float32", ["1.5", "x"], json!([1.5])),
        ("float64", ["1e3", "1,5"], json!([1000.0])),
        ("decimal(4,2)", ["12.345", "123.45"], json!(["12.35"])),
        ("decimal(50,1)", ["12", "x"], json!(["12.0"])),
        ("string", ["a", "b"], json!(["a", "b"])),
        ("binary", ["ab", "c"], json!(["6162", "63"])),
        ("date", ["2024-02-29", "2023-02-29"], json!(["2024-02-29"])),
        ("time", ["12:30:15.5", "25:00"], json!(["12:30:15.500"])),
        ("timestamp", ["2024-01-31 12:00:00", "noon"], json!(["2024-01-31T12:00:00"])),
        ("timestamp(s, UTC)", ["2024-01-31T12:00:00+02:00", "x"], json!(["2024-01-31T10:00:00Z"])),
        ("timestamp(ms, Europe/Berlin)", ["2024-07-31T12:00:00", "x"], json!(["2024-07-31T12:00:00+02:00"])),
    ] {
        assert_eq!(Json::from(cast_text(&texts, json!(to))), values, "{to}");
        let rows = batch("a: string", json!([{"a": null}]));
        let after = apply(json!([{"cast": {"a": to}}]), rows);
        assert_eq!(ColumnType::from(after.rows.column(0).data_type().clone()).to_string(), to);
        assert!(after.rejected.is_empty() && as_json(&after.rows)[0]["a"].is_null(), "{to}");
    }
}

#[test]
fn a_bad_row_names_its_place_column_value_and_keeps_the_row() {
    let rows = batch(
        "id: int64, amount: string",
        json!([
            {"id": 1, "amount": "1.5"}, {"id": 2, "amount": "oops"}, {"id": 3, "amount": null}
        ]),
    );
    let after = apply(json!([{"cast": {"amount": "decimal(12,2)"}}]), rows);
    assert_eq!(as_json(&after.rows), json!([{"id": 1, "amount": "1.50"}, {"id": 3, "amount": null}]));
    let [rejected] = after.rejected.as_slice() else { panic!("{:?}", after.rejected) };
    assert_eq!(
        rejected.to_string(),
        "split#2: the value does not fit decimal(12,2) (column: amount, value: oops)"
    );
    assert_eq!(rejected.row, Some(json!({"id": 2, "amount": "oops"})));
}

#[test]
fn a_row_with_two_bad_values_is_rejected_once_for_the_first_column() {
    let rows = batch(
        "b: string, a: string",
        json!([
            {"b": "x", "a": "y"}, {"b": "1", "a": "y"}, {"b": "x", "a": "1"}, {"b": "1", "a": "1"}
        ]),
    );
    let after = apply(json!([{"cast": {"a": "int64", "b": "int64"}}]), rows);
    assert_eq!(as_json(&after.rows), json!([{"b": 1, "a": 1}]));
    let columns: Vec<_> =
        after.rejected.iter().map(|one| (one.place.as_str(), one.column.as_deref().unwrap())).collect();
    assert_eq!(columns, [("split#1", "b"), ("split#2", "a"), ("split#3", "b")]);
}

#[test]
fn rows_are_numbered_as_they_came_whatever_steps_did_before() {
    let rows = batch(
        "id: int64, values: list<string>",
        json!([
            {"id": 1, "values": ["1"]}, {"id": 2, "values": ["2"]}, {"id": 3, "values": ["3", "x"]},
            {"id": 4, "values": ["y"]}
        ]),
    );
    let of = json!([{"filter": "id != 2"}, {"explode": "values"}, {"cast": {"values": "int64"}},
        {"filter": "id > 1"}, {"cast": {"values": "int8"}}]);
    let after = apply(of, rows);
    assert_eq!(as_json(&after.rows), json!([{"id": 3, "values": 3}]));
    let places: Vec<_> = after.rejected.iter().map(|one| one.place.as_str()).collect();
    assert_eq!(places, ["split#3", "split#4"]);
}

#[test]
fn a_column_that_must_not_be_null_stays_so() {
    use arrow::array::{RecordBatch, StringArray};
    use arrow_schema::{DataType, Field, Schema};
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
    let rows = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["1", "x"]))]).unwrap();
    let after = apply(json!([{"cast": {"a": "int64"}}]), rows);
    assert_eq!(after.rows.schema().field(0), &Field::new("a", DataType::Int64, false));
    assert_eq!((after.rows.num_rows(), after.rejected.len()), (1, 1));
}

#[test]
fn a_fraction_never_becomes_an_integer() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(3.0),
        Some(3.5),
        Some(-0.0),
        Some(f64::NAN),
        None,
        Some(1e300),
    ]));
    assert_eq!(cast(one_column("a", floats), json!("int64")), [json!(3), json!(0), json!(null)]);
    let decimals = batch("a: decimal(5,2)", json!([{"a": "3.00"}, {"a": "3.01"}, {"a": null}]));
    assert_eq!(cast(decimals, json!("int32")), [json!(3), json!(null)]);
}

#[test]
fn a_format_reads_dates_as_people_write_them() {
    for (to, format, texts, values) in [
        ("date", "%d.%m.%Y", ["31.01.2024", "2024-01-31"], json!(["2024-01-31"])),
        ("date", "%Y%m%d", ["20240131", "20240132"], json!(["2024-01-31"])),
        ("date", "%d/%m/%Y %H:%M", ["31/01/2024 23:59", "x"], json!(["2024-01-31"])),
        ("time", "%H.%M", ["12.30", "25.00"], json!(["12:30:00"])),
        ("timestamp", "%d.%m.%Y %H:%M", ["31.01.2024 12:00", "31.01.2024"], json!(["2024-01-31T12:00:00"])),
        ("timestamp(ms)", "%d.%m.%Y", ["31.01.2024", "x"], json!(["2024-01-31T00:00:00"])),
        (
            "timestamp(ns)",
            "%Y-%m-%d %H:%M:%S%.f",
            ["2024-01-31 12:00:00.123456789", "x"],
            json!(["2024-01-31T12:00:00.123456789"]),
        ),
        (
            "timestamp(s, Europe/Berlin)",
            "%d.%m.%Y %H:%M",
            ["31.07.2024 12:00", "x"],
            json!(["2024-07-31T12:00:00+02:00"]),
        ),
        (
            "timestamp(UTC)",
            "%d.%m.%Y %H:%M %z",
            ["31.01.2024 12:00 +0200", "x"],
            json!(["2024-01-31T10:00:00Z"]),
        ),
        ("timestamp(us, Europe/Berlin)", "%s", ["0", "x"], json!(["1970-01-01T01:00:00+01:00"])),
    ] {
        let after = cast_text(&texts, json!({"to": to, "format": format}));
        assert_eq!(Json::from(after), values, "{to} {format}");
    }
}

#[test]
fn a_format_reads_integers_and_leaves_dates_as_they_are() {
    let to = json!({"to": "date", "format": "%Y%m%d"});
    let integers = batch("a: int64", json!([{"a": 20_240_131}, {"a": 7}, {"a": null}]));
    assert_eq!(cast(integers, to.clone()), [json!("2024-01-31"), json!(null)]);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![0]));
    assert_eq!(cast(one_column("a", dates.clone()), to), [json!("1970-01-01")]);
    let to = json!({"to": "timestamp", "format": "%Y%m%d"});
    assert_eq!(cast(one_column("a", dates), to), [json!("1970-01-01T00:00:00")]);
}

#[test]
fn a_wrong_format_is_an_error_before_the_first_row() {
    for (to, format, message) in [
        ("date", "%!", "`%!` is not a format of dates and times (column: a); write for example `%d.%m.%Y`"),
        ("int64", "%Y", "int64 has no format (column: a); `format` is for date, time and timestamp"),
        ("timestamp(us, Mars)", "%Y", "`Mars` is not a time zone"),
    ] {
        let of = json!([{"cast": {"a": {"to": to, "format": format}}}]);
        let error = error_of(of, batch("a: string", json!([]))).to_string();
        assert!(error.starts_with("transform step 1 (cast): ") && error.contains(message), "{error}");
    }
}

#[test]
fn nested_values_convert_as_a_whole_or_are_rejected() {
    let rows =
        || batch("a: list<string>", json!([{"a": ["1", "2"]}, {"a": ["3", "x"]}, {"a": null}, {"a": ["4"]}]));
    assert_eq!(cast(rows(), json!("list<int64>")), [json!([1, 2]), json!(null), json!([4])]);
    assert_eq!(cast(rows(), json!("string"))[0], json!(r#"["1","2"]"#));
    let after = apply(json!([{"cast": {"a": "list<int64>"}}]), rows());
    assert_eq!(after.rejected[0].value.as_deref(), Some(r#"["3","x"]"#));
    // A slice is not blamed for the rows outside it.
    assert_eq!(cast(rows().slice(0, 1), json!("list<int64>")), [json!([1, 2])]);
    let structs = batch("a: struct<x: string>", json!([{"a": {"x": "1"}}, {"a": {"x": "y"}}]));
    assert_eq!(cast(structs, json!("struct<x: int64, y: bool>")), [json!({"x": 1, "y": null})]);
}

#[test]
fn types_that_have_no_cast_are_an_error() {
    let error = error_of(json!([{"cast": {"a": "date"}}]), batch("a: list<int64>", json!([{"a": [1]}])));
    assert_eq!(error.to_string(), "transform step 1 (cast): list<int64> cannot become date (column: a)");
    let error = error_of(json!([{"cast": {"a": "date"}}]), batch("a: bool", json!([{"a": true}])));
    assert_eq!(error.to_string(), "transform step 1 (cast): bool cannot become date (column: a)");
}

#[test]
fn a_missing_column_is_left_alone() {
    let rows = batch("b: string", json!([{"b": "x"}]));
    assert_eq!(apply(json!([{"cast": {"a": "int64"}}]), rows.clone()).rows, rows);
}
