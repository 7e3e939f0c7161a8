//! Options of the connection, and statements that the options make.

use futures::TryStreamExt;
use serde_json::json;
use tokio::net::TcpListener;
use towpath_connector_postgres::CONNECTOR;
use towpath_core::{CursorRange, ErrorKind, Json, Position};
use towpath_testkit::context;

use crate::support::{Database, PASSWORD, User, error_of, json_rows, plan, read_all, request};

async fn table() -> Database {
    Database::with(&[
        "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz, text text)",
        "INSERT INTO t SELECT i, '2026-01-01Z'::timestamptz + i * interval '1 minute', repeat('x', 100) \
         FROM generate_series(1, 5000) i",
        "ANALYZE t",
    ])
    .await
}

#[tokio::test]
async fn behind_a_pooler_no_connection_is_kept_and_nothing_prepared_is_relied_upon() {
    let database = table().await;
    for (pooling, kept) in [(true, "0"), (false, "1")] {
        let cx = context();
        let options = json!({ "table": "t", "snapshot": false, "transaction_pooling": pooling });
        let source = database.source(&cx, &options).await.unwrap();
        assert_eq!(json_rows(&read_all(&*source, &cx, &request()).await.unwrap()).len(), 5000);
        // A session that was closed is gone in a moment.
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'towpath'";
        let mut open = database.text(sql).await;
        for _ in 0..200 {
            if open == kept {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            open = database.text(sql).await;
        }
        assert_eq!(open, kept, "transaction_pooling: {pooling}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = json!({
        "table": "t", "host": "127.0.0.1", "port": listener.local_addr().unwrap().port(), "connect_timeout": "100ms",
    });
    let cx = context();
    let source = CONNECTOR.source_entry().unwrap().open(options, &cx).await.unwrap();
    let error = error_of(source.check(&cx).await);
    assert!(
        error.kind() == ErrorKind::Unavailable && error.to_string().contains("connect_timeout"),
        "{error}"
    );
}

#[tokio::test]
async fn passwords_come_from_files() {
    let database = table().await;
    let user = User::new(&database).await;
    database.run(&format!("GRANT SELECT ON t TO {}", user.name)).await;
    let folder = tempfile::tempdir().unwrap();
    let (whole, lines, wrong) =
        (folder.path().join("password"), folder.path().join("pgpass"), folder.path().join("wrong"));
    std::fs::write(&whole, format!("{PASSWORD}\n")).unwrap();
    std::fs::write(&lines, format!("*:*:*:other:x\n*:*:*:{}:{PASSWORD}\n", user.name)).unwrap();
    std::fs::write(&wrong, "wrong").unwrap();
    let server = crate::support::server();
    for (option, path, works) in
        [("password_file", &whole, true), ("passfile", &lines, true), ("password_file", &wrong, false)]
    {
        let cx = context();
        let options = json!({
            "table": "t", "host": server.host_str(), "port": server.port(), "user": user.name,
            "database": database.name, option: path,
        });
        let source = CONNECTOR.source_entry().unwrap().open(options, &cx).await.unwrap();
        let checked = source.check(&cx).await;
        assert_eq!(checked.is_ok(), works, "{option}: {checked:?}");
        if let Err(error) = checked {
            assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        }
    }
}

#[tokio::test]
async fn files_of_certificates_are_read_and_named_when_they_are_not_there() {
    let database = table().await;
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (option, more) in [
        ("sslrootcert", json!({})),
        ("sslcert", json!({ "sslkey": empty })),
        ("sslkey", json!({ "sslcert": empty })),
    ] {
        let cx = context();
        let mut options = json!({ "table": "t", "sslmode": "require", option: "/nowhere/file.pem" });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let source = database.source(&cx, &options).await.unwrap();
        let error = error_of(source.check(&cx).await).to_string();
        assert!(error.contains("cannot be read") || error.contains("holds no"), "{error}");
        assert!(error.contains("`ssl"), "{error}");
    }
}

#[tokio::test]
async fn what_an_index_finds_is_not_looked_for_in_every_block() {
    let database = table().await;
    let count = async |disposition: &str| {
        let cx = context();
        let options = json!({ "table": "t", "split_size": "64KiB", "split_by": disposition });
        let source = database.source(&cx, &options).await.unwrap();
        let mut request = request();
        request.cursor = Some(CursorRange::new("at", Some(json!("2026-01-04T11:19:00Z")), None));
        let (_, splits) = plan(&*source, &cx, &request).await.unwrap();
        (splits.len(), json_rows(&read_all(&*source, &cx, &request).await.unwrap()).len())
    };
    let (before, rows) = count("auto").await;
    assert!(before > 4 && rows == 1, "{before} splits, {rows} rows");
    database.run("CREATE INDEX ON t (at); ANALYZE t").await;
    assert_eq!(count("auto").await, (1, 1));
    assert_eq!(count("ctid").await.0, before, "whoever asks for blocks gets them");
}

#[tokio::test]
async fn views_have_no_blocks_to_be_split_by() {
    let database = table().await;
    database.run("CREATE VIEW v AS SELECT * FROM t").await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "v", "split_by": "ctid" })).await.unwrap();
    for error in [error_of(source.check(&cx).await), error_of(read_all(&*source, &cx, &request()).await)] {
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("has no `ctid`"), "{error}");
    }
}

/// The ids behind a position, or the error.
async fn behind(database: &Database, query: &str, after: Option<i64>) -> towpath_core::Result<Vec<Json>> {
    let cx = context();
    let options = json!({ "query": query, "split_by": "id" });
    let source = database.source(&cx, &options).await?;
    let (_, splits) = plan(&*source, &cx, &request()).await?;
    let mut rows = Vec::new();
    for split in &splits {
        let from = after.map_or(Position::Start, |after| Position::At(json!({ "after": after })));
        let batches: Vec<_> = source.read(&cx, split, from)?.try_collect().await?;
        rows.extend(json_rows(&batches));
    }
    Ok(rows.into_iter().map(|row| row["id"].clone()).collect())
}

#[tokio::test]
async fn a_query_whose_key_tells_no_rows_apart_is_refused_before_a_row_is_lost() {
    let database = Database::new().await;
    let three = "SELECT unnest(ARRAY[3, 1, 2]) AS id";
    assert_eq!(behind(&database, three, None).await.unwrap(), [json!(1), json!(2), json!(3)]);
    let one = "SELECT 7::bigint AS id -- the only one";
    assert_eq!(behind(&database, one, None).await.unwrap(), [json!(7)]);
    // The row at which it goes on comes once more, and a second one with its key is found.
    assert_eq!(behind(&database, one, Some(7)).await.unwrap(), Vec::<Json>::new());
    assert_eq!(behind(&database, one, Some(6)).await.unwrap(), [json!(7)]);
    let error = behind(&database, "SELECT unnest(ARRAY[7, 7, 8]) AS id", Some(7)).await.unwrap_err();
    assert!(error.to_string().contains("two rows have the same `id`"), "{error}");
    // A row without a key belongs to no range, and still is not left out.
    let error = behind(&database, "SELECT nullif(i, 50) AS id FROM generate_series(1, 100) i", None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("or none"), "{error}");
}

#[tokio::test]
async fn dates_are_cut_although_nobody_has_counted_them() {
    let database = Database::with(&[
        "CREATE TABLE t (day date NOT NULL UNIQUE, n numeric NOT NULL UNIQUE)",
        "INSERT INTO t SELECT '2020-01-01'::date + i, i / 3.0 FROM generate_series(1, 3000) i",
        "INSERT INTO t VALUES ('infinity', 'NaN')",
    ])
    .await;
    let cx = context();
    for key in ["day", "n"] {
        let options = json!({ "table": "t", "split_by": key, "split_size": "32KiB" });
        let source = database.source(&cx, &options).await.unwrap();
        let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
        assert!(key == "n" || splits.len() > 2, "{key}: {} splits", splits.len());
        let batches = read_all(&*source, &cx, &request()).await.unwrap();
        assert_eq!(batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 3001, "{key}");
    }
}

#[tokio::test]
async fn a_query_that_writes_and_a_cursor_without_a_bound_say_what_to_do() {
    let database = Database::with(&[
        "CREATE SEQUENCE s",
        "CREATE TABLE t (id int, at timestamptz)",
        "INSERT INTO t VALUES (1, 'infinity')",
    ])
    .await;
    let cx = context();
    let source = database.source(&cx, &json!({ "query": "SELECT nextval('s') AS id" })).await.unwrap();
    let error = error_of(read_all(&*source, &cx, &request()).await);
    assert!(
        error.kind() == ErrorKind::Unsupported && error.to_string().contains("must only read"),
        "{error}"
    );
    let source = database.source(&cx, &json!({ "table": "t" })).await.unwrap();
    let mut request = request();
    request.cursor = Some(CursorRange::new("at", None, None));
    let error = error_of(read_all(&*source, &cx, &request).await);
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`infinity`"), "{error}");
}
