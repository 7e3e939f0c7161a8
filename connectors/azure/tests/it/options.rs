//! Options that show on the wire.

use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{Json, ScanRequest};
use towpath_testkit::http::{Response, TestServer};
use towpath_testkit::objects::{ObjectSite, ObjectSiteTools, error, scan};

use crate::support::Prefix;

/// A server whose containers are empty.
async fn empty() -> TestServer {
    TestServer::start(|_| async {
        let body = "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
        Response::status(200).header("content-type", "application/xml").body(body)
    })
    .await
}

/// The host and the path of the first request for a listing, and who signed it.
async fn asked(server: &TestServer, more: &Json) -> [String; 3] {
    let prefix = Prefix::new().await;
    let mut options = json!({"allow_empty": true});
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert!(prefix.read("*.csv", &options).await.unwrap().is_empty());
    let request = server.requests().remove(0).request;
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    let signer = header("authorization").rsplit_once(':').unwrap_or_default().0.to_owned();
    [header("host"), request.path.clone(), signer]
}

#[tokio::test]
async fn requests_go_through_a_proxy_to_the_endpoint_with_the_account_in_its_host_or_path() {
    let proxy = empty().await;
    for (endpoint, host, path) in [
        ("http://lake.example", "lake.example", "/landing"),
        ("http://store.example/lake", "store.example", "/lake/landing"),
        ("http://store.example/lake/", "store.example", "/lake/landing"),
    ] {
        proxy.clear();
        let options = json!({"endpoint": endpoint, "account": "lake", "proxy": proxy.url("")});
        assert_eq!(asked(&proxy, &options).await, [host, path, "SharedKey lake"], "{endpoint}");
    }
}

#[tokio::test]
async fn a_url_in_the_path_names_account_and_endpoint() {
    // A proxy is asked in the open only where there is no TLS; what it is asked to connect to tells the host.
    let proxy = TestServer::start(|_| async { Response::status(403) }).await;
    let key = json!({"access_key": crate::account::key(), "proxy": proxy.url("")});
    for (path, host) in [
        ("abfss://landing@lake.dfs.core.windows.net/a.csv", "lake.blob.core.windows.net"),
        ("https://sea.blob.core.usgovcloudapi.net/landing/a.csv", "sea.blob.core.usgovcloudapi.net"),
    ] {
        let prefix = Prefix::new().await;
        let mut options = key.clone();
        options["path"] = json!(path);
        let outcome = scan(CONNECTOR, &prefix.cx, options, &ScanRequest::default()).await;
        let error = error(outcome).to_string();
        assert!(error.contains("the proxy makes no connection") || error.contains("403"), "{error}");
        let targets = format!("{:?}", proxy.requests());
        assert!(targets.contains(host), "{targets}");
    }
}
