//! Google Cloud Storage, on a server in this process.

use towpath_testkit::gcs::GcsServer;

use super::Place;

const BUCKET: &str = "landing";

/// A server.
pub(crate) struct Google {
    server: GcsServer,
}

impl Place for Google {
    async fn new() -> Self {
        Self { server: GcsServer::start().await }
    }

    fn options(&self) -> (&'static str, Vec<(&'static str, String)>) {
        let options = vec![
            ("bucket", BUCKET.to_owned()),
            ("endpoint", self.server.url()),
            ("access_token", self.server.owner_token()),
        ];
        ("gcs", options)
    }

    /// Below a prefix as well, so that it is found where the others are.
    fn key(&self, key: &str) -> String {
        format!("test/{key}")
    }

    fn uri(&self, key: &str) -> String {
        format!("gs://{BUCKET}/{}", self.key(key))
    }

    async fn keys(&self) -> Vec<String> {
        self.server.keys(BUCKET)
    }

    async fn get(&self, key: &str) -> String {
        let object = self.server.object(BUCKET, key).unwrap_or_else(|| panic!("{key} is not there"));
        String::from_utf8(object.bytes.to_vec()).expect("it is text")
    }
}
