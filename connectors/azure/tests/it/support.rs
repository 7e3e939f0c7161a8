//! A prefix of its own for each test, filled by another client than the connector's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;
use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{Batch, Context, Error, Json, Planned, Position, Result, ScanRequest, Split};
use towpath_formats::{Encoder, MemoryOutput, WriteOptions};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::{context, rows};

use crate::account::{self, authority, done, endpoint, origin, send};

/// The container that everybody may read.
pub(crate) const PUBLIC: &str = "public";

/// The container of all other tests.
pub(crate) const CONTAINER: &str = "landing";

/// Keys below a prefix that is this test's own.
pub(crate) struct Prefix {
    client: reqwest::Client,
    pub(crate) container: &'static str,
    pub(crate) name: String,
    pub(crate) cx: Context,
}

impl Prefix {
    pub(crate) fn new() -> Self {
        Self::of(CONTAINER)
    }

    pub(crate) fn of(container: &'static str) -> Self {
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self { client: account::client(), container, name: format!("test-{unique:016x}"), cx: context() }
    }

    /// With these blobs.
    pub(crate) async fn with(blobs: &[(&str, &str)]) -> Self {
        let prefix = Self::new();
        for (key, text) in blobs {
            prefix.put(key, text.as_bytes().to_vec()).await;
        }
        prefix
    }

    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    /// Asks the server for something about a blob.
    pub(crate) async fn ask(
        &self,
        method: Method,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Response {
        let target = format!("{}/{}", self.container, self.key(key));
        send(&self.client, method, &target, query, headers, body).await
    }

    /// Asks the server for something about the container.
    pub(crate) async fn ask_container(&self, query: &[(&str, &str)]) -> String {
        let answer = send(&self.client, Method::GET, self.container, query, &[], Vec::new()).await;
        done(answer).await.text().await.unwrap()
    }

    /// Writes a blob.
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.ask(Method::PUT, key, &[], &[("x-ms-blob-type", "BlockBlob")], bytes.into()).await;
        done(put).await;
    }

    /// What a header of a blob says.
    pub(crate) async fn header(&self, key: &str, name: &str) -> Option<String> {
        let head = done(self.ask(Method::HEAD, key, &[], &[], Vec::new()).await).await;
        head.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    /// The `ETag` of a blob.
    pub(crate) async fn tag(&self, key: &str) -> String {
        self.header(key, "etag").await.unwrap()
    }

    /// Writes rows as a file of a format.
    pub(crate) async fn write(&self, key: &str, options: &Json, batch: RecordBatch) {
        let options: WriteOptions = WriteOptions {
            format: options.get("format").map(|format| serde_json::from_value(format.clone()).unwrap()),
            compression: None,
        };
        let mut encoder =
            Encoder::new(&options, key, &batch.schema(), &self.cx, MemoryOutput::default()).unwrap();
        encoder.write(batch).await.unwrap();
        let (_, output) = encoder.finish().await.unwrap();
        self.put(key, output.into_bytes().to_vec()).await;
    }

    /// The options for a path below this prefix, with more of them.
    pub(crate) fn options(&self, path: &str, more: &Json) -> Json {
        let mut options = json!({
            "endpoint": endpoint(),
            "ca_certificate": authority(),
            "account": account::account(),
            "container": self.container,
            "path": self.key(path),
            "access_key": account::key(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            if value.is_null() {
                options.as_object_mut().unwrap().remove(name);
            } else {
                options[name] = value.clone();
            }
        }
        options
    }

    /// Plans and reads everything.
    pub(crate) async fn read(&self, path: &str, more: &Json) -> Result<Vec<Json>> {
        Ok(self.scan(path, more, &ScanRequest::default()).await?.rows())
    }

    /// The names of the splits that are planned.
    pub(crate) async fn scan_names(&self, path: &str, more: &Json) -> Vec<String> {
        let source =
            CONNECTOR.source_entry().unwrap().open(self.options(path, more), &self.cx).await.unwrap();
        let plan = source.plan(&self.cx, &ScanRequest::default()).await.unwrap();
        let steps: Vec<Planned> = plan.splits.try_collect().await.unwrap();
        splits(&steps).map(|split| split.id.0.clone()).collect()
    }

    pub(crate) async fn scan(&self, path: &str, more: &Json, request: &ScanRequest) -> Result<Scan> {
        scan(&self.cx, self.options(path, more), request).await
    }
}
/// Plans and reads everything with these options.
pub(crate) async fn scan(cx: &Context, options: Json, request: &ScanRequest) -> Result<Scan> {
    let source = CONNECTOR.source_entry().unwrap().open(options, cx).await?;
    let plan = source.plan(cx, request).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut batches = Vec::new();
    for split in splits(&steps) {
        let mut stream = source.read(cx, split, Position::Start)?;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
    }
    Ok(Scan { steps, batches })
}

/// What was planned and read.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) steps: Vec<Planned>,
    pub(crate) batches: Vec<Batch>,
}

impl Scan {
    pub(crate) fn rows(&self) -> Vec<Json> {
        rows::to_json(self.batches.iter().map(|batch| &batch.rows))
    }

    pub(crate) fn splits(&self) -> Vec<&Split> {
        splits(&self.steps).collect()
    }

    /// What the next run gets.
    pub(crate) fn since(&self) -> Position {
        match self.steps.last() {
            Some(Planned::Complete { since }) => since.clone(),
            _ => panic!("the plan leaves nothing: {:?}", self.steps),
        }
    }
}

fn splits(steps: &[Planned]) -> impl Iterator<Item = &Split> {
    steps.iter().filter_map(|step| match step {
        Planned::Split { split, .. } => Some(split),
        Planned::Complete { .. } => None,
    })
}

/// Lines with a number and seven times that.
pub(crate) fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("{n},{}\n", n * 7)).collect::<Vec<_>>().concat()
}

/// The error of what must fail.
pub(crate) fn error<T: std::fmt::Debug>(result: Result<T>) -> Error {
    result.expect_err("it must fail")
}

/// The endpoint of the account on such a server.
pub(crate) fn at(server: &TestServer) -> String {
    server.url(&format!("/{}", account::account()))
}

/// The real server behind one that answers some requests itself.
pub(crate) async fn behind(
    answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> TestServer {
    let answer = Arc::new(answer);
    let client = account::client();
    TestServer::start(move |request| {
        let (answer, client) = (answer.clone(), client.clone());
        async move {
            match answer(&request) {
                Some(response) => response,
                None => forward(&client, &request).await,
            }
        }
    })
    .await
}

/// The real server, whose answers are changed on their way.
pub(crate) async fn through(
    change: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
) -> TestServer {
    let change = Arc::new(change);
    let client = account::client();
    TestServer::start(move |request| {
        let (change, client) = (change.clone(), client.clone());
        async move {
            let answer = forward(&client, &request).await;
            change(&request, answer)
        }
    })
    .await
}

/// Hands a request on to the real server.
pub(crate) async fn forward(client: &reqwest::Client, request: &Request) -> Response {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let url = format!("{}{}{query}", origin(), request.path);
    let mut sent = client.request(request.method.parse().unwrap(), url).body(request.body.clone());
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    let got = sent.send().await.unwrap();
    let mut response = Response::status(got.status().as_u16());
    // How a body was framed is between the two servers.
    for (name, value) in got.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name.as_str(), value.to_str().unwrap());
    }
    response.body(got.bytes().await.unwrap())
}
