//! Reading objects: options, and what changes under the reader.

use std::io::Write;

use serde_json::json;
use towpath_core::{ErrorKind, Position, ScanRequest};
use towpath_testkit::gcs::Object;

use crate::support::{Site, error, numbered, scan};

#[tokio::test]
async fn a_path_may_be_a_whole_url() {
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    let url = format!("gs://{}/{}", site.bucket, "a.csv");
    let options = site.options("", &json!({"bucket": null, "path": url, "file_column": "file"}));
    let rows = scan(&site.cx, options, &ScanRequest::default()).await.unwrap().rows();
    assert_eq!(rows, [json!({"n": 1, "file": url})]);
    let other = site.options("", &json!({"path": "gs://elsewhere/a.csv"}));
    let refused = error(scan(&site.cx, other, &ScanRequest::default()).await);
    assert!(refused.to_string().contains("one bucket"), "{refused}");
}

#[tokio::test]
async fn a_large_object_is_read_in_parts_of_which_none_is_lost() {
    let site = Site::new().await;
    let lines = numbered(300_000);
    site.put("big.csv", format!("n,m\n{lines}"));
    let found = site.scan("big.csv", &json!({"split_size": "1MiB"}), &ScanRequest::default()).await.unwrap();
    assert!(found.splits().len() > 2);
    let rows = found.rows();
    assert_eq!(rows.len(), 300_000);
    assert!(rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n) && row["m"] == json!(n * 7)));
}

#[tokio::test]
async fn an_object_that_changed_since_it_was_planned_is_an_error() {
    use futures::TryStreamExt;
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    let source = towpath_connector_gcs::CONNECTOR.source_entry().unwrap();
    let source = source.open(site.options("a.csv", &json!({})), &site.cx).await.unwrap();
    let plan = source.plan(&site.cx, &ScanRequest::default()).await.unwrap();
    let steps: Vec<_> = plan.splits.try_collect().await.unwrap();
    let Some(towpath_core::Planned::Split { split, .. }) = steps.first() else { panic!("no split") };
    // As long as before, and perhaps within the same second.
    site.put("a.csv", "n\n2\n");
    let read = source.read(&site.cx, split, Position::Start).unwrap();
    let changed = error(read.try_collect::<Vec<_>>().await);
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("the file changed after it was planned"), "{changed}");
}

#[tokio::test]
async fn a_generation_is_read_although_it_was_replaced() {
    let site = Site::new().await.of("versions");
    let first = site.put("a.csv", "n\n1\n").to_string();
    site.put("a.csv", "n\n2\n");
    assert_eq!(site.read("a.csv", &json!({"generation": first})).await.unwrap(), [json!({"n": 1})]);
    assert_eq!(site.read("a.csv", &json!({})).await.unwrap(), [json!({"n": 2})]);
    let none = error(site.read("a.csv", &json!({"generation": "7"})).await);
    assert_eq!(none.kind(), ErrorKind::NotFound);
    let glob = error(site.read("*.csv", &json!({"generation": first})).await);
    assert!(glob.to_string().contains("one version of it"), "{glob}");
    let wrong = error(site.read("a.csv", &json!({"generation": "first"})).await);
    assert!(wrong.to_string().contains("`generation` is no number"), "{wrong}");
}

#[tokio::test]
async fn an_object_that_is_stored_compressed_is_read_as_it_is_stored() {
    let site = Site::new().await;
    let lines = numbered(300_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(format!("n,m\n{lines}").as_bytes()).unwrap();
    let object = Object::new(gzip.finish().unwrap().into()).with("content-encoding", "gzip");
    site.server.put_object(site.bucket, "big.csv.gz", object);
    assert_eq!(site.read("*.csv.gz", &json!({})).await.unwrap().len(), 300_000);
}

#[tokio::test]
async fn keys_may_hold_whatever_xml_and_urls_escape() {
    let keys = ["a & <b> 'c' \"d\".csv", "ä+%20 ü/e?f#g.csv", " spaces .csv"];
    let objects: Vec<(&str, &str)> = keys.iter().map(|key| (*key, "n\n1\n")).collect();
    let site = Site::with(&objects).await;
    let rows = site.read("**/*.csv", &json!({"file_column": "file"})).await.unwrap();
    let mut found: Vec<_> = rows.iter().map(|row| row["file"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> = keys.iter().map(|key| format!("gs://{}/{key}", site.bucket)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn only_new_objects_are_read_when_asked_for() {
    let site = Site::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let incremental = json!({"incremental": true});
    let first = site.scan("*.csv", &incremental, &ScanRequest::default()).await.unwrap();
    assert_eq!(first.rows(), [json!({"n": 1}), json!({"n": 2})]);
    site.put("aa.csv", "n\n3\n");
    site.put("b.csv", "n\n4\n");
    let mut request = ScanRequest::default();
    request.since = first.since();
    let second = site.scan("*.csv", &incremental, &request).await.unwrap();
    assert_eq!(second.rows(), [json!({"n": 3}), json!({"n": 4})]);
}

#[tokio::test]
async fn folders_become_columns_and_only_wanted_columns_are_read() {
    let site = Site::with(&[("day=1/a.csv", "n,m\n1,2\n"), ("day=2/a.csv", "n,m\n3,4\n")]).await;
    let mut request = ScanRequest::default();
    request.columns = Some(vec!["m".into(), "day".into()]);
    let rows = site.scan("**/*.csv", &json!({}), &request).await.unwrap().rows();
    assert_eq!(rows, [json!({"m": 2, "day": 1}), json!({"m": 4, "day": 2})]);
}
