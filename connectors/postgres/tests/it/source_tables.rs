//! Tables of every kind, cut in every way, and what there is to discover.

use std::collections::BTreeSet;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Batch, Context, CursorRange, DynSource, ErrorKind, Position, Predicate, Pushdown, Split};
use towpath_testkit::context;

use crate::support::{Database, User, error_of, json_rows, plan, read, read_all, request};

async fn ids(database: &Database, options: serde_json::Value) -> Vec<i64> {
    let cx = context();
    let source = database.source(&cx, &options).await.unwrap();
    let batches = read_all(&*source, &cx, &request()).await.unwrap();
    let mut ids: Vec<_> = json_rows(&batches).iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn partitions_and_descendants_belong_to_their_table_and_each_row_comes_once() {
    let database = Database::with(&[
        "CREATE TABLE parted (id bigint, text text) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (500)",
        "CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (500) TO (1000) PARTITION BY LIST (id)",
        "CREATE TABLE parted_rest PARTITION OF parted_high DEFAULT",
        "INSERT INTO parted SELECT i, repeat('x', 200) FROM generate_series(0, 999) i",
        "CREATE TABLE base (id bigint)",
        "CREATE TABLE derived (more text) INHERITS (base)",
        "INSERT INTO base VALUES (1)",
        "INSERT INTO derived SELECT i, repeat('x', 500) FROM generate_series(2, 300) i",
    ])
    .await;
    let all: Vec<i64> = (0..1000).collect();
    assert_eq!(ids(&database, json!({ "table": "parted", "split_size": "64KiB" })).await, all);
    assert_eq!(
        ids(&database, json!({ "table": "base", "split_size": "16KiB" })).await,
        (1..=300).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn views_foreign_tables_and_queries_are_read_whole() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint)",
        "INSERT INTO t SELECT generate_series(1, 100)",
        "CREATE VIEW v AS SELECT id FROM t WHERE id > 50",
        "CREATE MATERIALIZED VIEW m AS SELECT id FROM t WHERE id <= 50",
    ])
    .await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "v" })).await.unwrap();
    assert_eq!(plan(&*source, &cx, &request()).await.unwrap().1.len(), 1);
    assert_eq!(ids(&database, json!({ "table": "v" })).await, (51..=100).collect::<Vec<_>>());
    assert_eq!(ids(&database, json!({ "table": "m" })).await, (1..=50).collect::<Vec<_>>());
    let query = json!({ "query": "SELECT id FROM t WHERE id % 2 = 0;" });
    assert_eq!(ids(&database, query).await.len(), 50);
}

#[tokio::test]
async fn what_the_split_size_says_is_what_a_split_holds() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint PRIMARY KEY, text text)",
        "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 2000) i",
        "ANALYZE t",
    ])
    .await;
    let cx = context();
    let count = async |options: serde_json::Value| {
        let source = database.source(&cx, &options).await.unwrap();
        plan(&*source, &cx, &request()).await.unwrap().1
    };
    let (small, large) = (
        count(json!({ "table": "t", "split_size": "16KiB" })).await,
        count(json!({ "table": "t", "split_size": "128KiB" })).await,
    );
    assert!(small.len() > 2 * large.len() && large.len() > 1, "{} {}", small.len(), large.len());
    let estimated: u64 = small.iter().map(|split| split.estimate.unwrap().rows.unwrap()).sum();
    assert!((1900..2100).contains(&estimated), "{estimated}");
    let by_key = count(json!({ "table": "t", "split_size": "32KiB", "split_by": "id" })).await;
    assert!(by_key.len() > 4, "{}", by_key.len());
    assert_eq!(count(json!({ "table": "t", "split_size": "16KiB", "split_by": "none" })).await.len(), 1);
    let batches = async |size: &str| {
        let options = json!({ "table": "t", "split_by": "none", "batch_size": size });
        let source = database.source(&cx, &options).await.unwrap();
        read_all(&*source, &cx, &request()).await.unwrap().len()
    };
    assert!(batches("4KiB").await > 2 * batches("64KiB").await);
    // The engine reads as many splits at once as its memory has room for.
    let split = count(json!({ "table": "t", "split_by": "none", "batch_size": "64KiB" })).await.remove(0);
    assert_eq!(split.memory, Some(256 << 10));
}

#[tokio::test]
async fn keys_of_every_kind_cut_a_table() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint NOT NULL, u uuid NOT NULL UNIQUE, s text NOT NULL UNIQUE, \
         at timestamptz NOT NULL UNIQUE, n numeric NOT NULL UNIQUE)",
        "INSERT INTO t SELECT i, md5(i::text)::uuid, 'k' || i, '2026-01-01Z'::timestamptz + i * interval '1 s', i / 7.0 \
         FROM generate_series(1, 3000) i",
    ])
    .await;
    let expected: Vec<i64> = (1..=3000).collect();
    // Before the server has counted, after that, and where it never counts.
    for analyze in ["", "ANALYZE t"] {
        database.run(analyze).await;
        for key in ["u", "s", "at", "n"] {
            for what in [json!({ "table": "t" }), json!({ "query": "SELECT * FROM t" })] {
                let mut options = json!({ "split_by": key, "split_size": "32KiB", "batch_size": "4KiB" });
                options.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
                assert_eq!(ids(&database, options).await, expected, "{key} {what} {analyze}");
            }
        }
    }
}

/// Reads a split so that each batch comes from another attempt, which goes on behind the one before.
async fn read_in_attempts(source: &dyn DynSource, cx: &Context, split: &Split) -> Vec<Batch> {
    let (mut read, mut from) = (Vec::new(), Position::Start);
    loop {
        let batches = source.read(cx, split, from).unwrap();
        // One without anything in it is the row that had to be seen again.
        let is_empty = |batch: &Batch| batch.rows.num_rows() + batch.rejected.len() == 0;
        let mut with_rows = batches.try_skip_while(|batch| std::future::ready(Ok(is_empty(batch))));
        let Some(batch) = with_rows.try_next().await.unwrap() else { return read };
        from = batch.resume.clone();
        read.push(batch);
    }
}

#[tokio::test]
async fn moments_before_the_first_year_and_behind_the_last_of_four_digits_are_keys_like_others() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint NOT NULL, day date NOT NULL UNIQUE, at timestamp NOT NULL UNIQUE, \
         instant timestamptz NOT NULL UNIQUE)",
        "INSERT INTO t SELECT i, d::date, d + time '01:02:03.000004', (d + time '01:02:03.000004') AT TIME ZONE 'UTC' \
         FROM generate_series(1, 300) i, LATERAL (SELECT '0002-06-01 BC'::timestamp + i * interval '5 days' AS d) days",
        "INSERT INTO t VALUES (301, '12026-01-01', '12026-01-01', '12026-01-01Z'), \
         (302, '4000-01-01 BC', '4000-01-01 BC', '4000-01-01Z BC'), (303, 'infinity', 'infinity', 'infinity'), \
         (304, '-infinity', '-infinity', '-infinity')",
    ])
    .await;
    let cx = context();
    for (key, what) in
        [("day", "table"), ("at", "table"), ("instant", "table"), ("day", "query"), ("instant", "query")]
    {
        let what =
            if what == "table" { json!({ "table": "t" }) } else { json!({ "query": "SELECT * FROM t" }) };
        let mut options = json!({ "split_by": key, "split_size": "8KiB", "batch_size": "1KiB" });
        options.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let source = database.source(&cx, &options).await.unwrap();
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        let mut ids = BTreeSet::new();
        for split in &splits {
            for batch in read_in_attempts(&*source, &cx, split).await {
                for id in batch.rows["id"].as_primitive::<Int64Type>().values() {
                    assert!(ids.insert(*id), "{id} came twice by {options}");
                }
            }
        }
        assert_eq!(ids.len(), 304, "{options}");
    }
}

#[tokio::test]
async fn a_row_that_is_rejected_at_the_end_of_a_batch_is_told_once_by_a_read_that_goes_on() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint PRIMARY KEY, price numeric(6,2))",
        "INSERT INTO t SELECT i, CASE WHEN i % 3 = 0 THEN 'NaN' ELSE i::numeric END FROM generate_series(1, 20) i",
        "INSERT INTO t VALUES (21, 'NaN')",
    ])
    .await;
    let cx = context();
    for (what, columns) in
        [("table", None), ("query", None), ("table", Some("price")), ("query", Some("price"))]
    {
        let options = match what {
            "table" => json!({ "table": "t", "split_by": "id", "batch_size": "1" }),
            _ => json!({ "query": "SELECT * FROM t", "split_by": "id", "batch_size": "1" }),
        };
        let source = database.source(&cx, &options).await.unwrap();
        let mut wanted = request();
        wanted.columns = columns.map(|column: &str| vec![column.to_owned()]);
        let (_, splits) = plan(&*source, &cx, &wanted).await.unwrap();
        let (mut rows, mut rejected) = (0, 0);
        for split in &splits {
            for batch in read_in_attempts(&*source, &cx, split).await {
                rows += batch.rows.num_rows();
                rejected += batch.rejected.len();
            }
        }
        assert_eq!((rows, rejected), (14, 7), "{options} {columns:?}");
    }
}

#[tokio::test]
async fn a_column_that_tells_no_rows_apart_cannot_be_split_by() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint, twice bigint)",
        "INSERT INTO t SELECT i, i / 2 FROM generate_series(1, 1000) i",
    ])
    .await;
    let cx = context();
    for (options, text) in [
        (json!({ "table": "t", "split_by": "twice" }), "two rows may have the same `twice`"),
        (json!({ "table": "t", "split_by": "nothing" }), "`nothing`, which is no column"),
        (
            json!({ "query": "SELECT * FROM t", "split_by": "twice", "batch_size": "64" }),
            "two rows have the same `twice`",
        ),
        (json!({ "query": "SELECT NULL::bigint AS id", "split_by": "id" }), "or none"),
    ] {
        let source = database.source(&cx, &options).await.unwrap();
        let error = error_of(read_all(&*source, &cx, &request()).await);
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(text), "{options}: {error}");
    }
    let error = error_of(database.source(&cx, &json!({ "query": "SELECT 1", "split_by": "ctid" })).await);
    assert!(error.to_string().contains("a query has no `ctid`"), "{error}");
    let error = error_of(database.source(&cx, &json!({ "query": "SELECT 1", "table": "t" })).await);
    assert!(error.to_string().contains("exclude each other"), "{error}");
}

#[tokio::test]
async fn only_wanted_columns_and_rows_are_asked_for() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint PRIMARY KEY, text text, price numeric(9,2))",
        "INSERT INTO t SELECT i, 'n' || i, i / 4.0 FROM generate_series(1, 100) i",
    ])
    .await;
    let cx = context();
    let source =
        database.source(&cx, &json!({ "table": "t", "split_by": "id", "split_size": "8KiB" })).await.unwrap();
    let mut wanted = request();
    wanted.columns = Some(vec!["price".into(), "nowhere".into()]);
    wanted.filter = Some(Predicate::In {
        column: "text".into(),
        values: vec![json!("n4"), json!("'; DROP TABLE t; --")],
    });
    let (plan, splits) = plan(&*source, &cx, &wanted).await.unwrap();
    assert_eq!((plan.columns, plan.schema.unwrap().fields().len()), (Pushdown::Exact, 1));
    let mut rows = Vec::new();
    for split in &splits {
        rows.extend(json_rows(&read(&*source, &cx, split).await.unwrap()));
    }
    assert_eq!(rows, [json!({ "price": "1.00" })]);
    let mut few = request();
    few.limit = Some(3);
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    assert_eq!(json_rows(&read_all(&*source, &cx, &few).await.unwrap()).len(), 3);
}

#[tokio::test]
async fn cursors_reach_back_as_the_options_say() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint, at timestamptz)",
        "INSERT INTO t SELECT i, '2026-01-01Z'::timestamptz + i * interval '1 minute' FROM generate_series(1, 60) i",
        "INSERT INTO t VALUES (61, NULL)",
    ])
    .await;
    let cx = context();
    let count = async |more: serde_json::Value, field: &str, after: Option<serde_json::Value>| {
        let mut options = json!({ "table": "t" });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let source = database.source(&cx, &options).await.unwrap();
        let mut request = request();
        request.cursor = Some(CursorRange::new(field, after, None));
        json_rows(&read_all(&*source, &cx, &request).await.unwrap()).len()
    };
    let half = Some(json!("2026-01-01T00:30:00Z"));
    assert_eq!(count(json!({}), "at", None).await, 61);
    assert_eq!(count(json!({}), "at", half.clone()).await, 30);
    assert_eq!(count(json!({ "cursor_inclusive": true }), "at", half.clone()).await, 31);
    assert_eq!(count(json!({ "lookback": "10m" }), "at", half).await, 41);
    assert_eq!(count(json!({ "lookback": 5 }), "id", Some(json!(50))).await, 17);
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    let mut wrong = request();
    wrong.cursor = Some(CursorRange::new("x\" OR true --", None, None));
    let error = error_of(read_all(&*source, &cx, &wrong).await);
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("is no column"), "{error}");
}

#[tokio::test]
async fn discovery_lists_every_table_of_very_many() {
    let make =
        "DO $$ BEGIN FOR i IN 1..5100 LOOP EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$";
    let database = Database::with(&[make]).await;
    let cx = context();
    let source = database.source(&cx, &json!({})).await.unwrap();
    let found = source.discover(&cx).await.unwrap();
    assert_eq!(found.len(), 5100);
    assert!(
        found.iter().all(|dataset| dataset.schema.as_ref().is_some_and(|schema| schema.fields().len() == 1))
    );
}

#[tokio::test]
async fn discovery_lists_what_may_be_read_with_keys_columns_and_sizes() {
    let database = Database::with(&[
        "CREATE SCHEMA sales",
        "CREATE TYPE mood AS ENUM ('sad', 'ok')",
        "CREATE DOMAIN money2 AS numeric(10,2)",
        "CREATE TABLE sales.\"Order Items\" (b int, a int, m mood, p money2, l int[], PRIMARY KEY (a, b))",
        "INSERT INTO sales.\"Order Items\" SELECT i, i FROM generate_series(1, 500) i",
        "ANALYZE sales.\"Order Items\"",
        "CREATE VIEW seen AS SELECT 1 AS one",
        "CREATE TABLE hidden (id int)",
    ])
    .await;
    let user = User::new(&database).await;
    database
        .run(&format!(
            "GRANT USAGE ON SCHEMA sales TO {0}; GRANT SELECT ON sales.\"Order Items\", seen TO {0}",
            user.name
        ))
        .await;
    let cx = context();
    let source = towpath_connector_postgres::CONNECTOR.source_entry().unwrap();
    let source = source.open(user.options(&json!({})), &cx).await.unwrap();
    let found = source.discover(&cx).await.unwrap();
    let names: BTreeSet<_> = found.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["sales.Order Items", "seen"]));
    let items = found.iter().find(|dataset| dataset.name.starts_with("sales")).unwrap();
    assert_eq!(items.key, ["a", "b"]);
    assert_eq!(items.estimate.rows, Some(500));
    assert!(items.estimate.bytes.unwrap() > 8_000);
    assert_eq!(items.source, json!({ "table": "sales.Order Items" }));
    let types: Vec<_> =
        items.schema.as_ref().unwrap().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Int32", "Int32", "Utf8", "Decimal128(10, 2)", "List(Int32)"]);
    // What was found can be read as it is.
    let options = user.options(&items.source);
    let source =
        towpath_connector_postgres::CONNECTOR.source_entry().unwrap().open(options, &cx).await.unwrap();
    assert_eq!(json_rows(&read_all(&*source, &cx, &request()).await.unwrap()).len(), 500);
}

#[tokio::test]
async fn names_that_hold_sql_are_names() {
    let evil = "x\"; DROP TABLE victim; --";
    let quoted = evil.replace('"', "\"\"");
    let database = Database::with(&[
        "CREATE TABLE victim (id int)",
        &format!("CREATE SCHEMA \"{quoted}\""),
        &format!("CREATE TABLE \"{quoted}\".\"{quoted}\" (\"{quoted}\" bigint PRIMARY KEY, \"select\" text, \"Ünïcode'\" text)"),
        &format!("INSERT INTO \"{quoted}\".\"{quoted}\" SELECT i, 'a', 'b' FROM generate_series(1, 500) i"),
        &format!("ANALYZE \"{quoted}\".\"{quoted}\""),
    ])
    .await;
    let cx = context();
    let table = format!("\"{quoted}\".\"{quoted}\"");
    for split_by in ["ctid", evil] {
        let options = json!({ "table": table, "split_by": split_by, "split_size": "8KiB" });
        let source = database.source(&cx, &options).await.unwrap();
        let mut request = request();
        request.cursor = Some(CursorRange::new(evil, Some(json!(0)), None));
        let rows = json_rows(&read_all(&*source, &cx, &request).await.unwrap());
        assert_eq!(rows.len(), 500);
        assert_eq!(rows[0]["Ünïcode'"], "b");
    }
    let source = database.source(&cx, &json!({ "table": table })).await.unwrap();
    let mut request = request();
    request.cursor = Some(CursorRange::new("select", Some(json!("'; DROP TABLE victim; --")), None));
    read_all(&*source, &cx, &request).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM victim").await, "0");
}

#[tokio::test]
async fn planning_goes_on_below_the_bound_of_the_first_plan() {
    let database = Database::with(&[
        "CREATE TABLE t (id bigint, text text)",
        "INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(1, 200) i",
    ])
    .await;
    let cx = context();
    let options = json!({ "table": "t", "split_size": "16KiB" });
    let source = database.source(&cx, &options).await.unwrap();
    let (_, first) = plan(&*source, &cx, &request()).await.unwrap();
    database.run("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series(201, 400) i").await;
    let mut on = request();
    on.planned = Position::At(json!({ "blocks": { "relation": "public.t", "next": 2, "total": 14 } }));
    let later = context();
    let source = database.source(&later, &options).await.unwrap();
    let (_, rest) = plan(&*source, &later, &on).await.unwrap();
    let (first, rest): (Vec<_>, Vec<_>) =
        (first.iter().map(|split| &split.id).collect(), rest.iter().map(|split| &split.id).collect());
    assert_eq!(first[1..], rest[..]);
}
