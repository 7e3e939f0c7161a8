//! A prefix of its own for each test, filled by another client than the connector's.

use async_trait::async_trait;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use serde_json::json;
use towpath_connector_s3::SinkConfig;
use towpath_core::{Connector, Context, ErrorKind, Json};
use towpath_testkit::context;
use towpath_testkit::objects::{Case, ObjectSite};
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
    /// In another bucket than most tests.
    pub(crate) fn of(bucket: &'static str) -> Self {
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self { client: client(), bucket, name: format!("test-{unique:016x}"), cx: context() }
    }

    /// In a bucket that keeps versions.
    pub(crate) async fn with_versions() -> Self {
        let prefix = Self::of("versions");
        let enabled = aws_sdk_s3::types::VersioningConfiguration::builder()
            .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
            .build();
        let versioning = prefix.client.put_bucket_versioning().bucket(prefix.bucket);
        versioning.versioning_configuration(enabled).send().await.unwrap();
        prefix
    }

    /// Writes an object; tells its version, where the bucket keeps them.
    pub(crate) async fn put_version(&self, key: &str, bytes: &str) -> Option<String> {
        self.write_object(key, bytes.as_bytes().to_vec()).await.version_id
    }

    async fn write_object(&self, key: &str, bytes: Vec<u8>) -> PutObjectOutput {
        let body = ByteStream::from(bytes);
        let put = self.client.put_object().bucket(self.bucket).key(self.key(key)).body(body);
        put.send().await.unwrap()
    }

    /// The client, for whatever else a test does.
    pub(crate) fn sdk(&self) -> &aws_sdk_s3::Client {
        &self.client
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.key("")).unwrap()
    }
}

#[async_trait]
impl ObjectSite for Prefix {
    const CONNECTOR: Connector = towpath_connector_s3::CONNECTOR;

    const SCHEME: &'static str = "s3";

    async fn new() -> Self {
        Self::of(BUCKET)
    }

    fn cx(&self) -> &Context {
        &self.cx
    }

    fn bucket(&self) -> &str {
        self.bucket
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn connection(&self) -> Json {
        json!({
            "endpoint": endpoint(),
            "bucket": self.bucket,
            "access_key_id": "towpath",
            "secret_access_key": secret(),
        })
    }

    async fn put_object(&self, key: &str, bytes: Vec<u8>) {
        self.write_object(key, bytes).await;
    }

    async fn object_bytes(&self, key: &str) -> Vec<u8> {
        let object = self.client.get_object().bucket(self.bucket).key(self.key(key)).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }

    async fn object_tag(&self, key: &str) -> String {
        let head = self.client.head_object().bucket(self.bucket).key(self.key(key)).send().await.unwrap();
        head.e_tag.unwrap()
    }

    async fn all_keys(&self) -> Vec<String> {
        let pages = self.client.list_objects_v2().bucket(self.bucket).prefix(self.key(""));
        let mut pages = pages.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let found = page.unwrap().contents.unwrap_or_default();
            keys.extend(found.into_iter().map(|object| self.below(&object.key.unwrap()).to_owned()));
        }
        keys
    }

    async fn begin_upload(&self, key: &str) {
        let upload = self.client.create_multipart_upload().bucket(self.bucket).key(self.key(key));
        upload.send().await.unwrap();
    }

    async fn open_uploads(&self) -> Vec<String> {
        let uploads = self.client.list_multipart_uploads().bucket(self.bucket).prefix(self.key(""));
        let uploads = uploads.send().await.unwrap().uploads.unwrap_or_default();
        uploads.into_iter().map(|upload| self.below(&upload.key.unwrap()).to_owned()).collect()
    }

    /// Parts make an `ETag` that tells their number.
    async fn parts(&self, key: &str) -> usize {
        let tag = self.object_tag(key).await;
        tag.trim_matches('"').split_once('-').map_or(1, |(_, count)| count.parse().unwrap())
    }

    fn origin(&self) -> String {
        endpoint()
    }

    fn client(&self) -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn broken_sources(&self) -> Vec<Case> {
        use ErrorKind::Unauthenticated;
        let (nobody, wrong) = (json!({"access_key_id": "nobody"}), json!({"secret_access_key": "hush"}));
        vec![
            Case::new("no such key", Unauthenticated, nobody, "access_key_id"),
            Case::new("a wrong secret", Unauthenticated, wrong, "secret_access_key"),
        ]
    }

    fn broken_sinks(&self) -> Vec<Case> {
        use ErrorKind::{Config, PermissionDenied, Unauthenticated};
        let wrong = json!({"secret_access_key": "hush-hush"});
        vec![
            Case::new("no such acl", Config, json!({"acl": "mine"}), "private"),
            Case::new("a key without kms", Config, json!({"kms_key": "k"}), "encryption"),
            Case::new("only reading", PermissionDenied, json!({"access_key_id": "reader"}), "s3:PutObject"),
            Case::new("a wrong secret", Unauthenticated, wrong, "secret_access_key"),
        ]
    }

    fn secrets(&self) -> Vec<String> {
        vec![secret(), "hush-hush".to_owned()]
    }

    fn debug_texts(options: Json) -> Vec<String> {
        let config: SinkConfig = serde_json::from_value(options).unwrap();
        vec![format!("{config:?}")]
    }
}

/// The client of the tests.
fn client() -> aws_sdk_s3::Client {
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
