//! What could be streams.

use serde_json::json;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools};

use crate::support::Prefix;

#[tokio::test]
async fn without_a_bucket_there_are_buckets() {
    let prefix = Prefix::new().await;
    let source = prefix.source("", &json!({"bucket": null, "path": ""})).await;
    let found = source.discover(&prefix.cx).await.unwrap();
    let landing = found.iter().find(|dataset| dataset.name == prefix.bucket).unwrap();
    assert_eq!(landing.source, json!({"path": format!("s3://{}/", prefix.bucket)}));
}
