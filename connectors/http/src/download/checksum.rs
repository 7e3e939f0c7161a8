//! The digests of files: as headers and checksum files tell them.

use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use towpath_core::{ByteSize, Error, Result};
use towpath_formats::chunks::{Algorithm, Digest};
use url::Url;

/// The largest checksum file, which may list thousands of files.
pub(super) const LARGEST: ByteSize = ByteSize::mib(8);

/// Where the checksum of a file is.
#[derive(Debug)]
pub(super) struct Checksums {
    template: String,
}

impl Checksums {
    pub(super) fn new(template: &str) -> Result<Self> {
        let checksums = Self { template: template.to_owned() };
        let sample =
            Url::parse("https://host/folder/file").map_err(|error| Error::unexpected(error.to_string()))?;
        let filled = checksums.url(&sample)?;
        if template.contains(['{', '}'])
            && !filled.as_str().contains("%7B")
            && !filled.as_str().contains(['{', '}'])
        {
            return Ok(checksums);
        }
        Err(Error::config(format!("`download.digest_url: {template}` names no checksum of each file"))
            .help("write {url}, {folder} or {segment} into it, such as `{url}.sha256`"))
    }

    /// The URL of a file's checksum.
    pub(super) fn url(&self, file: &Url) -> Result<Url> {
        let mut plain = file.clone();
        plain.set_query(None);
        plain.set_fragment(None);
        let (folder, segment) = plain.as_str().rsplit_once('/').unwrap_or((plain.as_str(), ""));
        let text = self
            .template
            .replace("{url}", plain.as_str())
            .replace("{folder}", folder)
            .replace("{segment}", segment);
        Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
            Error::config(format!("`download.digest_url: {}` makes no HTTP URL", self.template))
                .help("begin it with {url}, {folder} or https://")
        })
    }
}

/// The digest of a file in the text of its checksum file.
pub(super) fn of_text(text: &str, file: &Url) -> Option<Digest> {
    let segment = file.path().rsplit('/').next().unwrap_or_default();
    let wanted = percent_encoding::percent_decode_str(segment).decode_utf8_lossy();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> = lines.collect();
    if let [line] = lines.as_slice()
        && let Some(digest) = Digest::of_hex(line)
    {
        return Some(digest);
    }
    let found: Vec<_> = lines.iter().filter_map(|line| of_line(line)).collect();
    let named = found.iter().find(|(name, _)| name.rsplit('/').next() == Some(&*wanted));
    // The only line of a file that belongs to one file means that one, whatever it was called when it was made.
    let only = (found.len() == 1).then(|| &found[0]);
    named.or(only).map(|(_, digest)| digest.clone())
}

/// `DIGITS  NAME`, `DIGITS *NAME`, or `SHA256 (NAME) = DIGITS`.
fn of_line(line: &str) -> Option<(&str, Digest)> {
    if let Some((digits, name)) = line.split_once(char::is_whitespace)
        && let Some(digest) = Digest::of_hex(digits)
    {
        return Some((name.trim_start().trim_start_matches('*'), digest));
    }
    let (name, digits) = line.rsplit_once(" = ")?;
    let (_, name) = name.split_once(" (")?;
    Some((name.strip_suffix(')')?, Digest::of_hex(digits)?))
}

/// The strongest digest of the whole file that a server tells. `is_whole` is whether the answer is about all of it.
pub(super) fn of_headers(headers: &HeaderMap, is_whole: bool) -> Option<Digest> {
    let texts =
        |name: &'static str| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let mut found = Vec::new();
    for (name, value) in texts("repr-digest").flat_map(pairs) {
        // A byte sequence of structured fields: `:BASE64:`.
        let base64 = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
        found.push(Algorithm::of_name(name).zip(base64));
    }
    for (name, value) in texts("digest").flat_map(pairs) {
        found.push(Algorithm::of_name(name).zip(Some(value)));
    }
    if is_whole {
        found.extend(texts("content-md5").map(|value| Some((Algorithm::Md5, value))));
    }
    if !is_transcoded(headers) {
        for (name, value) in texts("x-goog-hash").flat_map(pairs) {
            found.push(Algorithm::of_name(name).zip(Some(value)));
        }
    }
    // That of an upload in parts is not one of the file.
    let is_composite = texts("x-amz-checksum-type").any(|value| value.eq_ignore_ascii_case("composite"));
    if !is_composite {
        for (header, algorithm) in [
            ("x-amz-checksum-sha256", Algorithm::Sha256),
            ("x-amz-checksum-sha1", Algorithm::Sha1),
            ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
            ("x-amz-checksum-crc32c", Algorithm::Crc32c),
            ("x-amz-checksum-crc32", Algorithm::Crc32),
        ] {
            found.extend(texts(header).map(|value| Some((algorithm, value))));
        }
    }
    let digests =
        found.into_iter().flatten().filter_map(|(algorithm, text)| Digest::of_base64(algorithm, text));
    digests.max_by_key(Digest::algorithm)
}

/// `name=value` between commas. Base64 has `=` at its end only.
fn pairs(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').filter_map(|pair| pair.trim().split_once('='))
}

/// Whether Google's storage sends another form of the file than the one that it has hashed.
fn is_transcoded(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("identity");
    let stored = text("x-goog-stored-content-encoding");
    stored != "identity" && stored != text(CONTENT_ENCODING.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "JfnnlDI7RTiF9RgfG2JNCw==";
    const SHA: &str = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSosiU=";

    fn told(headers: &[(&'static str, &str)], is_whole: bool) -> Option<&'static str> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        of_headers(&headers, is_whole).map(|digest| digest.algorithm().name())
    }

    #[test]
    fn the_strongest_digest_of_the_headers_is_taken() {
        let repr = format!("sha-256=:{SHA}:, unixsum=30637");
        assert_eq!(told(&[("repr-digest", &repr), ("content-md5", MD5)], true), Some("sha256"));
        assert_eq!(told(&[("digest", &format!("SHA-256={SHA},md5={MD5}"))], false), Some("sha256"));
        assert_eq!(told(&[("x-goog-hash", &format!("crc32c=4waSgw==, md5={MD5}"))], true), Some("md5"));
        assert_eq!(told(&[("x-amz-checksum-crc64nvme", "rosUhgoHmYg=")], true), Some("crc64nvme"));
        assert_eq!(told(&[("digest", "sha-256=short"), ("repr-digest", "nonsense")], true), None);
    }

    #[test]
    fn a_digest_of_something_else_than_the_file_is_left_alone() {
        assert_eq!(told(&[("content-md5", MD5)], false), None);
        assert_eq!(told(&[("x-amz-checksum-sha256", SHA), ("x-amz-checksum-type", "COMPOSITE")], true), None);
        assert_eq!(told(&[("x-amz-checksum-sha256", &format!("{SHA}-3"))], true), None);
        let hash = ("x-goog-hash", "crc32c=4waSgw==");
        assert_eq!(told(&[hash, ("x-goog-stored-content-encoding", "gzip")], true), None);
        assert_eq!(
            told(&[hash, ("x-goog-stored-content-encoding", "gzip"), ("content-encoding", "gzip")], true),
            Some("crc32c")
        );
    }

    #[test]
    fn checksum_files_are_read_as_common_tools_write_them() {
        const A: &str = "25f9e794323b453885f5181f1b624d0b";
        const B: &str = "00000000000000000000000000000000";
        let file = Url::parse("https://h/x/a%20b.iso?t=1").unwrap();
        for text in [
            format!("{A}\n"),
            format!("{A}  a b.iso\n"),
            format!("# made today\n{B}  other.iso\n{A} *./dist/a b.iso\n"),
            format!("MD5 (other.iso) = {B}\nMD5 (a b.iso) = {A}\n"),
            format!("{}  build/renamed.iso", A.to_uppercase()),
        ] {
            assert_eq!(
                of_text(&text, &file).map(|digest| digest.to_string()),
                Some(format!("md5:{A}")),
                "{text}"
            );
        }
        for text in ["<html>no</html>".to_owned(), String::new(), format!("{B}  x\n{B}  y\n")] {
            assert_eq!(of_text(&text, &file), None, "{text}");
        }
    }

    #[test]
    fn the_url_of_a_checksum_is_made_of_the_file_s() {
        let url = |template: &str| {
            Checksums::new(template)?.url(&Url::parse("https://h/x/a.iso?t=1").unwrap()).map(String::from)
        };
        assert_eq!(url("{url}.sha256").unwrap(), "https://h/x/a.iso.sha256");
        assert_eq!(url("{folder}/SHA256SUMS").unwrap(), "https://h/x/SHA256SUMS");
        assert_eq!(url("https://sums/{segment}").unwrap(), "https://sums/a.iso");
        for wrong in ["https://h/x", "{uri}.md5", "ftp://{segment}", "{segment}"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
