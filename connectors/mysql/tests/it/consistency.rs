//! One moment for all pieces and streams of a connection, and what happens when it is lost.

use futures::StreamExt;
use mysql_async::prelude::Queryable;
use serde_json::json;
use towpath_core::{Context, Position};
use towpath_testkit::context;

use crate::support::{Database, PASSWORD, User, batches, connect, json_rows, numbers, plan, read, request};

async fn filled() -> Database {
    let database = Database::with(&[
        "CREATE TABLE t (id INT PRIMARY KEY, n INT)",
        "CREATE TABLE u (id INT PRIMARY KEY)",
    ])
    .await;
    numbers(&database, "t", "i, 0", 900).await;
    database.run("INSERT INTO u VALUES (1)").await;
    database
}

fn options() -> towpath_core::Json {
    // Other tests write to the same server, and the lock waits for them.
    json!({ "table": "t", "split_size": 100, "batch_rows": 20, "lock_timeout": "1m" })
}

#[tokio::test]
async fn all_pieces_and_streams_show_the_moment_of_the_first_read() {
    let database = filled().await;
    let cx = context();
    let mut of_u = options();
    of_u["table"] = json!("u");
    let (t, u) =
        (database.source(&cx, &options()).await.unwrap(), database.source(&cx, &of_u).await.unwrap());
    let (_, splits) = plan(&*t, &cx, &request()).await.unwrap();
    read(&*t, &cx, &splits[0], Position::Start).await.unwrap();
    database.run("UPDATE t SET n = 1").await;
    database.run("INSERT INTO u VALUES (2)").await;
    for split in &splits {
        let rows = json_rows(&read(&*t, &cx, split, Position::Start).await.unwrap());
        assert!(rows.iter().all(|row| row["n"] == 0), "a piece shows a later moment");
    }
    assert_eq!(json_rows(&batches(&*u, &cx, &request()).await.unwrap()).len(), 1);
    assert_eq!(cx.metrics().warnings(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_moved_between_tables_during_the_read_is_neither_lost_nor_doubled() {
    let database = filled().await;
    database.run("CREATE TABLE v (id INT PRIMARY KEY, n INT)").await;
    database.run("INSERT INTO v SELECT id, 0 FROM t").await;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let name = database.name.clone();
    let moving = tokio::spawn(async move {
        let mut client = connect(Some(&name)).await;
        for id in (1..=900).cycle() {
            client.query_drop("START TRANSACTION").await.unwrap();
            client.query_drop(format!("UPDATE t SET n = n - 1 WHERE id = {id}")).await.unwrap();
            client.query_drop(format!("UPDATE v SET n = n + 1 WHERE id = {}", 901 - id)).await.unwrap();
            client.query_drop("COMMIT").await.unwrap();
            if stopped.try_recv().is_ok() {
                break;
            }
        }
    });
    for _ in 0..5 {
        let cx = context();
        let mut sum = 0;
        for table in ["t", "v"] {
            let mut of_table = options();
            of_table["table"] = json!(table);
            let source = database.source(&cx, &of_table).await.unwrap();
            let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
            sum += rows.iter().map(|row| row["n"].as_i64().unwrap()).sum::<i64>();
        }
        assert_eq!((sum, cx.metrics().warnings()), (0, Vec::new()));
    }
    stop.send(()).unwrap();
    moving.await.unwrap();
}

#[tokio::test]
async fn without_a_snapshot_each_piece_shows_the_moment_of_its_own() {
    let database = filled().await;
    let cx = context();
    let mut off = options();
    off["snapshot"] = json!("off");
    let source = database.source(&cx, &off).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    read(&*source, &cx, &splits[0], Position::Start).await.unwrap();
    database.run("UPDATE t SET n = 1").await;
    let rows = json_rows(&read(&*source, &cx, &splits[1], Position::Start).await.unwrap());
    assert!(rows.iter().all(|row| row["n"] == 1));
}

/// Ends all connections to the database, as an administrator would.
async fn kill_all(database: &Database) -> usize {
    let mut killer = connect(None).await;
    let ids: Vec<u64> = killer
        .query(format!(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{}' AND ID <> CONNECTION_ID()",
            database.name
        ))
        .await
        .unwrap();
    for id in &ids {
        // It may have ended by itself.
        let _ = killer.query_drop(format!("KILL {id}")).await;
    }
    ids.len()
}

/// Reads a split to its end, going on behind the last batch after each transient error, as the retry layer does.
async fn read_with_retries(
    source: &dyn towpath_core::DynSource,
    cx: &Context,
    split: &towpath_core::Split,
    mut after_batch: impl AsyncFnMut(usize),
) -> towpath_core::Result<Vec<i64>> {
    let (mut position, mut ids, mut count) = (Position::Start, Vec::new(), 0);
    loop {
        let mut batches = source.read(cx, split, position.clone())?;
        loop {
            match batches.next().await {
                None => return Ok(ids),
                Some(Ok(batch)) => {
                    ids.extend(
                        json_rows(std::slice::from_ref(&batch)).iter().map(|row| row["id"].as_i64().unwrap()),
                    );
                    position = batch.resume;
                    count += 1;
                    after_batch(count).await;
                }
                Some(Err(error)) if error.is_retryable() => break,
                Some(Err(error)) => return Err(error),
            }
        }
    }
}

#[tokio::test]
async fn killed_connections_lose_and_double_no_row() {
    let database = filled().await;
    // So much that the server is still sending when it is told to end.
    database.run("ALTER TABLE t ADD COLUMN text LONGTEXT").await;
    database.run("UPDATE t SET text = REPEAT('x', 50000)").await;
    let cx = context();
    let mut whole = options();
    whole["split_size"] = json!(10_000);
    let source = database.source(&cx, &whole).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    let mut killed = 0;
    let ids = read_with_retries(&*source, &cx, &splits[0], async |count| {
        if count % 10 == 5 {
            killed += kill_all(&database).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(ids, (1..=900).collect::<Vec<_>>());
    assert!(killed > 0);
    let warnings = cx.metrics().warnings();
    assert!(warnings.iter().any(|warning| warning.contains("later moment")), "{warnings:?}");
}

#[tokio::test]
async fn rows_that_must_be_of_one_moment_fail_when_it_is_lost() {
    let database = filled().await;
    let cx = context();
    let source = database.source(&cx, &options()).await.unwrap();
    let mut request = request();
    request.one_snapshot = true;
    let (_, splits) = plan(&*source, &cx, &request).await.unwrap();
    read(&*source, &cx, &splits[0], Position::Start).await.unwrap();
    kill_all(&database).await;
    let error = read_with_retries(&*source, &cx, &splits[1], async |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("run again"), "{error}");
}

#[tokio::test]
async fn reads_that_are_dropped_half_way_give_their_connections_back() {
    let database = filled().await;
    let cx = context();
    let mut few = options();
    few["max_connections"] = json!(2);
    let source = database.source(&cx, &few).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    for split in &splits {
        let mut batches = source.read(&cx, split, Position::Start).unwrap();
        batches.next().await.unwrap().unwrap();
        drop(batches);
    }
    let rows = json_rows(&read(&*source, &cx, &splits[0], Position::Start).await.unwrap());
    assert_eq!(rows.len(), 100);
    assert_eq!(cx.metrics().warnings(), Vec::<String>::new(), "the snapshot was lost");
}

#[tokio::test]
async fn without_the_privilege_to_lock_the_server_proves_one_moment_or_the_report_says_what_is_lost() {
    let database = filled().await;
    let user = User::new(&database, &[&format!("SELECT ON `{}`.*", database.name)]).await;
    let options = json!({ "user": user.name, "password": PASSWORD, "table": "t", "split_size": 100 });
    let cx = context();
    let source = database.source(&cx, &options).await.unwrap();
    let rows = json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    assert_eq!(rows.len(), 900);
    // Which of them it is depends on whether somebody writes at this instant.
    for warning in cx.metrics().warnings() {
        assert!(warning.contains("different moments") && warning.contains("GRANT RELOAD"), "{warning}");
    }
}
