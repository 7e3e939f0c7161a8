use bson::{Bson, Document, doc};
use serde_json::json;
use towpath_testkit::rows::batch;

use super::*;

fn documents(rows: &RecordBatch, nulls: Nulls) -> Vec<Document> {
    let encoder = Encoder::new(rows, &[], nulls).unwrap();
    let document = |row| {
        let mut bytes = Vec::new();
        let start = open(&mut bytes);
        encoder.fields(row, &mut bytes).unwrap();
        close(start, &mut bytes).unwrap();
        bson::deserialize_from_slice(&bytes).unwrap()
    };
    (0..rows.num_rows()).map(document).collect()
}

#[test]
fn values_get_the_type_that_holds_them() {
    let columns = "a: int8, b: int64, c: uint64, d: float32, e: decimal(10,2), f: string, g: date, h: time, i: bool, \
                   j: list<int64>, k: struct<x: int64, y: string>, l: map<string, int64>, m: timestamp(ms, UTC)";
    let rows = batch(
        columns,
        &json!([[1, 2, u64::MAX, 1.5, "1.50", "x", "2024-01-02", "01:02:03.5", true, [1, null],
        { "x": 1 }, { "k": 5 }, "2024-01-01T00:00:00Z"]]),
    );
    let expected = doc! {
        "a": 1, "b": 2_i64, "c": "18446744073709551615".parse::<bson::Decimal128>().unwrap(), "d": 1.5,
        "e": "1.50".parse::<bson::Decimal128>().unwrap(), "f": "x",
        "g": bson::DateTime::from_millis(1_704_153_600_000), "h": "01:02:03.500", "i": true,
        "j": [Bson::Int64(1), Bson::Null], "k": { "x": 1_i64 }, "l": { "k": 5_i64 },
        "m": bson::DateTime::from_millis(1_704_067_200_000),
    };
    assert_eq!(documents(&rows, Nulls::Omit), [expected]);
}

#[test]
fn nulls_are_left_out_or_written() {
    let rows = batch("a: int64, b: struct<c: int64>", &json!([[null, { "c": null }]]));
    assert_eq!(documents(&rows, Nulls::Omit), [doc! { "b": {} }]);
    assert_eq!(documents(&rows, Nulls::Write), [doc! { "a": Bson::Null, "b": { "c": Bson::Null } }]);
}

#[test]
fn moments_finer_than_a_date_are_told_of() {
    let rows = batch(
        "a: timestamp(us, UTC), b: timestamp",
        &json!([["2024-01-01T00:00:00.0005Z", "2024-01-01T00:00:00.5"]]),
    );
    let encoder = Encoder::new(&rows, &[], Nulls::Omit).unwrap();
    assert_eq!(encoder.rounded, ["a"]);
    let document = &documents(&rows, Nulls::Omit)[0];
    assert_eq!(document.get_datetime("a").unwrap().timestamp_millis(), 1_704_067_200_000);
    assert_eq!(document.get_datetime("b").unwrap().timestamp_millis(), 1_704_067_200_500);
}

#[test]
fn a_decimal_with_too_many_digits_is_text() {
    let text = "1234567890123456789012345678901234567.8";
    let rows = batch("a: decimal(38,1)", &json!([[text]]));
    assert_eq!(documents(&rows, Nulls::Omit), [doc! { "a": text }]);
}

#[test]
fn a_zero_in_a_name_is_refused() {
    let rows = batch("a: map<string, int64>", &json!([[{ "x\u{0}y": 1 }]]));
    let encoder = Encoder::new(&rows, &[], Nulls::Omit).unwrap();
    assert!(encoder.fields(0, &mut Vec::new()).unwrap_err().contains("zero"));
    assert!(
        check_names(&arrow_schema::Schema::new(vec![arrow_schema::Field::new("\0", DataType::Null, true)]))
            .is_err()
    );
}

/// Every type, through columns and back.
#[test]
fn documents_come_back_from_their_columns() {
    let document = doc! {
        "_id": bson::oid::ObjectId::from_bytes([7; 12]), "double": 1.0, "string": "x", "document": { "a": 1, "b": [1.5] },
        "binary": bson::Binary { subtype: bson::spec::BinarySubtype::UserDefined(0x80), bytes: vec![1] },
        "old": bson::Binary { subtype: bson::spec::BinarySubtype::BinaryOld, bytes: vec![1, 2] },
        "uuid": bson::Uuid::from_bytes([17; 16]), "bool": true, "date": bson::DateTime::from_millis(-1),
        "regex": bson::Regex { pattern: "a/b".try_into().unwrap(), options: "i".try_into().unwrap() },
        "code": Bson::JavaScriptCode("f()".into()), "symbol": Bson::Symbol("s".into()), "int": 1,
        "scoped": bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! { "x": 1 } },
        "timestamp": bson::Timestamp { time: u32::MAX, increment: 2 }, "long": 1_i64,
        "decimal": "1.50".parse::<bson::Decimal128>().unwrap(), "nan": f64::NEG_INFINITY,
        "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined, "empty": {}, "none": [],
    };
    let bytes = bson::serialize_to_vec(&document).unwrap();
    let form = crate::decode::Form { depth: 8, whole: false, declared: std::sync::Arc::default() };
    let decoded = crate::decode::decode(&[&bytes], &form.start(), &form, "").unwrap();
    assert_eq!(documents(&decoded.rows, Nulls::Omit), [document]);
}
