//! A server of no replica set: it has no history, and so no snapshot.

use bson::doc;
use serde_json::json;
use towpath_core::ErrorKind;

use crate::support::{Database, batches, failure, json_rows, plan, request, server_alone};

const ROWS: i32 = 200;

async fn database() -> Database {
    let database = Database::at(server_alone()).await;
    database.collection("c").insert_many((0..ROWS).map(|n| doc! { "_id": n })).await.unwrap();
    database
}

#[tokio::test]
async fn it_is_read_in_pieces_and_the_report_says_that_they_are_of_no_one_moment() {
    let database = database().await;
    let cx = towpath_testkit::context();
    let source = database.source(&cx, &json!({ "collection": "c", "split_size": 50 })).await.unwrap();
    assert_eq!(plan(&*source, &cx, &request()).await.unwrap().1.len(), 4);
    let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    let mut ids: Vec<_> = rows.iter().map(|row| row["_id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(0..i64::from(ROWS)));
    let warnings = cx.metrics().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("without a snapshot")), "{warnings:?}");
}

#[tokio::test]
async fn a_snapshot_that_is_required_is_an_error_that_says_what_it_takes() {
    let database = database().await;
    let error = failure(database.options(&json!({ "collection": "c", "snapshot": "required" }))).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("replica set"), "{error}");
}
