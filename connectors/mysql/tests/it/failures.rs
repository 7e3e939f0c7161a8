//! What fails, and what the error says.

use futures::StreamExt;
use serde_json::json;
use towpath_core::{ErrorKind, Position};
use towpath_testkit::context;
use towpath_testkit::proxy::Proxy;

use crate::support::{
    Database, PASSWORD, User, authority, failure, json_rows, numbers, plan, read_all, request, server,
};

async fn table() -> Database {
    Database::with(&["CREATE TABLE t (id INT PRIMARY KEY, a INT)", "INSERT INTO t VALUES (1, 2)"]).await
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_named() {
    let database = table().await;
    let error = failure(database.options(&json!({ "table": "missing" }))).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("`missing`"), "{error}");
    let error = failure(database.options(&json!({ "query": "SELECT nobody FROM t" }))).await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("nobody"), "{error}");
}

#[tokio::test]
async fn a_missing_grant_is_named_ready_to_run() {
    let database = table().await;
    let name = &database.name;
    let user = User::new(&database, &[&format!("INSERT ON `{name}`.t")]).await;
    let options = json!({ "table": "t", "user": user.name, "password": PASSWORD });
    let error = failure(database.options(&options)).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::PermissionDenied, false));
    let grant = format!("GRANT SELECT ON `{name}`.`t` TO '{name}'@'%'");
    assert!(error.to_string().contains(&grant), "{error}");
}

#[tokio::test]
async fn a_required_snapshot_that_cannot_be_had_fails_or_is_proven() {
    let database = table().await;
    let user = User::new(&database, &[&format!("SELECT ON `{}`.*", database.name)]).await;
    let options = json!({ "table": "t", "user": user.name, "password": PASSWORD, "snapshot": "required" });
    let outcome = read_all(&database, &options).await;
    match outcome {
        // MariaDB with a binary log proves it without the privilege.
        Ok(rows) => assert_eq!(rows.len(), 1),
        Err(error) => assert!(error.to_string().contains("GRANT RELOAD"), "{error}"),
    }
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused_before_anything_is_read() {
    let database = table().await;
    for (options, says) in [
        (json!({}), "set `table` or `query`"),
        (json!({ "table": "t", "query": "SELECT 1" }), "exclude each other"),
        (json!({ "query": " ; " }), "`query` is empty"),
        (json!({ "table": "t", "split_size": 0 }), "split_size"),
        (json!({ "table": "t", "batch_rows": 0 }), "batch_rows"),
        (json!({ "query": "SELECT 1 AS a, 2 AS a" }), "two columns are called `a`"),
        (json!({ "table": "t", "split_by": "b" }), "no column: `b`"),
        (json!({ "query": "SELECT ?" }), "question marks"),
        (json!({ "query": "SET @a = 1" }), "write a SELECT"),
    ] {
        let error = failure(database.options(&options)).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{options}: {error}");
        assert!(error.to_string().contains(says), "{options}: {error}");
    }
}

#[tokio::test]
async fn a_query_cannot_write() {
    let database = table().await;
    let error = failure(database.options(&json!({ "query": "DELETE FROM t" }))).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("a source only reads"), "{error}");
    assert_eq!(read_all(&database, &json!({ "table": "t" })).await.unwrap().len(), 1);
}

#[tokio::test]
async fn tls_is_verified_for_what_the_mode_says() {
    let database = table().await;
    let ca = authority();
    for (tls, host, is_fine) in [
        (json!({ "mode": "verify_identity", "ca": ca }), "localhost", true),
        (json!({ "mode": "verify_ca", "ca": ca }), "localhost", true),
        (json!({ "mode": "required" }), "localhost", true),
        (json!({ "mode": "disabled" }), "localhost", true),
        // Nobody known has signed it.
        (json!({ "mode": "verify_identity" }), "localhost", false),
        (json!({ "mode": "verify_ca" }), "localhost", false),
        (json!({ "mode": "verify_ca", "ca": "missing.pem" }), "localhost", false),
    ] {
        let options = json!({ "table": "t", "tls": tls, "host": host });
        match read_all(&database, &options).await {
            Ok(rows) => assert!(is_fine && rows.len() == 1, "{tls}"),
            Err(error) => assert!(!is_fine && error.to_string().contains("tls.ca"), "{tls}: {error}"),
        }
    }
}

#[tokio::test]
async fn our_own_certificate_is_shown_to_the_server() {
    let database = table().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/certificates");
    let tls = |cert: &str| json!({ "mode": "required", "cert": format!("{folder}/{cert}"), "key": format!("{folder}/client.key") });
    let error = read_all(&database, &json!({ "table": "t", "tls": tls("missing.pem") })).await.unwrap_err();
    assert!(error.to_string().contains("tls.cert"), "{error}");
    // Nobody whom the server knows has signed it, so the server refuses what it would not refuse without.
    let error = read_all(&database, &json!({ "table": "t", "tls": tls("client.pem") })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let rows = read_all(&database, &json!({ "table": "t", "tls": { "mode": "required" } })).await.unwrap();
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_network_that_breaks_is_transient_and_the_rest_is_read() {
    let database = Database::with(&["CREATE TABLE t (id INT PRIMARY KEY, text VARCHAR(2000))"]).await;
    numbers(&database, "t", "i, REPEAT('x', 2000)", 600).await;
    let url = server();
    let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let upstream = tokio::net::lookup_host(address).await.unwrap().next().unwrap();
    let proxy = Proxy::start(upstream).await;
    let options = json!({
        "table": "t", "host": "127.0.0.1", "port": proxy.address().port(), "batch_rows": 50, "snapshot": "off",
        "tls": { "mode": "disabled" },
    });
    let cx = context();
    let source = database.source(&cx, &options).await.unwrap();
    let (_, splits) = plan(&*source, &cx, &request()).await.unwrap();
    let (mut position, mut ids, mut breaks) = (Position::Start, Vec::new(), 0);
    proxy.cut_after(Some(400_000));
    'reading: loop {
        let mut batches = source.read(&cx, &splits[0], position.clone()).unwrap();
        while let Some(batch) = batches.next().await {
            match batch {
                Ok(batch) => {
                    ids.extend(
                        json_rows(std::slice::from_ref(&batch)).iter().map(|row| row["id"].as_i64().unwrap()),
                    );
                    position = batch.resume;
                }
                Err(error) => {
                    assert!(error.is_retryable() && error.kind() == ErrorKind::Unavailable, "{error}");
                    breaks += 1;
                    continue 'reading;
                }
            }
        }
        break;
    }
    assert_eq!(ids, (1..=600).collect::<Vec<_>>());
    assert!(breaks > 0);
}

#[tokio::test]
async fn names_and_values_that_hold_sql_are_only_names_and_values() {
    let database = Database::new().await;
    let (table, key, column) = ("or`der; DROP TABLE safe; -- '\"", "select", "Größe `x` '?");
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    database.run("CREATE TABLE safe (id INT PRIMARY KEY)").await;
    database
        .run(&format!(
            "CREATE TABLE {} ({} VARCHAR(100) PRIMARY KEY, {} VARCHAR(100))",
            quoted(table),
            quoted(key),
            quoted(column)
        ))
        .await;
    let evil =
        ["'; DROP TABLE safe; -- ", "\\'; DROP TABLE safe; -- ", "a\\", "b'' OR 1=1", "ü`\"", "", "zz"];
    for value in evil {
        let escaped = value.replace('\\', "\\\\").replace('\'', "''");
        database.run(&format!("INSERT INTO {} VALUES ('{escaped}', '{escaped}')", quoted(table))).await;
    }
    let options = json!({ "table": quoted(table), "split_size": 2, "batch_rows": 1 });
    let cx = context();
    let source = database.source(&cx, &options).await.unwrap();
    let mut request = request();
    let (_, splits) = plan(&*source, &cx, &request).await.unwrap();
    let mut found = Vec::new();
    for split in &splits {
        // Reading on behind each batch sends the values back as conditions.
        let mut position = Position::Start;
        while let Some(batch) = source.read(&cx, split, position.clone()).unwrap().next().await {
            let batch = batch.unwrap();
            found.extend(json_rows(std::slice::from_ref(&batch)));
            position = batch.resume;
        }
    }
    let mut values: Vec<&str> = found.iter().map(|row| row[column].as_str().unwrap()).collect();
    values.sort_unstable();
    let mut expected = evil;
    expected.sort_unstable();
    assert_eq!(values, expected);
    request.cursor = Some(towpath_core::CursorRange::new(column, Some(json!("' OR 1=1 -- ")), None));
    request.filter = Some(towpath_core::Predicate::Compare {
        column: column.to_owned(),
        comparison: towpath_core::Comparison::Equal,
        value: json!("'; DROP TABLE safe; -- "),
    });
    assert_eq!(json_rows(&crate::support::batches(&*source, &cx, &request).await.unwrap()).len(), 1);
    assert_eq!(database.texts("SELECT COUNT(*) FROM safe").await, [["0"]]);
}
