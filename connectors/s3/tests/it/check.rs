//! Credentials and permissions: what `check` says.

use serde_json::json;
use towpath_connector_s3::CONNECTOR;
use towpath_core::{ErrorKind, Json, Result};

use crate::support::{PUBLIC, Prefix, authority, error, secure_endpoint};

async fn check(prefix: &Prefix, path: &str, more: &Json) -> Result<()> {
    let source = CONNECTOR.source_entry().unwrap().open(prefix.options(path, more), &prefix.cx).await?;
    source.check(&prefix.cx).await
}

#[tokio::test]
async fn a_bucket_that_can_be_read_passes() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    check(&prefix, "*.csv", &json!({})).await.unwrap();
    check(&prefix, "a.csv", &json!({"access_key_id": "reader"})).await.unwrap();
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let anonymous = json!({"anonymous": true, "access_key_id": null, "secret_access_key": null});
    let denied = error(check(&prefix, "*.csv", &anonymous).await);
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    assert!(denied.to_string().contains("grant `s3:ListBucket`"), "{denied}");
}

#[tokio::test]
async fn a_public_bucket_is_read_without_credentials() {
    let prefix = Prefix::of(PUBLIC);
    prefix.put("a.csv", "n\n1\n").await;
    let anonymous = json!({"anonymous": true, "access_key_id": null, "secret_access_key": null});
    assert_eq!(prefix.read("*.csv", &anonymous).await.unwrap(), [json!({"n": 1})]);
}

#[tokio::test]
async fn a_certificate_is_trusted_only_when_its_authority_is() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let secure = json!({"endpoint": secure_endpoint()});
    let untrusted = error(check(&prefix, "a.csv", &secure).await);
    assert!(untrusted.to_string().contains("`ca_certificate`"), "{untrusted}");
    let trusted = json!({"endpoint": secure_endpoint(), "ca_certificate": authority()});
    check(&prefix, "a.csv", &trusted).await.unwrap();
}
