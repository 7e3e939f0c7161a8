//! A prefix of its own for each test, filled by another client than the connector's.

use std::ops::Range;

use async_trait::async_trait;
use data_encoding::BASE64;
use reqwest::Method;
use serde_json::json;
use towpath_connector_azure::SinkConfig;
use towpath_core::{Connector, Context, ErrorKind, Json};
use towpath_testkit::context;
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::objects::{Case, ObjectSite};

use crate::account::{self, authority, done, endpoint, send};

/// The container that everybody may read.
pub(crate) const PUBLIC: &str = "public";

/// The container of all other tests.
pub(crate) const CONTAINER: &str = "landing";

/// A name of a block that an upload of ours may have.
pub(crate) const OUR_BLOCK: &str = "0123456789abcdef-0000000";

/// Keys below a prefix that is this test's own.
pub(crate) struct Prefix {
    client: reqwest::Client,
    pub(crate) container: &'static str,
    pub(crate) name: String,
    pub(crate) cx: Context,
}

impl Prefix {
    /// In another container than most tests.
    pub(crate) fn of(container: &'static str) -> Self {
        let unique = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self { client: account::client(), container, name: format!("test-{unique:016x}"), cx: context() }
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

    /// What a header of a blob says.
    pub(crate) async fn header(&self, key: &str, name: &str) -> Option<String> {
        let head = done(self.ask(Method::HEAD, key, &[], &[], Vec::new()).await).await;
        head.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    /// Stages a block of a blob.
    pub(crate) async fn stage_block(&self, key: &str, name: &str) {
        let name = BASE64.encode(name.as_bytes());
        let query = [("comp", "block"), ("blockid", name.as_str())];
        done(self.ask(Method::PUT, key, &query, &[], b"{}".to_vec()).await).await;
    }

    /// The names of all blobs below the prefix, without it, that this says yes to.
    async fn names(&self, include: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let prefix = self.key("");
        let query = [("restype", "container"), ("comp", "list"), ("prefix", &prefix), ("include", include)];
        let listing = self.ask_container(&query).await;
        assert!(
            listing.contains("<NextMarker/>") || listing.contains("<NextMarker></NextMarker>"),
            "more than a page"
        );
        let blobs = listing.split("<Blob>").skip(1).filter(|blob| is_wanted(blob));
        let name = |blob: &str| {
            let name = blob.split_once("<Name>").and_then(|(_, rest)| rest.split_once("</Name>")).unwrap().0;
            name.strip_prefix(&prefix).unwrap().to_owned()
        };
        blobs.map(name).collect()
    }
}

#[async_trait]
impl ObjectSite for Prefix {
    const CONNECTOR: Connector = towpath_connector_azure::CONNECTOR;

    const SCHEME: &'static str = "az";

    const BUCKET: &'static str = "container";

    async fn new() -> Self {
        Self::of(CONTAINER)
    }

    fn cx(&self) -> &Context {
        &self.cx
    }

    fn bucket(&self) -> &str {
        self.container
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn connection(&self) -> Json {
        json!({
            "endpoint": endpoint(),
            "ca_certificate": authority(),
            "account": account::account(),
            "container": self.container,
            "access_key": account::key(),
        })
    }

    async fn copying(&self) -> TestServer {
        crate::copies::copying().await
    }

    async fn put_object(&self, key: &str, bytes: Vec<u8>) {
        done(self.ask(Method::PUT, key, &[], &[("x-ms-blob-type", "BlockBlob")], bytes).await).await;
    }

    async fn object_bytes(&self, key: &str) -> Vec<u8> {
        done(self.ask(Method::GET, key, &[], &[], Vec::new()).await).await.bytes().await.unwrap().to_vec()
    }

    async fn object_tag(&self, key: &str) -> String {
        self.header(key, "etag").await.unwrap()
    }

    async fn all_keys(&self) -> Vec<String> {
        self.names("metadata", |_| true).await
    }

    async fn begin_upload(&self, key: &str) {
        self.stage_block(key, OUR_BLOCK).await;
    }

    /// Blobs of which nothing was committed, and those that were made to discard blocks.
    async fn open_uploads(&self) -> Vec<String> {
        let committed = self.all_keys().await;
        let all = self.names("uncommittedblobs", |_| true).await;
        let mut found: Vec<_> = all.into_iter().filter(|key| !committed.contains(key)).collect();
        let discarded = self.names("metadata", |blob| blob.contains("<towpathupload>discarded<")).await;
        found.extend(discarded.iter().map(|key| format!("discarded {key}")));
        found
    }

    async fn parts(&self, key: &str) -> usize {
        let blocks = self.ask(Method::GET, key, &[("comp", "blocklist")], &[], Vec::new()).await;
        done(blocks).await.text().await.unwrap().matches("<Block>").count()
    }

    fn origin(&self) -> String {
        account::origin()
    }

    fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    fn endpoint_at(&self, origin: &str) -> String {
        format!("{origin}/{}", account::account())
    }

    fn slow_down() -> Response {
        let body = "<Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>";
        Response::status(503).body(body)
    }

    fn asked_page(request: &Request) -> usize {
        request.param("marker").map_or(0, |token| token.parse().unwrap())
    }

    fn page(numbers: Range<usize>, next: Option<usize>) -> Response {
        let blobs = numbers.map(|number| {
            format!(
                "<Blob><Name>in/{number:06}</Name><Properties><Last-Modified>Sat, 28 Nov 2026 00:00:00 GMT</Last-Modified>\
                 <Etag>0x1</Etag><Content-Length>1</Content-Length></Properties></Blob>"
            )
        });
        let blobs = blobs.collect::<Vec<_>>().concat();
        let next = next.map(|next| next.to_string()).unwrap_or_default();
        let body = format!(
            "<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
        );
        Response::status(200).header("content-type", "application/xml").body(body)
    }

    fn broken_sources(&self) -> Vec<Case> {
        use ErrorKind::{Config, Unauthenticated};
        vec![
            Case::new("no account", Config, json!({"account": null}), "`account`"),
            Case::new("no key", Config, json!({"access_key": "hush!"}), "`access_key`"),
            Case::new("a wrong key", Unauthenticated, json!({"access_key": "aHVzaA=="}), "`access_key`"),
        ]
    }

    fn broken_sinks(&self) -> Vec<Case> {
        use ErrorKind::{Config, PermissionDenied, Unauthenticated};
        let reader = json!({"access_key": null, "sas_token": account::sas(self.container, "rl")});
        vec![
            Case::new("large blocks", Config, json!({"part_size": "4001MiB"}), "4000 MiB"),
            Case::new("a tag that Azure does not take", Config, json!({"tags": {"a": "ö"}}), "a tag has"),
            Case::new("only reading", PermissionDenied, reader, "containers/blobs/write"),
            Case::new("a wrong key", Unauthenticated, json!({"access_key": "aHVzaC1odXNo"}), ""),
        ]
    }

    fn secrets(&self) -> Vec<String> {
        vec![account::key(), "aHVzaA==".to_owned(), "aHVzaC1odXNo".to_owned()]
    }

    fn debug_texts(options: Json) -> Vec<String> {
        let config: SinkConfig = serde_json::from_value(options).unwrap();
        vec![format!("{config:?}")]
    }
}

/// The endpoint of the account on such a server.
pub(crate) fn at(server: &TestServer) -> String {
    server.url(&format!("/{}", account::account()))
}
