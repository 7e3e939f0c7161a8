//! Writing objects: what only S3 has.

use serde_json::json;
use towpath_core::WriteDisposition::{Append, Replace};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, behind};
use towpath_testkit::rows;

use crate::support::Prefix;

towpath_testkit::object_sink_promises! { site = Prefix }

fn batch(ids: impl IntoIterator<Item = i64>) -> arrow::array::RecordBatch {
    let rows: Vec<_> = ids.into_iter().map(|id| json!([id])).collect();
    rows::batch("id: int64", &json!(rows))
}

#[tokio::test]
async fn objects_say_of_themselves_what_the_options_say() {
    let prefix = Prefix::new().await;
    let more = json!({
        "content_type": "application/x-ndjson", "content_encoding": "identity", "cache_control": "max-age=60",
        "storage_class": "STANDARD_IA", "tags": {"team": "sales & more", "cost": "7"},
    });
    for (path, key) in [("out/{run}-{part}.ndjson", "out/r1-00000.ndjson"), ("plain.ndjson", "plain.ndjson")]
    {
        prefix.load(path, &more, "r1", Replace, &[batch([1])]).await.unwrap();
        let client = prefix.sdk();
        let head = client.head_object().bucket(prefix.bucket).key(prefix.key(key)).send().await.unwrap();
        assert_eq!(head.content_type(), Some("application/x-ndjson"), "{key}");
        assert_eq!(head.content_encoding(), Some("identity"), "{key}");
        assert_eq!(head.cache_control(), Some("max-age=60"), "{key}");
        assert_eq!(
            head.storage_class().map(aws_sdk_s3::types::StorageClass::as_str),
            Some("STANDARD_IA"),
            "{key}"
        );
        let tags =
            client.get_object_tagging().bucket(prefix.bucket).key(prefix.key(key)).send().await.unwrap();
        let mut tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
        tags.sort_unstable();
        assert_eq!(tags, [("cost", "7"), ("team", "sales & more")], "{key}");
    }
}

#[tokio::test]
async fn objects_and_the_manifest_are_encrypted_as_the_options_say() {
    let prefix = Prefix::new().await;
    let head = async |key: &str| {
        let key = prefix.key(key);
        prefix.sdk().head_object().bucket(prefix.bucket).key(key).send().await.unwrap()
    };
    for (folder, more, expected) in
        [("none", json!({}), None), ("aes256", json!({"encryption": "aes256"}), Some("AES256"))]
    {
        let path = format!("{folder}/{{run}}-{{part}}.ndjson");
        prefix.load(&path, &more, "r1", Append, &[batch([1])]).await.unwrap();
        for key in ["r1-00000.ndjson", ".towpath/shop/orders/manifest.json"] {
            let found = head(&format!("{folder}/{key}")).await;
            let found = found.server_side_encryption().map(|encryption| encryption.as_str().to_owned());
            assert_eq!(found.as_deref(), expected, "{folder}/{key}");
        }
    }
}

#[tokio::test]
async fn who_may_read_and_whose_key_encrypts_is_asked_for_with_each_upload() {
    let prefix = Prefix::new().await;
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/towpath";
    for (more, expected) in [
        (json!({"acl": "bucket-owner-full-control"}), vec![("x-amz-acl", "bucket-owner-full-control")]),
        (
            json!({"encryption": "kms", "kms_key": arn, "bucket_key": true}),
            vec![
                ("x-amz-server-side-encryption", "aws:kms"),
                ("x-amz-server-side-encryption-aws-kms-key-id", arn),
                ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
            ],
        ),
        (json!({"encryption": "kms_dsse"}), vec![("x-amz-server-side-encryption", "aws:kms:dsse")]),
    ] {
        let front = behind(&prefix, |_| None).await;
        let mut options = json!({"endpoint": front.url(""), "layout": "plain"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        // The server of the tests has no such keys and may refuse; what it was asked for is what counts here.
        drop(prefix.load("out/{run}-{part}.ndjson", &options, "r1", Append, &[batch([1])]).await);
        let asked = front.requests();
        let begun = asked.iter().find(|asked| asked.request.method == "POST").expect("an upload begins");
        for (name, value) in expected {
            assert_eq!(begun.request.header(name), Some(value), "{more}");
        }
    }
}
