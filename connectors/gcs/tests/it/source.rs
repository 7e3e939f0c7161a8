//! Reading objects: what only Google has.

use std::io::Write;

use serde_json::json;
use towpath_core::ErrorKind;
use towpath_testkit::gcs::Object;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error, numbered};

use crate::support::Site;

towpath_testkit::object_source_promises! { site = Site }

#[tokio::test]
async fn a_generation_is_read_although_it_was_replaced() {
    let site = Site::new().await.of("versions");
    let first = site.server.put(site.bucket, "a.csv", "n\n1\n").to_string();
    site.put("a.csv", "n\n2\n").await;
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
