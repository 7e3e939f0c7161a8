//! Options that show on the wire.

use serde_json::json;
use towpath_core::{ErrorKind, ScanRequest};
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error};

use crate::support::Site;

#[tokio::test]
async fn who_pays_says_so_in_each_request() {
    let site = Site::new().await.of("paid");
    site.put("a.csv", "n\n1\n").await;
    let refused = error(site.read("*.csv", &json!({})).await);
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("`user_project`"), "{refused}");
    site.server.clear();
    let rows = site.read("*.csv", &json!({"user_project": "ours"})).await.unwrap();
    assert_eq!(rows, [json!({"n": 1})]);
    let requests = site.server.requests();
    let said = |name: &str| requests.iter().map(|recorded| recorded.request.header(name)).collect::<Vec<_>>();
    assert!(said("x-goog-user-project").iter().all(|said| *said == Some("ours")), "{requests:?}");
}

#[tokio::test]
async fn requests_go_through_a_proxy() {
    let proxy = TestServer::start(|_| async {
        let body = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
        Response::status(200).header("content-type", "application/xml").body(body)
    })
    .await;
    let site = Site::new().await;
    let options = json!({"endpoint": "http://store.example", "proxy": proxy.url(""), "allow_empty": true});
    assert!(site.read("*.csv", &options).await.unwrap().is_empty());
    assert_eq!(proxy.requests().remove(0).request.header("host"), Some("store.example"));
}

#[tokio::test]
async fn a_file_of_authorities_must_hold_some() {
    let site = Site::with(&[("a.csv", "n\n1\n")]).await;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let refused = error(site.read("a.csv", &json!({"ca_certificate": manifest})).await);
    assert!(refused.to_string().contains("`ca_certificate` holds no PEM certificate"), "{refused}");
}

#[tokio::test]
async fn a_listing_goes_on_behind_the_last_name() {
    let site = Site::with(&[("1.csv", "n\n1\n"), ("2.csv", "n\n2\n")]).await;
    let options = json!({"incremental": "name"});
    let mut request = ScanRequest::default();
    request.since = site.scan("*.csv", &options, &request).await.unwrap().since();
    site.put("3.csv", "n\n3\n").await;
    site.server.clear();
    site.scan("*.csv", &options, &request).await.unwrap();
    let requests = site.server.requests();
    assert!(requests.iter().any(|recorded| recorded.request.param("start-after").is_some()), "{requests:?}");
}
