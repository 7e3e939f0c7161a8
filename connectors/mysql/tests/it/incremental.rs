//! Incremental reading by a cursor.

use serde_json::{Value as Json, json};
use towpath_core::{CursorRange, ErrorKind, Pushdown};
use towpath_testkit::context;

use crate::support::{Database, batches, json_rows, plan, request};

async fn changes() -> Database {
    Database::with(&[
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP(6) NULL, n INT, price DECIMAL(9,2), name VARCHAR(9), f FLOAT)",
        "INSERT INTO t VALUES (1, '2024-01-01 00:00:00', 10, 1.10, 'a', 0.1), \
         (2, '2024-01-01 00:00:10.5', 20, 2.20, 'B', 0.2), (3, '2024-01-01 00:00:20', 30, 3.30, 'c', 0.3), (4, NULL, NULL, NULL, NULL, NULL)",
    ])
    .await
}

/// The ids that come behind a value, and the bound of the run.
async fn ids(
    database: &Database,
    options: Json,
    field: &str,
    after: Option<Json>,
) -> (Vec<i64>, Option<Json>) {
    let cx = context();
    let mut all = json!({ "table": "t", "split_size": 2 });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let source = database.source(&cx, &all).await.unwrap();
    let mut request = request();
    request.cursor = Some(CursorRange::new(field, after, None));
    let (plan, _) = plan(&*source, &cx, &request).await.unwrap();
    let rows = json_rows(&batches(&*source, &cx, &request).await.unwrap());
    let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    (ids, plan.until)
}

#[tokio::test]
async fn a_run_reads_what_is_behind_the_cursor_and_the_first_one_nulls_too() {
    let database = changes().await;
    let plain = || json!({});
    for (field, after, until) in [
        ("at", json!("2024-01-01T00:00:10.500Z"), json!("2024-01-01T00:00:20Z")),
        ("n", json!(20), json!(30)),
        ("price", json!("2.20"), json!("3.30")),
    ] {
        assert_eq!(
            ids(&database, plain(), field, None).await,
            (vec![1, 2, 3, 4], Some(until.clone())),
            "{field}"
        );
        assert_eq!(ids(&database, plain(), field, Some(after)).await, (vec![3], Some(until)), "{field}");
    }
}

#[tokio::test]
async fn a_text_cursor_is_compared_by_its_bytes_as_the_engine_does() {
    let database = changes().await;
    // By the collation of the column, B would be behind a and before c.
    assert_eq!(ids(&database, json!({}), "name", Some(json!("B"))).await, (vec![1, 3], Some(json!("c"))));
}

#[tokio::test]
async fn a_float_cursor_is_left_to_the_engine() {
    let database = changes().await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    let mut request = request();
    request.cursor = Some(CursorRange::new("f", Some(json!(0.1)), None));
    let (plan, _) = plan(&*source, &cx, &request).await.unwrap();
    assert_eq!(plan.cursor, Pushdown::Unsupported);
}

#[tokio::test]
async fn inclusive_and_lookback_read_again() {
    let database = changes().await;
    let after = || Some(json!("2024-01-01T00:00:20Z"));
    assert_eq!(ids(&database, json!({}), "at", after()).await.0, Vec::<i64>::new());
    assert_eq!(ids(&database, json!({"cursor_inclusive": true}), "at", after()).await.0, [3]);
    assert_eq!(ids(&database, json!({"lookback": "10s"}), "at", after()).await.0, [2, 3]);
    assert_eq!(ids(&database, json!({"lookback": 10}), "n", Some(json!(30))).await.0, [2, 3]);
}

#[tokio::test]
async fn a_cursor_that_is_no_column_or_has_another_type_is_told() {
    let database = changes().await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "lookback": "1m" })).await.unwrap();
    for (field, kind, says) in
        [("nobody", ErrorKind::NotFound, "nobody"), ("n", ErrorKind::Config, "lookback")]
    {
        let mut request = request();
        request.cursor = Some(CursorRange::new(field, None, None));
        let error = source.plan(&cx, &request).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(says), "{error}");
    }
}
