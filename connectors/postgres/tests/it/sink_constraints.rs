//! Rows that the target refuses: each is named, and none but they stay out.

use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Json, Rejected, WriteDisposition};
use towpath_testkit::rows::batch;

use crate::load::load;
use crate::support::Database;

/// A table that asks much of its rows, in a schema of its own.
async fn strict() -> Database {
    Database::with(&[
        "CREATE SCHEMA strict",
        "CREATE TYPE strict.mood AS ENUM ('glad', 'sad')",
        "CREATE TABLE strict.customers (id bigint PRIMARY KEY)",
        "INSERT INTO strict.customers VALUES (1), (2)",
        "CREATE TABLE strict.orders (id bigint PRIMARY KEY, code varchar(5) UNIQUE, amount bigint CHECK (amount > 0), \
         customer bigint REFERENCES strict.customers, name text NOT NULL, mood strict.mood, address inet, extra jsonb, \
         uuid uuid)",
    ])
    .await
}

const COLUMNS: &str = "id: int64, code: string, amount: int64, customer: int64, name: string, mood: string, \
                       address: string, extra: string, uuid: string";

const UUID: &str = "0e37df36-f698-11e6-8dd4-cb9ced3df976";

/// A row that is fine but for some of its values.
fn row(id: i64, other: &Json) -> Json {
    let mut row = json!({
        "id": id, "code": format!("c{id}"), "amount": 5, "customer": 1, "name": "n", "mood": "glad",
        "address": "10.0.0.1", "extra": "{\"a\": 1}", "uuid": UUID,
    });
    row.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    row
}

/// The bad rows, and a word that their reason must hold.
fn bad() -> Vec<(Json, &'static str)> {
    vec![
        (row(10, &json!({ "code": "c1" })), "(code)=(c1)"),
        (row(11, &json!({ "amount": -1 })), "orders_amount_check"),
        (row(12, &json!({ "customer": 77 })), "orders_customer_fkey"),
        (row(13, &json!({ "name": null })), "name"),
        (row(14, &json!({ "code": "too long" })), "too long"),
        (row(15, &json!({ "mood": "bored" })), "bored"),
        (row(16, &json!({ "address": "nowhere" })), "nowhere"),
        (row(17, &json!({ "extra": "{no json" })), "json"),
        (row(18, &json!({ "uuid": "no uuid" })), "UUID"),
    ]
}

fn rejected_of(rejected: &[Rejected], id: i64) -> &Rejected {
    rejected
        .iter()
        .find(|rejected| rejected.row.as_ref().is_some_and(|row| row["id"] == json!(id)))
        .unwrap_or_else(|| panic!("row {id} is not among {rejected:?}"))
}

async fn bad_rows_are_named(disposition: WriteDisposition) {
    let database = strict().await;
    let good = [row(1, &json!({})), row(2, &json!({ "customer": 2 })), row(3, &json!({}))];
    let mut rows: Vec<Json> = good.to_vec();
    rows.extend(bad().into_iter().map(|(row, _)| row));
    rows.push(row(4, &json!({})));
    let options = json!({ "table": "strict.orders" });
    let rejected = load(&database, &options, disposition, 1, &batch(COLUMNS, &json!(rows))).await.unwrap();
    for (row, word) in bad() {
        let id = row["id"].as_i64().unwrap();
        let reason = &rejected_of(&rejected, id).reason;
        assert!(reason.to_lowercase().contains(&word.to_lowercase()), "row {id}: {reason}");
    }
    assert_eq!(rejected.len(), bad().len(), "{rejected:?}");
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM strict.orders";
    assert_eq!(database.text(ids).await, "1 2 3 4");
}

#[tokio::test]
async fn append_names_each_row_that_the_table_refuses() {
    bad_rows_are_named(Append).await;
}

#[tokio::test]
async fn merge_names_each_row_that_the_table_refuses() {
    bad_rows_are_named(Merge).await;
}

#[tokio::test]
async fn a_row_that_is_there_already_is_refused_by_its_key() {
    let database = strict().await;
    let options = json!({ "table": "strict.orders" });
    let rows = batch(COLUMNS, &json!([row(1, &json!({})), row(2, &json!({}))]));
    assert!(load(&database, &options, Append, 1, &rows).await.unwrap().is_empty());
    let again = batch(COLUMNS, &json!([row(2, &json!({ "code": "x" })), row(3, &json!({}))]));
    let rejected = load(&database, &options, Append, 2, &again).await.unwrap();
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert!(rejected_of(&rejected, 2).reason.contains("(id)=(2)"), "{rejected:?}");
    assert_eq!(
        database.text("SELECT string_agg(code, ' ' ORDER BY id) FROM strict.orders").await,
        "c1 c2 c3"
    );
}

#[tokio::test]
async fn of_many_rows_with_one_key_the_first_stays_and_the_others_are_refused() {
    let database = Database::with(&["CREATE TABLE orders (id bigint PRIMARY KEY, name text)"]).await;
    for (run, disposition) in [(1, Append), (2, Replace)] {
        let many: Vec<Json> = (0..2_000).map(|i| json!([i % 1_990, format!("row {i}")])).collect();
        let rows = batch("id: int64, name: string", &json!(many));
        let rejected = load(&database, &json!({}), disposition, run, &rows).await.unwrap();
        assert_eq!(rejected.len(), 10, "{disposition:?}");
        assert_eq!(database.text("SELECT count(*) FROM orders").await, "1990", "{disposition:?}");
        assert_eq!(database.text("SELECT name FROM orders WHERE id = 3").await, "row 3", "{disposition:?}");
    }
}

#[tokio::test]
async fn a_commit_of_nothing_but_refused_rows_still_stores_progress() {
    let database = Database::with(&["CREATE TABLE orders (id bigint CHECK (id > 100))"]).await;
    let rows = batch("id: int64", &json!([[1], [2]]));
    let rejected = load(&database, &json!({}), Append, 1, &rows).await.unwrap();
    assert_eq!(rejected.len(), 2);
    let sequence = "SELECT checkpoint->>'sequence' FROM _towpath_checkpoints";
    assert_eq!(database.text(sequence).await, "1");
}

#[tokio::test]
async fn a_key_that_is_null_is_refused_by_merge() {
    let database = Database::new().await;
    let rows = batch("id: int64, name: string", &json!([[1, "one"], [null, "none"]]));
    let rejected = load(&database, &json!({}), Merge, 1, &rows).await.unwrap();
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(database.text("SELECT string_agg(name, ' ') FROM orders").await, "one");
}

#[tokio::test]
async fn what_is_too_long_for_its_column_is_refused_and_never_cut() {
    let database = Database::with(&[
        "CREATE TABLE orders (id bigint, bits bit(3), flags bit varying(4), code char(2), price numeric(4,1))",
    ])
    .await;
    let columns = "id: int64, bits: string, flags: string, code: string";
    let rows = json!([
        [1, "101", "1", "ab"],
        [2, "10101", "1", "ab"],
        [3, "101", "11111", "ab"],
        [4, "101", "1", "abc"],
    ]);
    let rejected = load(&database, &json!({}), Append, 1, &batch(columns, &rows)).await.unwrap();
    assert_eq!(rejected.len(), 3, "{rejected:?}");
    assert_eq!(database.text("SELECT string_agg(id || ' ' || bits, ',') FROM orders").await, "1 101");
}

#[tokio::test]
async fn replace_names_each_row_that_the_table_refuses() {
    bad_rows_are_named(Replace).await;
}
