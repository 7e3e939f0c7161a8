//! Sessions: snapshots, servers that end them, privileges, encryption, limits.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towpath_core::{Connection, Context, DynSource, ErrorKind, Json, Position, Retry, Split, Unlimited};
use towpath_testkit::{context, context_with};

use crate::support::{Database, User, error_of, json_rows, plan, read, read_all, request, server};

async fn table() -> Database {
    Database::with(&[
        "CREATE TABLE t (id bigint PRIMARY KEY, text text)",
        "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 5000) i",
        "ANALYZE t",
    ])
    .await
}

fn id_set(rows: &[Json]) -> Vec<i64> {
    let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn all_splits_and_streams_of_a_connection_are_of_one_moment() {
    let database = table().await;
    database.run("CREATE TABLE other (id bigint)").await;
    for (snapshot, expected) in [(true, (5000, 0)), (false, (4999, 1))] {
        let shared = Arc::new(Connection::new("db", Arc::new(Unlimited)));
        let cx = context_with(|cx| cx.connection(shared.clone()));
        let options = |table| json!({ "table": table, "snapshot": snapshot, "split_size": "128KiB" });
        let first = database.source(&cx, &options("t")).await.unwrap();
        let (_, splits) = plan(&*first, &cx, &request()).await.unwrap();
        assert!(splits.len() > 2);
        database.run("BEGIN; DELETE FROM t WHERE id = 5000; INSERT INTO other VALUES (5000); COMMIT").await;
        let mut rows = Vec::new();
        for split in &splits {
            rows.extend(json_rows(&read(&*first, &cx, split).await.unwrap()));
        }
        let second = database.source(&cx, &options("other")).await.unwrap();
        let others = json_rows(&read_all(&*second, &cx, &request()).await.unwrap());
        assert_eq!((rows.len(), others.len()), expected, "snapshot: {snapshot}");
        database.run("DELETE FROM other; INSERT INTO t VALUES (5000, 'x')").await;
    }
}

/// Reads a split as the engine does: on from the last position, or from the start where that holds no more.
async fn read_through(
    source: &dyn DynSource,
    cx: &Context,
    split: &Split,
    cut: impl AsyncFn(usize),
) -> Vec<Json> {
    let (mut rows, mut position, mut batches_read) = (Vec::new(), Position::Start, 0);
    'attempt: for _ in 0..20 {
        let mut batches = source.read(cx, split, position.clone()).unwrap();
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => {
                    rows.extend(json_rows(std::slice::from_ref(&batch)));
                    position = batch.resume;
                    batches_read += 1;
                    cut(batches_read).await;
                }
                Err(error) if error.retry_policy() == Retry::Restart => {
                    rows.clear();
                    position = Position::Start;
                    continue 'attempt;
                }
                Err(error) if error.is_retryable() => continue 'attempt,
                Err(error) => panic!("{error}"),
            }
        }
        return rows;
    }
    panic!("the split is never read to its end");
}

#[tokio::test]
async fn sessions_that_an_administrator_ends_lose_and_double_nothing() {
    let database = table().await;
    for split_by in ["ctid", "id"] {
        let cx = context();
        // So large a result that the server is still sending it when the session ends.
        let options =
            json!({ "table": "t", "split_by": split_by, "split_size": "1GiB", "batch_size": "64KiB" });
        let source = database.source(&cx, &options).await.unwrap();
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        assert_eq!(splits.len(), 1);
        let killed = async |batches: usize| {
            if batches == 2 || batches == 7 {
                database.kill_sessions().await;
            }
        };
        let rows = read_through(&*source, &cx, &splits[0], killed).await;
        assert_eq!(id_set(&rows), (1..=5000).collect::<Vec<_>>(), "{split_by}");
    }
}

#[tokio::test]
async fn a_lost_snapshot_is_told_and_ends_what_must_be_of_one_moment() {
    let database = table().await;
    for one_snapshot in [false, true] {
        let cx = context();
        let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
        let mut request = request();
        request.one_snapshot = one_snapshot;
        let (_, splits) = plan(&*source, &cx, &request).await.unwrap();
        database.kill_sessions().await;
        // The first attempt finds out that the sessions are gone.
        let mut outcome = read(&*source, &cx, &splits[0]).await;
        for _ in 0..20 {
            match &outcome {
                Err(error) if error.is_retryable() => outcome = read(&*source, &cx, &splits[0]).await,
                _ => break,
            }
        }
        if one_snapshot {
            let error = error_of(outcome);
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Conflict, false), "{error}");
            assert!(error.to_string().contains("run again"), "{error}");
        } else {
            assert_eq!(json_rows(&outcome.unwrap()).len(), 5000);
            let warnings = cx.metrics().warnings();
            assert!(warnings.iter().any(|text| text.contains("more than one moment")), "{warnings:?}");
        }
    }
}

#[tokio::test]
async fn a_missing_privilege_is_told_as_the_statement_that_gives_it() {
    let database = table().await;
    database.run("CREATE SCHEMA closed; CREATE TABLE closed.t (id int)").await;
    let user = User::new(&database).await;
    let cx = context();
    for (table, grant) in [
        ("t", format!("GRANT SELECT ON \"public\".\"t\" TO \"{}\"", user.name)),
        ("closed.t", format!("GRANT USAGE ON SCHEMA \"closed\" TO \"{}\"", user.name)),
    ] {
        let entry = towpath_connector_postgres::CONNECTOR.source_entry().unwrap();
        let source = entry.open(user.options(&json!({ "table": table })), &cx).await.unwrap();
        let error = error_of(source.check(&cx).await);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains(&grant), "{error}");
        database.run(&grant).await;
    }
    database.run(&format!("GRANT SELECT ON closed.t TO {}", user.name)).await;
    let entry = towpath_connector_postgres::CONNECTOR.source_entry().unwrap();
    let source = entry.open(user.options(&json!({ "table": "closed.t" })), &cx).await.unwrap();
    source.check(&cx).await.unwrap();
}

#[tokio::test]
async fn partitions_that_may_only_be_read_by_their_table_are_read_by_it() {
    let database = Database::with(&[
        "CREATE TABLE parted (id bigint) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (500)",
        "INSERT INTO parted SELECT generate_series(0, 99)",
    ])
    .await;
    let user = User::new(&database).await;
    database.run(&format!("GRANT SELECT ON parted TO {}", user.name)).await;
    let cx = context();
    let entry = towpath_connector_postgres::CONNECTOR.source_entry().unwrap();
    let source = entry.open(user.options(&json!({ "table": "parted" })), &cx).await.unwrap();
    assert_eq!(json_rows(&read_all(&*source, &cx, &request()).await.unwrap()).len(), 100);
}

#[tokio::test]
async fn encryption_is_as_much_as_the_mode_asks_for() {
    let database = table().await;
    let authority = std::env::var("TOWPATH_TEST_POSTGRES_CA").expect("run these tests by `cargo xtask test`");
    let encrypted = "SELECT ssl AS id FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (sslmode, root, host, expected) in [
        ("disable", None, "127.0.0.1", Some(false)),
        ("prefer", None, "127.0.0.1", Some(true)),
        ("require", None, "127.0.0.1", Some(true)),
        ("require", Some(&authority), "127.0.0.1", Some(true)),
        ("verify-ca", Some(&authority), "127.0.0.1", Some(true)),
        ("verify-ca", None, "127.0.0.1", None),
        ("verify-full", Some(&authority), "localhost", Some(true)),
        ("verify-full", None, "localhost", None),
    ] {
        let mut options =
            json!({ "query": encrypted, "sslmode": sslmode, "host": host, "port": server().port() });
        if let Some(root) = root {
            options["sslrootcert"] = json!(root);
        }
        let cx = context();
        let source = database.source(&cx, &options).await.unwrap();
        let outcome = read_all(&*source, &cx, &request()).await;
        if let Some(expected) = expected {
            assert_eq!(json_rows(&outcome.unwrap()), [json!({ "id": expected })], "{options}");
        } else {
            let error = error_of(outcome);
            assert!(error.to_string().contains("sslrootcert") && !error.is_retryable(), "{options}: {error}");
        }
    }
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_of_the_client_accepts_ours() {
    // The server's rules know this user, who has no password.
    const CLIENT: &str = "towpath_client";
    let database =
        Database::with(&[&format!("DROP ROLE IF EXISTS {CLIENT}"), &format!("CREATE ROLE {CLIENT} LOGIN")])
            .await;
    let authority = std::env::var("TOWPATH_TEST_POSTGRES_CA").expect("run these tests by `cargo xtask test`");
    let beside = |name: &str| std::path::Path::new(&authority).with_file_name(name).display().to_string();
    let mut options = json!({
        "host": "127.0.0.1", "port": server().port(), "database": database.name, "user": CLIENT,
        "sslmode": "verify-full", "sslrootcert": authority,
        "query": "SELECT current_user::text AS id, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    });
    let entry = towpath_connector_postgres::CONNECTOR.source_entry().unwrap();
    let cx = context();
    let refused = entry.open(options.clone(), &cx).await.unwrap().check(&cx).await.unwrap_err();
    options["sslcert"] = json!(beside("client.pem"));
    options["sslkey"] = json!(beside("client.key"));
    let source = entry.open(options, &cx).await.unwrap();
    let rows = json_rows(&read_all(&*source, &cx, &request()).await.unwrap());
    database.run(&format!("DROP ROLE {CLIENT}")).await;
    assert_eq!(rows, [json!({ "id": CLIENT, "client_dn": format!("/CN={CLIENT}") })]);
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused}");
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn settings_of_the_session_are_what_the_options_say() {
    let database = table().await;
    let cx = context();
    let text = async |options: Json| {
        let source = database.source(&cx, &options).await?;
        let rows = read_all(&*source, &cx, &request()).await?;
        Ok::<_, towpath_core::Error>(json_rows(&rows)[0]["v"].as_str().unwrap_or_default().to_owned())
    };
    let setting = |name: &str| format!("SELECT current_setting('{name}') AS v");
    assert_eq!(text(json!({ "query": setting("application_name") })).await.unwrap(), "towpath");
    let named = json!({ "query": setting("application_name"), "application_name": "etl" });
    assert_eq!(text(named).await.unwrap(), "etl");
    let waits = json!({ "query": setting("lock_timeout"), "lock_timeout": "7s" });
    assert_eq!(text(waits).await.unwrap(), "7s");
    assert_eq!(text(json!({ "query": setting("transaction_read_only") })).await.unwrap(), "on");
    let slow = json!({ "query": "SELECT pg_sleep(60)::text AS v", "statement_timeout": "50ms" });
    let error = text(slow).await.unwrap_err();
    assert!(!error.is_retryable() && error.to_string().contains("statement_timeout"), "{error}");
}

#[tokio::test]
async fn of_several_servers_one_that_will_do_is_taken() {
    let database = table().await;
    let cx = context();
    let port = server().port().unwrap();
    let options = json!({ "table": "t", "host": "127.0.0.2,127.0.0.1", "port": port, "sslmode": "disable" });
    let source = database.source(&cx, &options).await.unwrap();
    assert_eq!(json_rows(&read_all(&*source, &cx, &request()).await.unwrap()).len(), 5000);
    let mut replica = options;
    replica["target_session_attrs"] = json!("read-only");
    let source = database.source(&cx, &replica).await.unwrap();
    assert!(source.check(&cx).await.is_err(), "a primary is no replica");
}

#[tokio::test]
async fn a_server_that_does_not_encrypt_is_read_if_that_is_allowed() {
    let database = table().await;
    let cx = context();
    let real = ("127.0.0.1", server().port().unwrap());
    let front = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = front.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = front.accept().await {
            tokio::spawn(async move {
                // Asked whether it encrypts, it says no.
                client.read_exact(&mut [0; 8]).await?;
                client.write_all(b"N").await?;
                tokio::io::copy_bidirectional(&mut client, &mut tokio::net::TcpStream::connect(real).await?)
                    .await
            });
        }
    });
    let options =
        |sslmode: &str| json!({ "table": "t", "host": "127.0.0.1", "port": port, "sslmode": sslmode });
    let source = database.source(&cx, &options("prefer")).await.unwrap();
    assert_eq!(json_rows(&read_all(&*source, &cx, &request()).await.unwrap()).len(), 5000);
    let source = database.source(&cx, &options("require")).await.unwrap();
    let error = source.check(&cx).await.unwrap_err();
    assert!(error.to_string().contains("does not encrypt"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_leaves_time_for_the_next_one() {
    let database = table().await;
    let cx = context();
    let port = server().port().unwrap();
    // It takes connections, and never answers.
    let silent = tokio::net::TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let hosts = |hosts: &str| json!({ "table": "t", "host": hosts, "port": port, "sslmode": "disable", "connect_timeout": "2s" });
    let source = database.source(&cx, &hosts("127.0.0.3,127.0.0.1")).await.unwrap();
    source.check(&cx).await.unwrap();
    let source = database.source(&cx, &hosts("127.0.0.3")).await.unwrap();
    let error = source.check(&cx).await.unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    drop(silent);
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed() {
    let database = table().await;
    let cx = context();
    let options = json!({ "table": "t", "split_size": "64KiB", "batch_size": "1KiB", "max_connections": 2 });
    let source = database.source(&cx, &options).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    assert!(splits.len() > 4);
    let reads = splits.iter().map(|split| async {
        let batches: Vec<_> = source.read(&cx, split, Position::Start)?.try_collect().await?;
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'towpath'";
        let open: usize = database.text(open).await.parse().unwrap();
        // One more holds the snapshot.
        assert!(open <= 3, "{open} connections");
        Ok::<_, towpath_core::Error>(json_rows(&batches).len())
    });
    let counts = futures::future::try_join_all(reads).await.unwrap();
    assert_eq!(counts.into_iter().sum::<usize>(), 5000);
}
