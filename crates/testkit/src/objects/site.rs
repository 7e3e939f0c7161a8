//! What the suite has to know of a store.

use std::ops::Range;

use async_trait::async_trait;
use towpath_core::{Connector, Context, ErrorKind, Json};

use crate::http::{Request, Response, TestServer};

/// A place in a bucket that is one test's own, as a stranger to the connector sees it.
#[async_trait]
pub trait ObjectSite: Sized + Send + Sync + 'static {
    /// The connector under test.
    const CONNECTOR: Connector;

    /// What its URIs begin with, without `://`.
    const SCHEME: &'static str;

    /// What the store calls a bucket, and the option that names it.
    const BUCKET: &'static str = "bucket";

    /// An empty place.
    async fn new() -> Self;

    /// The surroundings.
    fn cx(&self) -> &Context;

    /// The bucket.
    fn bucket(&self) -> &str;

    /// A key of this place as the bucket has it.
    fn key(&self, key: &str) -> String;

    /// The options of a connection to the bucket, by somebody who may do everything.
    fn connection(&self) -> Json;

    /// Writes an object.
    async fn put_object(&self, key: &str, bytes: Vec<u8>);

    /// The bytes of an object.
    async fn object_bytes(&self, key: &str) -> Vec<u8>;

    /// The `ETag` of an object.
    async fn object_tag(&self, key: &str) -> String;

    /// All keys of this place, as [`key`](Self::key) takes them.
    async fn all_keys(&self) -> Vec<String>;

    /// Begins an upload to a key that nobody goes on with.
    async fn begin_upload(&self, key: &str);

    /// The keys of the uploads that were neither completed nor given up, and whatever else the store alone leaves lying about.
    async fn open_uploads(&self) -> Vec<String>;

    /// In how many parts an object was written.
    async fn parts(&self, key: &str) -> usize;

    /// Where the server is: scheme, host and port.
    fn origin(&self) -> String;

    /// A client that trusts the server.
    fn client(&self) -> reqwest::Client;

    /// The option `endpoint` for a server with this origin, which stands in front of the real one.
    fn endpoint_at(&self, origin: &str) -> String {
        origin.to_owned()
    }

    /// A server in front of the real one, which copies where the service would; by default the real one does.
    async fn copying(&self) -> TestServer {
        super::behind(self, |_| None).await
    }

    /// How the store says that it wants less; as S3 does by default.
    fn slow_down() -> Response {
        let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        Response::status(503).body(body)
    }

    /// The page of a listing that a request asks for, if the number of a page is its token; as S3 is asked by default.
    fn asked_page(request: &Request) -> usize {
        request.param("continuation-token").map_or(0, |token| token.parse().unwrap())
    }

    /// A page of a listing with these numbers for keys, behind `in/`, and the token of the next page; as S3 has it by default.
    fn page(numbers: Range<usize>, next: Option<usize>) -> Response {
        page_of_s3(numbers, next)
    }

    /// With what options a source must fail, beside those that no store takes.
    fn broken_sources(&self) -> Vec<Case>;

    /// With what options a sink must fail, beside those that no store takes.
    fn broken_sinks(&self) -> Vec<Case>;

    /// Secrets in the options, which must show nowhere.
    fn secrets(&self) -> Vec<String>;

    /// Texts in which secrets could show, of these options of a sink: `format!("{config:?}")`.
    fn debug_texts(options: Json) -> Vec<String>;
}

/// Options with which something must fail.
#[derive(Debug, Clone)]
pub struct Case {
    pub(super) name: &'static str,
    pub(super) kind: ErrorKind,
    pub(super) options: Json,
    pub(super) mentions: &'static str,
}

impl Case {
    /// With these options more or, where they are `null`, less it must fail, and say that.
    pub fn new(name: &'static str, kind: ErrorKind, options: Json, mentions: &'static str) -> Self {
        Self { name, kind, options, mentions }
    }
}

/// A page of a listing as S3 has it in its second version, and Google after it.
fn page_of_s3(numbers: Range<usize>, next: Option<usize>) -> Response {
    let objects = numbers.map(|number| {
        format!(
            "<Contents><Key>in/{number:06}</Key><LastModified>2026-11-28T00:00:00.000Z</LastModified><ETag>\"x\"</ETag>\
             <Size>1</Size></Contents>"
        )
    });
    let objects = objects.collect::<Vec<_>>().concat();
    let next = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |next| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
        },
    );
    let body = format!("<ListBucketResult>{next}{objects}</ListBucketResult>");
    Response::status(200).header("content-type", "application/xml").body(body)
}
