//! What a `file:` URI stands for.

use serde_json::json;
use towpath_core::{Error, Json, Result};

use towpath_files::names::decode;

/// `file:landing/a.csv`, `file:/data/a.csv` or `file:///data/a.csv`, percent-decoded. Globs work as in `path`.
pub(crate) fn options(uri: &str) -> Result<Json> {
    let rest = match uri.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => rest,
        _ => uri,
    };
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(authority) => local_path(authority).ok_or_else(|| {
            wrong(uri, "it names a host")
                .help("write `file:PATH` or `file:///ABSOLUTE/PATH`; mount a remote folder first")
        })?,
    };
    let path = decode(path)
        .ok_or_else(|| wrong(uri, "its percent-encoding is broken").help("write `%25` for a percent sign"))?;
    if path.is_empty() {
        return Err(wrong(uri, "it has no path").help("write `file:PATH`"));
    }
    Ok(json!({ "path": path }))
}

/// The path behind `//` when the host is this one.
fn local_path(authority: &str) -> Option<&str> {
    let slash = authority.find('/')?;
    let (host, path) = authority.split_at(slash);
    (host.is_empty() || host.eq_ignore_ascii_case("localhost")).then_some(path)
}

fn wrong(uri: &str, why: &str) -> Error {
    Error::config(format!("`{uri}` is no URI of a local file: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(uri: &str) -> String {
        options(uri).unwrap()["path"].as_str().unwrap().to_owned()
    }

    #[test]
    fn relative_and_absolute_uris_become_paths() {
        assert_eq!(path("file:landing/a.csv"), "landing/a.csv");
        assert_eq!(path("file:../*.csv"), "../*.csv");
        assert_eq!(path("file:/data/a.csv"), "/data/a.csv");
        assert_eq!(path("FILE:///data/a%20b.csv"), "/data/a b.csv");
        assert_eq!(path("file://localhost/data/a.csv"), "/data/a.csv");
    }

    #[test]
    fn a_uri_that_is_no_local_file_says_why() {
        for (uri, why) in
            [("file://server/share", "names a host"), ("file:", "no path"), ("file:50%", "percent-encoding")]
        {
            let error = options(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
