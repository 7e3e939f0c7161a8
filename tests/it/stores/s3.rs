//! S3, on a real server.

use url::Url;

use super::{Place, client, elements, fetched, unique, variable};

/// Anybody may list and read it.
const BUCKET: &str = "public";

/// A prefix.
pub(crate) struct S3 {
    server: Url,
    client: reqwest::Client,
    name: String,
}

impl S3 {
    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port().expect("the URL has a port"))
    }
}

impl Place for S3 {
    const COPIES: bool = true;

    async fn new() -> Self {
        let server = Url::parse(&variable("TOWPATH_TEST_S3_URL")).expect("TOWPATH_TEST_S3_URL is a URL");
        Self { server, client: client(None), name: unique() }
    }

    fn options(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let secret = self.server.password().expect("the URL has a password").to_owned();
        let options = vec![
            ("bucket", BUCKET.to_owned()),
            ("endpoint", self.endpoint()),
            ("access_key_id", "towpath".to_owned()),
            ("secret_access_key", secret),
        ];
        ("s3", options)
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn uri(&self, key: &str) -> String {
        format!("s3://{BUCKET}/{}", self.key(key))
    }

    async fn keys(&self) -> Vec<String> {
        let url = format!("{}/{BUCKET}?list-type=2&max-keys=1000&prefix={}/", self.endpoint(), self.name);
        let listing = fetched(self.client.get(url)).await;
        assert!(listing.contains("<IsTruncated>false"), "more than a page: {listing}");
        elements(&listing, "Key")
    }

    async fn get(&self, key: &str) -> String {
        fetched(self.client.get(format!("{}/{BUCKET}/{key}", self.endpoint()))).await
    }
}
