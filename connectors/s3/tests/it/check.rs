//! Credentials and permissions: what `check` says.

use serde_json::json;
use towpath_connector_s3::CONNECTOR;
use towpath_core::{ErrorKind, Json, LoadSpec, Result, WriteDisposition};
use towpath_testkit::http::{Request, Response};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, behind, error};

use crate::support::{PUBLIC, Prefix, authority, secure_endpoint};

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

/// What a check of a sink says.
async fn checked(prefix: &Prefix, more: &Json) -> Result<()> {
    let load = LoadSpec::new("shop", "orders", "", WriteDisposition::Append);
    prefix.sink("out/{part}.csv", more).await.check(&prefix.cx, &load).await
}

#[tokio::test]
async fn each_permission_that_a_source_lacks_is_named() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    for (who, path, permission) in
        [("no-list", "*.csv", "s3:ListBucket"), ("no-read", "*.csv", "s3:GetObject")]
    {
        let denied = error(check(&prefix, path, &json!({"access_key_id": who})).await);
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
        assert!(denied.to_string().contains(&format!("grant `{permission}`")), "{who}: {denied}");
    }
}

#[tokio::test]
async fn the_permissions_that_a_sink_lacks_are_named_all_at_once() {
    let prefix = Prefix::new().await;
    for (who, lacks, has) in [
        ("no-list", vec!["s3:ListBucket"], vec!["s3:PutObject", "s3:GetObject"]),
        ("no-read", vec!["s3:GetObject"], vec!["s3:PutObject", "s3:DeleteObject"]),
        ("reader", vec!["s3:PutObject"], vec!["s3:GetObject"]),
    ] {
        let denied = error(checked(&prefix, &json!({"access_key_id": who})).await).to_string();
        assert!(
            lacks.iter().all(|permission| denied.contains(&format!("grant `{permission}`"))),
            "{who}: {denied}"
        );
        assert!(!has.iter().any(|permission| denied.contains(permission)), "{who}: {denied}");
    }
    assert!(prefix.all_keys().await.is_empty());
}

/// The permission that a request needs.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn needed(request: &Request) -> Option<&'static str> {
    let has = |name: &str| request.param(name).is_some();
    Some(match request.method.as_str() {
        "GET" if has("uploads") => "s3:ListBucketMultipartUploads",
        "GET" if has("list-type") => "s3:ListBucket",
        "GET" | "HEAD" => "s3:GetObject",
        "DELETE" if has("uploadId") => "s3:AbortMultipartUpload",
        "DELETE" => "s3:DeleteObject",
        "POST" if request.query == "delete" => "s3:DeleteObject",
        "PUT" | "POST" => "s3:PutObject",
        _ => return None,
    })
}

#[tokio::test]
async fn permissions_are_named_that_the_server_of_the_tests_does_not_tell_apart() {
    for lacking in [
        "s3:ListBucket",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:ListBucketMultipartUploads",
        "s3:AbortMultipartUpload",
    ] {
        let prefix = Prefix::new().await;
        let front = behind(&prefix, move |request| {
            let error =
                "<Error><Key>k</Key><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            // Of many objects each is answered for itself.
            let of_many = request.method == "POST" && request.query == "delete";
            let answer = if of_many {
                Response::status(200).body(format!("<DeleteResult>{error}</DeleteResult>"))
            } else {
                Response::status(403).body(error)
            };
            (needed(request) == Some(lacking)).then_some(answer)
        })
        .await;
        let denied = error(checked(&prefix, &json!({"endpoint": front.url("")})).await);
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{lacking}: {denied}");
        let said = denied.to_string();
        assert!(said.contains(&format!("grant `{lacking}`")), "{lacking}: {said}");
        assert_eq!(said.matches("grant `").count(), 1, "{lacking}: {said}");
    }
}

#[tokio::test]
async fn a_write_on_conditions_that_is_not_permitted_is_named() {
    let prefix = Prefix::new().await;
    let front = behind(&prefix, |request| {
        let is_conditional =
            request.header("if-none-match").is_some() || request.header("if-match").is_some();
        let refused = || Response::status(403).body("<Error><Code>AccessDenied</Code></Error>");
        (request.method == "PUT" && is_conditional).then(refused)
    })
    .await;
    let denied = error(checked(&prefix, &json!({"endpoint": front.url("")})).await);
    assert!(denied.to_string().contains("grant `s3:PutObject`"), "{denied}");
    assert!(prefix.all_keys().await.is_empty(), "what was written without conditions is removed");
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
