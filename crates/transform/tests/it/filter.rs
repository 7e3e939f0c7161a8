//! filter: what expressions mean.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date64Array, DictionaryArray, Float32Array, Float64Array, Int64Array, LargeStringArray,
    RecordBatch, StringViewArray, Time32SecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::Int32Type;
use serde_json::json;

use crate::{apply, batch, error_of, one_column};

/// Which rows of the batch an expression keeps.
fn kept(expression: &str, rows: &RecordBatch) -> Vec<i64> {
    let numbers: ArrayRef = Arc::new((0..).take(rows.num_rows()).map(Some).collect::<Int64Array>());
    let numbered = RecordBatch::try_from_iter(
        rows.schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(rows.columns().iter().cloned())
            .chain([("#".to_owned(), numbers)]),
    );
    let after = apply(json!([{"filter": expression}]), numbered.unwrap()).rows;
    let numbers = after.column(after.num_columns() - 1);
    numbers.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
}

#[test]
fn three_valued_logic_is_that_of_sql() {
    // t, f and n are true, false and null; u is a column that does not exist.
    let rows = batch(
        "t: bool, f: bool, n: bool, i: int64, m: int64",
        json!([
            {"t": true, "f": false, "n": null, "i": 1, "m": null}
        ]),
    );
    // Whether it is true, false or unknown.
    for (expression, truth) in [
        ("t and t", 't'),
        ("t and f", 'f'),
        ("t and n", 'n'),
        ("f and n", 'f'),
        ("n and f", 'f'),
        ("n and n", 'n'),
        ("t or n", 't'),
        ("n or t", 't'),
        ("f or n", 'n'),
        ("f or f", 'f'),
        ("n or n", 'n'),
        ("not t", 'f'),
        ("not f", 't'),
        ("not n", 'n'),
        ("u", 'n'),
        ("u or t", 't'),
        ("u and f", 'f'),
        ("not u", 'n'),
        ("u is null", 't'),
        ("u is not null", 'f'),
        ("u.v.w is null", 't'),
        ("u = 1", 'n'),
        ("u = u", 'n'),
        ("u in (1, 2)", 'n'),
        ("u like 'a%'", 'n'),
        ("u between 1 and 2", 'n'),
        ("m = 1", 'n'),
        ("m != 1", 'n'),
        ("m = m", 'n'),
        ("m < i", 'n'),
        ("i = i", 't'),
        ("i = null", 'n'),
        ("null = null", 'n'),
        ("null is null", 't'),
        ("null", 'n'),
        ("not null", 'n'),
        ("i in (1, null)", 't'),
        ("i in (2, null)", 'n'),
        ("i in (2, 3)", 'f'),
        ("m in (1)", 'n'),
        ("i not in (1, null)", 'f'),
        ("i not in (2, null)", 'n'),
        ("i not in (2, 3)", 't'),
        ("m not in (1)", 'n'),
        ("null in (1)", 'n'),
        ("i in (i)", 't'),
        ("2 in (i, 2)", 't'),
        ("i between 0 and 2", 't'),
        ("i between 2 and 3", 'f'),
        ("i between null and 0", 'f'),
        ("i between null and 2", 'n'),
        ("i not between null and 0", 't'),
        ("m between 0 and 1", 'n'),
        ("m is null", 't'),
        ("m is not null", 'f'),
        ("(m = 1) is null", 't'),
        ("(i = 1) = t", 't'),
        ("true", 't'),
        ("false", 'f'),
        ("1 = 1", 't'),
        ("1 < 0", 'f'),
        ("'a' < 'b'", 't'),
        ("true and i = 1", 't'),
        ("f or i > 0 and t", 't'),
        ("not (f or n)", 'n'),
    ] {
        let is = |text: String| kept(&text, &rows).len() == 1;
        let found = match (is(expression.to_owned()), is(format!("not ({expression})"))) {
            (true, false) => 't',
            (false, true) => 'f',
            (false, false) => 'n',
            (true, true) => panic!("{expression} is true and false"),
        };
        assert_eq!(found, truth, "{expression}");
    }
}

#[test]
fn numbers_compare_by_value_whatever_their_types() {
    let rows = batch(
        "i: int32, u: uint64, d: decimal(12,2), f: float64",
        json!([
            {"i": -1, "u": 0, "d": "1.50", "f": 1.5},
            {"i": 2, "u": 18_446_744_073_709_551_615_u64, "d": "2.00", "f": 2.0},
            {"i": null, "u": null, "d": null, "f": null}
        ]),
    );
    for (expression, rows_kept) in [
        ("i > 0", &[1][..]),
        ("i > -1.5", &[0, 1]),
        ("i >= 1.5", &[1]),
        ("i = 2.0", &[1]),
        ("i < 3000000000", &[0, 1]),
        ("u > 9223372036854775807", &[1]),
        ("u = 18446744073709551615", &[1]),
        ("u < 99999999999999999999999", &[0, 1]),
        ("i < u", &[0, 1]),
        ("d = 1.5", &[0]),
        ("d = 1.505", &[]),
        ("d > 1.499999999", &[0, 1]),
        ("d = f", &[0, 1]),
        ("d = i", &[1]),
        ("f = 2", &[1]),
        ("f > 1e0 and f < 15e-1", &[]),
        ("d in (2, 1.5)", &[0, 1]),
        ("i <> 2", &[0]),
        ("2 <= i", &[1]),
        ("d > '1.75'", &[1]),
    ] {
        assert_eq!(kept(expression, &rows), rows_kept, "{expression}");
    }
}

#[test]
fn floats_know_no_negative_zero_and_nan_is_above_all() {
    let values = vec![-0.0, 0.0, f64::NAN, f64::INFINITY];
    let rows = one_column("f", Arc::new(Float64Array::from(values)));
    assert_eq!(kept("f = 0", &rows), [0, 1]);
    assert_eq!(kept("f = -0.0", &rows), [0, 1]);
    assert_eq!(kept("f < 0", &rows), [0; 0]);
    assert_eq!(kept("f > 1e300", &rows), [2, 3]);
    let rows = one_column("f", Arc::new(Float32Array::from(vec![0.1])));
    assert_eq!(kept("f = 0.1", &rows), [0]);
}

#[test]
fn dates_and_timestamps_compare_with_each_other_and_with_text() {
    let rows = batch(
        "d: date, t: timestamp(ms), z: timestamp(us, Europe/Berlin), c: time",
        json!([
            {"d": "2024-01-31", "t": "2024-01-31T00:00:00", "z": "2024-01-31T00:30:00+01:00", "c": "08:00:00"},
            {"d": "2024-02-01", "t": "2024-02-01T12:00:00", "z": "2024-02-01T12:00:00Z", "c": "12:00:00"}
        ]),
    );
    for (expression, rows_kept) in [
        ("d = date '2024-01-31'", &[0][..]),
        ("d > '2024-01-31'", &[1]),
        ("d > '2024-01-31T12:00:00'", &[1]),
        ("d < '2024-01-31T12:00:00'", &[0]),
        ("d = t", &[0]),
        ("t > date '2024-01-31'", &[1]),
        ("t >= timestamp '2024-02-01 12:00:00'", &[1]),
        ("t between '2024-01-30' and '2024-01-31'", &[0]),
        ("t < timestamp '2024-02-01T12:00:00.000000001'", &[0, 1]),
        // Half past midnight in Berlin is still the 30th in UTC.
        ("z < date '2024-01-31'", &[0]),
        ("z = timestamp '2024-01-30T23:30:00Z'", &[0]),
        ("z = timestamp '2024-01-31T00:30:00+01:00'", &[0]),
        ("z = timestamp '2024-01-30T23:30:00'", &[0]),
        ("z = '2024-02-01T12:00:00Z'", &[1]),
        ("z = t", &[1]),
        ("d < z", &[1]),
        ("d in ('2024-02-01', date '2024-02-02')", &[1]),
        ("c > '08:00:00'", &[1]),
    ] {
        assert_eq!(kept(expression, &rows), rows_kept, "{expression}");
    }
    let arrays: [ArrayRef; 2] = [
        Arc::new(Date64Array::from(vec![0, 86_400_000])),
        Arc::new(TimestampNanosecondArray::from(vec![0, 86_400_000_000_000])),
    ];
    for array in arrays {
        assert_eq!(kept("a >= date '1970-01-02'", &one_column("a", array)), [1]);
    }
    assert_eq!(kept("a = '00:00:01'", &one_column("a", Arc::new(Time32SecondArray::from(vec![0, 1])))), [1]);
}

#[test]
fn text_of_every_encoding_compares_and_matches() {
    let texts = vec![Some("Anna"), Some("bob"), Some("A%"), None];
    let dictionary: DictionaryArray<Int32Type> = texts.clone().into_iter().collect();
    let arrays: [ArrayRef; 4] = [
        Arc::new(arrow::array::StringArray::from(texts.clone())),
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts)),
        Arc::new(dictionary),
    ];
    for array in arrays {
        let data_type = array.data_type().clone();
        let rows = one_column("a", array);
        for (expression, rows_kept) in [
            ("a = 'bob'", &[1][..]),
            ("a in ('bob', 'Anna', 'x')", &[0, 1]),
            ("a > 'B'", &[1]),
            ("a like 'A%'", &[0, 2]),
            ("a like 'A\\%'", &[2]),
            ("a like '_o_'", &[1]),
            ("a not like 'A%'", &[1]),
            ("a ilike 'B%'", &[1]),
            ("a not ilike '%B'", &[0, 2]),
            ("a like a", &[0, 1, 2]),
            ("a is null", &[3]),
            ("a = a", &[0, 1, 2]),
            ("a like null", &[]),
        ] {
            assert_eq!(kept(expression, &rows), rows_kept, "{expression} over {data_type}");
        }
    }
}

#[test]
fn bytes_and_booleans_compare() {
    let rows = batch("b: binary, t: bool", json!([{"b": "6162", "t": true}, {"b": "63", "t": false}]));
    assert_eq!(kept("b = 'ab'", &rows), [0]);
    assert_eq!(kept("t = false", &rows), [1]);
    assert_eq!(kept("t = 'true'", &rows), [0]);
    assert_eq!(kept("t != (b = 'c')", &rows), [0, 1]);
}

#[test]
fn fields_of_structs_are_reached_by_dots_and_odd_names_by_quotes() {
    let rows = batch(
        "address: struct<city: string, geo: struct<lat: float64>>, a b: int64, x.y: int64",
        json!([
            {"address": {"city": "Ulm", "geo": {"lat": 48.4}}, "a b": 1, "x.y": 1},
            {"address": {"city": "Bonn", "geo": null}, "a b": 2, "x.y": 2},
            {"address": null, "a b": 3, "x.y": 3}
        ]),
    );
    assert_eq!(kept("address.city = 'Ulm'", &rows), [0]);
    assert_eq!(kept("address.geo.lat is null", &rows), [1, 2]);
    assert_eq!(kept("address.street is null", &rows), [0, 1, 2]);
    assert_eq!(kept("address is null", &rows), [2]);
    assert_eq!(kept("\"a b\" >= 2 and \"x.y\" < 3", &rows), [1]);
}

#[test]
fn what_cannot_be_compared_is_shown_with_a_caret() {
    let rows = || {
        batch(
            "name: string, n: int64, s: struct<x: int64>, d: date",
            json!([
                {"name": "a", "n": 1, "s": {"x": 1}, "d": "2024-01-31"}
            ]),
        )
    };
    for (expression, message) in [
        (
            "name > 5",
            "`name` (string) cannot be compared with 5 (int64): cast one of them first\n  name > 5\n       ^",
        ),
        (
            "n = true",
            "`n` (int64) cannot be compared with true (bool): cast one of them first\n  n = true\n    ^",
        ),
        ("n > 'abc'", "'abc' is not int64\n  n > 'abc'\n      ^"),
        (
            "d in ('2024-01-31', 'soon')",
            "'soon' is not date\n  d in ('2024-01-31', 'soon')\n                      ^",
        ),
        ("n", "`n` is int64, which is neither true nor false: compare it\n  n\n  ^"),
        (
            "n = 1 and 'x'",
            "`'x'` is string, which is neither true nor false: compare it\n  n = 1 and 'x'\n            ^",
        ),
        (
            "n like '1%'",
            "`n` (int64) cannot be matched with '1%' (string): both must be text\n  n like '1%'\n    ^",
        ),
        ("n.x = 1", "`n` is int64 and has no fields\n  n.x = 1\n  ^"),
        (
            "s = s",
            "`s` (struct<x: int64>) cannot be compared with `s` (struct<x: int64>): cast one of them first\n  s = s\n    ^",
        ),
        (
            "name = d",
            "`name` (string) cannot be compared with `d` (date): cast one of them first\n  name = d\n       ^",
        ),
    ] {
        let error = error_of(json!([{"filter": expression}]), rows());
        assert_eq!(error.to_string(), format!("transform step 1 (filter): {message}"));
        assert_eq!(error.kind(), towpath_core::ErrorKind::SchemaMismatch);
    }
    let error = error_of(json!([{"filter": "n >"}]), rows());
    assert_eq!(
        error.to_string(),
        "transform step 1 (filter): expected a column or a value, found the end\n  n >\n     ^"
    );
    assert_eq!(error.kind(), towpath_core::ErrorKind::Config);
}

#[test]
fn a_million_rows_are_filtered_to_exactly_those_that_fit() {
    let rows = one_column("n", Arc::new(Int64Array::from_iter_values(0..1_000_000)));
    let after = apply(json!([{"filter": "n >= 10 and n < 20 or n in (5, 999999) or not n > 0"}]), rows).rows;
    assert_eq!(after.num_rows(), 13);
}

#[test]
fn a_source_is_told_the_filters_that_stand_before_all_other_steps() {
    let filter = |steps| {
        let steps: Vec<towpath_transform::Step> = serde_json::from_value(steps).unwrap();
        let context = towpath_transform::TransformContext {
            run: "r".into(),
            source: "s".into(),
            load_time: std::time::SystemTime::UNIX_EPOCH,
        };
        let transform = towpath_transform::Transform::new(&steps, &context).unwrap();
        serde_json::to_value(transform.filter()).unwrap()
    };
    let compared =
        |column| serde_json::json!({"compare": {"column": column, "comparison": "equal", "value": 1}});
    assert_eq!(filter(serde_json::json!([{"filter": "a = 1"}])), compared("a"));
    let both = filter(serde_json::json!([{"filter": "a = 1"}, {"filter": "b = 1"}]));
    assert_eq!(both, serde_json::json!({"and": [compared("a"), compared("b")]}));
    let renamed = serde_json::json!([{"filter": "a = 1"}, {"rename": {"a": "b"}}, {"filter": "b = 2"}]);
    assert_eq!(filter(renamed), compared("a"));
    assert_eq!(filter(serde_json::json!([{"drop": ["c"]}, {"filter": "a = 1"}])), serde_json::Value::Null);
}
