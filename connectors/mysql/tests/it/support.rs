//! A database of its own for each test, looked at with another client than the connector's.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use serde_json::json;
use towpath_connector_mysql::CONNECTOR;
use towpath_core::{Context, DynSource, Error, Json, Result};
pub(crate) use towpath_testkit::steps::{batches, json_rows, plan, read, request};
use url::Url;

/// The server of the tests.
pub(crate) fn server() -> Url {
    let url = std::env::var("TOWPATH_TEST_MYSQL_URL")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_MYSQL_URL");
    Url::parse(&url).expect("TOWPATH_TEST_MYSQL_URL is a URL")
}

/// The file with the authority that signed the server's certificate.
pub(crate) fn authority() -> String {
    std::env::var("TOWPATH_TEST_MYSQL_CA")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_MYSQL_CA")
}

/// A connection of the tests' own client.
pub(crate) async fn connect(database: Option<&str>) -> Conn {
    let url = server();
    let options = OptsBuilder::default()
        .ip_or_hostname(url.host_str().expect("the URL has a host"))
        .tcp_port(url.port().unwrap_or(3306))
        .prefer_socket(false)
        .user(Some(url.username()))
        .pass(url.password())
        .db_name(database);
    let mut client = Conn::new(options).await.expect("the test server answers");
    client.query_drop("SET SESSION time_zone = '+00:00', sql_mode = 'NO_ENGINE_SUBSTITUTION'").await.unwrap();
    client
}

/// A database that is dropped at the end.
pub(crate) struct Database {
    pub(crate) name: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let name = format!("towpath_{:016x}", random());
        connect(None)
            .await
            .query_drop(format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))
            .await
            .unwrap();
        Self { name }
    }

    /// A new database in which these statements were run.
    pub(crate) async fn with(statements: &[&str]) -> Self {
        let database = Self::new().await;
        for statement in statements {
            database.run(statement).await;
        }
        database
    }

    /// Runs a statement.
    pub(crate) async fn run(&self, sql: &str) {
        let outcome = connect(Some(&self.name)).await.query_drop(sql).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The rows of a statement as texts, null as `NULL`.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let rows: Vec<Row> = connect(Some(&self.name)).await.query(sql).await.unwrap();
        let text = |value: Value| match value {
            Value::NULL => "NULL".to_owned(),
            Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => other.as_sql(true).trim_matches('\'').to_owned(),
        };
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    /// The options of a source or sink in it.
    pub(crate) fn options(&self, more: &Json) -> Json {
        let mut options = json!({ "url": server().as_str(), "database": self.name });
        options.as_object_mut().unwrap().extend(more.as_object().expect("options are an object").clone());
        options
    }

    /// Opens a source in it.
    pub(crate) async fn source(&self, cx: &Context, more: &Json) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options(more), cx).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        run_at_the_end(format!("DROP DATABASE IF EXISTS `{}`", self.name));
    }
}

/// The password of users of tests.
pub(crate) const PASSWORD: &str = "conformance-s3cret";

/// A user of a test's own, who is dropped at the end.
pub(crate) struct User {
    pub(crate) name: String,
}

impl User {
    /// A user with these privileges, such as `SELECT ON x.*`.
    pub(crate) async fn new(database: &Database, grants: &[&str]) -> Self {
        let user = Self { name: database.name.clone() };
        database.run(&format!("CREATE USER '{}'@'%' IDENTIFIED BY '{PASSWORD}'", user.name)).await;
        for grant in grants {
            database.run(&format!("GRANT {grant} TO '{}'@'%'", user.name)).await;
        }
        user
    }
}

impl Drop for User {
    fn drop(&mut self) {
        run_at_the_end(format!("DROP USER IF EXISTS '{}'@'%'", self.name));
    }
}

/// Runs a statement from a drop, which cannot wait, and when the runtime of the test may be at its end.
fn run_at_the_end(sql: String) {
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { connect(None).await.query_drop(sql).await })?;
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });
    if let Ok(Err(error)) = running.join() {
        println!("something of a test is left behind: {error}");
    }
}

/// Fills a table with so many rows of these expressions, in which `i` counts from one.
pub(crate) async fn numbers(database: &Database, table: &str, expressions: &str, count: u32) {
    const DIGITS: &str = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
        UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    database
        .run(&format!(
            "INSERT INTO {table} SELECT {expressions} FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 1 AS i \
             FROM {DIGITS} a, {DIGITS} b, {DIGITS} c, {DIGITS} e) n WHERE i <= {count} ORDER BY i"
        ))
        .await;
}

/// A number that no other test has.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// The rows of a source with these options.
pub(crate) async fn read_all(database: &Database, options: &Json) -> Result<Vec<Json>> {
    let cx = towpath_testkit::context();
    let source = database.source(&cx, options).await?;
    Ok(json_rows(&batches(&*source, &cx, &request()).await?))
}

/// The error of opening, checking and reading a source.
pub(crate) async fn failure(options: Json) -> Error {
    let cx = towpath_testkit::context();
    let outcome = async {
        let source = CONNECTOR.source_entry().unwrap().open(options, &cx).await?;
        source.check(&cx).await?;
        batches(&*source, &cx, &request()).await
    };
    outcome.await.map(|batches| json_rows(&batches)).expect_err("it must fail")
}
