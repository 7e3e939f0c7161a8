//! Options that show on the wire.

use serde_json::json;
use towpath_core::Json;
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, behind};

use crate::support::Prefix;

/// A server whose buckets are empty.
async fn empty() -> TestServer {
    TestServer::start(|_| async {
        let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        Response::status(200).header("content-type", "application/xml").body(body)
    })
    .await
}

/// The headers of the first request for a listing.
async fn asked(server: &TestServer, more: &Json) -> impl Fn(&str) -> String + use<> {
    let prefix = Prefix::new().await;
    let mut options = json!({"endpoint": server.url(""), "allow_empty": true});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert!(prefix.read("*.csv", &options).await.unwrap().is_empty());
    let request = server.requests().remove(0).request;
    move |name| request.header(name).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn requests_are_signed_for_the_region() {
    let header = asked(&empty().await, &json!({"region": "eu-west-7"})).await;
    assert!(header("authorization").contains("/eu-west-7/s3/aws4_request"), "{}", header("authorization"));
}

#[tokio::test]
async fn a_temporary_key_comes_with_its_token() {
    let header = asked(&empty().await, &json!({"session_token": "for-a-while"})).await;
    assert_eq!(header("x-amz-security-token"), "for-a-while");
}

#[tokio::test]
async fn who_pays_says_so_in_each_request() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    for pays in [true, false] {
        let front = behind(&prefix, |_| None).await;
        let options = json!({"endpoint": front.url(""), "requester_pays": pays});
        assert_eq!(prefix.read("*.csv", &options).await.unwrap(), [json!({"n": 1})]);
        let said = front
            .requests()
            .iter()
            .map(|recorded| recorded.request.header("x-amz-request-payer") == Some("requester"))
            .collect::<Vec<_>>();
        assert!(said.len() >= 2 && said.iter().all(|said| *said == pays), "{said:?}");
    }
}

#[tokio::test]
async fn requests_go_through_a_proxy_and_the_bucket_may_stand_in_the_host() {
    let proxy = empty().await;
    for (path_style, host) in [(true, "store.example"), (false, "landing.store.example")] {
        proxy.clear();
        let options = json!({
            "endpoint": "http://store.example", "proxy": proxy.url(""), "path_style": path_style,
        });
        let header = asked(&proxy, &options).await;
        assert_eq!(header("host"), host);
    }
}
