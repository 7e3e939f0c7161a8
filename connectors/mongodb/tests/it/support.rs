//! A database of its own for each test, looked at with the driver itself.

use std::sync::Arc;

use bson::{Document, doc};
use futures::TryStreamExt;
use mongodb::{Client, Collection};
use serde_json::json;
use towpath_connector_mongodb::CONNECTOR;
use towpath_core::{Context, DynSource, Error, Json, Result};
pub(crate) use towpath_testkit::steps::{batches, json_rows, plan, read, request};
use url::Url;

/// The server of most tests: a replica set.
pub(crate) fn server() -> Url {
    server_at("TOWPATH_TEST_MONGODB_URL")
}

/// A server of no replica set.
pub(crate) fn server_alone() -> Url {
    server_at("TOWPATH_TEST_MONGODB_ALONE_URL")
}

fn server_at(variable: &str) -> Url {
    let url = std::env::var(variable).unwrap_or_else(|_| {
        panic!("these tests need a server: run them by `cargo xtask test`, or set {variable}")
    });
    Url::parse(&url).expect("the address of the server is a URL")
}

/// The file with the authority that signed the server's certificate.
pub(crate) fn authority() -> std::path::PathBuf {
    let path = std::env::var("TOWPATH_TEST_MONGODB_CA")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_MONGODB_CA");
    path.into()
}

/// A client of the tests' own.
pub(crate) async fn client() -> Client {
    client_of(&server()).await
}

async fn client_of(server: &Url) -> Client {
    Client::with_uri_str(server.as_str()).await.expect("the test server answers")
}

/// The password of users of tests.
pub(crate) const PASSWORD: &str = "conformance-s3cret";

/// A database that is dropped at the end, with its users.
pub(crate) struct Database {
    pub(crate) name: String,
    server: Url,
    client: Client,
}

impl Database {
    pub(crate) async fn new() -> Self {
        Self::at(server()).await
    }

    /// A new database of a server.
    pub(crate) async fn at(server: Url) -> Self {
        Self { name: format!("towpath_{:016x}", random()), client: client_of(&server).await, server }
    }

    /// A new database with documents in a collection.
    pub(crate) async fn with(collection: &str, documents: impl IntoIterator<Item = Document>) -> Self {
        let database = Self::new().await;
        database.collection(collection).insert_many(documents).await.unwrap();
        database
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.name).collection(name)
    }

    /// Runs a command in it.
    pub(crate) async fn run(&self, command: Document) -> Document {
        self.client.database(&self.name).run_command(command).await.unwrap()
    }

    /// Makes a user with these roles in it.
    pub(crate) async fn user(&self, name: &str, roles: &[&str]) {
        self.run(doc! { "createUser": name, "pwd": PASSWORD, "roles": roles.to_vec() }).await;
    }

    /// The collections that there are.
    pub(crate) async fn collections(&self) -> Vec<String> {
        self.client.database(&self.name).list_collection_names().await.unwrap()
    }

    /// All documents of a collection.
    pub(crate) async fn documents(&self, collection: &str) -> Vec<Document> {
        self.collection(collection).find(doc! {}).await.unwrap().try_collect().await.unwrap()
    }

    /// What the server does for others in it, and the cursors that it holds open.
    pub(crate) async fn activity(&self) -> Vec<String> {
        let stages = [
            doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
            doc! { "$match": { "ns": { "$regex": format!("^{}\\.", self.name) } } },
        ];
        let found = self.client.database("admin").aggregate(stages).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        found
            .iter()
            .map(|operation| format!("{:?} {:?}", operation.get("type"), operation.get("cursor")))
            .collect()
    }

    /// The options of a source or sink in it.
    pub(crate) fn options(&self, more: &Json) -> Json {
        let mut options = json!({ "url": self.server.as_str(), "database": self.name });
        options.as_object_mut().unwrap().extend(more.as_object().expect("options are an object").clone());
        options
    }

    /// Opens a source in it.
    pub(crate) async fn source(&self, cx: &Context, more: &Json) -> Result<Arc<dyn DynSource>> {
        CONNECTOR.source_entry().unwrap().open(self.options(more), cx).await
    }
}

/// Errors that the server gives to one application. There is one such setting in a server, so others wait until it is dropped.
pub(crate) struct FailPoint {
    /// The server's URL for that application.
    pub(crate) url: Url,
    database: Client,
    application: String,
    _turn: std::fs::File,
}

impl FailPoint {
    /// Waits until it is this test's turn.
    pub(crate) async fn new() -> Self {
        let mut url = server();
        let path = std::env::temp_dir().join(format!("towpath-fail-point-{}", url.port().unwrap()));
        let turn = tokio::task::spawn_blocking(|| {
            let file = std::fs::File::create(path).expect("a file for the turn can be made");
            file.lock().expect("the turn comes");
            file
        });
        let turn = turn.await.unwrap();
        let application = format!("fails-{:x}", random());
        url.query_pairs_mut().append_pair("appName", &application);
        Self { url, database: client().await, application, _turn: turn }
    }

    /// So many of these commands fail from now on.
    pub(crate) async fn set(&self, command: &str, times: i32, how: Document) {
        let mut data = doc! { "appName": &self.application, "failCommands": [command] };
        data.extend(how);
        let set = doc! { "configureFailPoint": "failCommand", "mode": { "times": times }, "data": data };
        self.database.database("admin").run_command(set).await.unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
        // A drop cannot wait, and the runtime of the test may be at its end.
        let running = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let database = client_of(&server).await.database(&name);
                database.run_command(doc! { "dropAllUsersFromDatabase": 1 }).await?;
                database.drop().await
            })?;
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
        if let Ok(Err(error)) = running.join() {
            println!("something of a test is left behind: {error}");
        }
    }
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
