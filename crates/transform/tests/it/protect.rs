//! hash and mask.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, DictionaryArray, LargeStringArray, StringViewArray};
use arrow::datatypes::Int32Type;
use arrow_schema::DataType;
use serde_json::json;

use crate::{apply, as_json, batch, error_of, one_column, rows_of};

fn people() -> arrow::array::RecordBatch {
    batch(
        "email: string, phone: string, age: int64",
        json!([
            {"email": "abc", "phone": "+49 170 1234", "age": 41}, {"email": null, "phone": null, "age": null}
        ]),
    )
}

const SHA256_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn hash_gives_the_digest_and_leaves_null_alone() {
    let rows = rows_of(json!([{"hash": ["email"]}]), people());
    assert_eq!(rows[0]["email"], SHA256_OF_ABC);
    assert_eq!(rows[0]["phone"], "+49 170 1234");
    assert!(rows[1]["email"].is_null());
}

#[test]
fn the_salt_stands_before_the_value() {
    let rows = batch("email: string", json!([{"email": "c"}]));
    assert_eq!(
        rows_of(json!([{"hash": {"columns": "email", "salt": "ab"}}]), rows)[0]["email"],
        SHA256_OF_ABC
    );
}

#[test]
fn the_algorithm_can_be_chosen() {
    let of = json!([{"hash": {"columns": "email", "algorithm": "sha512"}}]);
    let digest = rows_of(of, people())[0]["email"].as_str().unwrap().to_owned();
    assert!(digest.starts_with("ddaf35a193617abacc417349ae204131") && digest.len() == 128, "{digest}");
    let of = json!([{"hash": {"columns": "email", "algorithm": "sha256"}}]);
    assert_eq!(rows_of(of, people())[0]["email"], SHA256_OF_ABC);
}

#[test]
fn mask_hides_all_but_the_last_characters() {
    let phone = |options| rows_of(json!([{"mask": options}]), people())[0]["phone"].clone();
    assert_eq!(phone(json!("phone")), "************");
    assert_eq!(phone(json!({"columns": ["phone"], "keep_last": 4})), "********1234");
    assert_eq!(phone(json!({"columns": ["phone"], "keep_last": 4, "with": "#"})), "########1234");
    assert_eq!(phone(json!({"columns": ["phone"], "keep_last": 4, "with": ""})), "1234");
}

#[test]
fn a_value_no_longer_than_what_is_kept_is_hidden_as_a_whole() {
    let rows =
        batch("a: string", json!([{"a": "1234"}, {"a": "12"}, {"a": ""}, {"a": "äöüß€"}, {"a": null}]));
    assert_eq!(
        rows_of(json!([{"mask": {"columns": "a", "keep_last": 4}}]), rows),
        json!([{"a": "****"}, {"a": "**"}, {"a": ""}, {"a": "*öüß€"}, {"a": null}])
    );
}

#[test]
fn every_type_is_protected_as_its_text() {
    let dictionary: DictionaryArray<Int32Type> = ["abc"].into_iter().collect();
    let arrays: [(ArrayRef, &str); 4] = [
        (Arc::new(LargeStringArray::from(vec!["abc"])), "**c"),
        (Arc::new(StringViewArray::from(vec!["abc"])), "**c"),
        (Arc::new(dictionary), "**c"),
        (Arc::new(BinaryArray::from(vec![&[0x0a, 0xff][..]])), "***f"),
    ];
    for (array, masked) in arrays {
        let rows = one_column("a", array);
        let after = rows_of(json!([{"mask": {"columns": "a", "keep_last": 1}}]), rows);
        assert_eq!(after, json!([{"a": masked}]));
    }
    for (data_type, value, masked) in [
        ("int64", json!(1234), "***4"),
        ("bool", json!(true), "***e"),
        ("decimal(5,2)", json!("1.5"), "***0"),
        ("date", json!("2024-01-31"), "*********1"),
        ("list<int64>", json!([1, 2]), "****]"),
        ("struct<x: int64>", json!({"x": 1}), "******}"),
    ] {
        let rows = batch(&format!("a: {data_type}"), json!([{"a": value}, {"a": null}]));
        let after = apply(json!([{"mask": {"columns": "a", "keep_last": 1}}]), rows.clone()).rows;
        assert_eq!(after.column(0).data_type(), &DataType::Utf8);
        assert_eq!(as_json(&after), json!([{"a": masked}, {"a": null}]), "{data_type}");
        let hashed = rows_of(json!([{"hash": "a"}]), rows);
        assert_eq!(hashed[0]["a"].as_str().unwrap().len(), 64, "{data_type}");
    }
}

#[test]
fn a_missing_column_is_skipped_unless_that_is_an_error() {
    for step in ["hash", "mask"] {
        assert_eq!(apply(json!([{step: "emial"}]), people()).rows, people());
        let of = json!([{step: {"columns": "emial", "missing": "skip"}}]);
        assert_eq!(apply(of, people()).rows, people());
        let of = json!([{step: {"columns": "emial", "missing": "error"}}]);
        let error = error_of(of, people()).to_string();
        assert!(error.contains("there is no column `emial`; did you mean `email`?"), "{error}");
    }
}
