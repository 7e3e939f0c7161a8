//! What the URLs of blobs stand for: `az://container/key`, `abfss://container@account.dfs.core.windows.net/key`, and
//! `https://account.blob.core.windows.net/container/key`.

use percent_encoding::percent_decode_str;
use serde_json::{Map, json};
use towpath_core::{Error, Json, Result};
use url::{Url, form_urlencoded};

/// The schemes that `towpath copy` and the like take.
pub(crate) const SCHEMES: &[&str] = &["az", "azure", "abfs", "abfss"];

/// The options that may stand behind the `?`.
const PARAMETERS: &[&str] =
    &["account", "endpoint", "anonymous", "azure_cli", "managed_identity", "client_id"];

/// What a URL of a blob names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) account: Option<String>,
    /// Where the account is, unless it is where all are.
    pub(crate) endpoint: Option<String>,
    /// Empty where only an account is named.
    pub(crate) container: String,
    pub(crate) key: String,
}

/// What a path names, if it is a whole URL. Its key is meant literally, but for those of `https` URLs, which are encoded.
pub(crate) fn split(path: &str) -> Result<Option<Named>> {
    let Some((scheme, rest)) = path.split_once("://") else { return Ok(None) };
    let scheme = scheme.to_ascii_lowercase();
    if matches!(scheme.as_str(), "http" | "https") {
        return of_web(path).map(Some);
    }
    if !SCHEMES.contains(&scheme.as_str()) {
        return Ok(None);
    }
    let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
    let key = key.to_owned();
    let Some((container, host)) = authority.split_once('@') else {
        return Ok(Some(Named { container: authority.to_owned(), key, ..Named::default() }));
    };
    let (account, endpoint) = account(host).ok_or_else(|| not_a_blob(path))?;
    Ok(Some(Named { account: Some(account), endpoint, container: container.to_owned(), key }))
}

fn of_web(path: &str) -> Result<Named> {
    let url = Url::parse(path).map_err(|_| not_a_blob(path))?;
    if url.query_pairs().any(|(name, _)| name == "sig") {
        return Err(Error::config("a URL with a signature is a secret, and `path` is none")
            .help("put what stands behind the `?` into `sas_token`"));
    }
    let (account, endpoint) = url.host_str().and_then(account).ok_or_else(|| not_a_blob(path))?;
    // As it was written: a `?` is a wildcard, and `..` is no way up.
    let written = path.splitn(4, '/').nth(3).unwrap_or_default();
    let decoded = percent_decode_str(written).decode_utf8().map_err(|_| not_a_blob(path))?;
    let (container, key) = decoded.split_once('/').unwrap_or((&decoded, ""));
    Ok(Named { account: Some(account), endpoint, container: container.to_owned(), key: key.to_owned() })
}

/// The account that a host belongs to, and its endpoint where that is not the usual one. What is said of the file system
/// (`dfs`) holds for the blobs of the same account.
fn account(host: &str) -> Option<(String, Option<String>)> {
    let (account, rest) = host.split_once('.')?;
    let suffix = rest.strip_prefix("dfs.").or_else(|| rest.strip_prefix("blob."))?;
    if account.is_empty() || suffix.is_empty() {
        return None;
    }
    let endpoint = (suffix != "core.windows.net").then(|| format!("https://{account}.blob.{suffix}"));
    Some((account.to_owned(), endpoint))
}

fn not_a_blob(path: &str) -> Error {
    Error::config("this is no URL of a blob").detail("path", path).help(
        "write az://container/key with `account` or `endpoint`, abfss://container@account.dfs.core.windows.net/key, or \
         https://account.blob.core.windows.net/container/key",
    )
}

/// `az://container/key?account=lake`. A query is one only where it holds nothing but options: `?` is a wildcard too.
pub(crate) fn options(uri: &str) -> Result<Json> {
    let wrong = |why: &str| Error::config(format!("`{uri}` is no URI of a blob: {why}"));
    let (path, query) = match uri.rsplit_once('?') {
        Some((path, query)) if is_query(query) => (path, query),
        _ => (uri, ""),
    };
    let named = split(path)?.ok_or_else(|| wrong("it does not begin with az://, azure:// or abfss://"))?;
    if named.container.is_empty() && !named.key.is_empty() {
        return Err(wrong("it names no container").help("write az://container/key"));
    }
    let mut options = Map::new();
    for (name, value) in [("account", named.account), ("endpoint", named.endpoint)] {
        options.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    // Without one, the names of all containers may be asked for.
    if !named.container.is_empty() {
        options.insert("container".to_owned(), json!(named.container));
    }
    options.insert("path".to_owned(), json!(named.key));
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !PARAMETERS.contains(&name.as_ref()) {
            return Err(wrong(&format!("there is no parameter `{name}`"))
                .help(format!("there are {}", PARAMETERS.join(", "))));
        }
        let value = match value.as_ref() {
            "true" => json!(true),
            "false" => json!(false),
            text => json!(text),
        };
        options.insert(name.into_owned(), value);
    }
    Ok(Json::Object(options))
}

fn is_query(text: &str) -> bool {
    text.contains('=') && !text.contains('/') && text.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_account_container_key_and_options() {
        for (uri, expected) in [
            ("az://landing/a b/*.csv", json!({"container": "landing", "path": "a b/*.csv"})),
            ("AZURE://landing", json!({"container": "landing", "path": ""})),
            ("az://", json!({"path": ""})),
            (
                "abfss://landing@lake.dfs.core.windows.net/a/b.csv",
                json!({"account": "lake", "container": "landing", "path": "a/b.csv"}),
            ),
            (
                "abfss://landing@lake.dfs.core.chinacloudapi.cn/a.csv",
                json!({
                    "account": "lake", "endpoint": "https://lake.blob.core.chinacloudapi.cn", "container": "landing",
                    "path": "a.csv",
                }),
            ),
            ("abfs://landing/a.csv", json!({"container": "landing", "path": "a.csv"})),
            (
                "az://b/k?endpoint=http%3A%2F%2Flocalhost%3A10000%2Flake&anonymous=true",
                json!({"container": "b", "path": "k", "endpoint": "http://localhost:10000/lake", "anonymous": true}),
            ),
            ("az://b/part-?.csv", json!({"container": "b", "path": "part-?.csv"})),
        ] {
            assert_eq!(options(uri).unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn a_path_may_be_the_address_that_the_portal_shows() {
        let named = split("https://lake.blob.core.windows.net/landing/a%20b/part-?.csv").unwrap().unwrap();
        let expected = Named {
            account: Some("lake".to_owned()),
            endpoint: None,
            container: "landing".to_owned(),
            key: "a b/part-?.csv".to_owned(),
        };
        assert_eq!(named, expected);
        assert_eq!(split("a/b.csv").unwrap(), None);
    }

    #[test]
    fn what_is_no_blob_says_why_and_shows_no_signature() {
        for (uri, why) in [
            ("az:landing", "az://"),
            ("az:///key", "no container"),
            ("az://b/k?speed=fast", "no parameter `speed`"),
            ("abfss://landing@example.com/k", "https://account.blob.core.windows.net"),
        ] {
            let error = options(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = split("https://example.com/landing/k").unwrap_err().to_string();
        assert!(error.contains("`endpoint`"), "{error}");
        let signed = "https://lake.blob.core.windows.net/landing/a.csv?sv=2023&sig=hush";
        let error = split(signed).unwrap_err().to_string();
        assert!(error.contains("`sas_token`") && !error.contains("hush"), "{error}");
    }
}
