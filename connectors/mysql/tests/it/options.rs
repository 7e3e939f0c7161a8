//! Each option has an effect.

use serde_json::{Value as Json, json};
use towpath_core::Resume;
use towpath_testkit::context;

use crate::support::{Database, batches, json_rows, plan, read_all, request, server};

async fn table() -> Database {
    Database::with(&[
        "CREATE TABLE t (id INT PRIMARY KEY, flag TINYINT(1), day DATE NOT NULL)",
        "INSERT INTO t VALUES (1, 5, '0000-00-00'), (2, 1, '2024-01-01'), (3, 0, '2024-01-02')",
    ])
    .await
}

#[tokio::test]
async fn fields_and_a_password_file_connect_like_a_url() {
    let database = table().await;
    let url = server();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, format!("{}\n", url.password().unwrap())).unwrap();
    let options = json!({
        "url": null, "host": url.host_str(), "port": url.port(), "user": url.username(), "password_file": path,
        "query": "SELECT DATABASE() AS d, CURRENT_USER() AS u", "compression": true, "connect_timeout": "30s",
        "statement_timeout": "1m", "lock_timeout": "5s", "max_connections": 2,
    });
    let rows = read_all(&database, &options).await.unwrap();
    assert_eq!(rows[0]["d"], database.name);
    assert!(rows[0]["u"].as_str().unwrap().starts_with(url.username()));
}

#[tokio::test]
async fn a_socket_stands_in_for_host_and_port() {
    let database = table().await;
    let path = database.texts("SELECT @@socket").await.remove(0).remove(0);
    if std::os::unix::net::UnixStream::connect(&path).is_err() {
        println!("the server's socket cannot be reached from here: `{path}`");
        return;
    }
    let url = server();
    let options = json!({
        "url": null, "socket": path, "user": url.username(), "password": url.password(), "query": "SELECT 1 AS one",
    });
    assert_eq!(read_all(&database, &options).await.unwrap(), [json!({ "one": 1 })]);
}

#[tokio::test]
async fn tinyint1_and_zero_dates_change_what_is_read() {
    let database = table().await;
    let options = json!({ "table": "t", "tinyint1": "int8", "zero_dates": "null" });
    let rows = read_all(&database, &options).await.unwrap();
    assert_eq!(rows[0], json!({"id": 1, "flag": 5, "day": null}));
    let bare_null = json!({ "table": "t", "tinyint1": "int8", "zero_dates": null });
    assert_eq!(read_all(&database, &bare_null).await.unwrap(), rows);
    let bool_rows = read_all(&database, &json!({ "table": "t" })).await.unwrap();
    assert_eq!(bool_rows[0], json!({"id": 2, "flag": true, "day": "2024-01-01"}));
}

#[tokio::test]
async fn batch_rows_and_split_size_cut_finer() {
    let database = table().await;
    let count = async |options: Json| {
        let cx = context();
        let source = database.source(&cx, &options).await.unwrap();
        let splits = plan(&*source, &cx, &request()).await.unwrap().1.len();
        (splits, batches(&*source, &cx, &request()).await.unwrap().len())
    };
    assert_eq!(count(json!({ "table": "t" })).await, (1, 1));
    assert_eq!(count(json!({ "table": "t", "batch_rows": 1 })).await, (1, 3));
    assert_eq!(count(json!({ "table": "t", "split_size": 1 })).await.0, 3);
}

#[tokio::test]
async fn split_by_says_where_a_piece_goes_on() {
    let database = table().await;
    let resume = async |options: Json| {
        let source = database.source(&context(), &options).await.unwrap();
        source.capabilities().resume
    };
    assert_eq!(resume(json!({ "table": "t" })).await, Resume::Exact);
    assert_eq!(resume(json!({ "table": "t", "split_by": "none" })).await, Resume::Split);
    assert_eq!(resume(json!({ "table": "t", "split_by": "day" })).await, Resume::Split);
    assert_eq!(resume(json!({ "query": "SELECT 1" })).await, Resume::Split);
}

#[tokio::test]
async fn max_connections_is_a_ceiling() {
    let database = table().await;
    let cx = context();
    let source = database.source(&cx, &json!({ "table": "t", "max_connections": 3 })).await.unwrap();
    json_rows(&batches(&*source, &cx, &request()).await.unwrap());
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{}' AND ID <> CONNECTION_ID()",
        database.name
    );
    let count: usize = database.texts(&sql).await[0][0].parse().unwrap();
    assert!((1..=3).contains(&count), "{count} connections");
}

#[tokio::test]
async fn a_limit_is_told_to_the_server() {
    let database = table().await;
    let cx = context();
    let source = database
        .source(&cx, &json!({ "table": "t", "tinyint1": "int8", "zero_dates": "null" }))
        .await
        .unwrap();
    let mut request = request();
    request.limit = Some(2);
    assert_eq!(json_rows(&batches(&*source, &cx, &request).await.unwrap()).len(), 2);
}

#[tokio::test]
async fn discover_lists_tables_with_what_reads_them() {
    let database = table().await;
    database.run("CREATE TABLE `no.key` (a INT)").await;
    database.run("CREATE VIEW v AS SELECT id FROM t").await;
    // What our own sink keeps is no data set.
    database.run("CREATE TABLE _towpath_checkpoints (id INT PRIMARY KEY)").await;
    let cx = context();
    let source = database.source(&cx, &json!({})).await.unwrap();
    let found = source.discover(&cx).await.unwrap();
    let of = |name: &str| found.iter().find(|dataset| dataset.name.contains(name)).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!((of("t").key.clone(), &of("t").source), (vec!["id".to_owned()], &json!({ "table": "t" })));
    assert_eq!(of("t").schema.as_ref().unwrap().fields().len(), 3);
    assert_eq!(of("v").source["split_by"], "none");
    for dataset in &found {
        assert!(read_all(&database, &dataset.source).await.is_ok(), "{:?}", dataset.source);
    }
}

#[tokio::test]
async fn a_uri_of_copy_reads_a_table() {
    let database = table().await;
    let mut url = server();
    url.set_path(&database.name);
    url.query_pairs_mut().append_pair("table", "t").append_pair("split_by", "none");
    let options = towpath_connector_mysql::CONNECTOR.options_of_uri(url.as_str()).unwrap();
    let cx = context();
    let source = towpath_connector_mysql::CONNECTOR.source_entry().unwrap().open(options, &cx).await.unwrap();
    assert_eq!(json_rows(&batches(&*source, &cx, &request()).await.unwrap()).len(), 2);
}
