//! What a downloaded file is called.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use reqwest::header::{CONTENT_DISPOSITION, HeaderMap};
use towpath_core::{Error, Result};
use towpath_formats::chunks::name::{check, clean, numbered};
use url::Url;

use crate::config::SameName;

/// How files are named.
#[derive(Debug)]
pub(super) struct Naming(Option<Vec<Piece>>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Segment,
    Path,
    Host,
    Query(String),
}

impl Naming {
    pub(super) fn new(template: Option<&str>) -> Result<Self> {
        template.map(pieces).transpose().map(Self)
    }

    /// Whether the answer of a server may tell the name.
    pub(super) fn asks_server(&self) -> bool {
        self.0.is_none()
    }

    /// The name of the file at a URL.
    ///
    /// # Errors
    /// `Config` when the template gives none.
    pub(super) fn name(&self, url: &Url, headers: &HeaderMap) -> Result<String> {
        let Some(pieces) = &self.0 else {
            let told = headers.get(CONTENT_DISPOSITION).and_then(|value| disposition(value.as_bytes()));
            return Ok(told.and_then(|told| clean(&told)).unwrap_or_else(|| segment(url)));
        };
        let mut name = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Segment => name.push_str(&segment(url)),
                Piece::Path => name.push_str(&path(url)),
                Piece::Host => name.push_str(&host(url)),
                Piece::Query(wanted) => {
                    let value = url.query_pairs().find(|(key, _)| key == wanted).map(|(_, value)| value);
                    let value = value.and_then(|value| clean(&value)).ok_or_else(|| {
                        Error::config(format!(
                            "`download.name` needs the query parameter `{wanted}`, which the URL lacks"
                        ))
                    })?;
                    name.push_str(&value);
                }
            }
        }
        match check(&name) {
            Ok(()) => Ok(name),
            Err(why) => Err(Error::config(format!(
                "`download.name` gives `{name}`, which is no name of a file: {why}"
            ))),
        }
    }
}

fn pieces(template: &str) -> Result<Vec<Piece>> {
    let wrong = |what: String| {
        Err(Error::config(format!("`download.name: {template}` {what}"))
            .help("the placeholders are {segment}, {path}, {host} and {query.NAME}"))
    };
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else {
            return wrong("has a `{` that is not closed".to_owned());
        };
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        let placeholder = &rest[open + 1..open + close];
        pieces.push(match placeholder {
            "segment" => Piece::Segment,
            "path" => Piece::Path,
            "host" => Piece::Host,
            other => match other.strip_prefix("query.") {
                Some(name) => Piece::Query(name.to_owned()),
                None => return wrong(format!("has no placeholder `{other}`")),
            },
        });
        rest = &rest[open + close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    // What stands between the placeholders is the pipeline's, and must be harmless by itself.
    let sample: String =
        pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.as_str() } else { "x" }).collect();
    match check(&sample) {
        Ok(()) => Ok(pieces),
        Err(why) => wrong(format!("is no name of a file: {why}")),
    }
}

/// The last part of a URL's path, decoded and harmless; without one, the host.
fn segment(url: &Url) -> String {
    let last = url.path().rsplit('/').find(|part| !part.is_empty());
    last.and_then(|part| clean(&decoded(part))).unwrap_or_else(|| host(url))
}

/// All parts of a URL's path, each decoded and harmless.
fn path(url: &Url) -> String {
    let parts =
        url.path().split('/').filter(|part| !part.is_empty()).filter_map(|part| clean(&decoded(part)));
    let path = parts.collect::<Vec<_>>().join("/");
    if path.is_empty() { host(url) } else { path }
}

fn host(url: &Url) -> String {
    url.host_str().and_then(clean).unwrap_or_else(|| "download".to_owned())
}

fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// The file name in a `Content-Disposition`, without folders. `filename*` goes before `filename`, as it says how it is
/// encoded.
fn disposition(value: &[u8]) -> Option<String> {
    let value = match std::str::from_utf8(value) {
        Ok(value) => value.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    };
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(&value) {
        match name.to_ascii_lowercase().as_str() {
            "filename" => plain = plain.or(Some(value)),
            "filename*" => extended = extended.or_else(|| extended_value(&value)),
            _ => {}
        }
    }
    let name = extended.or(plain)?;
    Some(name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned())
}

/// `UTF-8'en'a%20b.txt`.
fn extended_value(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, text) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// The parameters behind the first semicolon, with quotes taken off.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut characters = value.chars().peekable();
    while characters.by_ref().any(|character| character == ';') {
        let name: String = characters.by_ref().take_while(|character| *character != '=').collect();
        while characters.next_if(|character| character.is_whitespace()).is_some() {}
        let mut text = String::new();
        if characters.next_if_eq(&'"').is_some() {
            while let Some(character) = characters.next() {
                match character {
                    '"' => break,
                    '\\' => text.extend(characters.next()),
                    other => text.push(other),
                }
            }
        } else {
            while let Some(character) = characters.next_if(|character| *character != ';') {
                text.push(character);
            }
        }
        found.push((name.trim().to_owned(), text.trim().to_owned()));
    }
    found
}

/// Tells files with the same name apart.
#[derive(Debug, Default)]
pub(super) struct Distinct(HashMap<u64, u64>);

impl Distinct {
    /// A name that no file before has.
    ///
    /// # Errors
    /// `Config` where that is not wanted.
    pub(super) fn name(&mut self, name: String, same_name: SameName) -> Result<String> {
        let count = self.0.entry(hash(&name)).or_default();
        *count += 1;
        if *count == 1 {
            return Ok(name);
        }
        if same_name == SameName::Fail {
            return Err(Error::config(format!("two URLs have the name `{name}`")).help(
                "set `download: { name: \"{path}\" }` to name files by more of their URLs, or \
                 `download: { same_name: number }`",
            ));
        }
        let mut number = *count;
        loop {
            let other = numbered(&name, number);
            if self.0.insert(hash(&other), 1).is_none() {
                self.0.insert(hash(&name), number);
                return Ok(other);
            }
            number += 1;
        }
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn name(template: Option<&str>, url: &str, disposition: Option<&[u8]>) -> Result<String> {
        let mut headers = HeaderMap::new();
        if let Some(value) = disposition {
            headers.insert(CONTENT_DISPOSITION, HeaderValue::from_bytes(value).unwrap());
        }
        Naming::new(template)?.name(&Url::parse(url).unwrap(), &headers)
    }

    #[test]
    fn a_file_is_called_like_the_last_part_of_its_url() {
        for (url, expected) in [
            ("https://a.example/x/big%20file.iso?token=1", "big file.iso"),
            ("https://a.example/x/..%2f..%2fetc%2fpasswd", "_._.._etc_passwd"),
            ("https://a.example/x/%2e%2e", "a.example"),
            ("https://a.example/x/nul.txt", "_nul.txt"),
            ("https://a.example/%00", "_"),
            ("https://a.example/data/", "data"),
        ] {
            assert_eq!(name(None, url, None).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn content_disposition_tells_the_name_and_no_folder() {
        let url = "https://a.example/download?id=7";
        for (value, expected) in [
            (&b"attachment; filename=report.pdf"[..], "report.pdf"),
            (b"attachment; filename=\"a; \\\"b\\\".pdf\"; size=3", "a; _b_.pdf"),
            (b"attachment; filename=\"x.pdf\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.pdf", "gr\u{f6}\u{df}e.pdf"),
            (b"attachment; filename*=iso-8859-1'de'%e4.pdf", "\u{e4}.pdf"),
            (b"attachment; filename=\"\xe4.pdf\"", "\u{e4}.pdf"),
            (b"attachment; filename=\"../../.ssh/authorized_keys\"", "authorized_keys"),
            (b"attachment; filename=\"C:\\\\windows\\\\x.dll\"", "x.dll"),
            (b"attachment; filename=\".bashrc\"", "_bashrc"),
            (b"attachment; filename=\"\"", "download"),
            (b"inline", "download"),
        ] {
            assert_eq!(name(None, url, Some(value)).unwrap(), expected, "{}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_template_names_files_by_parts_of_their_urls() {
        let url = "https://a.example/x/..%2fy/z.bin?id=a%2Fb";
        assert_eq!(
            name(Some("{host}/{path}"), url, Some(b"attachment; filename=no")).unwrap(),
            "a.example/x/_._y/z.bin"
        );
        assert_eq!(name(Some("by-id/{query.id}-{segment}"), url, None).unwrap(), "by-id/a_b-z.bin");
        let error = name(Some("{query.no}"), url, None).unwrap_err().to_string();
        assert!(error.contains("needs the query parameter `no`"), "{error}");
        for template in ["/abs/{segment}", "../{segment}", "{name}", "{segment", "", "nul"] {
            assert!(Naming::new(Some(template)).is_err(), "{template}");
        }
    }

    #[test]
    fn the_same_name_is_an_error_or_numbered() {
        let mut fail = Distinct::default();
        fail.name("a.txt".into(), SameName::Fail).unwrap();
        let error = fail.name("a.txt".into(), SameName::Fail).unwrap_err().to_string();
        assert!(error.starts_with("two URLs have the name `a.txt`"), "{error}");
        let mut number = Distinct::default();
        let names = ["a.txt", "a-2.txt", "a.txt", "a.txt", "b"]
            .map(|name| number.name(name.into(), SameName::Number).unwrap());
        assert_eq!(names, ["a.txt", "a-2.txt", "a-3.txt", "a-4.txt", "b"]);
    }
}
