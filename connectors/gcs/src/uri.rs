//! What a `gs://` URI stands for.

use serde_json::{Map, json};
use towpath_core::{Error, Json, Result};
use url::form_urlencoded;

/// The options that may stand behind the `?`.
const PARAMETERS: &[&str] =
    &["endpoint", "credentials_file", "generation", "anonymous", "project", "user_project"];

/// Bucket and key of `gs://bucket/key`.
pub(crate) fn split(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("gs") && !scheme.eq_ignore_ascii_case("gcs") {
        return None;
    }
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// `gs://bucket/key?user_project=ours`. The key is meant literally, as in all tools of Google; globs work as in `path`. A
/// query is one only where it holds nothing but options: `?` is a wildcard too.
pub(crate) fn options(uri: &str) -> Result<Json> {
    let wrong = |why: &str| Error::config(format!("`{uri}` is no URI of an object: {why}"));
    let (path, query) = match uri.rsplit_once('?') {
        Some((path, query)) if is_query(query) => (path, query),
        _ => (uri, ""),
    };
    let (bucket, key) = split(path).ok_or_else(|| wrong("it does not begin with gs://"))?;
    if bucket.is_empty() && !key.is_empty() {
        return Err(wrong("it names no bucket").help("write gs://bucket/key"));
    }
    let mut options = Map::new();
    // Without one, the names of all buckets may be asked for.
    if !bucket.is_empty() {
        options.insert("bucket".to_owned(), json!(bucket));
    }
    options.insert("path".to_owned(), json!(key));
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
    fn a_uri_names_bucket_key_and_options() {
        assert_eq!(
            options("gs://landing/a b/*.csv").unwrap(),
            json!({"bucket": "landing", "path": "a b/*.csv"})
        );
        assert_eq!(options("gs://").unwrap(), json!({"path": ""}));
        assert_eq!(options("GCS://landing").unwrap(), json!({"bucket": "landing", "path": ""}));
        let expected =
            json!({"bucket": "b", "path": "k", "endpoint": "http://localhost:9000", "anonymous": true});
        assert_eq!(
            options("gs://b/k?endpoint=http%3A%2F%2Flocalhost%3A9000&anonymous=true").unwrap(),
            expected
        );
        assert_eq!(options("gs://b/part-?.csv").unwrap()["path"], "part-?.csv");
    }

    #[test]
    fn a_uri_that_is_no_object_says_why() {
        for (uri, why) in [
            ("gs:landing", "gs://"),
            ("gs:///key", "no bucket"),
            ("gs://b/k?speed=fast", "no parameter `speed`"),
        ] {
            let error = options(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
