//! Columns that come, become wider, or do not fit; and others who use the table meanwhile.

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Json, LoadSpec, SinkCapabilities};
use towpath_testkit::rows::batch;

use crate::load::{Load, load};
use crate::support::{Database, error_of};

fn people(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<Json> = ids.map(|id| json!([id, format!("person {id}")])).collect();
    batch("id: int64, name: string", &json!(rows))
}

async fn type_of(database: &Database, column: &str) -> String {
    let sql = format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = 'orders'::regclass AND attname = '{column}'"
    );
    database.text(&sql).await
}

#[tokio::test]
async fn a_column_becomes_as_wide_as_its_values_and_keeps_those_that_are_there() {
    for (before, value, arrow, more, after, shown) in [
        ("smallint", "7", "int64", json!(4_000_000_000_i64), "bigint", "4000000000 7"),
        ("integer", "7", "float64", json!(0.5), "double precision", "0.5 7"),
        ("real", "0.5", "float64", json!(1e300), "double precision", "0.5 1e+300"),
        (
            "numeric(6,2)",
            "1.25",
            "decimal(10,4)",
            json!("123456.7891"),
            "numeric(10,4)",
            "1.2500 123456.7891",
        ),
        ("numeric(10,4)", "1.2500", "decimal(6,2)", json!("2.25"), "numeric(10,4)", "1.2500 2.2500"),
        ("bigint", "7", "string", json!("x"), "text", "7 x"),
        (
            "date",
            "'2026-01-02'",
            "timestamp",
            json!("2026-01-01T10:00:00"),
            "timestamp without time zone",
            "2026-01-01 10:00:00 2026-01-02 00:00:00",
        ),
        ("integer[]", "'{1}'", "list<int64>", json!([5_000_000_000_i64]), "bigint[]", "{1} {5000000000}"),
        ("boolean", "true", "string", json!("maybe"), "text", "maybe true"),
    ] {
        let database = Database::with(&[
            &format!("CREATE TABLE orders (id bigint, v {before})"),
            &format!("INSERT INTO orders VALUES (1, {value})"),
        ])
        .await;
        let rows = batch(&format!("id: int64, v: {arrow}"), &json!([[2, more]]));
        let rejected = load(&database, &json!({}), Append, 1, &rows).await;
        let rejected = rejected.unwrap_or_else(|error| panic!("{before} and {arrow}: {error}"));
        assert!(rejected.is_empty(), "{before} and {arrow}: {rejected:?}");
        assert_eq!(type_of(&database, "v").await, after, "{before} and {arrow}");
        let held = "SELECT string_agg(v::text, ' ' ORDER BY v::text) FROM orders";
        assert_eq!(database.text(held).await, shown, "{before} and {arrow}");
    }
}

#[tokio::test]
async fn a_column_that_a_view_keeps_from_changing_is_an_error_that_names_it_and_harms_nothing() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::with(&[
            "CREATE TABLE orders (id bigint PRIMARY KEY, v smallint)",
            "INSERT INTO orders VALUES (1, 7)",
            "CREATE VIEW seen AS SELECT v FROM orders",
        ])
        .await;
        let rows = batch("id: int64, v: int64", &json!([[2, 4_000_000_000_i64]]));
        let error = error_of(load(&database, &json!({}), disposition, 1, &rows).await);
        assert!(error.to_string().contains("view"), "{disposition:?}: {error}");
        assert_eq!(database.text("SELECT string_agg(v::text, ' ') FROM seen").await, "7", "{disposition:?}");
    }
}

#[tokio::test]
async fn columns_that_come_within_a_run_are_added_and_older_rows_are_empty_there() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        let mut staged = vec![run.stage(&people(1..3)).await.unwrap()];
        let more = batch("id: int64, name: string, note: string", &json!([[3, "c", "new"]]));
        staged.push(run.stage(&more).await.unwrap());
        run.commit(staged, true).await.unwrap();
        let held = "SELECT string_agg(id || coalesce(' ' || note, ''), ', ' ORDER BY id) FROM orders";
        assert_eq!(database.text(held).await, "1, 2, 3 new", "{disposition:?}");
    }
}

#[tokio::test]
async fn streams_that_begin_at_once_make_their_schema_together() {
    let database = Database::new().await;
    let options = json!({ "table": "made.{stream}" });
    let streams = (0..6).map(async |number| {
        let spec = LoadSpec::new("shop", format!("stream_{number}"), "run-1", Append);
        let mut run = Load::begin_as(&database, &options, spec).await?;
        let staged = run.stage(&people(0..10)).await?;
        run.commit(vec![staged], true).await
    });
    for done in futures::future::join_all(streams).await {
        assert!(done.unwrap().is_empty());
    }
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'made' AND tablename LIKE 'stream%'";
    assert_eq!(database.text(tables).await, "6");
}

#[tokio::test]
async fn more_writers_than_connections_wait_for_each_other_and_finish() {
    for disposition in [Append, Replace] {
        let database = Database::new().await;
        let mut run = Load::begin(&database, &json!({ "max_connections": 2 }), disposition, 1).await.unwrap();
        let SinkCapabilities { max_writers, .. } = run.sink.capabilities();
        assert_eq!(max_writers, 1);
        run.begun = run.sink.evolve(&run.cx, &run.begun, people(0..0).schema_ref()).await.unwrap();
        let writing = (0..6).map(async |part: u32| {
            let mut writer = run.sink.writer(&run.cx, &run.begun, part).await?;
            for step in 0..3 {
                let first = i64::from(part) * 100 + step * 10;
                writer.write(people(first..first + 10)).await?;
            }
            writer.finish().await
        });
        let staged = futures::future::try_join_all(writing).await.unwrap();
        run.commit(staged, true).await.unwrap();
        assert_eq!(database.text("SELECT count(DISTINCT id) FROM orders").await, "180", "{disposition:?}");
    }
}

#[tokio::test]
async fn a_lock_of_others_is_waited_for_as_long_as_the_option_says() {
    let database = Database::with(&["CREATE TABLE orders (id bigint, name text)"]).await;
    let options = json!({ "lock_timeout": "50ms" });
    let mut run = Load::begin(&database, &options, Append, 1).await.unwrap();
    let staged = run.stage(&people(1..3)).await.unwrap();
    let other = database.client().await;
    other.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let token = run.token(true);
    let error = error_of(run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await);
    assert!(error.is_retryable() && error.to_string().contains("lock"), "{error}");
    other.batch_execute("COMMIT").await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM orders").await, "2");
}

#[tokio::test]
async fn merge_goes_into_tables_with_partitions_and_without_keys() {
    for make in [
        "CREATE TABLE orders (id bigint, name text)",
        "CREATE TABLE orders (id bigint PRIMARY KEY, name text) PARTITION BY HASH (id)",
        "CREATE TABLE orders (id bigint, name text); CREATE UNIQUE INDEX ON orders (id) WHERE name <> ''",
    ] {
        let database = Database::with(&[make]).await;
        if make.contains("PARTITION") {
            database
                .run("CREATE TABLE half PARTITION OF orders FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
                .await;
        }
        for run in 1..=2 {
            assert!(load(&database, &json!({}), Merge, run, &people(1..5)).await.unwrap().is_empty());
        }
        assert_eq!(database.text("SELECT count(*) FROM orders").await, "4", "{make}");
    }
}

#[tokio::test]
async fn a_view_in_the_place_of_the_table_is_an_error_that_says_so() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::with(&[
            "CREATE TABLE behind (id bigint, name text)",
            "CREATE VIEW orders AS SELECT id, upper(name) AS name FROM behind",
        ])
        .await;
        let outcome = load(&database, &json!({}), disposition, 1, &people(1..3)).await;
        let error = error_of(outcome).to_string();
        assert!(error.contains("orders") && error.contains("view"), "{disposition:?}: {error}");
    }
}

#[tokio::test]
async fn columns_that_the_stream_does_not_have_get_their_defaults() {
    for disposition in [Append, Merge] {
        let database = Database::with(&[
            "CREATE TABLE orders (id bigint PRIMARY KEY, name text, state text DEFAULT 'new', note text, \
             made date NOT NULL DEFAULT '2001-02-03', number serial)",
        ])
        .await;
        let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        let staged = run.stage(&people(1..2)).await.unwrap();
        run.commit(vec![staged], true).await.unwrap();
        let found = database.texts("SELECT state, note, made, number FROM orders").await;
        assert_eq!(found, [["new", "NULL", "2001-02-03", "1"]], "{disposition:?}");
    }
}
