//! Whole collections for a `replace`: along their records, in the order in which they lie, where the server has one.

use std::collections::BTreeSet;
use std::sync::Arc;

use bson::{Document, doc};
use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Batch, Context, DynSource, ErrorKind, Json, Position, ScanRequest, Split};

use crate::support::{Database, batches, json_rows, plan, read, request, server_alone};

/// So many that records are not counted to cut them.
const MANY: i32 = 24_000;

/// What is asked of a source for a `replace`.
fn replace() -> ScanRequest {
    let mut request = request();
    request.one_snapshot = true;
    request
}

/// Documents whose ids go down as they come.
fn documents(count: i32) -> impl Iterator<Item = Document> {
    (0..count).map(move |n| doc! { "_id": count - n, "n": n, "text": "x".repeat(50) })
}

async fn splits(source: &dyn DynSource, cx: &Context) -> Vec<Split> {
    plan(source, cx, &replace()).await.unwrap().1
}

fn go_along_records(splits: &[Split]) -> bool {
    splits.iter().all(|split| split.payload["natural"]["member"].is_string())
}

async fn opened(database: &Database, options: &Json) -> (Context, Arc<dyn DynSource>) {
    let cx = towpath_testkit::context();
    let source = database.source(&cx, options).await.unwrap();
    (cx, source)
}

fn numbers(batches: &[Batch]) -> Vec<i64> {
    json_rows(batches).iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn each_document_comes_once_in_the_order_in_which_it_lies() {
    for count in [2_000, MANY] {
        let database = Database::with("c", documents(count)).await;
        let options = json!({ "collection": "c", "split_size": count / 6, "batch_size": 700 });
        let (cx, source) = opened(&database, &options).await;
        let splits = splits(&*source, &cx).await;
        assert!(go_along_records(&splits) && splits.len() > 3, "{splits:?}");
        let mut all = Vec::new();
        for split in &splits {
            all.extend(read(&*source, &cx, split, Position::Start).await.unwrap());
        }
        assert!(numbers(&all).into_iter().eq(0..i64::from(count)));
    }
}

#[tokio::test]
async fn records_that_are_gone_leave_no_hole_and_stretches_end_where_they_should() {
    let database = Database::with("c", documents(MANY)).await;
    // Most numbers of records in the middle are of nothing.
    database.collection("c").delete_many(doc! { "n": { "$mod": [7, 0] } }).await.unwrap();
    database.collection("c").delete_many(doc! { "n": { "$gt": 5_000, "$lt": 15_000 } }).await.unwrap();
    let kept: Vec<i64> =
        (0..i64::from(MANY)).filter(|n| n % 7 != 0 && !(5_001..15_000).contains(n)).collect();
    let (cx, source) =
        opened(&database, &json!({ "collection": "c", "split_size": 2_000, "batch_size": 300 })).await;
    assert!(splits(&*source, &cx).await.len() > 3);
    let rows = batches(&*source, &cx, &replace()).await.unwrap();
    assert_eq!(numbers(&rows), kept);
}

#[tokio::test]
async fn documents_that_change_meanwhile_are_read_as_they_were_from_every_position() {
    let database = Database::with("c", documents(2_000)).await;
    let (cx, source) =
        opened(&database, &json!({ "collection": "c", "split_size": 500, "batch_size": 100 })).await;
    let splits = splits(&*source, &cx).await;
    assert_eq!(splits.len(), 4);
    let collection = database.collection("c");
    collection.delete_many(doc! { "n": { "$mod": [2, 1] } }).await.unwrap();
    collection.update_many(doc! {}, doc! { "$set": { "text": "y".repeat(500) } }).await.unwrap();
    collection.insert_many((0..100).map(|n| doc! { "_id": -n, "n": 5_000 + n })).await.unwrap();
    let mut all = Vec::new();
    for split in &splits {
        let whole = read(&*source, &cx, split, Position::Start).await.unwrap();
        for (index, batch) in whole.iter().enumerate() {
            let rest = read(&*source, &cx, split, batch.resume.clone()).await.unwrap();
            assert_eq!(numbers(&rest), numbers(&whole[index + 1..]), "{:?}", batch.resume);
        }
        all.extend(whole);
    }
    assert!(numbers(&all).into_iter().eq(0..2_000));
    assert!(json_rows(&all).iter().all(|row| row["text"] == "x".repeat(50)));
}

#[tokio::test]
async fn a_reply_that_is_cut_into_portions_has_a_position_behind_each() {
    let large = |n: i32| doc! { "_id": n, "n": n, "text": "x".repeat(3 << 20) };
    let database = Database::with("c", (0..12).map(large)).await;
    let (cx, source) =
        opened(&database, &json!({ "collection": "c", "split_size": 6, "batch_size": 5 })).await;
    let splits = splits(&*source, &cx).await;
    let whole = read(&*source, &cx, &splits[0], Position::Start).await.unwrap();
    assert!(whole.iter().any(|batch| matches!(&batch.resume, Position::At(at) if at["skip"] == 2)));
    for (index, batch) in whole.iter().enumerate() {
        let rest = read(&*source, &cx, &splits[0], batch.resume.clone()).await.unwrap();
        assert_eq!(numbers(&rest), numbers(&whole[index + 1..]), "{:?}", batch.resume);
    }
    // Counted documents are those of a snapshot.
    let counted = whole.iter().find(|batch| matches!(&batch.resume, Position::At(at) if at["skip"] == 2));
    database.collection("other").insert_one(doc! {}).await.unwrap();
    let (cx, later) = opened(&database, &json!({ "collection": "c", "batch_size": 5 })).await;
    let error = read(&*later, &cx, &splits[0], counted.unwrap().resume.clone()).await.unwrap_err();
    assert!(error.to_string().contains("its own snapshot"), "{error}");
}

#[tokio::test]
async fn what_has_no_order_of_records_that_lasts_is_read_along_its_ids() {
    let database = Database::with("c", documents(1_000)).await;
    database
        .run(doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true } })
        .await;
    database.run(doc! { "create": "capped", "capped": true, "size": 1 << 20 }).await;
    for name in ["clustered", "capped"] {
        database.collection(name).insert_many(documents(1_000)).await.unwrap();
    }
    let alone = Database::at(server_alone()).await;
    alone.collection("c").insert_many(documents(1_000)).await.unwrap();
    let mut direct = crate::support::server();
    // Members know each other by another name for the same host.
    direct.set_host(Some("localhost")).unwrap();
    direct.set_query(Some("directConnection=true&authSource=admin"));
    for (database, options) in [
        (&database, json!({ "collection": "clustered" })),
        (&database, json!({ "collection": "capped" })),
        (&database, json!({ "collection": "c", "snapshot": "off" })),
        (&database, json!({ "collection": "c", "read_concern": "majority" })),
        (&database, json!({ "collection": "c", "filter": { "n": { "$gte": 0 } } })),
        (&database, json!({ "collection": "c", "url": direct.as_str() })),
        (&alone, json!({ "collection": "c" })),
    ] {
        let mut options = options;
        options["split_size"] = json!(300);
        let (cx, source) = opened(database, &options).await;
        let splits = splits(&*source, &cx).await;
        assert!(
            splits.len() > 1 && splits.iter().all(|split| split.payload.get("natural").is_none()),
            "{options}"
        );
        let rows = batches(&*source, &cx, &replace()).await.unwrap();
        let found: BTreeSet<i64> = numbers(&rows).into_iter().collect();
        assert!(numbers(&rows).len() == 1_000 && found.len() == 1_000, "{options}");
    }
}

#[tokio::test]
async fn a_load_that_a_later_run_may_go_on_with_is_read_along_its_ids() {
    let database = Database::with("c", documents(1_000)).await;
    let (cx, source) = opened(&database, &json!({ "collection": "c", "split_size": 300 })).await;
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    assert!(splits.iter().all(|split| split.payload.get("natural").is_none()));
}

#[tokio::test]
async fn a_member_that_is_gone_is_waited_for_and_no_other_takes_its_place() {
    let database = Database::with("c", documents(100)).await;
    let (cx, source) = opened(&database, &json!({ "collection": "c", "server_timeout": "300ms" })).await;
    let mut split = splits(&*source, &cx).await.remove(0);
    split.payload["natural"]["member"] = json!("127.0.0.1:1");
    let error = read(&*source, &cx, &split, Position::Start).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable() && error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn records_of_another_member_are_noticed_at_both_ends() {
    let database = Database::with("c", documents(1_000)).await;
    let (cx, source) =
        opened(&database, &json!({ "collection": "c", "split_size": 300, "batch_size": 100 })).await;
    let splits = splits(&*source, &cx).await;
    let mut other = splits[1].clone();
    other.payload["to"]["id"] = json!({ "$numberInt": "123456" });
    let read = async |split: &Split| -> towpath_core::Result<Vec<Batch>> {
        source.read(&cx, split, Position::Start).unwrap().try_collect().await
    };
    let error = read(&other).await.expect_err("no document with this id lies there");
    assert!(!error.is_retryable() && error.to_string().contains("was not met"), "{error}");
    let mut missing = splits[1].clone();
    missing.payload["from"]["record"] = json!({ "$numberLong": "123456" });
    let error = read(&missing).await.expect_err("there is no such record");
    assert!(!error.is_retryable() && error.to_string().contains("123456"), "{error}");
}
