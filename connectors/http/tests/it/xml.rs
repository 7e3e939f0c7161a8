//! XML bodies.

use serde_json::json;
use std::sync::Arc;
use towpath_core::{Error, ErrorKind, Json, Position};
use towpath_testkit::http::{Response, TestServer};

use crate::support::{always, error, open, read, to_json, with};

const FEED: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>
  <title>News</title>
  <item><guid isPermaLink="false">1</guid><title>One &amp; only</title><dc:creator>Ann</dc:creator><category>a</category></item>
  <item><guid isPermaLink="true">2</guid><title>Two</title><category>a</category><category>b</category></item>
</channel></rss>"#;

#[tokio::test]
async fn a_feed_is_told_by_its_type_or_its_name() {
    let expected = [
        json!({"guid": {"@isPermaLink": "false", "#text": "1"}, "title": "One & only", "creator": "Ann", "category": ["a"]}),
        json!({"guid": {"@isPermaLink": "true", "#text": "2"}, "title": "Two", "creator": null, "category": ["a", "b"]}),
    ];
    let options = json!({"format": {"type": "xml", "records": "/rss/channel/item"}});
    let server = always(Response::bytes("application/octet-stream", FEED)).await;
    assert_eq!(read(with(server.url("/x"), options.clone())).await.unwrap(), expected);
    assert_eq!(server.requests()[0].request.header("accept"), Some("application/xml, text/xml, */*;q=0.5"));
    // Without a path, what is in the root is a record: the channel.
    for (path, content_type) in [
        ("/x", "application/rss+xml; charset=utf-8"),
        ("/x", "text/xml"),
        ("/feed.rss", "text/plain"),
        ("/feed.xml", "application/octet-stream"),
    ] {
        let server = always(Response::bytes(content_type, FEED)).await;
        let found = read(with(server.url(path), json!({}))).await.unwrap();
        assert_eq!(found.len(), 1, "{path} {content_type}");
        assert_eq!(found[0]["item"].as_array().map(Vec::len), Some(2));
    }
}

#[tokio::test]
async fn options_of_xml_change_what_is_read() {
    let server = always(Response::bytes("application/xml", FEED)).await;
    let records = |more: Json| {
        let mut format = json!({"type": "xml", "records": "/rss/channel/item"});
        format.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(with(server.url("/x"), json!({"format": format})))
    };
    assert_eq!(records(json!({"namespaces": "keep"})).await.unwrap()[0]["dc:creator"], json!("Ann"));
    assert_eq!(records(json!({"lists": ["title"]})).await.unwrap()[1]["title"], json!(["Two"]));
    let error: Error = records(json!({"max_depth": 3})).await.unwrap_err();
    assert_eq!(error.message(), "elements are nested deeper than 3");
}

#[tokio::test]
async fn a_large_document_is_streamed_and_goes_on_after_a_cut() {
    let rows: Vec<Json> =
        (0..6_000).map(|id| json!({"@id": id.to_string(), "text": "x".repeat(500)})).collect();
    let items = rows
        .iter()
        .map(|row| format!("<i id={}><text>{}</text></i>\n", row["@id"], row["text"].as_str().unwrap()));
    let body = Arc::new(format!("<r>{}</r>", items.collect::<String>()));
    let half = body.len() * 3 / 4;
    let server = TestServer::start(move |request| {
        let response = Response::bytes("application/xml", body.as_str().to_owned()).header("etag", "\"v1\"");
        let response = if request.attempt == 1 { response.cut_after(half) } else { response };
        async move { response }
    })
    .await;
    // Smaller than the document, which is never held as a whole.
    let opened = open(with(server.url("/x"), json!({"max_body": "1MiB"}))).await;
    let split = opened.only_split().await;
    let (found, errors) = opened.rows_with_resumes(&split).await.unwrap();
    assert_eq!(errors, 1);
    assert!(found == rows, "{} rows of {}", found.len(), rows.len());
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    assert!(batches.len() > 2);
    let rest = opened.batches(&split, batches[0].resume.clone()).await.unwrap();
    assert!(to_json(&rest) == to_json(&batches[1..]));
}

#[tokio::test]
async fn pages_may_be_xml() {
    let server = TestServer::start(|request| async move {
        let page = request.number("page").unwrap();
        let items = if page < 3 { format!("<i id='{page}'/>") } else { String::new() };
        Response::bytes("application/xml", format!("<r>{items}</r>"))
    })
    .await;
    let found = read(with(server.url("/x"), json!({"pagination": {"type": "page_number"}}))).await;
    assert_eq!(found.unwrap(), [json!({"@id": "1"}), json!({"@id": "2"})]);
}

#[tokio::test]
async fn a_page_for_people_is_no_feed() {
    let page = "<!doctype html><html><body>Sign in</body></html>";
    let server = always(Response::bytes("text/html", page)).await;
    let refused = error(with(server.url("/x"), json!({"format": "xml"}))).await;
    assert_eq!(
        (refused.kind(), refused.message()),
        (ErrorKind::DataInvalid, "the server answered with HTML, not data")
    );
    let server = always(Response::bytes("application/xml", page)).await;
    let refused = error(with(server.url("/x"), json!({}))).await;
    assert_eq!(refused.message(), "the body is HTML, not XML");
}
