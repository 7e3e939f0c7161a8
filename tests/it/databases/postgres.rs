//! A Postgres database of a test's own, looked at with another client than the connector's.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::{Client, NoTls};
use url::Url;

use super::{address, at, server, unique_name};

const VARIABLE: &str = "TOWPATH_TEST_POSTGRES_URL";

/// A database that is dropped at the end.
pub(crate) struct Postgres {
    pub(crate) name: String,
}

async fn connect(url: &Url) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url.as_str(), NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

impl Postgres {
    pub(crate) async fn new() -> Self {
        let name = unique_name();
        connect(&server(VARIABLE)).await.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
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

    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) {
        let outcome = connect(&self.url()).await.batch_execute(sql).await;
        outcome.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }

    /// Loads lines of CSV into a table.
    pub(crate) async fn load(&self, table: &str, lines: impl Iterator<Item = String>) {
        let client = connect(&self.url()).await;
        let copy = format!("COPY {table} FROM STDIN (FORMAT csv)");
        let mut sink = std::pin::pin!(client.copy_in::<_, Bytes>(&copy).await.unwrap());
        let mut block = String::new();
        for line in lines {
            block.push_str(&line);
            block.push('\n');
            if block.len() > 1 << 16 {
                sink.send(std::mem::take(&mut block).into()).await.unwrap();
            }
        }
        sink.send(block.into()).await.unwrap();
        sink.finish().await.unwrap_or_else(|error| panic!("{error:?}: {table}"));
    }

    /// The only column of a query, as text.
    pub(crate) async fn lines(&self, query: &str) -> Vec<String> {
        let client = connect(&self.url()).await;
        let copied = client.copy_out(&format!("COPY ({query}) TO STDOUT")).await;
        let pieces = copied.unwrap_or_else(|error| panic!("{error:?}: {query}"));
        let text: Vec<u8> = pieces
            .try_fold(Vec::new(), async |mut text, piece| {
                text.extend_from_slice(&piece);
                Ok(text)
            })
            .await
            .unwrap();
        String::from_utf8(text).unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// How many rows a table has; none if it is not there.
    pub(crate) async fn count(&self, table: &str) -> u64 {
        let exists = format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('{table}')");
        if self.lines(&exists).await == ["0"] {
            return 0;
        }
        self.lines(&format!("SELECT count(*) FROM {table}")).await[0].parse().expect("a number")
    }

    /// The names of all tables.
    pub(crate) async fn tables(&self) -> Vec<String> {
        self.lines(
            "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') \
             ORDER BY tablename COLLATE \"C\"",
        )
        .await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A drop cannot wait, and the runtime of the test may be at its end.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { connect(&server(VARIABLE)).await.batch_execute(&sql).await })?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
        if let Ok(Err(error)) = dropping.join() {
            println!("a database of a test is left behind: {error}");
        }
    }
}
