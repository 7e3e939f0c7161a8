//! Each option of the sink changes what happens.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{ErrorKind, Finished, Json, LoadSpec, Position};
use towpath_testkit::rows::batch;

use crate::load::{Load, load};
use crate::support::{Database, error_of};

fn people(rows: &Json) -> RecordBatch {
    batch("id: int64, name: string", rows)
}

async fn held(database: &Database) -> String {
    database.text("SELECT coalesce(string_agg(id || ' ' || name, ', ' ORDER BY id), '') FROM orders").await
}

#[tokio::test]
async fn a_table_is_named_after_stream_and_pipeline_and_its_schema_is_made() {
    let database = Database::new().await;
    let options = json!({ "table": "raw_{pipeline}.{stream}_all" });
    for disposition in [Append, Replace, Merge] {
        load(&database, &options, disposition, 1, &people(&json!([[1, "one"]]))).await.unwrap();
        assert_eq!(database.text("SELECT name FROM raw_shop.orders_all").await, "one");
        database.run("DROP SCHEMA raw_shop CASCADE").await;
    }
}

#[tokio::test]
async fn a_name_that_postgres_would_cut_is_refused() {
    let database = Database::new().await;
    let options = json!({ "table": "x".repeat(64) });
    let error = error_of(Load::begin(&database, &options, Append, 1).await);
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("63 bytes"), "{error}");
}

#[tokio::test]
async fn a_primary_key_and_indexes_are_made_when_they_are_asked_for() {
    for disposition in [Append, Replace] {
        for (primary_key, expected) in [(true, "1"), (false, "0")] {
            let database = Database::new().await;
            let options = json!({
                "primary_key": primary_key,
                "indexes": [{ "columns": ["name"] }, { "columns": ["name", "id"], "unique": true }],
            });
            let spec = LoadSpec::new("shop", "orders", "run-1", disposition).key(vec!["id".to_owned()]);
            let mut run = Load::begin_as(&database, &options, spec).await.unwrap();
            let staged = run.stage(&people(&json!([[1, "one"]]))).await.unwrap();
            run.commit(vec![staged], true).await.unwrap();
            let keys = "SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass AND indisprimary";
            assert_eq!(database.text(keys).await, expected, "{disposition:?}");
            let indexes = "SELECT string_agg(indisunique::text, ' ' ORDER BY indnatts) FROM pg_index \
                           WHERE indrelid = 'orders'::regclass AND NOT indisprimary";
            assert_eq!(database.text(indexes).await, "false true", "{disposition:?}");
        }
    }
}

#[tokio::test]
async fn pre_sql_runs_once_a_run_and_post_sql_with_its_last_commit() {
    let database = Database::with(&["CREATE TABLE log (what text)"]).await;
    let options = json!({
        "pre_sql": ["INSERT INTO log VALUES ('pre')"],
        "post_sql": ["INSERT INTO log SELECT 'post ' || count(*) FROM orders"],
    });
    let log = "SELECT coalesce(string_agg(what, ', '), '') FROM log";
    let mut run = Load::begin(&database, &options, Append, 1).await.unwrap();
    assert_eq!(database.text(log).await, "pre");
    // A retried `begin` is the same run.
    Load::begin(&database, &options, Append, 1).await.unwrap();
    let staged = run.stage(&people(&json!([[1, "one"]]))).await.unwrap();
    run.commit(vec![staged], false).await.unwrap();
    assert_eq!(database.text(log).await, "pre");
    let staged = run.stage(&people(&json!([[2, "two"]]))).await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text(log).await, "pre, post 2");
}

#[tokio::test]
async fn pre_sql_that_takes_long_keeps_no_other_table_waiting() {
    let database = Database::new().await;
    let holder = database.client().await;
    holder.batch_execute("SELECT pg_advisory_lock(42)").await.unwrap();
    let options = json!({ "pre_sql": ["SELECT pg_advisory_xact_lock(42)"] });
    let slow = Load::begin(&database, &options, Append, 1);
    tokio::pin!(slow);
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    loop {
        tokio::select! {
            _ = &mut slow => panic!("`pre_sql` did not wait"),
            waiting = database.text(waits) => if waiting == "1" { break },
        }
    }
    let other = LoadSpec::new("shop", "others", "run-1", Append);
    let mut run = Load::begin_as(&database, &json!({}), other).await.unwrap();
    let staged = run.stage(&people(&json!([[1, "one"]]))).await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text("SELECT name FROM others").await, "one");
    holder.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
    slow.await.unwrap();
}

#[tokio::test]
async fn post_sql_that_fails_undoes_the_commit() {
    let database = Database::new().await;
    let options = json!({ "post_sql": ["SELECT 1 / 0"] });
    let mut run = Load::begin(&database, &options, Append, 1).await.unwrap();
    let staged = run.stage(&people(&json!([[1, "one"]]))).await.unwrap();
    let error = error_of(run.commit(vec![staged], true).await);
    assert!(error.to_string().contains("division by zero"), "{error}");
    assert_eq!(held(&database).await, "");
}

/// Two whole runs: the second brings the keys 2 and 3 only, in two commits.
async fn two_runs(options: &Json) -> Database {
    let database = Database::new().await;
    let first = people(&json!([[1, "one"], [2, "two"], [3, "three"]]));
    load(&database, options, Merge, 1, &first).await.unwrap();
    let mut run = Load::begin(&database, options, Merge, 2).await.unwrap();
    let staged = run.stage(&people(&json!([[2, "two!"]]))).await.unwrap();
    run.commit(vec![staged], false).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM orders").await, "3", "before the end of the run");
    let staged = run.stage(&people(&json!([[3, "three!"], [4, "four"]]))).await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    database
}

#[tokio::test]
async fn rows_that_did_not_come_stay_are_deleted_or_are_marked() {
    let database = two_runs(&json!({})).await;
    assert_eq!(held(&database).await, "1 one, 2 two!, 3 three!, 4 four");
    let database = two_runs(&json!({ "delete_missing": "hard" })).await;
    assert_eq!(held(&database).await, "2 two!, 3 three!, 4 four");
    let options = json!({ "delete_missing": "soft" });
    let database = two_runs(&options).await;
    assert_eq!(held(&database).await, "1 one, 2 two!, 3 three!, 4 four");
    let gone = "SELECT string_agg(id::text, ' ') FROM orders WHERE deleted_at IS NOT NULL";
    assert_eq!(database.text(gone).await, "1");
    let all = people(&json!([[1, "back"], [2, "two"], [3, "three"], [4, "four"]]));
    load(&database, &options, Merge, 3, &all).await.unwrap();
    assert_eq!(database.text(gone).await, "NULL");
}

#[tokio::test]
async fn keys_that_an_interrupted_run_has_seen_count_for_the_run_that_goes_on_with_it() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "hard" });
    let first = people(&json!([[1, "one"], [2, "two"], [3, "three"]]));
    load(&database, &options, Merge, 1, &first).await.unwrap();
    let mut interrupted = Load::begin(&database, &options, Merge, 2).await.unwrap();
    let staged = interrupted.stage(&people(&json!([[2, "two!"]]))).await.unwrap();
    interrupted.commit(vec![staged], false).await.unwrap();
    let mut next = Load::begin(&database, &options, Merge, 3).await.unwrap();
    let staged = next.stage(&people(&json!([[3, "three!"]]))).await.unwrap();
    next.commit(vec![staged], true).await.unwrap();
    assert_eq!(held(&database).await, "2 two!, 3 three!");
}

#[tokio::test]
async fn the_operation_column_deletes_rows_and_is_not_written() {
    for key in ["PRIMARY KEY", "NOT NULL"] {
        let database = Database::with(&[
            &format!("CREATE TABLE orders (id bigint {key}, name text)"),
            "INSERT INTO orders VALUES (1, 'one'), (2, 'two'), (3, 'three')",
        ])
        .await;
        let rows = json!([
            [1, null, "d"],
            [2, null, "delete"],
            [2, "back", "u"],
            [4, "four", null],
            [5, "five", "i"],
            [5, null, "D"],
        ]);
        let options = json!({ "operation_column": "op" });
        let rows = batch("id: int64, name: string, op: string", &rows);
        load(&database, &options, Merge, 1, &rows).await.unwrap();
        assert_eq!(held(&database).await, "2 back, 3 three, 4 four", "{key}");
        let columns =
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'op'";
        assert_eq!(database.text(columns).await, "0", "{key}");
    }
}

#[tokio::test]
async fn an_operation_column_that_does_not_come_is_an_error_that_names_it() {
    let database = Database::new().await;
    let options = json!({ "operation_column": "op" });
    let error = error_of(load(&database, &options, Merge, 1, &people(&json!([[1, "one"]]))).await);
    assert!(error.to_string().contains("`op`"), "{error}");
}

#[tokio::test]
async fn rows_that_did_not_change_are_not_deleted_by_a_run_that_reads_only_changes() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "hard" });
    let changes = |load: &Load| {
        let mut token = load.token(true);
        token.seen = Some(json!("2026-01-01"));
        token.finished = Some(Finished { since: Position::Start, cursor: Some(json!("2026-01-01")) });
        token
    };
    let mut first = Load::begin(&database, &options, Merge, 1).await.unwrap();
    let staged = first.stage(&people(&json!([[1, "one"], [2, "two"]]))).await.unwrap();
    let token = changes(&first);
    // Refusing the option beside a cursor is as good as keeping the rows.
    let committed = first.sink.commit(&first.cx, &first.begun, &token, vec![staged]).await;
    if let Err(error) = committed {
        assert!(error.to_string().contains("delete_missing"), "{error}");
        return;
    }
    let mut second = match Load::begin(&database, &options, Merge, 2).await {
        Ok(second) => second,
        Err(error) => return assert!(error.to_string().contains("delete_missing"), "{error}"),
    };
    let staged = second.stage(&people(&json!([[2, "two!"]]))).await.unwrap();
    let token = changes(&second);
    match second.sink.commit(&second.cx, &second.begun, &token, vec![staged]).await {
        Ok(_) => assert_eq!(held(&database).await, "1 one, 2 two!"),
        Err(error) => assert!(error.to_string().contains("delete_missing"), "{error}"),
    }
}
