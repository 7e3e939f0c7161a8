//! A server of its own for each test, filled without the connector.

use async_trait::async_trait;
use serde_json::json;
use towpath_connector_gcs::SinkConfig;
use towpath_core::{Connector, Context, ErrorKind, Json};
use towpath_testkit::context;
use towpath_testkit::gcs::{Conduct, GcsServer, Object};
use towpath_testkit::objects::{Case, ObjectSite};

/// The bucket that everybody may read.
pub(crate) const PUBLIC: &str = "public";

/// The bucket of all other tests.
pub(crate) const BUCKET: &str = "landing";

/// A bucket.
pub(crate) struct Site {
    pub(crate) server: GcsServer,
    pub(crate) bucket: &'static str,
    pub(crate) cx: Context,
}

impl Site {
    /// On a server that behaves in a certain way.
    pub(crate) async fn behaving(conduct: Conduct) -> Self {
        // Another test's thread may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { server: GcsServer::start_with(conduct).await, bucket: BUCKET, cx: context() }
    }

    /// Another bucket of the server.
    pub(crate) fn of(self, bucket: &'static str) -> Self {
        Self { bucket, ..self }
    }

    /// An object.
    pub(crate) fn object(&self, key: &str) -> Object {
        let found = self.server.object(self.bucket, key);
        found.unwrap_or_else(|| panic!("{key} is not there: {:?}", self.server.keys(self.bucket)))
    }
}

#[async_trait]
impl ObjectSite for Site {
    const CONNECTOR: Connector = towpath_connector_gcs::CONNECTOR;

    const SCHEME: &'static str = "gs";

    async fn new() -> Self {
        Self::behaving(Conduct::default()).await
    }

    fn cx(&self) -> &Context {
        &self.cx
    }

    fn bucket(&self) -> &str {
        self.bucket
    }

    /// The server is the test's own.
    fn key(&self, key: &str) -> String {
        key.to_owned()
    }

    fn connection(&self) -> Json {
        json!({
            "endpoint": self.server.url(),
            "bucket": self.bucket,
            "access_token": self.server.owner_token(),
        })
    }

    async fn put_object(&self, key: &str, bytes: Vec<u8>) {
        self.server.put(self.bucket, key, bytes);
    }

    async fn object_bytes(&self, key: &str) -> Vec<u8> {
        self.object(key).bytes.to_vec()
    }

    async fn object_tag(&self, key: &str) -> String {
        self.object(key).etag
    }

    async fn all_keys(&self) -> Vec<String> {
        self.server.keys(self.bucket)
    }

    async fn begin_upload(&self, key: &str) {
        self.server.begin_upload(self.bucket, key);
    }

    async fn open_uploads(&self) -> Vec<String> {
        self.server.uploads(self.bucket)
    }

    /// Parts make an `ETag` that tells their number.
    async fn parts(&self, key: &str) -> usize {
        let tag = self.object(key).etag;
        tag.trim_matches('"').split_once('-').map_or(1, |(_, count)| count.parse().unwrap())
    }

    fn origin(&self) -> String {
        self.server.url()
    }

    fn client(&self) -> reqwest::Client {
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    fn broken_sources(&self) -> Vec<Case> {
        use ErrorKind::{PermissionDenied, Unauthenticated};
        let wrong = json!({"access_token": "hush-hush"});
        let nobody = json!({"access_token": null, "anonymous": true});
        vec![
            Case::new("no such token", Unauthenticated, wrong, ""),
            Case::new("nobody", PermissionDenied, nobody, "storage.objects.list"),
        ]
    }

    fn broken_sinks(&self) -> Vec<Case> {
        use ErrorKind::{Config, PermissionDenied, Unauthenticated};
        let reader = json!({"access_token": self.server.reader_token()});
        vec![
            Case::new("no such acl", Config, json!({"acl": "mine"}), "private"),
            Case::new("no header", Config, json!({"kms_key": "a\nb"}), "kms_key"),
            Case::new("only reading", PermissionDenied, reader, "storage.objects.create"),
            Case::new("a wrong token", Unauthenticated, json!({"access_token": "hush-hush"}), ""),
        ]
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.server.owner_token(), "hush-hush".to_owned()]
    }

    fn debug_texts(options: Json) -> Vec<String> {
        let config: SinkConfig = serde_json::from_value(options).unwrap();
        vec![format!("{config:?}")]
    }
}
