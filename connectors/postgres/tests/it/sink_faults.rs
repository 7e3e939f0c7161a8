//! Servers that break off, runs that overlap, and names that are statements.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::Schema;
use serde_json::json;
use towpath_core::WriteDisposition::{Append, Merge, Replace};
use towpath_core::{Committed, ErrorKind, Json, LoadSpec, Result};
use towpath_testkit::proxy::Proxy;
use towpath_testkit::rows::batch;

use crate::load::{Load, load};
use crate::support::{Database, error_of, server};

fn people(ids: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<Json> = ids.map(|id| json!([id, format!("person {id}")])).collect();
    batch("id: int64, name: string", &json!(rows))
}

/// What a `replace` under way has beside the table.
const BESIDE: &str = "relkind = 'r' AND relname ~ '^_towpath_.*_(new|ledger)$'";

/// Tries again as the retry layer does, and a few times only.
async fn retried<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..10 {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    panic!("it never worked");
}

#[tokio::test]
async fn a_backend_that_is_killed_between_batches_loses_and_doubles_no_row() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        run.begun = run.sink.evolve(&run.cx, &run.begun, people(0..0).schema_ref()).await.unwrap();
        let mut writer = run.sink.writer(&run.cx, &run.begun, 0).await.unwrap();
        for step in 0..5 {
            assert!(database.kill_sessions().await > 0, "there was a session to kill");
            retried(async || writer.write(people(step * 10..step * 10 + 10)).await).await;
        }
        let staged = writer.finish().await.unwrap();
        assert_eq!(staged.rows, 50);
        database.kill_sessions().await;
        let token = run.token(true);
        retried(async || run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await).await;
        let ids = "SELECT count(*) || ' ' || count(DISTINCT id) FROM orders";
        assert_eq!(database.text(ids).await, "50 50", "{disposition:?}");
    }
}

#[tokio::test]
async fn backends_that_are_killed_again_and_again_lose_and_double_no_row() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        run.begun = run.sink.evolve(&run.cx, &run.begun, people(0..0).schema_ref()).await.unwrap();
        let mut writer = run.sink.writer(&run.cx, &run.begun, 0).await.unwrap();
        let killer = async {
            // More kills than a write has tries left would prove nothing.
            for _ in 0..4 {
                database.kill_sessions().await;
                tokio::task::yield_now().await;
            }
        };
        let writing = async {
            for step in 0..20 {
                retried(async || writer.write(people(step * 500..step * 500 + 500)).await).await;
            }
        };
        futures::future::join(writing, killer).await;
        retried(async || writer.write(people(10_000..10_001)).await).await;
        let staged = writer.finish().await.unwrap();
        let token = run.token(true);
        retried(async || run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await).await;
        let ids = "SELECT count(*) || ' ' || count(DISTINCT id) FROM orders";
        assert_eq!(database.text(ids).await, "10001 10001", "{disposition:?}");
    }
}

#[tokio::test]
async fn finish_outlives_a_backend_that_was_killed_while_it_was_idle() {
    for disposition in [Append, Merge, Replace] {
        // What kept the connection may notice its end before, or may not.
        for _ in 0..3 {
            let database = Database::new().await;
            let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
            let rows = people(0..10);
            run.begun = run.sink.evolve(&run.cx, &run.begun, rows.schema_ref()).await.unwrap();
            let mut writer = run.sink.writer(&run.cx, &run.begun, 0).await.unwrap();
            writer.write(rows).await.unwrap();
            database.kill_sessions().await;
            // Nobody tries `finish` again, so it has to see to it itself.
            let staged = writer.finish().await;
            staged.unwrap_or_else(|error| panic!("{disposition:?}: {error}"));
        }
    }
}

#[tokio::test]
async fn a_network_that_breaks_off_again_and_again_loses_and_doubles_no_row() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let upstream = server().socket_addrs(|| None).unwrap()[0];
        let proxy = Proxy::start(upstream).await;
        let port = proxy.address().port();
        let mut run = Load::begin(&database, &json!({ "port": port }), disposition, 1).await.unwrap();
        run.begun = run.sink.evolve(&run.cx, &run.begun, people(0..0).schema_ref()).await.unwrap();
        let mut writer = run.sink.writer(&run.cx, &run.begun, 0).await.unwrap();
        // Each limit lies somewhere else: in the handshake, among the rows, in the commit.
        for (step, limit) in (0..).zip([6_000, 9_000, 12_000, 16_000, 20_000, 26_000, 33_000, 40_000]) {
            proxy.cut();
            proxy.cut_after(Some(limit));
            let rows = people(step * 500..step * 500 + 500);
            let mut tries = 0;
            while let Err(error) = writer.write(rows.clone()).await {
                assert!(error.is_retryable(), "{disposition:?} at {limit}: {error}");
                tries += 1;
                if tries == 3 {
                    proxy.cut_after(None);
                }
                assert!(tries < 10, "{disposition:?} at {limit}: {error}");
            }
            proxy.cut_after(None);
        }
        let staged = writer.finish().await.unwrap();
        let token = run.token(true);
        proxy.cut();
        let mut outcome = run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await;
        for _ in 0..5 {
            if !outcome.as_ref().is_err_and(towpath_core::Error::is_retryable) {
                break;
            }
            outcome = run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await;
        }
        assert!(matches!(outcome.unwrap(), Committed::Applied | Committed::AlreadyApplied));
        let ids = "SELECT count(*) || ' ' || count(DISTINCT id) FROM orders";
        assert_eq!(database.text(ids).await, "4000 4000", "{disposition:?}");
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_made_once() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let upstream = server().socket_addrs(|| None).unwrap()[0];
        // Wherever the connection breaks off, the commit is there once in the end.
        for (run_number, limit) in (1..).zip([2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 9_000, 11_000]) {
            let proxy = Proxy::start(upstream).await;
            let options = json!({ "port": proxy.address().port() });
            let mut run = Load::begin(&database, &options, disposition, run_number).await.unwrap();
            let first = i64::from(run_number) * 10;
            let staged = run.stage(&people(first..first + 10)).await.unwrap();
            let token = run.token(true);
            proxy.cut_after(Some(limit));
            let mut outcome = run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await;
            proxy.cut_after(None);
            for _ in 0..5 {
                if !outcome.as_ref().is_err_and(towpath_core::Error::is_retryable) {
                    break;
                }
                outcome = run.sink.commit(&run.cx, &run.begun, &token, vec![staged.clone()]).await;
            }
            outcome.unwrap_or_else(|error| panic!("{disposition:?} at {limit}: {error}"));
            let expected = if disposition == Replace { 10 } else { i64::from(run_number) * 10 };
            let ids = "SELECT count(*) || ' ' || count(DISTINCT id) FROM orders";
            assert_eq!(
                database.text(ids).await,
                format!("{expected} {expected}"),
                "{disposition:?} at {limit}"
            );
        }
    }
}

#[tokio::test]
async fn staged_rows_that_a_crashed_server_lost_are_a_clear_error_and_nothing_is_committed() {
    for disposition in [Append, Merge] {
        let database = Database::new().await;
        let mut run = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        let staged = run.stage(&people(0..10)).await.unwrap();
        // What recovery does to unlogged tables.
        let staging = "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'";
        let staging = database.text(staging).await;
        database.run(&format!("TRUNCATE \"{staging}\"")).await;
        let error = error_of(run.commit(vec![staged], true).await);
        assert!(error.to_string().contains("10 staged rows"), "{error}");
        assert!(!error.is_retryable());
        assert_eq!(database.text("SELECT count(*) FROM orders").await, "0");
    }
}

#[tokio::test]
async fn transactions_beside_that_a_crashed_server_lost_are_a_clear_error_and_the_old_rows_stay() {
    let database =
        Database::with(&["CREATE TABLE orders (id bigint)", "INSERT INTO orders VALUES (1)"]).await;
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let staged = run.stage(&people(0..10)).await.unwrap();
    // A transaction that is lost is lost with all that it wrote.
    let tables = format!("SELECT string_agg(quote_ident(relname), ', ') FROM pg_class WHERE {BESIDE}");
    let tables = database.text(&tables).await;
    database.run(&format!("TRUNCATE {tables}")).await;
    let error = error_of(run.commit(vec![staged], true).await);
    assert!(error.to_string().contains("1 of 1 transactions with new rows are lost"), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(database.text("SELECT string_agg(id::text, ',') FROM orders").await, "1");
}

#[tokio::test]
async fn rows_beside_of_a_writer_that_was_given_up_do_not_land_and_are_not_refused() {
    // With a row that the server does not take, the others of its batch are written behind savepoints.
    for its_rows in [5..15, -1..15] {
        let database = Database::with(&["CREATE TABLE orders (id bigint PRIMARY KEY CHECK (id >= 0))"]).await;
        let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
        let staged = run.stage(&people(0..10)).await.unwrap();
        let mut given_up = run.sink.writer(&run.cx, &run.begun, 2).await.unwrap();
        given_up.write(people(its_rows)).await.unwrap();
        drop(given_up);
        let refused = run.commit(vec![staged], true).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        assert_eq!(database.text("SELECT count(*) || ' ' || max(id) FROM orders").await, "10 9");
        assert_eq!(database.text(&format!("SELECT count(*) FROM pg_class WHERE {BESIDE}")).await, "0");
    }
}

#[tokio::test]
async fn rows_beside_that_are_thrown_away_do_not_land() {
    let database = Database::with(&["CREATE TABLE orders (id bigint CHECK (id >= 0))"]).await;
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let thrown_away = run.stage(&people(-1..15)).await.unwrap();
    let staged = run.stage(&people(0..10)).await.unwrap();
    run.sink.abort(&run.cx, &run.begun, vec![thrown_away]).await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text("SELECT count(*) || ' ' || max(id) FROM orders").await, "10 9");
}

#[tokio::test]
async fn a_commit_waits_for_rows_that_the_server_still_writes_though_their_writer_is_gone() {
    let database = Database::new().await;
    let mut run = Load::begin(&database, &json!({}), Replace, 1).await.unwrap();
    let staged = run.stage(&people(0..10)).await.unwrap();
    let name = async |ending: &str| {
        let sql = format!("SELECT relname FROM pg_class WHERE {BESIDE} AND relname LIKE '%{ending}'");
        database.text(&sql).await
    };
    let (new, ledger) = (name("new").await, name("ledger").await);
    let late = database.client().await;
    let write =
        format!("BEGIN; INSERT INTO {ledger} VALUES (txid_current()); INSERT INTO {new} SELECT 99, 'late'");
    late.batch_execute(&write).await.unwrap();
    let committing = tokio::spawn(async move { run.commit(vec![staged], true).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while database.text(waiting).await == "0" {
        assert!(!committing.is_finished(), "it did not wait");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    late.batch_execute("COMMIT").await.unwrap();
    committing.await.unwrap().unwrap();
    assert_eq!(database.text("SELECT count(*) || ' ' || max(id) FROM orders").await, "10 9");
}

#[tokio::test]
async fn a_later_run_fences_an_earlier_one_that_still_writes() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::new().await;
        let mut first = Load::begin(&database, &json!({}), disposition, 1).await.unwrap();
        let staged = first.stage(&people(0..10)).await.unwrap();
        let mut second = Load::begin(&database, &json!({}), disposition, 2).await.unwrap();
        let error = error_of(first.commit(vec![staged], true).await);
        assert_eq!(error.kind(), ErrorKind::Conflict, "{disposition:?}: {error}");
        let staged = second.stage(&people(0..10)).await.unwrap();
        second.commit(vec![staged], true).await.unwrap();
        assert_eq!(database.text("SELECT count(*) FROM orders").await, "10", "{disposition:?}");
    }
}

#[tokio::test]
async fn what_other_streams_stage_is_not_swept() {
    let database = Database::new().await;
    let other = LoadSpec::new("shop", "customers", "run-1", Append);
    let mut other = Load::begin_as(&database, &json!({}), other).await.unwrap();
    let staged = other.stage(&people(0..10)).await.unwrap();
    Load::begin(&database, &json!({}), Append, 1).await.unwrap();
    other.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM customers").await, "10");
}

const EVIL: &str = "x\"'; DROP TABLE victims; --";

#[tokio::test]
async fn names_that_are_statements_are_names() {
    for disposition in [Append, Merge, Replace] {
        let database = Database::with(&["CREATE TABLE victims (id int)"]).await;
        let columns = format!("{EVIL}: int64, Select: string, größe: string, a b: string");
        let rows = batch(&columns, &json!([[1, EVIL, "ü", ";"], [1, EVIL, "ü", ";"]]));
        let key = vec![EVIL.to_owned()];
        let spec = LoadSpec::new(EVIL, EVIL, "run-1", disposition).key(key.clone());
        let table = "\"a\"\"b; --\".\"it's $$ {stream}\"".replace("{stream}", &EVIL.replace('"', "\"\""));
        let options = json!({ "table": table, "indexes": [{ "columns": key }] });
        let mut run = Load::begin_as(&database, &options, spec).await.unwrap();
        let staged = run.stage(&rows).await.unwrap();
        run.commit(vec![staged], true).await.unwrap();
        assert_eq!(database.text("SELECT count(*) FROM victims").await, "0", "{disposition:?}");
        let held = format!(
            "SELECT DISTINCT \"Select\" FROM \"a\"\"b; --\".\"it's $$ {0}\" WHERE \"{0}\" = 1",
            EVIL.replace('"', "\"\"")
        );
        assert_eq!(database.text(&held).await, EVIL, "{disposition:?}");
    }
}

#[tokio::test]
async fn the_last_row_of_a_key_wins_wherever_the_server_puts_it() {
    let database = Database::new().await;
    let mut run = Load::begin(&database, &json!({}), Merge, 1).await.unwrap();
    run.begun = run.sink.evolve(&run.cx, &run.begun, people(0..0).schema_ref()).await.unwrap();
    let mut writer = run.sink.writer(&run.cx, &run.begun, 0).await.unwrap();
    // Wide rows leave room at the ends of pages, which later rows fill once the server knows of it.
    let wide: Vec<Json> = (0..500).map(|id| json!([id, "old ".repeat(300) + &id.to_string()])).collect();
    writer.write(batch("id: int64, name: string", &json!(wide))).await.unwrap();
    let staging = "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'";
    let staging = database.text(staging).await;
    // As autovacuum does at any time.
    database.run(&format!("VACUUM \"{staging}\"")).await;
    let narrow: Vec<Json> = (0..500).map(|id| json!([id, "new"])).collect();
    writer.write(batch("id: int64, name: string", &json!(narrow))).await.unwrap();
    let staged = writer.finish().await.unwrap();
    run.commit(vec![staged], true).await.unwrap();
    assert_eq!(database.text("SELECT count(*) FROM orders WHERE name = 'new'").await, "500");
}

/// Rows whose column says that it had this type in Postgres.
fn typed(data_type: &str) -> RecordBatch {
    let rows = batch("id: int64, value: string", &json!([[1, "x"]]));
    let metadata = HashMap::from([("postgres.type".to_owned(), data_type.to_owned())]);
    let fields: Vec<_> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    let schema = Schema::new(vec![fields[0].clone(), fields[1].clone().with_metadata(metadata)]);
    rows.with_schema(Arc::new(schema)).unwrap()
}

#[tokio::test]
async fn types_that_come_with_the_data_are_no_statements() {
    let database = Database::with(&["CREATE TABLE victims (id int)"]).await;
    let mut run = 0;
    for evil in [
        "text); DROP TABLE victims; --",
        "text, more text); DROP TABLE victims; --",
        "text DEFAULT (pg_sleep(0))::text",
        "text DEFAULT current_user",
        "text /*",
        "text --",
        "\"text",
    ] {
        for disposition in [Append, Merge, Replace] {
            run += 1;
            let options = json!({ "table": format!("orders_{run}") });
            // Whether it is refused or made text does not matter.
            let _ = load(&database, &options, disposition, run, &typed(evil)).await;
            let harmed = format!(
                "SELECT to_regclass('victims') IS NULL OR EXISTS (SELECT FROM pg_attrdef \
                 WHERE adrelid = to_regclass('orders_{run}'))"
            );
            assert_eq!(database.text(&harmed).await, "f", "{evil} {disposition:?}");
        }
    }
}

#[tokio::test]
async fn a_type_that_this_database_does_not_know_becomes_text() {
    for disposition in [Append, Replace] {
        let database = Database::new().await;
        let rejected = load(&database, &json!({}), disposition, 1, &typed("mood")).await.unwrap();
        assert!(rejected.is_empty());
        let made = "SELECT atttypid::regtype::text FROM pg_attribute \
                    WHERE attrelid = 'orders'::regclass AND attname = 'value'";
        assert_eq!(database.text(made).await, "text", "{disposition:?}");
    }
}
