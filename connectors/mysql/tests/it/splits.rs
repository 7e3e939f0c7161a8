//! How tables are cut, and that pieces go on where they broke off.

use serde_json::json;
use towpath_core::{Comparison, ErrorKind, Planned, Position, Predicate, Pushdown, Resume};
use towpath_testkit::{context, rows};

use crate::support::{Database, batches, failure, json_rows, numbers, plan, read, read_all, request};

#[tokio::test]
async fn a_dense_key_is_cut_into_even_pieces() {
    let database = Database::with(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    numbers(&database, "t", "i", 1000).await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "split_size": 100 })).await.unwrap();
    let (plan, splits) = plan(&*source, &cx, &request()).await.unwrap();
    assert_eq!(plan.columns, Pushdown::Exact);
    assert_eq!(splits.len(), 10);
    for split in &splits {
        assert_eq!(json_rows(&read(&*source, &cx, split, Position::Start).await.unwrap()).len(), 100);
    }
}

#[tokio::test]
async fn a_small_table_is_one_piece_however_far_its_keys_lie_apart() {
    let database = Database::with(&[
        "CREATE TABLE t (id BIGINT PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (9000000000000000000)",
    ])
    .await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "split_size": 100 })).await.unwrap();
    assert_eq!(plan(&*source, &cx, &request()).await.unwrap().1.len(), 1);
}

#[tokio::test]
async fn an_uneven_key_is_cut_where_its_rows_are() {
    let database = Database::with(&["CREATE TABLE t (id BIGINT PRIMARY KEY, text CHAR(100))"]).await;
    // One value far out would put all others into one piece.
    numbers(&database, "t", "i, 'x'", 5000).await;
    database.run("INSERT INTO t VALUES (9000000000000000000, 'x')").await;
    database.run("ANALYZE TABLE t").await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "split_size": 200 })).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    let mut sizes = Vec::new();
    for split in &splits {
        sizes.push(json_rows(&read(&*source, &cx, split, Position::Start).await.unwrap()).len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 5001);
    assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
}

#[tokio::test]
async fn each_kind_of_key_is_cut_and_read_on() {
    for (declared, value) in [
        ("INT", "i - 50"),
        ("BIGINT UNSIGNED", "18446744073709551615 - i"),
        ("DECIMAL(20,5)", "i / 7"),
        ("DATE", "DATE_ADD('1999-12-01', INTERVAL i DAY)"),
        ("DATETIME(6)", "DATE_ADD('1999-12-31 23:59:59.5', INTERVAL i * 1000001 MICROSECOND)"),
        ("TIMESTAMP(3)", "DATE_ADD('2001-01-01', INTERVAL i SECOND)"),
        ("VARCHAR(50)", "CONCAT('Key ', i, ' ü'' \\\\')"),
        ("VARCHAR(50) CHARACTER SET latin1", "CONCAT('é', i)"),
        ("CHAR(10) COLLATE utf8mb4_bin", "CONCAT(CHAR(64 + i % 60), i)"),
        ("VARBINARY(20)", "UNHEX(MD5(i))"),
        ("BINARY(16)", "UNHEX(MD5(i))"),
    ] {
        let table = format!("CREATE TABLE t (k {declared} NOT NULL PRIMARY KEY, n INT)");
        let database = Database::with(&[&table]).await;
        numbers(&database, "t", &format!("{value}, i"), 100).await;
        let cx = context();
        let options = json!({ "table": "t", "split_size": 30, "batch_rows": 8 });
        let source = database.source(&cx, &options).await.unwrap();
        assert_eq!(source.capabilities().resume, Resume::Exact);
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        assert!(splits.len() > 1, "{declared}");
        let mut found = Vec::new();
        for split in &splits {
            let whole = read(&*source, &cx, split, Position::Start).await.unwrap();
            for batch in &whole {
                let rest = read(&*source, &cx, split, batch.resume.clone()).await.unwrap();
                let behind = whole.iter().skip_while(|other| other.resume != batch.resume).skip(1);
                let behind: Vec<_> = behind.cloned().collect();
                let difference = rows::difference(&json_rows(&behind), &json_rows(&rest));
                assert_eq!(difference, None, "{declared} behind {:?}", batch.resume);
            }
            found.extend(json_rows(&whole));
        }
        let mut numbers: Vec<i64> = found.iter().map(|row| row["n"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=100).collect::<Vec<_>>(), "{declared}");
    }
}

#[tokio::test]
async fn a_unique_key_without_nulls_stands_in_for_a_primary_key() {
    let database =
        Database::with(&["CREATE TABLE t (a INT, b VARCHAR(9) NOT NULL, UNIQUE (a), UNIQUE u (b))"]).await;
    numbers(&database, "t", "NULL, i", 50).await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "split_size": 20 })).await.unwrap();
    assert_eq!(plan(&*source, &cx, &request()).await.unwrap().1.len(), 3);
    assert_eq!(json_rows(&batches(&*source, &cx, &request()).await.unwrap()).len(), 50);
}

#[tokio::test]
async fn a_table_without_a_key_says_what_to_set() {
    let database = Database::with(&["CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1), (1), (NULL)"]).await;
    let error = failure(database.options(&json!({ "table": "t" }))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("split_by: none"), "{error}");
    assert_eq!(read_all(&database, &json!({ "table": "t", "split_by": "none" })).await.unwrap().len(), 3);
    let by_column = json!({ "table": "t", "split_by": "a", "split_size": 1 });
    assert_eq!(read_all(&database, &by_column).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_view_is_cut_by_a_column_of_any_type_nulls_included() {
    let database = Database::with(&[
        "CREATE TABLE t (id INT PRIMARY KEY, tag VARCHAR(9), at DATE)",
        "CREATE VIEW v AS SELECT * FROM t",
    ])
    .await;
    numbers(
        &database,
        "t",
        "i, IF(i % 10 = 0, NULL, CONCAT('t', i % 7)), IF(i % 9 = 0, NULL, '2024-01-01')",
        90,
    )
    .await;
    for column in ["id", "tag", "at"] {
        let options = json!({ "table": "v", "split_by": column, "split_size": 20 });
        let rows = read_all(&database, &options).await.unwrap();
        let mut ids: Vec<i64> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..=90).collect::<Vec<_>>(), "{column}");
    }
}

#[tokio::test]
async fn only_wanted_columns_and_rows_come() {
    let database = Database::with(&["CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(9))"]).await;
    numbers(&database, "t", "i, i % 3, CONCAT('B', i % 2)", 30).await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "batch_rows": 4 })).await.unwrap();
    let mut request = request();
    request.columns = Some(vec!["b".to_owned()]);
    let equal = |column: &str, value| Predicate::Compare {
        column: column.to_owned(),
        comparison: Comparison::Equal,
        value,
    };
    request.filter = Some(Predicate::And(vec![equal("a", json!(1)), equal("b", json!("B1"))]));
    let batches = batches(&*source, &cx, &request).await.unwrap();
    assert_eq!(json_rows(&batches), vec![json!({"b": "B1"}); 5]);
    assert!(batches.len() > 1);
}

#[tokio::test]
async fn planning_is_lazy_and_goes_on_behind_any_step() {
    use futures::StreamExt;
    let database = Database::with(&["CREATE TABLE t (id VARCHAR(20) PRIMARY KEY)"]).await;
    numbers(&database, "t", "CONCAT('k', i)", 200).await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "split_size": 50 })).await.unwrap();
    let mut steps = source.plan(&cx, &request()).await.unwrap().splits;
    let Some(Ok(Planned::Split { split: first, resume })) = steps.next().await else {
        panic!("a split comes")
    };
    drop(steps);
    let mut later = request();
    later.planned = resume;
    let (_, rest) = plan(&*source, &cx, &later).await.unwrap();
    assert_eq!(rest.len(), 3);
    assert!(rest.iter().all(|split| split.id != first.id));
}
