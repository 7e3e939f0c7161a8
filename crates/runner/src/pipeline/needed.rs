//! Which features a pipeline needs, told by its text alone: also for connectors that this binary lacks.

use std::collections::BTreeSet;

use super::interpolate::Environment;
use super::node::{Node, Value};
use super::problem::Problems;
use super::yaml;

/// Endings of file names, and names of formats and codecs, with the feature that reads and writes them.
const FORMATS: &[(&str, &str)] = &[
    ("csv", "csv"),
    ("tsv", "csv"),
    ("tab", "csv"),
    ("ndjson", "json"),
    ("jsonl", "json"),
    ("json", "json"),
    ("xml", "xml"),
    ("html", "html"),
    ("htm", "html"),
    ("rss", "xml"),
    ("atom", "xml"),
    ("parquet", "parquet"),
    ("pq", "parquet"),
    ("arrow", "arrow"),
    ("arrows", "arrow"),
    ("feather", "arrow"),
    ("ipc", "arrow"),
    ("avro", "avro"),
    ("gz", "gzip"),
    ("gzip", "gzip"),
    ("zz", "zlib"),
    ("zlib", "zlib"),
    ("zst", "zstd"),
    ("zstd", "zstd"),
    ("bz2", "bzip2"),
    ("bzip2", "bzip2"),
    ("xz", "xz"),
    ("br", "brotli"),
    ("brotli", "brotli"),
    ("lz4", "lz4"),
    ("zip", "zip"),
    ("tar", "tar"),
    ("tgz", "tar"),
    ("tgz", "gzip"),
    ("tzst", "tar"),
    ("tzst", "zstd"),
    ("tbz2", "tar"),
    ("tbz2", "bzip2"),
    ("txz", "tar"),
    ("txz", "xz"),
];

/// What reads archives, where a source is told that its files are some.
const ARCHIVES: [&str; 2] = ["zip", "tar"];

/// Beginnings of URLs that need more than their connector does.
const SCHEMES: &[(&str, &str)] = &[("mongodb+srv://", "mongodb-srv")];

/// The connectors, formats and codecs that a pipeline names.
///
/// # Errors
/// What is no YAML. Variables need not be set.
pub(crate) fn needed_features(name: &str, text: &str) -> Result<BTreeSet<String>, Problems> {
    let (root, _) = yaml::parse(text, &Unset).map_err(|problems| Problems::new(name, text, problems))?;
    let mut features = BTreeSet::new();
    collect(&root, "", &mut features);
    if !has_key(&root, "archive") {
        features.retain(|feature| !ARCHIVES.contains(&feature.as_str()));
    } else if !ARCHIVES.iter().any(|archive| features.contains(*archive)) {
        features.extend(ARCHIVES.map(str::to_owned));
    }
    if root.entries().iter().any(|entry| entry.key == "dead_letter" && entry.value.text().is_some()) {
        features.insert("file".to_owned());
    }
    for stream in root.get("streams").map(Node::entries).unwrap_or_default() {
        if stream.value.get("dead_letter").is_some_and(|node| node.text().is_some()) {
            features.insert("file".to_owned());
        }
    }
    Ok(features)
}

/// An environment in which every variable is empty: what a secret is makes no difference here.
struct Unset;

impl Environment for Unset {
    fn variable(&self, _: &str) -> Option<String> {
        Some(String::new())
    }

    fn file(&self, _: &std::path::Path) -> std::io::Result<String> {
        Ok(String::new())
    }
}

fn collect(node: &Node, key: &str, features: &mut BTreeSet<String>) {
    if let Some(text) = node.text() {
        match key {
            "connector" => {
                features.insert(text.to_owned());
            }
            "format" | "type" | "compression" | "archive" => features.extend(feature_of(text)),
            _ => features.extend(scheme(text).into_iter().chain(endings(text))),
        }
        return;
    }
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| collect(item, key, features)),
        Value::Map(entries) => entries.iter().for_each(|entry| collect(&entry.value, &entry.key, features)),
        Value::Scalar(_) => {}
    }
}

fn has_key(node: &Node, key: &str) -> bool {
    match &node.value {
        Value::List(items) => items.iter().any(|item| has_key(item, key)),
        Value::Map(entries) => entries.iter().any(|entry| entry.key == key || has_key(&entry.value, key)),
        Value::Scalar(_) => false,
    }
}

fn feature_of(word: &str) -> impl Iterator<Item = String> + use<> {
    let word = word.to_ascii_lowercase();
    FORMATS.iter().filter(move |(known, _)| *known == word).map(|(_, feature)| (*feature).to_owned())
}

fn scheme(url: &str) -> Option<String> {
    let known = SCHEMES.iter().find(|(beginning, _)| url.starts_with(beginning));
    known.map(|(_, feature)| (*feature).to_owned())
}

/// The features of the endings in a path, URL or glob, such as `landing/*.{csv,csv.gz}`.
fn endings(text: &str) -> Vec<String> {
    let is_word = |character: char| character.is_alphanumeric();
    let mut features = Vec::new();
    let mut start = 0;
    for word in text.split(|character| !is_word(character)) {
        let before = text[..start].chars().next_back();
        if matches!(before, Some('.' | '{' | ',')) {
            features.extend(feature_of(word));
        }
        start += word.len();
        start += text[start..].chars().next().map_or(0, char::len_utf8);
    }
    features
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Vec<String> {
        needed_features("a.yaml", text).unwrap().into_iter().collect()
    }

    #[test]
    fn connectors_formats_and_codecs_are_told_by_the_text() {
        let text = "\
name: a
connections:
  shop: { connector: http, base_url: https://csv.example/json, auth: { type: bearer, token: \"${TOKEN}\" } }
sink: { connector: file, path: \"out/{stream}.parquet\" }
dead_letter: \"dead/{stream}-{part}.ndjson\"
streams:
  a: { source: { connection: shop, path: /a, format: { type: csv }, compression: xz } }
  b: { source: { connector: file, path: \"in/*.{tsv,csv.gz}\" } }
";
        assert_eq!(features(text), ["csv", "file", "gzip", "http", "json", "parquet", "xz"]);
    }

    #[test]
    fn archives_are_told_by_names_where_they_are_looked_into() {
        let features = |source: &str| features(&format!("streams: {{ a: {{ source: {{ {source} }} }} }}\n"));
        assert_eq!(features("path: a.zip, format: bytes"), [] as [&str; 0]);
        assert_eq!(features("path: a.zip, archive: { entries: \"*.csv\" }"), ["csv", "zip"]);
        assert_eq!(features("path: a.tgz, archive: auto"), ["gzip", "tar"]);
        assert_eq!(features("path: \"a.tar.zst\", archive: auto"), ["tar", "zstd"]);
        assert_eq!(features("path: \"a/*\", archive: zip"), ["zip"]);
        assert_eq!(features("path: \"a/*\", archive: auto"), ["tar", "zip"]);
    }

    #[test]
    fn a_path_alone_as_dead_letter_needs_the_connector_file() {
        assert_eq!(features("streams: { a: { dead_letter: \"x.avro\" } }\n"), ["avro", "file"]);
    }

    #[test]
    fn a_url_whose_hosts_are_looked_up_needs_what_looks_them_up() {
        let text = |url: &str| format!("connections: {{ shop: {{ connector: mongodb, url: \"{url}\" }} }}\n");
        assert_eq!(features(&text("${URL:-mongodb+srv://shop.example/}")), ["mongodb", "mongodb-srv"]);
        assert_eq!(features(&text("mongodb://shop.example/")), ["mongodb"]);
    }

    #[test]
    fn words_that_are_no_endings_need_nothing() {
        assert_eq!(features("a: { path: csv/json-arrow/xz }\n"), [""; 0]);
    }
}
