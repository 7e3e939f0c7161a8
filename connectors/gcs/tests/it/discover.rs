//! What could be streams.

use serde_json::json;
use towpath_core::{Dataset, Json, Result};
use towpath_testkit::gcs::PROJECT;
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error};

use crate::support::Site;

async fn discover(site: &Site, more: &Json) -> Result<Vec<Dataset>> {
    let source = site.source("", more).await;
    source.discover(&site.cx).await
}

#[tokio::test]
async fn without_a_bucket_there_are_the_buckets_of_a_project() {
    let site = Site::new().await;
    let found = discover(&site, &json!({"bucket": null, "project": PROJECT})).await.unwrap();
    let names: Vec<&str> = found.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["landing", "paid", "public", "versions"], "of several pages");
    assert_eq!(found[0].source, json!({"path": "gs://landing/"}));
    let account = json!({"bucket": null, "access_token": null, "credentials": site.server.service_account()});
    assert_eq!(discover(&site, &account).await.unwrap().len(), 4, "the key of an account names its project");
}

#[tokio::test]
async fn buckets_that_cannot_be_listed_say_what_to_do() {
    let site = Site::new().await;
    let none = error(discover(&site, &json!({"bucket": null})).await);
    assert!(none.to_string().contains("set `project`"), "{none}");
    let other = error(discover(&site, &json!({"bucket": null, "project": "other"})).await);
    assert!(other.to_string().contains("The requested project was not found"), "{other}");
    let reader = json!({"bucket": null, "project": PROJECT, "access_token": site.server.reader_token()});
    let denied = error(discover(&site, &reader).await);
    assert!(denied.to_string().contains("`storage.buckets.list`"), "{denied}");
}
