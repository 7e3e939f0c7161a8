//! Credentials and permissions: what `check` says.

use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{ErrorKind, Json, LoadSpec, Result, WriteDisposition};
use towpath_testkit::objects::{ObjectSiteTools, error};

use crate::account::sas;
use crate::support::{PUBLIC, Prefix};

async fn check(prefix: &Prefix, path: &str, more: &Json) -> Result<()> {
    let source = CONNECTOR.source_entry().unwrap().open(prefix.options(path, more), &prefix.cx).await?;
    source.check(&prefix.cx).await
}

fn anonymous() -> Json {
    json!({"anonymous": true, "access_key": null})
}

/// The options with a signature that permits this.
fn permitted(prefix: &Prefix, permissions: &str) -> Json {
    json!({"access_key": null, "sas_token": sas(prefix.container, permissions)})
}

#[tokio::test]
async fn a_container_that_can_be_read_passes() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    check(&prefix, "*.csv", &json!({})).await.unwrap();
    check(&prefix, "a.csv", &permitted(&prefix, "rl")).await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_is_named_with_its_role() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let denied = error(check(&prefix, "*.csv", &permitted(&prefix, "r")).await);
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    for part in ["containers/blobs/read`", "Storage Blob Data Reader"] {
        assert!(denied.to_string().contains(part), "{denied}");
    }
    let unread = error(check(&prefix, "*.csv", &permitted(&prefix, "l")).await);
    assert!(unread.to_string().contains("containers/blobs/read`"), "{unread}");
    let sink = CONNECTOR.sink_entry().unwrap();
    let load = LoadSpec::new("shop", "orders", "", WriteDisposition::Append);
    for (permissions, action) in [
        ("rl", "containers/blobs/write`"),
        ("rwl", "containers/blobs/delete`"),
        ("rwd", "containers/blobs/read`"),
        ("wdl", "containers/blobs/read`"),
    ] {
        let options = prefix.options("out/{part}.csv", &permitted(&prefix, permissions));
        let denied = error(sink.open(options, &prefix.cx).await.unwrap().check(&prefix.cx, &load).await);
        assert!(denied.to_string().contains(action), "{permissions}: {denied}");
    }
}

#[tokio::test]
async fn a_public_container_is_read_without_credentials_and_no_other() {
    let prefix = Prefix::of(PUBLIC);
    prefix.put("a.csv", "n\n1\n").await;
    assert_eq!(prefix.read("*.csv", &anonymous()).await.unwrap(), [json!({"n": 1})]);
    let private = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let refused = error(private.read("*.csv", &anonymous()).await);
    assert_ne!(refused.kind(), ErrorKind::Unexpected, "{refused}");
}

#[tokio::test]
async fn a_certificate_is_trusted_only_when_its_authority_is() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let untrusted = error(check(&prefix, "a.csv", &json!({"ca_certificate": null})).await);
    assert!(untrusted.to_string().contains("`ca_certificate`"), "{untrusted}");
    check(&prefix, "a.csv", &json!({})).await.unwrap();
}
