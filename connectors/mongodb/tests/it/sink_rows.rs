//! What rows become, and what the options change.

use bson::{Bson, doc};
use serde_json::json;
use towpath_core::{Committed, Json, WriteDisposition};
use towpath_testkit::rows::{assert_same, batch};

use crate::sink_support::{STREAM, begin, begin_with, left, rows, run, spec};
use crate::source_types::every_type;
use crate::support::{Database, batches, request};

const PLAIN: &str = "id: int64, name: string, price: float64";

#[tokio::test]
async fn the_collection_is_called_as_the_option_says() {
    let database = Database::new().await;
    let options = json!({ "collection": "{pipeline}.{stream}" });
    run(&database, &options, 1, WriteDisposition::Append, batch(PLAIN, &json!([[1, "a", 1.5]])))
        .await
        .unwrap();
    assert_eq!(rows(&database, "retail.orders").await, [json!({ "id": 1, "name": "a", "price": 1.5 })]);
}

#[tokio::test]
async fn nulls_are_left_out_or_written() {
    for (nulls, expected) in [
        ("omit", doc! { "id": 1_i64 }),
        ("write", doc! { "id": 1_i64, "name": Bson::Null, "price": Bson::Null }),
    ] {
        let database = Database::new().await;
        let rows = batch(PLAIN, &json!([[1, null, null]]));
        run(&database, &json!({ "nulls": nulls }), 1, WriteDisposition::Append, rows).await.unwrap();
        let mut document = database.documents(STREAM).await.remove(0);
        document.remove("_id");
        assert_eq!(document, expected);
    }
}

#[tokio::test]
async fn an_update_replaces_the_document_or_sets_what_the_row_has() {
    for (update, expected) in [
        ("replace", json!({ "id": 1, "name": "new" })),
        ("set", json!({ "id": 1, "name": "new", "price": 1.5, "by hand": true })),
    ] {
        let database = Database::with(
            STREAM,
            [doc! { "_id": 77, "id": 1_i64, "name": "old", "price": 1.5, "by hand": true }],
        )
        .await;
        let new = batch(PLAIN, &json!([[1, "new", null], [2, "two", 2.0]]));
        run(&database, &json!({ "update": update }), 1, WriteDisposition::Merge, new).await.unwrap();
        let mut found = rows(&database, STREAM).await;
        // The id that was there stays.
        let mut expected = vec![expected, json!({ "id": 2, "name": "two", "price": 2.0 })];
        expected[0]["_id"] = json!(77);
        found.sort_by_key(|row| row["id"].as_i64());
        assert_same(&expected, &found);
    }
}

#[tokio::test]
async fn an_operation_column_deletes_and_the_last_row_of_a_key_counts() {
    let database = Database::with(STREAM, (1..6).map(|n: i64| doc! { "id": n, "name": "old" })).await;
    let columns = "id: int64, name: string, op: string";
    let changes = batch(
        columns,
        &json!([
            [1, null, "d"],
            [2, "gone", "u"],
            [2, null, "DELETE"],
            [3, null, "D"],
            [3, "back", "i"],
            [9, null, "delete"],
        ]),
    );
    run(&database, &json!({ "operation_column": "op" }), 1, WriteDisposition::Merge, changes).await.unwrap();
    let expected = [
        json!({ "id": 3, "name": "back" }),
        json!({ "id": 4, "name": "old" }),
        json!({ "id": 5, "name": "old" }),
    ];
    assert_same(&expected, &rows(&database, STREAM).await);
}

#[tokio::test]
async fn the_id_may_be_the_key() {
    let database = Database::with(STREAM, [doc! { "_id": 1_i64, "v": "old" }]).await;
    let mut spec = spec(1, WriteDisposition::Merge);
    spec.key = vec!["_id".to_owned()];
    let mut load = begin_with(database.options(&json!({})), spec).await.unwrap();
    let new = batch("_id: int64, v: string", &json!([[1, "first"], [2, "two"], [1, "new"]]));
    assert_eq!(load.finish(&[new]).await.unwrap(), Committed::Applied);
    assert_same(
        &[json!({ "_id": 1, "v": "new" }), json!({ "_id": 2, "v": "two" })],
        &rows(&database, STREAM).await,
    );
}

#[tokio::test]
async fn a_row_without_a_key_is_rejected() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Merge).await.unwrap();
    let staged = load.stage(&[batch(PLAIN, &json!([[null, "a", 1.0], [1, "b", 2.0]]))]).await.unwrap();
    assert_eq!(staged.rows, 1);
    assert!(staged.rejected[0].reason.contains("`id` is in the key"), "{:?}", staged.rejected);
}

#[tokio::test]
async fn an_id_that_is_null_is_made_even_where_nulls_are_written() {
    let database = Database::new().await;
    let rows = batch("_id: int64, v: int64", &json!([[null, 1], [5, 2]]));
    run(&database, &json!({ "nulls": "write" }), 1, WriteDisposition::Append, rows).await.unwrap();
    let documents = database.documents(STREAM).await;
    let made = documents.iter().find(|document| document.get_i64("v").unwrap() == 1).unwrap();
    assert!(made.get_object_id("_id").is_ok(), "{made}");
}

#[tokio::test]
async fn views_and_time_series_are_no_targets() {
    let database = Database::with("c", [doc! { "a": 1 }]).await;
    database.run(doc! { "create": "v", "viewOn": "c", "pipeline": [] }).await;
    let options = json!({ "collection": "v" });
    let Err(error) = begin(&database, &options, 1, WriteDisposition::Append).await else {
        panic!("it began")
    };
    assert!(error.to_string().contains("a view"), "{error}");
}

#[tokio::test]
async fn replacing_keeps_the_indexes_and_the_validator() {
    let database = Database::with(STREAM, [doc! { "id": 1_i64 }]).await;
    database
        .run(doc! { "createIndexes": STREAM, "indexes": [{ "key": { "name": 1 }, "name": "by_name" }] })
        .await;
    run(&database, &json!({}), 1, WriteDisposition::Replace, batch(PLAIN, &json!([[5, "x", 1.0]])))
        .await
        .unwrap();
    assert_eq!(rows(&database, STREAM).await, [json!({ "id": 5, "name": "x", "price": 1.0 })]);
    let names = database.collection(STREAM).list_index_names().await.unwrap();
    assert!(names.contains(&"by_name".to_owned()), "{names:?}");
    let validator = doc! { "id": { "$gt": 0_i64 } };
    database.run(doc! { "collMod": STREAM, "validator": validator }).await;
    run(&database, &json!({}), 2, WriteDisposition::Replace, batch(PLAIN, &json!([[6, "x", 1.0]])))
        .await
        .unwrap();
    database.collection(STREAM).insert_one(doc! { "id": -1_i64 }).await.unwrap_err();
}

/// Everything that one database has, through columns or whole, into another collection.
async fn copied(options: Json, document: bson::Document) -> bson::Document {
    let database = Database::with("from", [document]).await;
    let cx = towpath_testkit::context();
    let mut all = json!({ "collection": "from" });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let source = database.source(&cx, &all).await.unwrap();
    let read: Vec<_> =
        batches(&*source, &cx, &request()).await.unwrap().into_iter().map(|batch| batch.rows).collect();
    assert_eq!(
        begin(&database, &json!({}), 1, WriteDisposition::Append).await.unwrap().finish(&read).await.unwrap(),
        Committed::Applied
    );
    assert!(left(&database).await.is_empty());
    database.documents(STREAM).await.remove(0)
}

#[tokio::test]
async fn every_type_comes_back_through_columns() {
    let mut expected = every_type();
    // A null may be left out or written, and this one is left out.
    expected.remove("null");
    assert_eq!(copied(json!({}), every_type()).await, expected);
}

#[tokio::test]
async fn whole_documents_come_back_byte_by_byte() {
    let mut document =
        doc! { "z": 1, "a": [{ "n": Bson::Null }, 1, 1.0, 1_i64, "x"], "e": {}, "n": Bson::Null, "_id": 5 };
    document.extend(every_type().into_iter().filter(|(name, _)| name != "_id"));
    let copied = copied(json!({ "documents": "whole" }), document.clone()).await;
    let names = |document: &bson::Document| {
        document.keys().filter(|name| *name != "_id").cloned().collect::<Vec<_>>()
    };
    assert_eq!(copied, document);
    assert_eq!(names(&copied), names(&document));
}

#[tokio::test]
async fn a_document_larger_than_the_server_takes_is_rejected() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Append).await.unwrap();
    let rows = batch("id: int64, text: string", &json!([[1, "x".repeat(16 << 20)], [2, "small"]]));
    let staged = load.stage(&[rows]).await.unwrap();
    assert_eq!((staged.rows, staged.rejected.len()), (1, 1));
    assert!(staged.rejected[0].reason.contains("16 MiB"));
}
