//! What could be streams.

use serde_json::json;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools};

use crate::support::Prefix;

#[tokio::test]
async fn without_a_container_there_are_containers() {
    let prefix = Prefix::new().await;
    let source = prefix.source("", &json!({"container": null, "path": ""})).await;
    let found = source.discover(&prefix.cx).await.unwrap();
    let landing = found.iter().find(|dataset| dataset.name == prefix.container).unwrap();
    assert_eq!(landing.source, json!({"path": format!("az://{}/", prefix.container)}));
}
