//! Bytes that the service moves itself.
//!
//! The server of the tests does not read from itself by TLS. So a server in front of it does what it is asked for: it reads
//! the source from there as the request permits it, and puts it as a block.

use reqwest::{Method, StatusCode};
use serde_json::json;
use towpath_core::{Json, LoadSpec, ScanRequest, WriteDisposition, reference_schema};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, behind, forward, last_token, merged};
use towpath_testkit::{rows, steps};
use url::Url;

use crate::account::{self, done, origin, sas, send, token};
use crate::support::{Prefix, at};

towpath_testkit::object_copy_promises! { site = Prefix }

const SIZE: u64 = 200_000;

/// A server that copies.
pub(crate) async fn copying() -> TestServer {
    let client = account::client();
    TestServer::start(move |request| {
        let client = client.clone();
        async move {
            match request.header("x-ms-copy-source").map(|source| Url::parse(source).unwrap()) {
                Some(source) => copied(&client, &request, &source).await,
                None => forward(&client, &origin(), &request).await,
            }
        }
    })
    .await
}

async fn copied(client: &reqwest::Client, request: &Request, source: &Url) -> Response {
    let query = source.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut reading = client.get(format!("{}{}{query}", origin(), source.path()));
    for (name, condition) in [("range", "x-ms-source-range"), ("if-match", "x-ms-source-if-match")] {
        if let Some(value) = request.header(condition) {
            reading = reading.header(name, value);
        }
    }
    reading = reading.header("x-ms-version", "2023-11-03");
    if let Some(authorization) = request.header("x-ms-copy-source-authorization") {
        reading = reading.header("authorization", authorization);
    }
    let read = reading.send().await.unwrap();
    if read.status() == StatusCode::PRECONDITION_FAILED {
        return Response::status(412).body("<Error><Code>SourceConditionNotMet</Code></Error>");
    }
    let bytes = done(read).await.bytes().await.unwrap();
    let target = request.path.strip_prefix(&format!("/{}/", account::account())).unwrap();
    let block = request.param("blockid").unwrap();
    let query = [("comp", "block"), ("blockid", block.as_str())];
    done(send(client, Method::PUT, target, &query, &[], bytes.to_vec()).await).await;
    Response::status(201)
}

/// Writes a blob that is put together at the commit, and tells how many bytes were sent for it.
async fn sent(prefix: &Prefix, server: &TestServer, more: &Json) -> u64 {
    let rows = rows::batch("id: int64, text: string", &json!([[1, "x".repeat(200_000)]]));
    let mut options = json!({"endpoint": at(server)});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    prefix.load("all.ndjson", &options, "r1", WriteDisposition::Replace, &[rows]).await.unwrap();
    assert_eq!(prefix.ids().await, [1]);
    prefix.cx.metrics().snapshot().bytes_written
}

#[tokio::test]
async fn the_service_copies_what_is_put_together_as_the_credentials_permit() {
    let server = copying().await;
    let directory = TestServer::start(|_| async {
        Response::json(&json!({"access_token": token(3600), "expires_in": 3600}))
    })
    .await;
    for more in [
        json!({}),
        json!({"access_key": null, "sas_token": sas(crate::support::CONTAINER, "rwdl")}),
        json!({
            "access_key": null, "tenant_id": "ours", "client_id": "writer", "client_secret": "hush",
            "authority": directory.url(""),
        }),
    ] {
        let sent = sent(&Prefix::new().await, &server, &more).await;
        assert!(sent < 2 * SIZE, "{sent} bytes with {more}");
    }
    let copies =
        server.requests().into_iter().filter(|asked| asked.request.header("x-ms-copy-source").is_some());
    assert_eq!(copies.count(), 3);
}

#[tokio::test]
async fn what_the_service_may_not_read_is_sent_again() {
    let prefix = Prefix::new().await;
    let server = behind(&prefix, |request| {
        let is_copy = request.header("x-ms-copy-source").is_some();
        is_copy.then(|| Response::status(404).body("<Error><Code>CannotVerifyCopySource</Code></Error>"))
    })
    .await;
    assert!(sent(&prefix, &server, &json!({})).await >= 2 * SIZE);
}

#[tokio::test]
async fn what_the_options_do_not_say_a_blob_says_as_the_one_that_was_copied() {
    let prefix = Prefix::new().await;
    let said = [
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", "text/x-tide"),
        ("x-ms-blob-content-disposition", "attachment"),
        ("x-ms-blob-content-language", "nl"),
        ("x-ms-blob-cache-control", "max-age=7"),
        ("x-ms-meta-port", "Delft"),
    ];
    done(prefix.ask(Method::PUT, "in/small", &[], &said, b"small".to_vec()).await).await;
    let server = copying().await;
    let options = |more: Json| merged(json!({"endpoint": at(&server), "format": "bytes"}), &more);
    let source = prefix.source("in/", &options(json!({}))).await;
    let sink = prefix.sink("out/", &options(json!({"content_type": "text/plain"}))).await;
    let cx = prefix.cx.with_copier(sink.capabilities().copies_from);
    let load = LoadSpec::new("p", "s", "1", WriteDisposition::Append);
    let begun = sink.begin(&cx, &load).await.unwrap();
    let begun = sink.evolve(&cx, &begun, &reference_schema()).await.unwrap();
    let mut writer = sink.writer(&cx, &begun, 1).await.unwrap();
    for batch in steps::batches(&*source, &cx, &ScanRequest::default()).await.unwrap() {
        writer.write(batch.rows).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    sink.commit(&cx, &begun, &last_token(&begun), vec![staged]).await.unwrap();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-disposition", "attachment"),
        ("content-language", "nl"),
        ("cache-control", "max-age=7"),
        ("x-ms-meta-port", "Delft"),
    ] {
        assert_eq!(prefix.header("out/small", name).await.as_deref(), Some(value), "{name}");
    }
}
