//! Objects whose bytes S3 copies.

use serde_json::json;
use towpath_core::{DynSink, DynSource, Json, LoadSpec, ScanRequest, WriteDisposition, reference_schema};
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, behind, last_token, merged, through};
use towpath_testkit::steps;

use crate::support::Prefix;

towpath_testkit::object_copy_promises! { site = Prefix }

const MIB: usize = 1 << 20;

/// Copies all of `in/` to `out/` through a server, with these options.
async fn copied(prefix: &Prefix, front: &TestServer, more: &Json, of_sink: &Json) {
    let options =
        |part: &str| merged(json!({"endpoint": front.url(""), "format": "bytes", part: "5MiB"}), more);
    let sink = prefix.sink("out/", &merged(options("part_size"), of_sink)).await;
    let source = prefix.source("in/", &options("split_size")).await;
    moved(prefix, &*source, &*sink).await;
}

/// Copies what a source gives into a sink.
async fn moved(prefix: &Prefix, source: &dyn DynSource, sink: &dyn DynSink) {
    let cx = prefix.cx.with_copier(sink.capabilities().copies_from);
    let load = LoadSpec::new("p", "s", "1", WriteDisposition::Append);
    let begun = sink.begin(&cx, &load).await.unwrap();
    let begun = sink.evolve(&cx, &begun, &reference_schema()).await.unwrap();
    let mut writer = sink.writer(&cx, &begun, 1).await.unwrap();
    for batch in steps::batches(source, &cx, &ScanRequest::default()).await.unwrap() {
        writer.write(batch.rows).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    sink.commit(&cx, &begun, &last_token(&begun), vec![staged]).await.unwrap();
}

#[tokio::test]
async fn a_copy_is_bound_to_the_content_and_a_small_object_is_copied_whole() {
    let prefix = Prefix::new().await;
    prefix.put("in/large +ü", vec![7; 5 * MIB + 1]).await;
    prefix.put("in/small", "small").await;
    let front = behind(&prefix, |_| None).await;
    copied(&prefix, &front, &json!({"requester_pays": true}), &json!({})).await;
    let tags = [prefix.object_tag("in/large +ü").await, prefix.object_tag("in/small").await];
    let asked = front.requests();
    let copies = asked.iter().map(|asked| &asked.request);
    let copies = copies.filter(|request| request.header("x-amz-copy-source").is_some());
    let mut told: Vec<_> = copies
        .map(|request| {
            assert_eq!(request.header("x-amz-request-payer"), Some("requester"));
            let source = request.header("x-amz-copy-source").unwrap();
            let range = request.header("x-amz-copy-source-range").map(str::to_owned);
            let name = source.rsplit_once('/').unwrap().1.to_owned();
            (name, range, request.header("x-amz-copy-source-if-match").unwrap().to_owned())
        })
        .collect();
    told.sort();
    let large = "large%20%2B%C3%BC".to_owned();
    let range = |from: usize, to: usize| Some(format!("bytes={from}-{to}"));
    assert_eq!(
        told,
        [
            (large.clone(), range(0, 5 * MIB - 1), tags[0].clone()),
            (large, range(5 * MIB, 5 * MIB), tags[0].clone()),
            ("small".to_owned(), None, tags[1].clone()),
        ]
    );
    // The tag of what was copied whole shows that it is the same; of the other, the parts are asked for their lengths.
    let lists = asked.iter().map(|asked| &asked.request);
    let lists = lists.filter(|request| request.method == "GET" && request.param("uploadId").is_some());
    assert_eq!(lists.count(), 1);
    assert_eq!(prefix.object_bytes("out/small").await, b"small");
    assert_eq!(prefix.object_bytes("out/large +ü").await.len(), 5 * MIB + 1);
}

#[tokio::test]
async fn a_part_that_is_shorter_than_what_was_copied_is_an_error() {
    let prefix = Prefix::new().await;
    prefix.put("in/large", vec![7; 5 * MIB + 9]).await;
    let front = through(&prefix, |request, answer| {
        let lists_parts = request.method == "GET" && request.param("uploadId").is_some();
        if !lists_parts {
            return answer;
        }
        let body = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>\"x\"</ETag>\
                    <Size>5242880</Size></Part><Part><PartNumber>2</PartNumber><ETag>\"y\"</ETag><Size>8</Size></Part>\
                    </ListPartsResult>";
        Response::status(200).header("content-type", "application/xml").body(body)
    })
    .await;
    let told = tokio::spawn(async move { copied(&prefix, &front, &json!({}), &json!({})).await }).await;
    let panic = told.unwrap_err().into_panic();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("has 8 bytes, and must have 9"), "{text}");
}

#[tokio::test]
async fn the_version_that_was_asked_for_is_copied() {
    let prefix = Prefix::with_versions().await;
    let version = prefix.put_version("in/a", "first").await.unwrap();
    prefix.put("in/a", "second").await;
    let front = behind(&prefix, |_| None).await;
    let options = |more: Json| merged(json!({"endpoint": front.url(""), "format": "bytes"}), &more);
    let sink = prefix.sink("out/", &options(json!({}))).await;
    let source = prefix.source("in/a", &options(json!({"version": version}))).await;
    moved(&prefix, &*source, &*sink).await;
    assert_eq!(prefix.object_bytes("out/a").await, b"first");
    let asked = front.requests();
    let source = asked.iter().find_map(|asked| asked.request.header("x-amz-copy-source"));
    assert!(source.unwrap().contains(&format!("?versionId={version}")), "{source:?}");
}

#[tokio::test]
async fn what_the_options_do_not_say_an_object_says_as_the_one_that_was_copied() {
    let prefix = Prefix::new().await;
    for (key, bytes) in [("in/small", &b"small"[..]), ("in/empty", b"")] {
        let put =
            prefix.sdk().put_object().bucket(prefix.bucket).key(prefix.key(key)).body(bytes.to_vec().into());
        let put = put.content_type("text/x-tide").content_encoding("identity").cache_control("max-age=7");
        let put = put.content_disposition("attachment").content_language("nl").metadata("port", "Delft");
        put.metadata("towpathupload", "of another upload").send().await.unwrap();
    }
    let front = behind(&prefix, |_| None).await;
    copied(&prefix, &front, &json!({}), &json!({"content_type": "text/plain"})).await;
    for key in ["out/small", "out/empty"] {
        let head =
            prefix.sdk().head_object().bucket(prefix.bucket).key(prefix.key(key)).send().await.unwrap();
        assert_eq!(head.content_type(), Some("text/plain"), "{key}");
        assert_eq!(head.content_encoding(), Some("identity"), "{key}");
        assert_eq!(head.cache_control(), Some("max-age=7"), "{key}");
        assert_eq!(head.content_disposition(), Some("attachment"), "{key}");
        assert_eq!(head.content_language(), Some("nl"), "{key}");
        let noted = head.metadata().unwrap();
        assert_eq!(noted.get("port").map(String::as_str), Some("Delft"), "{key}");
        assert_ne!(noted["towpathupload"], "of another upload", "{key}");
    }
}
