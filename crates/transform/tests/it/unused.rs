//! Names that no batch had.

use serde_json::json;

use crate::{batch, transform};

fn reports(of: serde_json::Value, batches: &[arrow::array::RecordBatch]) -> Vec<String> {
    let transform = transform(of);
    for batch in batches {
        transform.apply(batch.clone(), "split").unwrap();
    }
    transform.unused_columns().iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_that_no_batch_had_is_reported_with_the_nearest() {
    let rows = batch("email: string, address: struct<city: string>", json!([{"email": "x"}]));
    let of = json!([
        {"hash": ["emial"]}, {"drop": ["nothing_like_it"]}, {"cast": {"adress": "string"}},
        {"filter": "address.ctiy is null and adress.city is null"}, {"rename": {"Email": "mail"}},
        {"mask": ["e_mail"]}, {"flatten": ["addres"]}, {"explode": "emails"},
        {"select": {"columns": ["email", "e"], "missing": "skip"}}
    ]);
    assert_eq!(
        reports(of, &[rows]),
        [
            "transform step 1 (hash): no batch had a column `emial`; did you mean `email`?",
            "transform step 2 (drop): no batch had a column `nothing_like_it`",
            "transform step 3 (cast): no batch had a column `adress`; did you mean `address`?",
            "transform step 4 (filter): no batch had a column `address.ctiy`; did you mean `address.city`?",
            "transform step 4 (filter): no batch had a column `adress.city`; did you mean `address`?",
            "transform step 5 (rename): no batch had a column `Email`; did you mean `email`?",
            "transform step 6 (mask): no batch had a column `e_mail`; did you mean `email`?",
            "transform step 7 (flatten): no batch had a column `addres`; did you mean `address`?",
            "transform step 8 (explode): no batch had a column `emails`; did you mean `email`?",
            "transform step 9 (select): no batch had a column `e`",
        ]
    );
}

#[test]
fn a_name_that_some_batch_had_is_not_reported() {
    let without = batch("id: int64", json!([{"id": 1}]));
    let with = batch("id: int64, note: string", json!([{"id": 1, "note": "x"}]));
    let of = || json!([{"cast": {"note": "string"}}, {"filter": "note is null or id = 1"}]);
    assert_eq!(reports(of(), &[without.clone(), with.clone()]), [""; 0]);
    assert_eq!(reports(of(), &[with, without.clone()]), [""; 0]);
    assert_eq!(reports(of(), &[without]).len(), 2);
}

#[test]
fn without_any_column_there_is_nothing_to_report() {
    let empty = arrow::array::RecordBatch::new_empty(std::sync::Arc::new(arrow_schema::Schema::empty()));
    assert_eq!(reports(json!([{"drop": "a"}]), &[empty]), [""; 0]);
    assert_eq!(reports(json!([{"drop": "a"}]), &[]), [""; 0]);
}
