//! The client against a real server.

use bytes::Bytes;
use futures::stream;
use mysql_common::value::Value;
use towpath_core::{Error, ErrorKind, Secret};

use super::*;
use crate::config::{Raw, Tls, TlsMode};

const LIMIT: Limit = Limit { rows: 1000, bytes: 1 << 20 };

fn options() -> ConnectionOptions {
    let url = std::env::var("TOWPATH_TEST_MYSQL_URL")
        .expect("this test needs a server: run it by `cargo xtask test`, or set TOWPATH_TEST_MYSQL_URL");
    ConnectionOptions::resolve(Raw {
        url: Some(&Secret::new(url)),
        host: None,
        port: None,
        socket: None,
        user: None,
        password: None,
        password_file: None,
        database: None,
        tls: &Tls::default(),
        compression: false,
        connect_timeout: None,
        statement_timeout: None,
        lock_timeout: None,
        max_connections: None,
    })
    .expect("TOWPATH_TEST_MYSQL_URL is a URL of a server")
}

fn authority() -> std::path::PathBuf {
    std::env::var_os("TOWPATH_TEST_MYSQL_CA")
        .expect("this test needs a server: run it by `cargo xtask test`, or set TOWPATH_TEST_MYSQL_CA")
        .into()
}

async fn connect(options: &ConnectionOptions) -> Result<Client> {
    Client::connect(options, Role::Sink).await
}

async fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql).await.unwrap();
    rows.into_iter().flatten().map(Option::unwrap_or_default).collect()
}

#[tokio::test]
async fn sessions_are_the_same_whatever_the_server_is_set_to() {
    let mut client = Client::connect(&options(), Role::Source).await.unwrap();
    let session = "SELECT @@time_zone, @@character_set_results, @@sql_mode";
    let expected = ["+00:00", "utf8mb4", "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"];
    assert_eq!(texts(&mut client, session).await, expected);
    let error = client.execute("CREATE TABLE mysql.towpath_must_not_be (id INT)").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[tokio::test]
async fn time_limits_reach_the_session() {
    use std::time::Duration;
    let mut options = options();
    options.statement_timeout = Some(Duration::from_millis(100));
    options.lock_timeout = Some(Duration::from_millis(1500));
    let mut client = Client::connect(&options, Role::Source).await.unwrap();
    assert_eq!(
        texts(&mut client, "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout").await,
        ["2", "2"]
    );
    let error = client.query("SELECT COUNT(*) FROM information_schema.columns a, information_schema.columns b, information_schema.columns c").await.unwrap_err();
    assert!(error.to_string().contains("statement_timeout"), "{error}");
    assert!(client.is_idle());
}

#[tokio::test]
async fn each_tls_mode_asks_for_what_it_says() {
    let base = options();
    let with = |mode, name: &str, ca: bool| {
        let mut options = base.clone();
        options.tls_mode = mode;
        options.tls.ca = ca.then(authority);
        if let crate::config::Host::Tcp { name: host, .. } = &mut options.host {
            name.clone_into(host);
        }
        options
    };
    for (options, is_encrypted) in [
        (with(TlsMode::Disabled, "127.0.0.1", false), false),
        (with(TlsMode::Preferred, "127.0.0.1", false), true),
        (with(TlsMode::Required, "127.0.0.1", false), true),
        (with(TlsMode::VerifyIdentity, "localhost", true), true),
        // The certificate is for `localhost` and 127.0.0.1 only.
        (with(TlsMode::VerifyCa, "127.0.0.2", true), true),
    ] {
        match connect(&options).await {
            Ok(mut client) => {
                let cipher = texts(&mut client, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").await;
                assert_eq!(!cipher[1].is_empty(), is_encrypted, "{:?}", options.tls_mode);
            }
            // A server that listens on one address only.
            Err(error) if options.host.to_string().starts_with("127.0.0.2") => {
                assert!(!error.to_string().contains("certificate"), "{error}");
            }
            Err(error) => panic!("{:?}: {error}", options.tls_mode),
        }
    }
    for (options, says) in [
        (with(TlsMode::VerifyCa, "127.0.0.1", false), "tls.ca"),
        (with(TlsMode::VerifyIdentity, "127.0.0.1", false), "tls.ca"),
    ] {
        let error = connect(&options).await.unwrap_err();
        assert!(error.to_string().contains(says) && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_unauthenticated_and_not_shown() {
    let mut options = options();
    options.password = Some(Secret::new("hush-hush".to_owned()));
    let error = connect(&options).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthenticated, false));
    assert!(!format!("{error:?} {options:?}").contains("hush"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let mut options = options();
    options.host = crate::config::Host::Tcp { name: "127.0.0.1".to_owned(), port: 1 };
    let error = connect(&options).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options();
    options.host = crate::config::Host::Tcp { name: "127.0.0.1".to_owned(), port };
    options.connect_timeout = std::time::Duration::from_millis(20);
    let error = connect(&options).await.unwrap_err();
    assert!(error.to_string().contains("connect_timeout") && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn rows_come_in_pieces_plain_and_compressed() {
    const SQL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
        SELECT i, REPEAT('x', 100) FROM n";
    for compression in [false, true] {
        let mut options = options();
        options.compression = compression;
        let mut client = connect(&options).await.unwrap();
        let depth =
            if client.server().is_mariadb { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
        client.execute(&format!("SET SESSION {depth} = 100000")).await.unwrap();
        let columns = client.start(SQL, &[Value::Int(2500)]).await.unwrap();
        assert_eq!(columns.len(), 2);
        let mut counts = Vec::new();
        while let Some(rows) = client.next_rows(LIMIT).await.unwrap() {
            assert_eq!(rows.iter().count(), rows.len());
            counts.push(rows.len());
        }
        assert_eq!(counts, [1000, 1000, 500]);
        assert_eq!(texts(&mut client, "SELECT 'next'").await, ["next"]);
        let compressed = texts(&mut client, "SHOW STATUS LIKE 'Compression'").await;
        assert_eq!(compressed[1], if compression { "ON" } else { "OFF" });
    }
}

#[tokio::test]
async fn dropped_rows_leave_the_connection_usable() {
    let mut client = connect(&options()).await.unwrap();
    client
        .start("SELECT a.* FROM information_schema.collations a, information_schema.collations b", &[])
        .await
        .unwrap();
    assert!(!client.is_idle() && !client.is_broken());
    client.next_rows(LIMIT).await.unwrap().unwrap();
    client.drop_rows().await.unwrap();
    assert_eq!(texts(&mut client, "SELECT 1").await, ["1"]);
}

#[tokio::test]
async fn a_row_of_many_frames_arrives_whole() {
    let mut client = connect(&options()).await.unwrap();
    let largest: usize = texts(&mut client, "SELECT @@max_allowed_packet").await[0].parse().unwrap();
    let length = (largest - 1000).min(40 << 20);
    client.start(&format!("SELECT REPEAT('y', {length})"), &[]).await.unwrap();
    let rows = client.next_rows(LIMIT).await.unwrap().unwrap();
    let row = rows.iter().next().unwrap();
    assert!(row.len() > length && row.ends_with(b"yyy"));
    assert!(client.next_rows(LIMIT).await.unwrap().is_none());
}

#[tokio::test]
async fn a_killed_connection_is_lost_and_transient() {
    let mut client = connect(&options()).await.unwrap();
    let mut other = connect(&options()).await.unwrap();
    other.execute(&format!("KILL {}", client.id())).await.unwrap();
    let error = client.query("SELECT SLEEP(30)").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_load_comes_from_memory_and_a_broken_one_applies_nothing() {
    let mut client = connect(&options()).await.unwrap();
    let database = format!("towpath_client_{}", std::process::id());
    client.execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    client
        .execute(&format!("CREATE TABLE {database}.loaded (id INT, name TEXT) ENGINE=InnoDB"))
        .await
        .unwrap();
    let load = format!("LOAD DATA LOCAL INFILE 'rows' INTO TABLE {database}.loaded CHARACTER SET utf8mb4");
    let lines = (0..100_000).map(|i| format!("{i}\tname {i} ü\n")).collect::<Vec<_>>().concat();
    let pieces = lines
        .into_bytes()
        .chunks(3_000_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect::<Vec<_>>();
    let outcome = client.load(&load, stream::iter(pieces)).await.unwrap();
    assert_eq!((outcome.affected_rows, outcome.warnings), (100_000, 0));
    assert!(outcome.info.starts_with("Records: 100000"), "{}", outcome.info);

    let broken = stream::iter([Ok(Bytes::from_static(b"1\tx\n")), Err(Error::data("no more"))]);
    assert_eq!(client.load(&load, broken).await.unwrap_err().message(), "no more");
    assert!(client.is_broken());
    let mut other = connect(&options()).await.unwrap();
    drop(client);
    assert_eq!(texts(&mut other, &format!("SELECT COUNT(*) FROM {database}.loaded")).await, ["100000"]);
    other.execute(&format!("DROP DATABASE {database}")).await.unwrap();
}

#[tokio::test]
async fn results_of_a_procedure_are_taken_to_their_end() {
    let mut client = connect(&options()).await.unwrap();
    let database = format!("towpath_calls_{}", std::process::id());
    client.execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    client
        .execute(&format!("CREATE PROCEDURE {database}.two() BEGIN SELECT 1; SELECT 2; END"))
        .await
        .unwrap();
    assert_eq!(texts(&mut client, &format!("CALL {database}.two()")).await, ["1"]);
    client.start(&format!("CALL {database}.two()"), &[]).await.unwrap();
    assert_eq!(client.next_rows(LIMIT).await.unwrap().unwrap().len(), 1);
    assert!(client.next_rows(LIMIT).await.unwrap().is_none());
    assert_eq!(texts(&mut client, "SELECT 'next'").await, ["next"]);
    client.execute(&format!("DROP DATABASE {database}")).await.unwrap();
}

#[tokio::test]
async fn a_session_that_holds_something_is_not_given_to_others() {
    let pool = std::sync::Arc::new(crate::pool::Pool::new(options(), Role::Source, 1));
    let cx = towpath_testkit::context();
    let mut holding = pool.get(&cx).await.unwrap();
    let id = holding.id();
    holding.holds_something(true);
    drop(holding);
    let other = pool.get(&cx).await.unwrap();
    assert_ne!(other.id(), id);
    let id = other.id();
    drop(other);
    assert_eq!(pool.get(&cx).await.unwrap().id(), id);
}

#[tokio::test]
async fn one_text_is_one_statement() {
    let mut client = connect(&options()).await.unwrap();
    let error = client.query("SELECT 1; SELECT 2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(client.is_idle());
}
