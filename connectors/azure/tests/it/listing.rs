//! Which objects are found, and with how many requests.

use futures::TryStreamExt;
use serde_json::{Value, json};
use towpath_connector_azure::CONNECTOR;
use towpath_core::ScanRequest;
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::Prefix;

/// The objects that a path matches, by the numbers in them, and how many requests that took.
async fn found(prefix: &Prefix, path: Value) -> Vec<i64> {
    let path = match path {
        Value::String(path) => json!(prefix.key(&path)),
        paths => paths.as_array().unwrap().iter().map(|path| prefix.key(path.as_str().unwrap())).collect(),
    };
    let options =
        json!({"path": path, "columns": {"n": "int64"}, "hive_partitions": false, "allow_empty": true});
    let rows = prefix.read("", &options).await.unwrap();
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

async fn seeded() -> Prefix {
    let objects: Vec<(String, String)> = [
        "a.csv",
        "b/c.csv",
        "b/d/e.csv",
        "b-/f.csv",
        "b.csv",
        "year=1/month=1/g.csv",
        "year=1/month=2/h.csv",
        "year=2/month=1/i.csv",
        ".hidden/j.csv",
        "b/.k.csv",
        "b/c.txt",
    ]
    .iter()
    .enumerate()
    .map(|(number, key)| ((*key).to_owned(), format!("n\n{number}\n")))
    .collect();
    let objects: Vec<(&str, &str)> =
        objects.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    Prefix::with(&objects).await
}

#[tokio::test]
async fn globs_match_as_they_do_in_folders() {
    let prefix = seeded().await;
    for (path, expected) in [
        ("a.csv", vec![0]),
        ("*.csv", vec![0, 4]),
        ("b/*.csv", vec![1]),
        ("b/**/*.csv", vec![1, 2]),
        ("**/c.csv", vec![1]),
        ("year=*/month=1/*.csv", vec![5, 7]),
        ("year=1/", vec![5, 6]),
        ("year=1", vec![5, 6]),
        ("{a,b}.csv", vec![0, 4]),
        ("b/.k.cs[v]", vec![9]),
        ("*/nothing.csv", vec![]),
    ] {
        assert_eq!(found(&prefix, json!(path)).await, expected, "{path}");
    }
}

#[tokio::test]
async fn objects_come_in_the_order_of_their_keys() {
    let prefix = seeded().await;
    // A hyphen and a dot come before a slash.
    assert_eq!(found(&prefix, json!("{b,b-}*/*.csv")).await, [3, 1]);
    assert_eq!(found(&prefix, json!("**/*.csv")).await, [0, 3, 4, 1, 2, 5, 6, 7]);
}

#[tokio::test]
async fn an_object_that_several_paths_match_is_read_once() {
    let prefix = seeded().await;
    assert_eq!(found(&prefix, json!(["b/c.csv", "b/**/*.csv", "b/d/*"])).await, [1, 2]);
}

#[tokio::test]
async fn only_the_prefixes_that_a_glob_needs_are_listed() {
    let prefix = Prefix::new();
    for (year, month) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        prefix.put(&format!("year={year}/month={month}/a.csv"), "n\n1\n").await;
    }
    let before = prefix.cx.metrics().snapshot().requests;
    let options = json!({"allow_empty": true, "columns": {"n": "int64"}});
    prefix.scan("year=[12]/month=1/*.none", &options, &ScanRequest::default()).await.unwrap();
    // The years, two months of them, and their objects; for the columns, and for the splits.
    assert_eq!(prefix.cx.metrics().snapshot().requests - before, 2 * 5);
}

#[tokio::test]
async fn objects_that_mark_folders_are_no_files() {
    let prefix = Prefix::with(&[("in/a.csv", "n\n1\n")]).await;
    prefix.put("in/b/", "").await;
    assert_eq!(found(&prefix, json!("in/**/*")).await, [1]);
}

#[tokio::test]
async fn thousands_of_objects_are_listed_page_by_page() {
    const COUNT: usize = 2_500;
    let prefix = Prefix::new();
    let puts = (0..COUNT).map(|n| {
        let prefix = &prefix;
        async move { prefix.put(&format!("day={}/{n:05}.csv", n % 7), format!("n\n{n}\n")).await }
    });
    futures::StreamExt::collect::<Vec<_>>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(puts),
        64,
    ))
    .await;
    let columns = json!({"columns": {"n": "int64"}});
    for path in ["*/*.csv", "**/*.csv"] {
        let scan = prefix.scan_names(path, &columns).await;
        assert_eq!(scan.len(), COUNT, "{path}");
        assert!(scan.is_sorted(), "{path}");
    }
}

/// A page of a listing of 100,000 blobs.
fn page(request: &Request) -> Response {
    let number: usize = request.param("marker").map_or(0, |token| token.parse().unwrap());
    let blobs = (0..1_000).map(|index| {
        format!(
            "<Blob><Name>in/{:06}</Name><Properties><Last-Modified>Sat, 28 Nov 2026 00:00:00 GMT</Last-Modified>\
             <Etag>0x1</Etag><Content-Length>1</Content-Length></Properties></Blob>",
            number * 1_000 + index
        )
    });
    let next = match number + 1 {
        100 => "<NextMarker/>".to_owned(),
        next => format!("<NextMarker>{next}</NextMarker>"),
    };
    let blobs = blobs.collect::<Vec<_>>().concat();
    let body = format!("<EnumerationResults><Blobs>{blobs}</Blobs>{next}</EnumerationResults>");
    Response::status(200).header("content-type", "application/xml").body(body)
}

/// How much memory this process holds, in KiB, as far as the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn a_hundred_thousand_objects_are_planned_while_they_are_listed_and_never_held() {
    let server = TestServer::start(|request| async move { page(&request) }).await;
    let prefix = Prefix::new();
    let options = json!({"endpoint": crate::support::at(&server), "path": "in/*", "format": "bytes"});
    let source =
        CONNECTOR.source_entry().unwrap().open(prefix.options("", &options), &prefix.cx).await.unwrap();
    let mut steps = source.plan(&prefix.cx, &ScanRequest::default()).await.unwrap().splits;
    steps.try_next().await.unwrap().unwrap();
    assert!(server.requests().len() <= 3, "{:?}", server.targets());
    let (mut count, mut early) = (1, 0);
    while steps.try_next().await.unwrap().is_some() {
        count += 1;
        if count == 20_000 {
            early = resident();
        }
    }
    assert_eq!(count, 100_000);
    let grown = resident().saturating_sub(early);
    assert!(grown < 16 << 10, "it grew by {grown} KiB");
}
