//! Each option of the sink changes something.

use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Committed, ErrorKind, LoadSpec};
use towpath_testkit::rows::batch;

use crate::sink_support::{begin, begin_with, left, run, spec};
use crate::support::{Database, PASSWORD, User, server};

const COLUMNS: &str = "id: int64, name: string";

#[tokio::test]
async fn table_is_made_of_stream_and_pipeline_in_a_database_that_is_made() {
    let database = Database::new().await;
    let made = format!("{}_raw", database.name);
    let options = json!({ "table": format!("{made}.{{pipeline}}_{{stream}}") });
    run(&database, &options, 1, Append, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
    let found = database.texts(&format!("SELECT id, name FROM `{made}`.retail_orders")).await;
    database.run(&format!("DROP DATABASE `{made}`")).await;
    assert_eq!(found, [["1", "a"]]);
}

#[tokio::test]
async fn primary_key_and_indexes_are_those_of_a_new_table() {
    let database = Database::new().await;
    let options = json!({
        "primary_key": true,
        "indexes": [{ "columns": ["name", "city"] }, { "columns": ["city"], "unique": true }],
    });
    let spec = spec(1, Append).key(vec!["id".to_owned()]);
    let mut load = begin_with(database.options(&options), spec).await.unwrap();
    let rows = batch("id: int64, name: string, city: string", &json!([[1, "a", "x"]]));
    load.finish(&[rows]).await.unwrap();
    let indexes = database
        .texts(
            "SELECT NON_UNIQUE, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'orders' GROUP BY INDEX_NAME, NON_UNIQUE ORDER BY 1, 2",
        )
        .await;
    assert_eq!(indexes, [["0", "city"], ["0", "id"], ["1", "name,city"]]);
    // Upper case and spaces at the end keep keys apart.
    let mut next = begin(&database, &json!({}), 2, Append).await.unwrap();
    let rows = batch("id: int64, name: string, city: string", &json!([[2, "a", "X"], [3, "a", "x "]]));
    assert_eq!(next.finish(&[rows]).await.unwrap(), Committed::Applied);
}

#[tokio::test]
async fn pre_sql_runs_before_the_rows_and_post_sql_behind_the_last_commit() {
    let database = Database::with(&["CREATE TABLE said (what VARCHAR(20), orders INT)"]).await;
    let options = json!({
        "pre_sql": ["CREATE TABLE IF NOT EXISTS orders (id BIGINT, name VARCHAR(9))",
            "INSERT INTO said SELECT 'before', COUNT(*) FROM orders"],
        "post_sql": ["INSERT INTO said SELECT 'behind', COUNT(*) FROM orders"],
    });
    let mut load = begin(&database, &options, 1, Append).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let token = load.token(1);
    load.commit(&token, vec![staged]).await.unwrap();
    assert_eq!(database.texts("SELECT * FROM said").await, [["before", "0"]]);
    load.finish(&[batch(COLUMNS, &json!([[2, "b"]]))]).await.unwrap();
    assert_eq!(database.texts("SELECT * FROM said").await, [["before", "0"], ["behind", "2"]]);
}

#[tokio::test]
async fn wrong_sql_is_named_with_its_option() {
    let database = Database::new().await;
    let error = begin(&database, &json!({ "pre_sql": ["SELEC 1"] }), 1, Append).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("option: pre_sql, statement: SELEC 1"), "{error}");
}

#[tokio::test]
async fn delete_missing_deletes_or_marks_the_rows_whose_key_did_not_come() {
    for (how, expected) in [
        ("no", vec![vec!["1", "a"], vec!["2", "b"], vec!["3", "c"]]),
        ("hard", vec![vec!["1", "a"], vec!["3", "c"]]),
    ] {
        let database = Database::new().await;
        let options = json!({ "delete_missing": how });
        run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
        // The keys of all commits of a run count.
        let mut load = begin(&database, &options, 2, Merge).await.unwrap();
        let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
        let token = load.token(1);
        load.commit(&token, vec![staged]).await.unwrap();
        load.finish(&[batch(COLUMNS, &json!([[3, "c"]]))]).await.unwrap();
        assert_eq!(database.texts("SELECT id, name FROM orders ORDER BY id").await, expected, "{how}");
        assert!(left(&database).await.is_empty());
    }
}

#[tokio::test]
async fn a_row_that_is_missing_softly_comes_back_when_its_key_does() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "soft" });
    let deleted = "SELECT id, deleted_at IS NOT NULL FROM orders ORDER BY id";
    run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"], [2, "b"]]))).await.unwrap();
    assert_eq!(database.texts(deleted).await, [["1", "0"], ["2", "0"]]);
    run(&database, &options, 2, Merge, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
    assert_eq!(database.texts(deleted).await, [["1", "0"], ["2", "1"]]);
    run(&database, &options, 3, Merge, batch(COLUMNS, &json!([[2, "again"]]))).await.unwrap();
    assert_eq!(database.texts(deleted).await, [["1", "1"], ["2", "0"]]);
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
    assert_eq!(database.texts("SELECT id, name FROM orders ORDER BY id").await, [["1", "seen"], ["3", "c"]]);
}

#[tokio::test]
async fn a_run_without_rows_leaves_none_where_missing_ones_are_deleted() {
    let database = Database::new().await;
    let options = json!({ "delete_missing": "hard" });
    run(&database, &options, 1, Merge, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
    let mut load = begin(&database, &options, 2, Merge).await.unwrap();
    let token = load.last_token();
    load.commit(&token, Vec::new()).await.unwrap();
    assert!(database.texts("SELECT * FROM orders").await.is_empty());
}

#[tokio::test]
async fn operation_column_deletes_and_is_not_written() {
    let database = Database::new().await;
    let options = json!({ "operation_column": "op" });
    let columns = "id: int64, name: string, op: string";
    let rows = batch(columns, &json!([[1, "a", "c"], [2, "b", "c"], [3, "c", "c"]]));
    run(&database, &options, 1, Merge, rows).await.unwrap();
    let rows = json!([[1, null, "d"], [2, "x", "d"], [2, "back", "u"], [3, "y", "u"], [3, null, "delete"]]);
    run(&database, &options, 2, Merge, batch(columns, &rows)).await.unwrap();
    assert_eq!(database.texts("SELECT * FROM orders ORDER BY id").await, [["2", "back"]]);
    // The next run knows it, so it is no change of the columns.
    let next = begin(&database, &options, 3, Merge).await.unwrap();
    assert_eq!(next.begun.schema.unwrap(), towpath_testkit::rows::schema(columns));
}

#[tokio::test]
async fn options_of_merge_are_refused_without_it() {
    let database = Database::new().await;
    for options in [json!({ "operation_column": "op" }), json!({ "delete_missing": "hard" })] {
        let error = begin(&database, &options, 1, Replace).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("write_disposition: merge"), "{error}");
    }
    let error = begin(&database, &json!({ "primary_key": true }), 1, Append).await.err().unwrap();
    assert!(error.to_string().contains("`primary_key` needs a key"), "{error}");
}

#[tokio::test]
async fn delete_missing_is_refused_where_a_run_goes_on_from_the_last() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Merge).await.unwrap();
    let staged = load.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let mut token = load.last_token();
    token.finished.as_mut().unwrap().cursor = Some(json!(7));
    load.commit(&token, vec![staged]).await.unwrap();
    let error = begin(&database, &json!({ "delete_missing": "hard" }), 2, Merge).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("remove `cursor`"), "{error}");
}

/// The server's counter of loads, for this session's whole server: other tests load, too, so only statements tell.
#[tokio::test]
async fn load_by_says_how_rows_get_to_the_server() {
    let database = Database::new().await;
    let staging = |load: &towpath_testkit::steps::Load| load.begun.state["staging"]["by_load_data"].clone();
    for (load_by, by_load_data) in [("auto", true), ("load_data", true), ("insert", false)] {
        let options = json!({ "load_by": load_by });
        let mut load = begin(&database, &options, 1, Replace).await.unwrap();
        load.finish(&[batch(COLUMNS, &json!([[1, load_by]]))]).await.unwrap();
        assert_eq!(staging(&load), json!(by_load_data), "{load_by}");
        assert_eq!(database.texts("SELECT name FROM orders").await, [[load_by]]);
    }
}

#[tokio::test]
async fn check_names_every_grant_that_is_missing_at_once_and_leaves_nothing() {
    let database = Database::new().await;
    for (granted, missing) in [
        ("SELECT, INSERT", Some("UPDATE, DELETE, CREATE, DROP, ALTER")),
        ("SELECT, INSERT, DROP", Some("UPDATE, DELETE, CREATE, ALTER")),
        ("SELECT, INSERT, DROP, CREATE, UPDATE, DELETE", Some("ALTER")),
        ("SELECT, INSERT, DROP, CREATE, UPDATE, DELETE, ALTER", None),
    ] {
        let user = User::new(&database, &[&format!("{granted} ON `{}`.*", database.name)]).await;
        let options = json!({
            "url": server().as_str(), "database": database.name, "user": user.name, "password": PASSWORD,
        });
        let cx = towpath_testkit::context();
        let sink = towpath_connector_mysql::CONNECTOR.sink_entry().unwrap().open(options, &cx).await.unwrap();
        let checked = sink.check(&cx, &LoadSpec::new("shop", "orders", "run", Append)).await;
        assert!(database.texts("SHOW TABLES").await.is_empty());
        let Some(missing) = missing else {
            checked.unwrap();
            continue;
        };
        let error = checked.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let wanted = format!("GRANT {missing} ON `{}`.* TO '{}'@'%'", database.name, user.name);
        assert!(error.to_string().contains(&wanted), "{error}");
    }
}
