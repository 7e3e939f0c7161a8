//! Tables that are there already: what hangs on them stays, and what cannot be written is refused.

use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Committed, ErrorKind};
use towpath_testkit::rows::batch;

use crate::sink_support::{begin, begin_with, left, run};
use crate::support::{Database, PASSWORD, User, connect, server};

use mysql_async::prelude::Queryable;

const COLUMNS: &str = "id: int64, name: string";

#[tokio::test]
async fn replace_keeps_views_grants_indexes_defaults_and_the_order_of_columns() {
    let database = Database::with(&[
        "CREATE TABLE orders (name VARCHAR(20) NOT NULL DEFAULT 'none', id BIGINT PRIMARY KEY, \
         at TIMESTAMP NULL DEFAULT '2020-01-01 00:00:00', KEY by_name (name)) COMMENT 'of ours'",
        "CREATE VIEW names AS SELECT name FROM orders",
    ])
    .await;
    let user = User::new(&database, &[&format!("SELECT ON `{}`.orders", database.name)]).await;
    run(&database, &json!({}), 1, Replace, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
    run(&database, &json!({}), 2, Replace, batch(COLUMNS, &json!([[2, "b"], [3, "c"]]))).await.unwrap();
    assert_eq!(database.texts("SELECT * FROM names ORDER BY 1").await, [["b"], ["c"]]);
    assert_eq!(
        database.texts("SELECT name, id, at FROM orders WHERE id = 2").await,
        [["b", "2", "2020-01-01 00:00:00"]]
    );
    let definition = &database.texts("SHOW CREATE TABLE orders").await[0][1];
    for kept in ["`name` varchar(20) NOT NULL DEFAULT 'none'", "KEY `by_name` (`name`)", "COMMENT='of ours'"]
    {
        assert!(definition.contains(kept), "{definition}");
    }
    assert!(!definition.contains("_towpath"), "{definition}");
    let url = server();
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(url.host_str().unwrap())
        .tcp_port(url.port().unwrap())
        .prefer_socket(false)
        .user(Some(&user.name))
        .pass(Some(PASSWORD))
        .db_name(Some(&database.name));
    let seen: Option<u64> = mysql_async::Conn::new(options)
        .await
        .unwrap()
        .query_first("SELECT COUNT(*) FROM orders")
        .await
        .unwrap();
    assert_eq!(seen, Some(2));
    assert!(left(&database).await.is_empty());
}

#[tokio::test]
async fn where_triggers_or_foreign_keys_hang_on_the_table_its_rows_are_exchanged_and_they_stay() {
    for hanging in [
        "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO log VALUES (NEW.id)",
        "CREATE TABLE items (item INT, of BIGINT, FOREIGN KEY (of) REFERENCES orders (id))",
    ] {
        let database = Database::with(&[
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, name TEXT)",
            "INSERT INTO orders VALUES (1, 'old')",
            "CREATE TABLE log (id BIGINT)",
            hanging,
        ])
        .await;
        let mut load = begin(&database, &json!({}), 1, Replace).await.unwrap();
        let staged = load.stage(&[batch(COLUMNS, &json!([[2, "new"], [2, "double"]]))]).await.unwrap();
        assert_eq!(load.cx.metrics().warnings().len(), 1);
        assert_eq!(database.texts("SELECT * FROM orders").await, [["1", "old"]]);
        let token = load.last_token();
        let Committed::Refused(rows) = load.commit(&token, vec![staged.clone()]).await.unwrap() else {
            panic!("a key came twice");
        };
        assert_eq!(rows[0].row.as_ref().unwrap()["name"], json!("double"));
        assert_eq!(load.commit(&token, vec![staged.clone()]).await.unwrap(), Committed::Applied);
        assert_eq!(load.commit(&token, vec![staged]).await.unwrap(), Committed::AlreadyApplied);
        assert_eq!(database.texts("SELECT * FROM orders").await, [["2", "new"]], "{hanging}");
        let has_trigger = hanging.contains("TRIGGER");
        assert_eq!(database.texts("SHOW TRIGGERS").await.len(), usize::from(has_trigger));
        assert_eq!(database.texts("SELECT * FROM log").await.len(), usize::from(has_trigger));
        assert!(left(&database).await.is_empty());
    }
}

#[tokio::test]
async fn rows_that_others_need_are_not_replaced() {
    let database = Database::with(&[
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, name TEXT)",
        "INSERT INTO orders VALUES (1, 'old')",
        "CREATE TABLE items (of BIGINT, FOREIGN KEY (of) REFERENCES orders (id))",
        "INSERT INTO items VALUES (1)",
    ])
    .await;
    let error =
        run(&database, &json!({}), 1, Replace, batch(COLUMNS, &json!([[2, "new"]]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid, "{error}");
    assert!(error.to_string().contains("foreign key constraint"), "{error}");
    assert_eq!(database.texts("SELECT * FROM orders").await, [["1", "old"]]);
}

#[tokio::test]
async fn a_table_without_transactions_and_a_view_are_refused() {
    for (statements, says) in [
        (["CREATE TABLE orders (id BIGINT) ENGINE=MyISAM", "DO 1"], "has no transactions"),
        (["CREATE TABLE x (id BIGINT)", "CREATE VIEW orders AS SELECT * FROM x"], "no plain table"),
    ] {
        let database = Database::with(&statements).await;
        for disposition in [Append, Replace, Merge] {
            let error = begin(&database, &json!({}), 1, disposition).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}

#[tokio::test]
async fn counters_defaults_and_generated_columns_fill_themselves() {
    let database =
        Database::with(&["CREATE TABLE orders (number BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(9), \
         made TIMESTAMP NOT NULL DEFAULT '2001-02-03 04:05:06', upper VARCHAR(9) AS (UPPER(name)) STORED)"])
        .await;
    let mut load = begin(&database, &json!({}), 1, Append).await.unwrap();
    let known = load.begun.schema.clone().unwrap();
    let names: Vec<_> = known.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["number", "name", "made"]);
    load.finish(&[batch("name: string", &json!([["a"], ["b"]]))]).await.unwrap();
    let found = database.texts("SELECT * FROM orders ORDER BY number").await;
    assert_eq!(found[0], ["1", "a", "2001-02-03 04:05:06", "A"]);
    assert_eq!(found[1][0], "2");
}

#[tokio::test]
async fn columns_that_the_stream_does_not_have_get_their_defaults() {
    for disposition in [Append, Merge] {
        let database = Database::with(&["CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR(9), \
             state VARCHAR(9) NULL DEFAULT 'new', note VARCHAR(9) NULL, made DATE NOT NULL DEFAULT '2001-02-03')"])
        .await;
        run(&database, &json!({}), 1, disposition, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap();
        let found = database.texts("SELECT state, coalesce(note, 'nothing'), made FROM orders").await;
        assert_eq!(found, [["new", "nothing", "2001-02-03"]], "{disposition:?}");
    }
}

#[tokio::test]
async fn a_column_that_every_row_needs_is_named_before_anything_is_written() {
    let database = Database::with(&["CREATE TABLE orders (id BIGINT, city VARCHAR(9) NOT NULL)"]).await;
    let error = run(&database, &json!({}), 1, Append, batch(COLUMNS, &json!([[1, "a"]]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("column `city` must not be null"), "{error}");
}

#[tokio::test]
async fn texts_go_into_columns_of_other_character_sets_or_are_rejected() {
    for load_by in ["load_data", "insert"] {
        let database =
            Database::with(&["CREATE TABLE orders (id BIGINT, name VARCHAR(20) CHARACTER SET latin1)"]).await;
        let mut load = begin(&database, &json!({ "load_by": load_by }), 1, Append).await.unwrap();
        let staged =
            load.stage(&[batch(COLUMNS, &json!([[1, "Grüße"], [2, "你好"], [3, "x"]]))]).await.unwrap();
        let rejected: Vec<_> =
            staged.rejected.iter().map(|row| row.row.as_ref().unwrap()["id"].clone()).collect();
        assert_eq!(rejected, [json!(2)], "{load_by}: {:?}", staged.rejected);
        let token = load.last_token();
        load.commit(&token, vec![staged]).await.unwrap();
        let found = database.texts("SELECT id, HEX(name) FROM orders ORDER BY id").await;
        assert_eq!(found, [["1", "4772FCDF65"], ["3", "78"]]);
    }
}

#[tokio::test]
async fn columns_grow_with_the_stream_and_keep_their_rows() {
    let database = Database::new().await;
    run(&database, &json!({}), 1, Append, batch("id: int32, size: int8", &json!([[1, 7]]))).await.unwrap();
    run(
        &database,
        &json!({}),
        2,
        Append,
        batch("id: int64, size: float64, more: date", &json!([[2, 0.5, "2024-01-02"]])),
    )
    .await
    .unwrap();
    run(&database, &json!({}), 3, Append, batch("id: int64, size: string", &json!([[3, "large"]])))
        .await
        .unwrap();
    let types = "SELECT GROUP_CONCAT(DATA_TYPE ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'orders'";
    assert_eq!(database.texts(types).await, [["bigint,longtext,date"]]);
    let found = database.texts("SELECT * FROM orders ORDER BY id").await;
    assert_eq!(found, [["1", "7", "NULL"], ["2", "0.5", "2024-01-02"], ["3", "large", "NULL"]]);
}

#[tokio::test]
async fn a_replaced_table_gets_the_new_types_of_columns_that_were_ours() {
    let database = Database::new().await;
    run(&database, &json!({}), 1, Replace, batch("id: string", &json!([["1"]]))).await.unwrap();
    run(&database, &json!({}), 2, Replace, batch("id: int64", &json!([[1]]))).await.unwrap();
    let types = "SELECT DATA_TYPE FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'orders'";
    assert_eq!(database.texts(types).await, [["bigint"]]);
}

#[tokio::test]
async fn a_type_that_does_not_fit_is_named() {
    let database = Database::with(&["CREATE TABLE orders (id BIGINT, name DATE)"]).await;
    let error = run(&database, &json!({}), 1, Append, batch("id: int64, name: int32", &json!([[1, 2]])))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(
        error.to_string().contains("column `name` of type int32 does not fit the table, where it is date"),
        "{error}"
    );
}

#[tokio::test]
async fn a_fraction_of_a_second_that_the_column_does_not_have_rejects_the_row() {
    let database = Database::with(&["CREATE TABLE orders (id BIGINT, at DATETIME(3))"]).await;
    let mut load = begin(&database, &json!({}), 1, Append).await.unwrap();
    let rows = json!([[1, "2024-01-01T00:00:00.123"], [2, "2024-01-01T00:00:00.123456"]]);
    let staged = load.stage(&[batch("id: int64, at: timestamp", &rows)]).await.unwrap();
    assert_eq!((staged.rows, staged.rejected[0].column.as_deref()), (1, Some("at")));
    assert!(staged.rejected[0].reason.contains("more than 3 digits"), "{}", staged.rejected[0]);
}

#[tokio::test]
async fn another_stream_of_the_same_pipeline_keeps_what_it_has_staged() {
    let database = Database::new().await;
    let mut first = begin(&database, &json!({ "table": "shared" }), 1, Append).await.unwrap();
    let staged = first.stage(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    let other = towpath_core::LoadSpec::new("retail", "other", "run-0002", Append);
    let options = database.options(&json!({ "table": "shared" }));
    begin_with(options, other).await.unwrap().finish(&[batch(COLUMNS, &json!([[2, "b"]]))]).await.unwrap();
    let token = first.last_token();
    first.commit(&token, vec![staged]).await.unwrap();
    assert_eq!(database.texts("SELECT id FROM shared ORDER BY id").await, [["1"], ["2"]]);
}

#[tokio::test]
async fn the_global_switch_of_the_server_decides_between_load_and_insert() {
    let database = Database::new().await;
    // The switch is one for the server, so only its reading is looked at: other tests load at this moment.
    let allowed: Option<u8> = connect(None).await.query_first("SELECT @@GLOBAL.local_infile").await.unwrap();
    let mut load = begin(&database, &json!({}), 1, Append).await.unwrap();
    load.finish(&[batch(COLUMNS, &json!([[1, "a"]]))]).await.unwrap();
    assert_eq!(load.begun.state["staging"]["by_load_data"], json!(allowed == Some(1)));
    let said = load.cx.metrics().warnings().iter().any(|warning| warning.contains("forbids LOAD DATA LOCAL"));
    assert_eq!(said, allowed == Some(0));
}
