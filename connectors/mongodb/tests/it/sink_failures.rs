//! Rows that the collection refuses, and commits that break off.

use bson::{Document, doc};
use serde_json::json;
use towpath_core::{Committed, ErrorKind, Json, Rejected, WriteDisposition};
use towpath_testkit::rows::{assert_same, batch};

use crate::sink_support::{STREAM, begin, left, rows, run};
use crate::support::{Database, FailPoint};

/// Commits until nothing is refused any more, as the engine does. What was refused.
async fn commit_all(
    load: &mut towpath_testkit::steps::Load,
    batches: &[arrow::array::RecordBatch],
) -> Vec<Rejected> {
    let (mut staged, mut refused) = (Vec::new(), Vec::new());
    for batch in batches {
        let part = load.stage(std::slice::from_ref(batch)).await.unwrap();
        refused.extend(part.rejected.clone());
        staged.push(part);
    }
    let token = load.last_token();
    loop {
        match load.commit(&token, staged.clone()).await.unwrap() {
            Committed::Refused(rows) => refused.extend(rows),
            _ => return refused,
        }
    }
}

#[tokio::test]
async fn duplicates_of_ids_and_unique_keys_are_given_back_and_the_rest_is_committed() {
    let database = Database::with(STREAM, [doc! { "_id": 1_i64, "code": "a" }]).await;
    database
        .run(doc! { "createIndexes": STREAM, "indexes": [{ "key": { "code": 1 }, "name": "code", "unique": true }] })
        .await;
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Append).await.unwrap();
    let columns = "_id: int64, code: string";
    let batches = [
        batch(columns, &json!([[1, "b"], [2, "a"], [3, "c"]])),
        batch(columns, &json!([[3, "d"], [4, "c"], [5, "e"]])),
    ];
    let refused = commit_all(&mut load, &batches).await;
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.iter().all(|row| row.place.starts_with("orders ")), "{refused:?}");
    assert!(refused.iter().any(|row| row.reason.contains("of the collection has the same `_id`")));
    assert!(refused.iter().any(|row| row.reason.contains("has the same `code`")));
    let expected = [
        json!({ "_id": 1, "code": "a" }),
        json!({ "_id": 3, "code": "c" }),
        json!({ "_id": 5, "code": "e" }),
    ];
    assert_same(&expected, &rows(&database, STREAM).await);
    assert!(left(&database).await.is_empty());
}

#[tokio::test]
async fn documents_that_the_validator_does_not_let_in_are_given_back() {
    for (disposition, additional) in
        [(WriteDisposition::Append, true), (WriteDisposition::Replace, true), (WriteDisposition::Merge, true)]
    {
        let database = Database::new().await;
        let validator = doc! { "$jsonSchema": {
            "properties": { "price": { "minimum": 0 } }, "additionalProperties": additional,
        } };
        database.run(doc! { "create": STREAM, "validator": validator }).await;
        let mut load = begin(&database, &json!({}), 1, disposition).await.unwrap();
        let refused =
            commit_all(&mut load, &[batch("id: int64, price: float64", &json!([[1, 1.0], [2, -1.0]]))]).await;
        assert_eq!(refused.len(), 1, "{disposition:?}");
        assert!(refused[0].reason.contains("validator"), "{refused:?}");
        assert_eq!(refused[0].row.as_ref().unwrap()["price"], json!(-1.0));
        assert_eq!(rows(&database, STREAM).await, [json!({ "id": 1, "price": 1.0 })]);
    }
}

/// A server that gives this error to the next of these commands, and the options that reach it.
async fn failing(command: &str, how: Document) -> (FailPoint, Json) {
    let fail_point = FailPoint::new().await;
    fail_point.set(command, 1, how).await;
    let options = json!({ "url": fail_point.url.as_str() });
    (fail_point, options)
}

#[tokio::test]
async fn a_commit_that_was_decided_is_completed_by_whoever_comes_next() {
    for disposition in [WriteDisposition::Append, WriteDisposition::Merge, WriteDisposition::Replace] {
        let database = Database::with(STREAM, [doc! { "id": 0_i64 }]).await;
        database.collection(STREAM).delete_many(doc! {}).await.unwrap();
        // Nothing but the move is an aggregation here: the columns bring no ids, and there is no validator.
        let moves = if disposition == WriteDisposition::Replace { "renameCollection" } else { "aggregate" };
        let (_fail_point, options) = failing(moves, doc! { "errorCode": 8 }).await;
        let mut load = begin(&database, &options, 1, disposition).await.unwrap();
        let staged = load.stage(&[batch("id: int64", &json!([[1], [2]]))]).await.unwrap();
        let token = load.last_token();
        load.commit(&token, vec![staged.clone()]).await.unwrap_err();
        assert!(rows(&database, STREAM).await.is_empty(), "{disposition:?}");

        begin(&database, &json!({}), 2, disposition).await.unwrap();
        assert_same(&[json!({ "id": 1 }), json!({ "id": 2 })], &rows(&database, STREAM).await);
        assert!(left(&database).await.is_empty());
        let late = load.commit(&token, vec![staged]).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Conflict, "{late}");
    }
}

#[tokio::test]
async fn a_commit_that_is_tried_again_moves_the_rows_once() {
    let database = Database::new().await;
    let (_fail_point, options) = failing("aggregate", doc! { "closeConnection": true }).await;
    let mut load = begin(&database, &options, 1, WriteDisposition::Append).await.unwrap();
    let staged = load.stage(&[batch("id: int64", &json!([[1], [2]]))]).await.unwrap();
    let token = load.last_token();
    let first = load.commit(&token, vec![staged.clone()]).await;
    assert!(
        first.as_ref().is_ok_and(|done| *done == Committed::Applied)
            || first.as_ref().is_err_and(towpath_core::Error::is_retryable)
    );
    load.commit(&token, vec![staged]).await.unwrap();
    assert_same(&[json!({ "id": 1 }), json!({ "id": 2 })], &rows(&database, STREAM).await);
}

#[tokio::test]
async fn a_write_that_is_tried_again_stages_its_rows_once() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Append).await.unwrap();
    let rows_of = batch("id: int64", &json!([[1], [2], [3]]));
    load.begun = load.sink.evolve(&load.cx, &load.begun, &rows_of.schema()).await.unwrap();
    // A writer whose insertion fails for good once, and which is then called again with the same rows.
    let (_fail_point, options) = failing("insert", doc! { "errorCode": 8 }).await;
    let options = database.options(&options);
    let sink =
        towpath_connector_mongodb::CONNECTOR.sink_entry().unwrap().open(options, &load.cx).await.unwrap();
    let mut writer = sink.writer(&load.cx, &load.begun, 0).await.unwrap();
    writer.write(rows_of.clone()).await.unwrap_err();
    writer.write(rows_of).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.rows, 3);
    let token = load.last_token();
    load.commit(&token, vec![staged]).await.unwrap();
    assert_eq!(rows(&database, STREAM).await.len(), 3);
}

#[tokio::test]
async fn a_replacing_write_that_is_tried_again_tells_its_own_rows_from_duplicates() {
    let database = Database::with(STREAM, [doc! { "_id": 1_i64, "code": "old" }]).await;
    database
        .run(doc! { "createIndexes": STREAM, "indexes": [{ "key": { "code": 1 }, "name": "code", "unique": true }] })
        .await;
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Replace).await.unwrap();
    let columns = "_id: int64, code: string";
    let rows_of = batch(columns, &json!([[1, "a"], [2, "b"], [1, "c"], [3, "a"], [4, "d"]]));
    load.begun = load.sink.evolve(&load.cx, &load.begun, &rows_of.schema()).await.unwrap();
    // The rows are in, and nobody hears of it.
    let how =
        doc! { "writeConcernError": { "code": 91, "errmsg": "it stops", "codeName": "ShutdownInProgress" } };
    let (_fail_point, options) = failing("insert", how).await;
    let mut options = database.options(&options);
    let url = options["url"].as_str().unwrap().to_owned();
    options["url"] = json!(format!("{url}&retryWrites=false"));
    let sink =
        towpath_connector_mongodb::CONNECTOR.sink_entry().unwrap().open(options, &load.cx).await.unwrap();
    let mut writer = sink.writer(&load.cx, &load.begun, 0).await.unwrap();
    let error = writer.write(rows_of.clone()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    writer.write(rows_of).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!((staged.rows, staged.rejected.len()), (3, 2), "{:?}", staged.rejected);
    let token = load.last_token();
    assert_eq!(load.commit(&token, vec![staged]).await.unwrap(), Committed::Applied);
    let mut ids: Vec<_> = rows(&database, STREAM).await.iter().map(|row| row["_id"].clone()).collect();
    ids.sort_by_key(Json::as_i64);
    assert_eq!(ids, [json!(1), json!(2), json!(4)]);
}

#[tokio::test]
async fn replacing_gives_duplicates_back_also_where_several_writers_bring_them() {
    let database = Database::with(STREAM, [doc! { "_id": 1_i64, "code": "old" }]).await;
    database
        .run(doc! { "createIndexes": STREAM, "indexes": [{ "key": { "code": 1 }, "name": "code", "unique": true }] })
        .await;
    let columns = "_id: int64, code: string";
    let one = batch(columns, &json!([[1, "a"], [1, "b"], [2, "a"], [3, "c"]]));
    let mut load = begin(&database, &json!({}), 1, WriteDisposition::Replace).await.unwrap();
    let staged = load.stage(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(staged.rows, 2);
    let reasons: Vec<_> = staged.rejected.iter().map(|row| row.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("has the same `_id`")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("has the same `code`")), "{reasons:?}");

    let mut load = begin(&database, &json!({}), 2, WriteDisposition::Replace).await.unwrap();
    let refused = commit_all(&mut load, &[one, batch(columns, &json!([[3, "x"], [4, "c"], [5, "e"]]))]).await;
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.iter().all(|row| row.place.starts_with("orders ")), "{refused:?}");
    assert_eq!(rows(&database, STREAM).await.len(), 3);
    assert!(left(&database).await.is_empty());
}

#[tokio::test]
async fn a_document_of_somebody_else_is_never_taken_for_our_own() {
    let database = Database::new().await;
    let (_fail_point, options) = failing("aggregate", doc! { "errorCode": 8 }).await;
    let mut load = begin(&database, &options, 1, WriteDisposition::Append).await.unwrap();
    let staged = load.stage(&[batch("id: int64", &json!([[1]]))]).await.unwrap();
    let token = load.last_token();
    load.commit(&token, vec![staged]).await.unwrap_err();
    // Between decision and move, another document takes the id.
    let name = left(&database).await.remove(0);
    let id = database.documents(&name).await[0].get_document("d").unwrap().get_object_id("_id").unwrap();
    database.collection(STREAM).insert_one(doc! { "_id": id, "id": 99 }).await.unwrap();
    let Err(error) = begin(&database, &json!({}), 2, WriteDisposition::Append).await else {
        panic!("the other document was taken for ours")
    };
    assert!(error.to_string().contains("committed and staged"), "{error}");
    database.collection(STREAM).delete_many(doc! {}).await.unwrap();
    begin(&database, &json!({}), 3, WriteDisposition::Append).await.unwrap();
    assert_eq!(rows(&database, STREAM).await, [json!({ "id": 1 })]);
}

#[tokio::test]
async fn columns_are_kept_for_the_next_run_as_long_as_the_collection_is_there() {
    let database = Database::new().await;
    run(&database, &json!({}), 1, WriteDisposition::Append, batch("id: int64", &json!([[1]]))).await.unwrap();
    let load = begin(&database, &json!({}), 2, WriteDisposition::Append).await.unwrap();
    assert!(load.begun.schema.unwrap().field_with_name("id").is_ok());
    database.collection(STREAM).drop().await.unwrap();
    let load = begin(&database, &json!({}), 3, WriteDisposition::Append).await.unwrap();
    assert!(load.begun.schema.is_none());
}
