//! Azure Blob Storage, on a real server.

use url::Url;

use super::{Place, client, elements, fetched, unique, variable};

/// Anybody may list and read it.
const CONTAINER: &str = "public";

/// A version of the protocol; without one, nobody may list.
const VERSION: (&str, &str) = ("x-ms-version", "2023-11-03");

/// A prefix.
pub(crate) struct Azure {
    server: Url,
    authority: String,
    client: reqwest::Client,
    name: String,
}

impl Azure {
    fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}{}", self.server.port().expect("the URL has a port"), self.server.path())
    }

    fn request(&self, target: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}/{CONTAINER}{target}", self.endpoint())).header(VERSION.0, VERSION.1)
    }
}

impl Place for Azure {
    async fn new() -> Self {
        let server = Url::parse(&variable("TOWPATH_TEST_AZURE_URL"));
        let authority = variable("TOWPATH_TEST_AZURE_CA");
        let client = client(Some(&authority));
        Self { server: server.expect("TOWPATH_TEST_AZURE_URL is a URL"), authority, client, name: unique() }
    }

    fn options(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let options = vec![
            ("container", CONTAINER.to_owned()),
            ("account", self.server.username().to_owned()),
            ("endpoint", self.endpoint()),
            ("access_key", self.server.password().expect("the URL has a password").to_owned()),
            ("ca_certificate", self.authority.clone()),
        ];
        ("azure", options)
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.name)
    }

    fn uri(&self, key: &str) -> String {
        format!("az://{CONTAINER}/{}", self.key(key))
    }

    async fn keys(&self) -> Vec<String> {
        let target = format!("?restype=container&comp=list&prefix={}/", self.name);
        let listing = fetched(self.request(&target)).await;
        let is_all = listing.contains("<NextMarker/>") || listing.contains("<NextMarker></NextMarker>");
        assert!(is_all, "more than a page: {listing}");
        elements(&listing, "Name")
    }

    async fn get(&self, key: &str) -> String {
        fetched(self.request(&format!("/{key}"))).await
    }
}
