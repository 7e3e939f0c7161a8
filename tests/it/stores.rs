//! Stores of objects, each as a stranger to Towpath sees it.

mod azure;
mod google;
mod s3;

use serde_json::Value;

pub(crate) use azure::Azure;
pub(crate) use google::Google;
pub(crate) use s3::S3;

/// A place in a bucket that is one test's own.
pub(crate) trait Place: Sized {
    /// Whether the server copies from one place to another. Azure does, and the one of the tests does not.
    const COPIES: bool = false;

    /// An empty place.
    async fn new() -> Self;

    /// The connector, and the options of a connection to the bucket.
    fn options(&self) -> (&'static str, Vec<(&'static str, String)>);

    /// A key of this place as the bucket has it.
    fn key(&self, key: &str) -> String;

    /// The URI of a key.
    fn uri(&self, key: &str) -> String;

    /// All keys of this place, as the bucket has them.
    async fn keys(&self) -> Vec<String>;

    /// The text of an object, by its key as the bucket has it.
    async fn get(&self, key: &str) -> String;

    /// A connection of a pipeline file.
    fn connection(&self) -> String {
        let (connector, options) = self.options();
        let options = options.into_iter().map(|(name, value)| format!(", {name}: \"{value}\""));
        format!("connector: {connector}{}", options.collect::<Vec<_>>().concat())
    }

    /// A sink that writes to a path of this place.
    fn sink(&self, path: &str) -> String {
        format!("{{ {}, path: \"{}\" }}", self.connection(), self.key(path))
    }

    /// The options as arguments of the command, for a side; URIs name the bucket.
    fn arguments(&self, side: &str) -> Vec<String> {
        let options = self.options().1.into_iter();
        let options = options.filter(|(name, _)| !matches!(*name, "bucket" | "container"));
        options.flat_map(|(name, value)| [side.to_owned(), format!("{name}={value}")]).collect()
    }

    /// The keys that a person would see.
    async fn visible(&self) -> Vec<String> {
        let mut keys = self.keys().await;
        keys.retain(|key| !key.contains("/.towpath/") && !key.starts_with(".towpath/"));
        keys
    }

    /// The `id`s of all visible rows, sorted.
    async fn ids(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        for key in self.visible().await {
            let text = self.get(&key).await;
            ids.extend(text.lines().map(|line| {
                let row: Value = serde_json::from_str(line).expect("a line is JSON");
                row["id"].as_u64().expect("a row has an id")
            }));
        }
        ids.sort_unstable();
        ids
    }

    /// The keys of all objects that the manifest names, sorted.
    async fn committed(&self) -> Vec<String> {
        let hidden = self.keys().await;
        let manifest =
            hidden.iter().find(|key| key.ends_with("/manifest.json")).expect("there is a manifest");
        let folder = manifest.trim_end_matches("manifest.json");
        let manifest: Value = serde_json::from_str(&self.get(manifest).await).expect("it is JSON");
        let mut keys = Vec::new();
        for list in manifest["commits"].as_array().into_iter().flatten() {
            let list = format!("{folder}commits/{}", list.as_str().expect("a list has a name"));
            let list: Value = serde_json::from_str(&self.get(&list).await).expect("it is JSON");
            let files = list["files"].as_array().into_iter().flatten();
            keys.extend(files.map(|file| self.key(file["path"].as_str().expect("a file has a path"))));
        }
        keys.sort();
        keys
    }
}

/// A variable that `cargo xtask test` sets.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("these tests need a server: run them by `cargo xtask test`, or set {name}")
    })
}

/// A name that no other test has.
fn unique() -> String {
    format!("test-{:016x}", fastrand::u64(..))
}

/// A client that trusts an authority beside those of the system.
fn client(authority: Option<&str>) -> reqwest::Client {
    // Another test's thread may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().no_proxy();
    if let Some(file) = authority {
        let pem = std::fs::read(file).expect("the authority can be read");
        let trusted = reqwest::Certificate::from_pem_bundle(&pem).expect("it is PEM");
        builder = builder.tls_certs_merge(trusted);
    }
    builder.build().expect("a client can be built")
}

/// The body of the answer to a request by nobody in particular.
async fn fetched(request: reqwest::RequestBuilder) -> String {
    let answer = request.send().await.expect("the server answers");
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await.expect("it answers in text");
    assert!(status.is_success(), "{url}: {status}: {body}");
    body
}

/// The texts of all elements of this name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap_or_default());
    texts.map(str::to_owned).collect()
}
