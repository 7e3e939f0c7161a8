//! Writing objects: what only Google has.

use serde_json::json;
use towpath_core::LoadSpec;
use towpath_core::WriteDisposition::{Append, Replace};
use towpath_testkit::gcs::Conduct;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools};
use towpath_testkit::rows;

use crate::support::Site;

towpath_testkit::object_sink_promises! { site = Site }

const TEMPLATE: &str = "out/{part}.ndjson";

fn batch(ids: impl IntoIterator<Item = i64>) -> arrow::array::RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

#[tokio::test]
async fn objects_say_of_themselves_what_the_options_say() {
    let site = Site::new().await;
    let more = json!({
        "content_type": "application/x-ndjson", "content_encoding": "identity", "cache_control": "max-age=60",
        "storage_class": "NEARLINE",
    });
    for (path, key) in [("out/{run}-{part}.ndjson", "out/r1-00000.ndjson"), ("plain.ndjson", "plain.ndjson")]
    {
        site.load(path, &more, "r1", Replace, &[batch([1])]).await.unwrap();
        let object = site.object(key);
        for (name, expected) in [
            ("content-type", "application/x-ndjson"),
            ("content-encoding", "identity"),
            ("cache-control", "max-age=60"),
            ("x-goog-storage-class", "NEARLINE"),
        ] {
            assert_eq!(object.header(name), Some(expected), "{key}");
        }
    }
    site.load("other/{run}-{part}.ndjson", &json!({}), "r1", Replace, &[batch([1])]).await.unwrap();
    let object = site.object("other/r1-00000.ndjson");
    assert_eq!(object.header("content-type"), Some("application/octet-stream"));
    assert_eq!(object.header("x-goog-storage-class"), None);
}

#[tokio::test]
async fn thousands_of_uploads_are_swept_page_by_page() {
    let site = Site::new().await;
    for number in 0..2_500 {
        site.server.begin_upload(site.bucket, &format!("out/r0-{number:05}.ndjson"));
    }
    let sink = site.sink(TEMPLATE, &json!({})).await;
    let removed = sink.sweep(&site.cx, &LoadSpec::new("shop", "orders", "r1", Append)).await.unwrap();
    assert_eq!(removed.len(), 2_500);
    assert_eq!(site.staged().await, [""; 0]);
}

#[tokio::test]
async fn objects_and_the_manifest_are_encrypted_with_the_key_of_the_options() {
    let site = Site::new().await;
    let key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k";
    for (folder, more, expected) in
        [("none", json!({}), None), ("kms", json!({"kms_key": key, "part_size": "5MiB"}), Some(key))]
    {
        let path = format!("{folder}/{{run}}-{{part}}.ndjson");
        site.load(&path, &more, "r1", Append, &[batch([1])]).await.unwrap();
        for key in ["r1-00000.ndjson", ".towpath/shop/orders/manifest.json"] {
            let object = site.object(&format!("{folder}/{key}"));
            assert_eq!(object.kms_key.as_deref(), expected, "{folder}/{key}");
        }
    }
}

#[tokio::test]
async fn who_may_read_is_said_of_the_objects_and_not_of_the_manifest() {
    let site = Site::new().await;
    let path = "out/{run}-{part}.ndjson";
    site.load(path, &json!({"acl": "public-read"}), "r1", Append, &[batch([1])]).await.unwrap();
    assert_eq!(site.object("out/r1-00000.ndjson").acl.as_deref(), Some("public-read"));
    assert_eq!(site.object("out/.towpath/shop/orders/manifest.json").acl, None);
}

#[tokio::test]
async fn a_manifest_may_change_once_in_a_second() {
    let site = Site::behaving(Conduct::slow()).await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    assert_eq!(site.ids().await, [1]);
    assert!(site.cx.metrics().snapshot().throttled > 0, "the server was asked too often");
}

#[tokio::test]
async fn a_commit_is_bound_to_the_generation_that_was_read() {
    let site = Site::new().await;
    site.load(TEMPLATE, &json!({}), "r1", Append, &[batch([1])]).await.unwrap();
    let requests = site.server.requests();
    let conditions: Vec<_> = requests
        .iter()
        .filter(|asked| {
            asked.request.method == "PUT" && asked.request.decoded_path().ends_with("manifest.json")
        })
        .map(|asked| {
            asked.request.header("x-goog-if-generation-match").expect("there is a condition").to_owned()
        })
        .collect();
    assert_eq!(conditions[0], "0");
    // The second of the two that ask for none is the test whether the server heeds it.
    assert!(
        conditions[2..].iter().all(|generation| generation.parse::<u64>().unwrap() > 0),
        "{conditions:?}"
    );
}
