//! A database of its own for each test, looked at with another client than the connector's.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use towpath_connector_postgres::CONNECTOR;
use towpath_core::{
    Batch, Context, DynSink, DynSource, Error, Json, Planned, Position, Result, ScanPlan, ScanRequest, Split,
};
use towpath_testkit::rows;
use url::Url;

/// The server of the tests.
pub(crate) fn server() -> Url {
    let url = std::env::var("TOWPATH_TEST_POSTGRES_URL").expect(
        "these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_POSTGRES_URL",
    );
    Url::parse(&url).expect("TOWPATH_TEST_POSTGRES_URL is a URL")
}

/// The server's URL with another database.
pub(crate) fn url_of(database: &str) -> Url {
    let mut url = server();
    url.set_path(database);
    url
}

/// A connection of the tests' own.
pub(crate) async fn connect(url: &Url) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url.as_str(), NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client
}

/// A database that is dropped at the end.
pub(crate) struct Database {
    pub(crate) name: String,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let name = format!("towpath_{:016x}", random());
        let server = connect(&server()).await;
        server.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
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

    pub(crate) fn url(&self) -> Url {
        url_of(&self.name)
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Runs statements.
    pub(crate) async fn run(&self, sql: &str) {
        let outcome = self.client().await.batch_execute(sql).await;
        outcome.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
    }

    /// The rows of a statement as texts, null as `NULL`.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let messages = self.client().await.simple_query(sql).await;
        let messages = messages.unwrap_or_else(|error| panic!("{error:?}: {sql}"));
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).unwrap_or("NULL").to_owned()).collect())
            }
            _ => None,
        };
        messages.into_iter().filter_map(row).collect()
    }

    /// The only value of a statement.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.texts(sql).await.remove(0).remove(0)
    }

    /// The options of a source or sink in it.
    pub(crate) fn options(&self, more: &Json) -> Json {
        let mut options = json!({ "url": self.url().as_str() });
        options.as_object_mut().unwrap().extend(more.as_object().expect("options are an object").clone());
        options
    }

    /// Opens a source in it.
    pub(crate) async fn source(&self, cx: &Context, more: &Json) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options(more), cx).await
    }

    /// Opens a sink in it.
    pub(crate) async fn sink(&self, cx: &Context, more: &Json) -> Result<Arc<dyn DynSink>> {
        CONNECTOR.sink_entry().unwrap().open(self.options(more), cx).await
    }

    /// The sessions of connectors in it.
    pub(crate) async fn sessions(&self) -> Vec<String> {
        let sql = "SELECT state || ': ' || query FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'towpath' AND state <> 'idle'";
        self.texts(sql).await.into_iter().map(|mut row| row.remove(0)).collect()
    }

    /// Ends every session of connectors in it, as an administrator would.
    pub(crate) async fn kill_sessions(&self) -> usize {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND application_name = 'towpath'";
        self.texts(sql).await.len()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        run_at_the_end(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The password of users of tests.
pub(crate) const PASSWORD: &str = "conformance-s3cret";

/// A user of a test's own, who is dropped at the end.
pub(crate) struct User {
    pub(crate) name: String,
    database: String,
}

impl User {
    pub(crate) async fn new(database: &Database) -> Self {
        let name = format!("{}_user", database.name);
        database.run(&format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")).await;
        Self { name, database: database.name.clone() }
    }

    /// Options by which a connector connects as this user.
    pub(crate) fn options(&self, more: &Json) -> Json {
        let mut url = url_of(&self.database);
        url.set_username(&self.name).unwrap();
        url.set_password(Some(PASSWORD)).unwrap();
        let mut options = json!({ "url": url.as_str() });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    }
}

impl Drop for User {
    fn drop(&mut self) {
        run_at_the_end(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database));
        run_at_the_end(format!("DROP ROLE IF EXISTS {}", self.name));
    }
}

/// Runs a statement from a drop, which cannot wait, and when the runtime of the test may be at its end.
fn run_at_the_end(sql: String) {
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { connect(&server()).await.batch_execute(&sql).await })?;
        Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    });
    if let Ok(Err(error)) = running.join() {
        println!("something of a test is left behind: {error}");
    }
}

/// A number that no other test has.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// What a source is asked for, with several splits at once.
pub(crate) fn request() -> ScanRequest {
    let mut request = ScanRequest::default();
    request.parallelism = 4;
    request
}

/// The plan of a source and its splits.
pub(crate) async fn plan(
    source: &dyn DynSource,
    cx: &Context,
    request: &ScanRequest,
) -> Result<(ScanPlan, Vec<Split>)> {
    let mut plan = source.plan(cx, request).await?;
    let steps = std::mem::replace(&mut plan.splits, futures::stream::empty().boxed());
    let splits = steps
        .try_filter_map(|step| async {
            Ok(match step {
                Planned::Split { split, .. } => Some(split),
                Planned::Complete { .. } => None,
            })
        })
        .try_collect()
        .await?;
    Ok((plan, splits))
}

/// The batches of a split.
pub(crate) async fn read(source: &dyn DynSource, cx: &Context, split: &Split) -> Result<Vec<Batch>> {
    source.read(cx, split, Position::Start)?.try_collect().await
}

/// Everything that a source gives.
pub(crate) async fn read_all(
    source: &dyn DynSource,
    cx: &Context,
    request: &ScanRequest,
) -> Result<Vec<Batch>> {
    let (_, splits) = plan(source, cx, request).await?;
    let mut batches = Vec::new();
    for split in &splits {
        batches.extend(read(source, cx, split).await?);
    }
    Ok(batches)
}

/// The rows of batches as JSON.
pub(crate) fn json_rows(batches: &[Batch]) -> Vec<Json> {
    rows::to_json(batches.iter().map(|batch| &batch.rows))
}

/// The error that something must end with.
pub(crate) fn error_of<T>(outcome: Result<T>) -> Error {
    match outcome {
        Ok(_) => panic!("it must fail"),
        Err(error) => error,
    }
}
