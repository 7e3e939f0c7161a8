//! Permissions: what `check` says.

use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{ErrorKind, Json, LoadSpec, Result, WriteDisposition};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error};

use crate::support::{PUBLIC, Site};

async fn check(site: &Site, path: &str, more: &Json) -> Result<()> {
    let source = CONNECTOR.source_entry().unwrap().open(site.options(path, more), &site.cx).await?;
    source.check(&site.cx).await
}

fn nobody() -> Json {
    json!({"anonymous": true, "access_token": null})
}

#[tokio::test]
async fn a_bucket_that_can_be_read_passes() {
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    check(&site, "*.csv", &json!({})).await.unwrap();
    check(&site, "*.csv", &json!({"access_token": site.server.reader_token()})).await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_is_named_and_a_role_that_has_it() {
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    let denied = error(check(&site, "*.csv", &nobody()).await);
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    let said = denied.to_string();
    assert!(said.contains("grant `storage.objects.list`"), "{said}");
    assert!(said.contains("`roles/storage.objectViewer`"), "{said}");
    assert!(said.contains("Anonymous caller does not have"), "what Google says in detail: {said}");
}

#[tokio::test]
async fn a_sink_tries_what_it_needs() {
    let site = Site::new().await;
    let sink = async |more: Json| {
        let options = site.options("out/{part}.csv", &more);
        let load = LoadSpec::new("shop", "orders", "r1", WriteDisposition::Append);
        let sink = CONNECTOR.sink_entry().unwrap().open(options, &site.cx).await.unwrap();
        sink.check(&site.cx, &load).await
    };
    sink(json!({})).await.unwrap();
    assert!(site.server.keys(site.bucket).is_empty(), "nothing stays");
    let denied = error(sink(json!({"access_token": site.server.reader_token()})).await);
    assert!(denied.to_string().contains("`roles/storage.objectUser`"), "{denied}");
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named() {
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    let lacking = |permission: &str| json!({"access_token": site.server.token_without(permission)});
    for permission in ["storage.objects.list", "storage.objects.get"] {
        let denied = error(check(&site, "*.csv", &lacking(permission)).await);
        assert!(denied.to_string().contains(&format!("grant `{permission}`")), "{permission}: {denied}");
    }
    let load = LoadSpec::new("shop", "orders", "", WriteDisposition::Append);
    for permission in [
        "storage.objects.list",
        "storage.objects.get",
        "storage.objects.create",
        "storage.objects.delete",
        "storage.multipartUploads.list",
        "storage.multipartUploads.abort",
    ] {
        let sink = site.sink("out/{part}.csv", &lacking(permission)).await;
        let denied = error(sink.check(&site.cx, &load).await);
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        assert!(denied.to_string().contains(&format!("grant `{permission}`")), "{permission}: {denied}");
    }
}

#[tokio::test]
async fn a_public_bucket_is_read_without_credentials() {
    let site = Site::new().await.of(PUBLIC);
    site.put("a.csv", "n\n1\n").await;
    assert_eq!(site.read("*.csv", &nobody()).await.unwrap(), [json!({"n": 1})]);
    let requests = site.server.requests();
    assert!(requests.iter().all(|recorded| recorded.request.header("authorization").is_none()));
}
