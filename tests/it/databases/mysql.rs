//! A MySQL database of a test's own, looked at with another client than the connector's.

use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use url::Url;

use super::{address, at, server, unique_name};

const VARIABLE: &str = "TOWPATH_TEST_MYSQL_URL";

/// A database that is dropped at the end.
pub(crate) struct Mysql {
    pub(crate) name: String,
}

async fn connect(database: Option<&str>) -> Conn {
    let url = server(VARIABLE);
    let options = OptsBuilder::default()
        .ip_or_hostname(url.host_str().expect("the URL has a host"))
        .tcp_port(url.port().expect("the URL has a port"))
        .prefer_socket(false)
        .user(Some(url.username()))
        .pass(url.password())
        .db_name(database);
    Conn::new(options).await.expect("the test server answers")
}

impl Mysql {
    pub(crate) async fn new() -> Self {
        let name = unique_name();
        let create = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4");
        connect(None).await.query_drop(create).await.unwrap();
        Self { name }
    }

    pub(crate) fn url(&self) -> Url {
        let mut url = server(VARIABLE);
        url.set_path(&self.name);
        url
    }

    /// Where the server is.
    pub(crate) fn address() -> SocketAddr {
        address(&server(VARIABLE))
    }

    /// The database as seen through a proxy.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        at(self.url(), address)
    }

    /// Runs a statement.
    pub(crate) async fn run(&self, sql: &str) {
        let outcome = connect(Some(&self.name)).await.query_drop(sql).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The only column of a query, as text.
    pub(crate) async fn lines(&self, query: &str) -> Vec<String> {
        let lines = connect(Some(&self.name)).await.query(query).await;
        lines.unwrap_or_else(|error| panic!("{error}: {query}"))
    }

    /// How many rows a table has; none if it is not there.
    pub(crate) async fn count(&self, table: &str) -> u64 {
        if !self.tables().await.iter().any(|name| name == table) {
            return 0;
        }
        let count = format!("SELECT CAST(count(*) AS CHAR) FROM `{table}`");
        self.lines(&count).await[0].parse().expect("a number")
    }

    /// The names of all tables.
    pub(crate) async fn tables(&self) -> Vec<String> {
        self.lines(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = database() \
             ORDER BY BINARY table_name",
        )
        .await
    }
}

impl Drop for Mysql {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS `{}`", self.name);
        // A drop cannot wait, and the runtime of the test may be at its end.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { connect(None).await.query_drop(sql).await })?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
        if let Ok(Err(error)) = dropping.join() {
            println!("a database of a test is left behind: {error}");
        }
    }
}
