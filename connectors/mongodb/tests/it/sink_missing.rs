//! Documents whose key does not come in a whole run.

use bson::doc;
use serde_json::json;
use towpath_core::{
    ErrorKind, Json, WriteDisposition::Append, WriteDisposition::Merge, WriteDisposition::Replace,
};
use towpath_testkit::rows::{assert_same, batch};

use crate::sink_support::{STREAM, begin, begin_with, left, rows, run, spec};
use crate::support::{Database, FailPoint};

const COLUMNS: &str = "id: int64, name: string";

fn row(id: i64, name: &str) -> Json {
    json!({ "id": id, "name": name })
}

/// The ids of the documents that are marked.
async fn marked(database: &Database) -> Vec<i64> {
    let mut ids: Vec<i64> = database
        .documents(STREAM)
        .await
        .iter()
        .filter(|document| document.get_datetime("deleted_at").is_ok())
        .map(|document| document.get_i64("id").unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn they_stay_or_are_deleted() {
    for (how, expected) in
        [("no", vec![row(1, "a"), row(2, "b"), row(3, "c")]), ("hard", vec![row(1, "a"), row(3, "c")])]
    {
        let database = Database::new().await;
        let options = json!({ "delete_missing": how });
        run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
        // The keys of all commits of a run count.
        let mut load = begin(&database, &options, 2, Merge).await.unwrap();
        let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
        let token = load.token(1);
        load.commit(&token, vec![staged]).await.unwrap();
        load.finish(&[batch(COLUMNS, &json!([[3, "c"]]))]).await.unwrap();
        assert_same(&expected, &rows(&database, STREAM).await);
        assert!(left(&database).await.is_empty(), "{how}");
    }
}

#[tokio::test]
async fn a_document_that_is_marked_comes_back_when_its_key_does() {
    for update in ["replace", "set"] {
        let database = Database::new().await;
        let options = json!({ "delete_missing": "soft", "update": update });
        run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
        assert!(marked(&database).await.is_empty());
        run(&database, &options, 2, Merge, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
        assert_eq!(marked(&database).await, [2]);
        let since = database.documents(STREAM).await;
        run(&database, &options, 3, Merge, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
        assert_eq!(database.documents(STREAM).await, since, "the first time stays");
        run(&database, &options, 4, Merge, batch(COLUMNS, &json!([[2, "again"]]))).await.unwrap();
        assert_eq!(marked(&database).await, [1], "{update}");
    }
}

#[tokio::test]
async fn an_interrupted_run_still_knows_the_keys_that_it_has_seen() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "hard" });
    run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
    let mut dying = begin(&database, &options, 2, Merge).await.unwrap();
    let staged = dying.stage(&[batch(COLUMNS, &json!([[1, "seen"]]))]).await.unwrap();
    let token = dying.token(1);
    dying.commit(&token, vec![staged]).await.unwrap();
    drop(dying);
    run(&database, &options, 3, Merge, batch(COLUMNS, &json!([[3, "c"]]))).await.unwrap();
    assert_same(&[row(1, "seen"), row(3, "c")], &rows(&database, STREAM).await);
    assert!(left(&database).await.is_empty());
}

#[tokio::test]
async fn a_run_that_began_without_the_option_does_not_end_with_it() {
    let database = Database::new().await;
    let mut dying = begin(&database, &json!({}), 1, Merge).await.unwrap();
    let staged = dying.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let token = dying.token(1);
    dying.commit(&token, vec![staged]).await.unwrap();
    drop(dying);
    let error = begin(&database, &json!({ "delete_missing": "hard" }), 2, Merge).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("began without `delete_missing`"), "{error}");
    // Without the option it ends, and the next whole run may delete.
    run(&database, &json!({}), 3, Merge, batch(COLUMNS, &json!([[2, "b"]]))).await.unwrap();
    run(&database, &json!({ "delete_missing": "hard" }), 4, Merge, batch(COLUMNS, &json!([[2, "b"]])))
        .await
        .unwrap();
    assert_same(&[row(2, "b")], &rows(&database, STREAM).await);
}

#[tokio::test]
async fn a_run_without_rows_leaves_none() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "hard" });
    run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
    let mut load = begin(&database, &options, 2, Merge).await.unwrap();
    let token = load.last_token();
    load.commit(&token, Vec::new()).await.unwrap();
    assert!(database.documents(STREAM).await.is_empty());
}

#[tokio::test]
async fn a_row_that_deletes_has_no_key_that_came_and_keys_may_have_several_fields() {
    let database = Database::with(
        STREAM,
        [
            doc! { "a": 1_i64, "b": "x" },
            doc! { "a": 1_i64, "b": "y" },
            doc! { "a": 2.0, "b": "x" },
            doc! { "b": "x" },
        ],
    )
    .await;
    let mut spec = spec(1, Merge);
    spec.key = vec!["a".to_owned(), "b".to_owned()];
    let options = database.options(&json!({ "delete_missing": "hard", "operation_column": "op" }));
    let mut load = begin_with(options, spec).await.unwrap();
    let columns = "a: int64, b: string, op: string";
    // Numbers are equal whatever their type.
    load.finish(&[batch(columns, &json!([[1, "x", "u"], [1, "y", "d"], [2, "x", "u"]]))]).await.unwrap();
    let left = rows(&database, STREAM).await;
    assert_same(&[json!({ "a": 1, "b": "x" }), json!({ "a": 2, "b": "x" })], &left);
}

#[tokio::test]
async fn a_crash_behind_the_decision_is_made_good_by_the_next_run_whatever_its_options() {
    for command in ["aggregate", "delete"] {
        let database = Database::new().await;
        let fail_point = FailPoint::new().await;
        let options = json!({ "delete_missing": "hard", "url": fail_point.url.as_str() });
        run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
        let mut load = begin(&database, &options, 2, Merge).await.unwrap();
        let staged = load.stage(&[batch(COLUMNS, &json!([[2, "new"], [3, "c"]]))]).await.unwrap();
        let token = load.last_token();
        fail_point.set(command, 1, doc! { "errorCode": 8 }).await;
        load.commit(&token, vec![staged]).await.unwrap_err();
        assert!(
            database
                .documents(STREAM)
                .await
                .iter()
                .any(|document| document.get_i64("id").is_ok_and(|id| id == 1))
        );
        begin(&database, &json!({}), 3, Merge).await.unwrap();
        assert_same(&[row(2, "new"), row(3, "c")], &rows(&database, STREAM).await);
        assert!(left(&database).await.is_empty(), "{command}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_option_is_refused() {
    let database = Database::new().await;
    for disposition in [Append, Replace] {
        let error =
            begin(&database, &json!({ "delete_missing": "hard" }), 1, disposition).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("write_disposition: merge"), "{error}");
    }
    let mut load = begin(&database, &json!({ "delete_missing": "soft" }), 2, Merge).await.unwrap();
    let columns = "id: int64, deleted_at: string";
    let error = load.stage(&[batch(columns, &json!([[1, "x"]]))]).await.unwrap_err();
    assert!(error.to_string().contains("delete_missing: hard"), "{error}");
}

#[tokio::test]
async fn a_run_that_goes_on_from_the_last_is_refused_before_anything_is_deleted() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Merge).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let mut token = load.last_token();
    token.finished.as_mut().unwrap().cursor = Some(json!(7));
    load.commit(&token, vec![staged]).await.unwrap();
    let error = begin(&database, &json!({ "delete_missing": "hard" }), 2, Merge).await.err().unwrap();
    assert!(error.to_string().contains("remove `cursor`"), "{error}");
    // A first run with a cursor as well.
    let other = Database::new().await;
    let mut load = begin(&other, &json!({ "delete_missing": "hard" }), 1, Merge).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let mut token = load.last_token();
    token.seen = Some(json!(7));
    let error = load.commit(&token, vec![staged]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(other.documents(STREAM).await.is_empty());
}
