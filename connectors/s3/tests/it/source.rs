//! Reading objects: what only S3 has.

use serde_json::json;
use towpath_testkit::objects::{ObjectSiteTools, error};

use crate::support::Prefix;

towpath_testkit::object_source_promises! { site = Prefix }

#[tokio::test]
async fn a_version_is_read_although_it_was_replaced() {
    let prefix = Prefix::with_versions().await;
    let first = prefix.put_version("a.csv", "n\n1\n").await.unwrap();
    prefix.put("a.csv", "n\n2\n").await;
    assert_eq!(prefix.read("a.csv", &json!({"version": first})).await.unwrap(), [json!({"n": 1})]);
    assert_eq!(prefix.read("a.csv", &json!({})).await.unwrap(), [json!({"n": 2})]);
    let glob = error(prefix.read("*.csv", &json!({"version": first})).await);
    assert!(glob.to_string().contains("one version of it"), "{glob}");
}
