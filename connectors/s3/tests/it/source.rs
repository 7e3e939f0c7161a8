//! Reading objects: options, and what changes under the reader.

use serde_json::json;
use towpath_core::{ErrorKind, Position, ScanRequest};

use crate::support::{Prefix, error, numbered, scan};

#[tokio::test]
async fn a_path_may_be_a_whole_url() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let url = format!("s3://{}/{}", prefix.bucket, prefix.key("a.csv"));
    let options = prefix.options("", &json!({"bucket": null, "path": url, "file_column": "file"}));
    let rows = scan(&prefix.cx, options, &ScanRequest::default()).await.unwrap().rows();
    assert_eq!(rows, [json!({"n": 1, "file": url})]);
    let other = prefix.options("", &json!({"path": "s3://elsewhere/a.csv"}));
    let refused = error(scan(&prefix.cx, other, &ScanRequest::default()).await);
    assert!(refused.to_string().contains("one bucket"), "{refused}");
}

#[tokio::test]
async fn a_large_object_is_read_in_parts_of_which_none_is_lost() {
    let prefix = Prefix::new();
    let lines = numbered(300_000);
    prefix.put("big.csv", format!("n,m\n{lines}")).await;
    let found =
        prefix.scan("big.csv", &json!({"split_size": "1MiB"}), &ScanRequest::default()).await.unwrap();
    assert!(found.splits().len() > 2);
    let rows = found.rows();
    assert_eq!(rows.len(), 300_000);
    assert!(rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n) && row["m"] == json!(n * 7)));
}

#[tokio::test]
async fn an_object_that_changed_since_it_was_planned_is_an_error() {
    use futures::TryStreamExt;
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let source = towpath_connector_s3::CONNECTOR.source_entry().unwrap();
    let source = source.open(prefix.options("a.csv", &json!({})), &prefix.cx).await.unwrap();
    let plan = source.plan(&prefix.cx, &ScanRequest::default()).await.unwrap();
    let steps: Vec<_> = plan.splits.try_collect().await.unwrap();
    let Some(towpath_core::Planned::Split { split, .. }) = steps.first() else { panic!("no split") };
    // As long as before, and perhaps within the same second.
    prefix.put("a.csv", "n\n2\n").await;
    let read = source.read(&prefix.cx, split, Position::Start).unwrap();
    let changed = error(read.try_collect::<Vec<_>>().await);
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("the file changed after it was planned"), "{changed}");
}

#[tokio::test]
async fn a_version_is_read_although_it_was_replaced() {
    let prefix = Prefix::of("versions");
    let enabled = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let versioning = prefix.client().put_bucket_versioning().bucket(prefix.bucket);
    versioning.versioning_configuration(enabled).send().await.unwrap();
    let first = prefix.put("a.csv", "n\n1\n").await.unwrap();
    prefix.put("a.csv", "n\n2\n").await;
    assert_eq!(prefix.read("a.csv", &json!({"version": first})).await.unwrap(), [json!({"n": 1})]);
    assert_eq!(prefix.read("a.csv", &json!({})).await.unwrap(), [json!({"n": 2})]);
    let glob = error(prefix.read("*.csv", &json!({"version": first})).await);
    assert!(glob.to_string().contains("one version of it"), "{glob}");
}

#[tokio::test]
async fn only_new_objects_are_read_when_asked_for() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let incremental = json!({"incremental": true});
    let first = prefix.scan("*.csv", &incremental, &ScanRequest::default()).await.unwrap();
    assert_eq!(first.rows(), [json!({"n": 1}), json!({"n": 2})]);
    prefix.put("aa.csv", "n\n3\n").await;
    prefix.put("b.csv", "n\n4\n").await;
    let mut request = ScanRequest::default();
    request.since = first.since();
    let second = prefix.scan("*.csv", &incremental, &request).await.unwrap();
    assert_eq!(second.rows(), [json!({"n": 3}), json!({"n": 4})]);
}

#[tokio::test]
async fn folders_become_columns_and_only_wanted_columns_are_read() {
    let prefix = Prefix::with(&[("day=1/a.csv", "n,m\n1,2\n"), ("day=2/a.csv", "n,m\n3,4\n")]).await;
    let mut request = ScanRequest::default();
    request.columns = Some(vec!["m".into(), "day".into()]);
    let rows = prefix.scan("**/*.csv", &json!({}), &request).await.unwrap().rows();
    assert_eq!(rows, [json!({"m": 2, "day": 1}), json!({"m": 4, "day": 2})]);
}
