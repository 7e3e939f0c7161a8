//! The server of the tests, by a client of their own.

use data_encoding::BASE64;
use reqwest::{Certificate, Method, Response};
use ring::hmac;
use url::Url;

/// The version of the protocol.
const VERSION: &str = "2023-11-03";

/// The server of the tests; the path of its URL is the account's.
pub(crate) fn server() -> Url {
    // Another test's thread may have done it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = std::env::var("TOWPATH_TEST_AZURE_URL")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_AZURE_URL");
    Url::parse(&url).expect("TOWPATH_TEST_AZURE_URL is a URL")
}

/// The file with the authority that signed the server's certificate.
pub(crate) fn authority() -> String {
    std::env::var("TOWPATH_TEST_AZURE_CA")
        .expect("these tests need a server: run them by `cargo xtask test`, or set TOWPATH_TEST_AZURE_CA")
}

/// The server without its path.
pub(crate) fn origin() -> String {
    format!("https://127.0.0.1:{}", server().port().expect("the URL has a port"))
}

/// The account.
pub(crate) fn account() -> String {
    server().username().to_owned()
}

/// Where the account's blobs are.
pub(crate) fn endpoint() -> String {
    format!("{}/{}", origin(), account())
}

/// The key of the account.
pub(crate) fn key() -> String {
    server().password().expect("the URL has a password").to_owned()
}

/// A client that trusts the server.
pub(crate) fn client() -> reqwest::Client {
    server();
    let pem = std::fs::read(authority()).expect("the authority can be read");
    let builder = reqwest::Client::builder().no_proxy();
    let trusted = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).expect("it is PEM"));
    trusted.build().expect("the client can be built")
}

fn signed(text: &str) -> String {
    let key = BASE64.decode(key().as_bytes()).expect("a key is Base64");
    BASE64.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes()).as_ref())
}

/// Sends a request for a container, or a blob in it, signed with the key of the account.
pub(crate) async fn send(
    client: &reqwest::Client,
    method: Method,
    target: &str,
    query: &[(&str, &str)],
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response {
    let mut url = Url::parse(&format!("{}/{target}", endpoint())).expect("it is a URL");
    let mut query = query.to_vec();
    query.sort_unstable();
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(&query);
    }
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let mut named = vec![("x-ms-date", date.as_str()), ("x-ms-version", VERSION)];
    named.extend(headers);
    named.sort_unstable();
    let lines = named.iter().map(|(name, value)| format!("{name}:{value}\n")).collect::<Vec<_>>().concat();
    let length = if body.is_empty() { String::new() } else { body.len().to_string() };
    let parameters =
        query.iter().map(|(name, value)| format!("\n{name}:{value}")).collect::<Vec<_>>().concat();
    let resource = format!("/{}{}{parameters}", account(), url.path());
    let text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{lines}{resource}");
    let mut request = client.request(method, url).header("content-length", body.len());
    for (name, value) in named {
        request = request.header(name, value);
    }
    let authorization = format!("SharedKey {}:{}", account(), signed(&text));
    request.header("authorization", authorization).body(body).send().await.expect("the server answers")
}

/// Checks that the server did it.
pub(crate) async fn done(response: Response) -> Response {
    let status = response.status();
    assert!(status.is_success(), "{status}: {}", response.text().await.unwrap_or_default());
    response
}

/// A shared access signature for a container, with these permissions, for a day.
pub(crate) fn sas(container: &str, permissions: &str) -> String {
    let expiry = "2100-01-01T00:00:00Z";
    let resource = format!("/blob/{}/{container}", account());
    let text = format!("{permissions}\n\n{expiry}\n{resource}\n\n\n\n{VERSION}\nc\n\n\n\n\n\n\n");
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([
        ("sv", VERSION),
        ("sp", permissions),
        ("se", expiry),
        ("sr", "c"),
        ("sig", &signed(&text)),
    ]);
    query.finish()
}

/// A token as Azure's directory gives out. The server looks at what it says, and not at who signed it.
pub(crate) fn token(lifetime: u64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    let claims = serde_json::json!({
        "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/tenant/", "nbf": now - 60, "iat": now - 60,
        "exp": now + lifetime,
    });
    let part = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    format!(
        "{}.{}.{}",
        part("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"),
        part(&claims.to_string()),
        part("nobody")
    )
}
