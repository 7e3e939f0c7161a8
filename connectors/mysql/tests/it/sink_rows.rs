//! Rows that the target does not take, names and values that hold SQL, keys.

use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Committed, ErrorKind, LoadSpec};
use towpath_testkit::rows::batch;

use crate::sink_support::{begin, begin_with, left, run};
use crate::support::Database;

const WAYS: [&str; 2] = ["load_data", "insert"];

#[tokio::test]
async fn a_value_that_the_server_would_change_rejects_its_row_with_column_and_value() {
    for load_by in WAYS {
        let database = Database::with(&[
            "CREATE TABLE orders (id TINYINT, at DATETIME, name VARCHAR(3), kind ENUM('x'))",
        ])
        .await;
        let columns = "id: string, at: string, name: string, kind: string";
        let rows = json!([
            ["1", "2024-01-01 00:00:00", "abc", "x"],
            ["300", null, null, null],
            ["2", "never", null, null],
            ["3", null, "abcd", null],
            ["4", null, null, "y"],
            ["five", null, null, null],
            ["6", "2024-02-30", null, null],
            ["7", null, "ok", null],
        ]);
        let mut load = begin(&database, &json!({ "load_by": load_by }), 1, Append).await.unwrap();
        let staged = load.stage(&[batch(columns, &rows)]).await.unwrap();
        let wrong: Vec<_> = staged
            .rejected
            .iter()
            .map(|rejected| {
                (rejected.column.as_deref().unwrap_or("?"), rejected.value.as_deref().unwrap_or("?"))
            })
            .collect();
        let expected = [
            ("id", "300"),
            ("at", "never"),
            ("name", "abcd"),
            ("kind", "y"),
            ("id", "five"),
            ("at", "2024-02-30"),
        ];
        assert_eq!(wrong, expected, "{load_by}");
        assert!(staged.rejected[0].place.ends_with("row 2 of part 0"), "{}", staged.rejected[0]);
        assert_eq!(staged.rejected[0].row.as_ref().unwrap()["id"], json!("300"));
        assert_eq!(staged.rows, 2);
        let token = load.last_token();
        load.commit(&token, vec![staged]).await.unwrap();
        assert_eq!(database.texts("SELECT id FROM orders ORDER BY id").await, [["1"], ["7"]]);
    }
}

#[tokio::test]
async fn rows_that_violate_a_constraint_are_given_back_and_the_rest_is_committed() {
    let database = Database::with(&[
        "CREATE TABLE customers (id BIGINT PRIMARY KEY)",
        "INSERT INTO customers VALUES (1)",
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT NULL REFERENCES customers (id), \
         amount INT NULL CHECK (amount > 0))",
        "INSERT INTO orders VALUES (5, 1, 1)",
    ])
    .await;
    let rows = json!([[1, 1, 1], [2, 7, 1], [3, 1, -1], [4, 1, 1], [4, 1, 2], [5, 1, 1], [6, null, null]]);
    let mut load = begin(&database, &json!({}), 1, Append).await.unwrap();
    let staged = load.stage(&[batch("id: int64, customer: int64, amount: int32", &rows)]).await.unwrap();
    let token = load.last_token();
    let Committed::Refused(rows) = load.commit(&token, vec![staged.clone()]).await.unwrap() else {
        panic!("four rows violate something");
    };
    let refused: Vec<_> = rows.iter().map(|row| row.row.as_ref().unwrap()["id"].clone()).collect();
    assert_eq!(refused, [json!("2"), json!("3"), json!("4"), json!("5")]);
    assert!(rows[0].reason.contains("foreign key"), "{}", rows[0]);
    assert!(rows[3].reason.contains("Duplicate entry '5'"), "{}", rows[3]);
    // Nothing was applied before the second attempt.
    assert_eq!(database.texts("SELECT COUNT(*) FROM orders").await, [["1"]]);
    assert_eq!(load.commit(&token, vec![staged]).await.unwrap(), Committed::Applied);
    let found = database.texts("SELECT id, amount FROM orders ORDER BY id").await;
    assert_eq!(found, [["1", "1"], ["4", "1"], ["5", "1"], ["6", "NULL"]]);
    assert!(left(&database).await.is_empty());
}

#[tokio::test]
async fn a_replaced_table_keeps_its_key_and_gives_doubled_rows_back() {
    for load_by in WAYS {
        let database = Database::with(&["CREATE TABLE orders (id BIGINT PRIMARY KEY, name TEXT)"]).await;
        let mut load = begin(&database, &json!({ "load_by": load_by }), 1, Replace).await.unwrap();
        let rows = json!([[1, "a"], [2, "b"], [2, "again"], [3, "c"], [1, "again"]]);
        let staged = load.stage(&[batch("id: int64, name: string", &rows)]).await.unwrap();
        assert_eq!((staged.rows, staged.rejected.len()), (3, 2), "{:?}", staged.rejected);
        assert!(staged.rejected[0].reason.contains("Duplicate entry"), "{}", staged.rejected[0]);
        let token = load.last_token();
        load.commit(&token, vec![staged]).await.unwrap();
        let found = database.texts("SELECT * FROM orders ORDER BY id").await;
        assert_eq!(found, [["1", "a"], ["2", "b"], ["3", "c"]], "{load_by}");
    }
}

#[tokio::test]
async fn a_null_in_the_key_of_a_merge_rejects_the_row() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Merge).await.unwrap();
    let staged =
        load.stage(&[batch("id: int64, name: string", &json!([[1, "a"], [null, "b"]]))]).await.unwrap();
    assert_eq!((staged.rows, staged.rejected[0].column.as_deref()), (1, Some("id")));
}

#[tokio::test]
async fn merge_into_a_table_without_a_unique_key_or_with_others_still_replaces_by_the_key() {
    for definition in [
        "CREATE TABLE orders (id BIGINT, name VARCHAR(9), kept INT NULL DEFAULT 7)",
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR(9) UNIQUE, kept INT NULL DEFAULT 7)",
    ] {
        let database =
            Database::with(&[definition, "INSERT INTO orders VALUES (1, 'one', 1), (2, 'two', 2)"]).await;
        let rows = json!([[2, "x"], [3, "three"], [2, "last"], [3, "third"]]);
        run(&database, &json!({}), 1, Merge, batch("id: int64, name: string", &rows)).await.unwrap();
        let found = database.texts("SELECT * FROM orders ORDER BY id").await;
        assert_eq!(found, [["1", "one", "1"], ["2", "last", "2"], ["3", "third", "7"]], "{definition}");
    }
}

#[tokio::test]
async fn keys_that_a_collation_takes_for_the_same_stay_apart() {
    let database = Database::new().await;
    let columns = "id: string, name: string";
    // Made without a key, so its texts have the collation of the server.
    run(&database, &json!({}), 1, Append, batch(columns, &json!([["a", "small"], ["A", "large"]])))
        .await
        .unwrap();
    let options = json!({ "delete_missing": "hard" });
    let rows = json!([["a", "1"], ["A", "2"], ["a ", "3"], ["A", "4"]]);
    run(&database, &options, 2, Merge, batch(columns, &rows)).await.unwrap();
    let found = database.texts("SELECT CONCAT(id, '.'), name FROM orders ORDER BY name").await;
    assert_eq!(found, [["a.", "1"], ["a .", "3"], ["A.", "4"]]);
    run(&database, &options, 3, Merge, batch(columns, &json!([["A", "5"]]))).await.unwrap();
    assert_eq!(database.texts("SELECT id, name FROM orders").await, [["A", "5"]]);
}

#[tokio::test]
async fn merge_never_takes_a_row_for_another_one_because_of_another_unique_key() {
    let database = Database::with(&[
        "CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR(9) UNIQUE)",
        "INSERT INTO orders VALUES (1, 'one')",
    ])
    .await;
    let mut load = begin(&database, &json!({}), 1, Merge).await.unwrap();
    let rows = batch("id: int64, name: string", &json!([[2, "one"], [3, "three"]]));
    let Committed::Refused(refused) = load.finish(&[rows]).await.unwrap() else {
        panic!("the name is taken");
    };
    assert_eq!(refused.len(), 1);
    assert_eq!(database.texts("SELECT * FROM orders").await, [["1", "one"]]);
}

#[tokio::test]
async fn names_and_values_that_hold_sql_mean_themselves() {
    const NAME: &str = "x`; DROP TABLE victim; -- ' \" \\ ü 你";
    let value = "'; DROP TABLE victim; -- \\' \\\" `";
    for (number, load_by) in (1..).zip(WAYS) {
        let database = Database::with(&["CREATE TABLE victim (id INT)"]).await;
        for disposition in [Append, Replace, Merge] {
            let spec = LoadSpec::new(value, NAME, format!("run-{number}-{disposition:?}"), disposition)
                .key(vec![NAME.to_owned()]);
            let options = json!({
                "load_by": load_by, "primary_key": true, "delete_missing": if disposition == Merge { "hard" } else { "no" },
            });
            let mut load = begin_with(database.options(&options), spec).await.unwrap();
            let schema = arrow_schema::Schema::new(vec![
                arrow_schema::Field::new(NAME, arrow_schema::DataType::Utf8, true),
                arrow_schema::Field::new("SELECT", arrow_schema::DataType::Utf8, true),
            ]);
            let text = |text: &str| std::sync::Arc::new(arrow::array::StringArray::from(vec![text])) as _;
            let key = format!("{value}{disposition:?}");
            let rows = arrow::array::RecordBatch::try_new(
                std::sync::Arc::new(schema),
                vec![text(&key), text(value)],
            )
            .unwrap();
            assert_eq!(load.finish(&[rows]).await.unwrap(), Committed::Applied);
        }
        assert!(database.texts("SELECT * FROM victim").await.is_empty());
        let table = NAME.replace('`', "``");
        assert_eq!(database.texts(&format!("SELECT `select` FROM `{table}`")).await, [[value]]);
    }
}

#[tokio::test]
async fn columns_that_mysql_takes_for_the_same_are_refused() {
    let database = Database::new().await;
    let mut load = begin(&database, &json!({}), 1, Append).await.unwrap();
    let error = load.stage(&[batch("id: int64, ID: int64", &json!([[1, 2]]))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("two columns are called `ID`"), "{error}");
}

#[tokio::test]
async fn a_row_longer_than_a_packet_is_written_by_load_and_rejected_by_insert() {
    let database = Database::new().await;
    let long = "x".repeat(17 << 20);
    for (load_by, rows) in [("load_data", 2), ("insert", 1)] {
        let mut load = begin(&database, &json!({ "load_by": load_by }), 1, Replace).await.unwrap();
        let staged =
            load.stage(&[batch("id: int64, name: string", &json!([[1, long], [2, "short"]]))]).await.unwrap();
        assert_eq!(
            staged.rows,
            rows,
            "{load_by}: {:?}",
            staged.rejected.iter().map(|row| &row.reason).collect::<Vec<_>>()
        );
        if load_by == "insert" {
            assert!(staged.rejected[0].reason.contains("max_allowed_packet"));
        }
    }
}
