//! A prefix of its own for each test, filled by another client than the connector's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_connector_s3::CONNECTOR;
use towpath_core::{Batch, Context, Error, Json, Planned, Position, Result, ScanRequest, Split};
use towpath_formats::{Encoder, MemoryOutput, WriteOptions};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::{context, rows};
use url::Url;

/// The bucket that everybody may read.
pub(crate) const PUBLIC: &str = "public";

/// The bucket of all other tests.
pub(crate) const BUCKET: &str = "landing";

/// The server of the tests.
pub(crate) fn server() -> Url {
    // Another test's thread may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = std::env::var("TOWPATH_TEST_S3_URL")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_S3_URL");
    Url::parse(&url).expect("TOWPATH_TEST_S3_URL is a URL")
}

/// The file with the authority that signed the server's certificate.
pub(crate) fn authority() -> String {
    std::env::var("TOWPATH_TEST_S3_CA")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_S3_CA")
}

/// The server without TLS.
pub(crate) fn endpoint() -> String {
    let server = server();
    format!("http://127.0.0.1:{}", server.port().expect("the URL has a port"))
}

/// The server with TLS.
pub(crate) fn secure_endpoint() -> String {
    let server = server();
    let port = server.query_pairs().find(|(name, _)| name == "https").expect("the URL names the port of TLS");
    format!("https://127.0.0.1:{}", port.1)
}

/// The secret of all accounts.
pub(crate) fn secret() -> String {
    server().password().expect("the URL has a password").to_owned()
}

/// Keys below a prefix that is this test's own.
pub(crate) struct Prefix {
    client: aws_sdk_s3::Client,
    pub(crate) bucket: &'static str,
    pub(crate) name: String,
    pub(crate) cx: Context,
}

impl Prefix {
    pub(crate) fn new() -> Self {
        Self::of(BUCKET)
    }

    pub(crate) fn of(bucket: &'static str) -> Self {
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self { client: client(), bucket, name: format!("test-{unique:016x}"), cx: context() }
    }

    /// With these objects.
    pub(crate) async fn with(objects: &[(&str, &str)]) -> Self {
        let prefix = Self::new();
        for (key, text) in objects {
            prefix.put(key, text.as_bytes().to_vec()).await;
        }
        prefix
    }

    pub(crate) fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    /// Writes an object; tells its version, where the bucket keeps them.
    pub(crate) async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) -> Option<String> {
        let body = ByteStream::from(bytes.into());
        let put = self.client.put_object().bucket(self.bucket).key(self.key(key)).body(body);
        put.send().await.unwrap().version_id
    }

    /// The `ETag` of an object.
    pub(crate) async fn tag(&self, key: &str) -> String {
        let head = self.client.head_object().bucket(self.bucket).key(self.key(key)).send().await.unwrap();
        head.e_tag.unwrap()
    }

    /// The client, for whatever else a test does.
    pub(crate) fn client(&self) -> &aws_sdk_s3::Client {
        &self.client
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
            "bucket": self.bucket,
            "path": self.key(path),
            "access_key_id": "towpath",
            "secret_access_key": secret(),
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

/// The client of the tests.
pub(crate) fn client() -> aws_sdk_s3::Client {
    let endpoint = endpoint();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(Plain(reqwest::Client::builder().no_proxy().build().unwrap()))
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new("towpath", secret(), None, None, "test"));
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Sends without limits.
#[derive(Debug, Clone)]
struct Plain(reqwest::Client);

impl HttpClient for Plain {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Plain {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let failed = |error: reqwest::Error| ConnectorError::other(error.into(), None);
            let request = request.try_into_http1x().unwrap().map(reqwest::Body::wrap);
            let response = client.execute(request.try_into().map_err(failed)?).await.map_err(failed)?;
            let response = http::Response::from(response).map(aws_smithy_types::body::SdkBody::from_body_1_x);
            Ok(HttpResponse::try_from(response).unwrap())
        })
    }
}

/// The real server behind one that answers some requests itself.
pub(crate) async fn behind(
    answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> TestServer {
    let answer = Arc::new(answer);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
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

async fn forward(client: &reqwest::Client, request: &Request) -> Response {
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let url = format!("{}{}{query}", endpoint(), request.path);
    let mut sent = client.request(request.method.parse().unwrap(), url).body(request.body.clone());
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    let got = sent.send().await.unwrap();
    let mut response = Response::status(got.status().as_u16());
    for (name, value) in got.headers() {
        response = response.header(name.as_str(), value.to_str().unwrap());
    }
    response.body(got.bytes().await.unwrap())
}
