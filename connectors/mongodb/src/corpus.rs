//! The official vectors of BSON: what is read from them, and written back.

use std::fs;
use std::path::PathBuf;

use bson::{Bson, Document};
use serde_json::Value as Json;

use crate::config::Nulls;
use crate::decode::{Form, decode};
use crate::encode::{Encoder, close, open};
use crate::wire::document_json;

/// A file of vectors about one type.
struct Vectors {
    name: String,
    json: Json,
}

impl Vectors {
    fn all() -> Vec<Self> {
        let packages = std::env::var("TOWPATH_TEST_PACKAGES")
            .expect("this test needs packages: run it by `cargo xtask test`, or set TOWPATH_TEST_PACKAGES");
        let folder = PathBuf::from(packages).join("pymongo/test/bson_corpus");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() > 25, "{}", paths.len());
        let read = |path: PathBuf| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            Self { name, json: serde_json::from_slice(&fs::read(path).unwrap()).unwrap() }
        };
        paths.into_iter().map(read).collect()
    }

    /// The cases of a kind, each with what it is called.
    fn cases<'a>(&'a self, kind: &str) -> impl Iterator<Item = (String, &'a Json)> {
        let cases = self.json[kind].as_array().map(Vec::as_slice).unwrap_or_default();
        cases.iter().map(|case| (format!("{}: {}", self.name, case["description"]), case))
    }
}

fn bytes(hexadecimal: &Json) -> Vec<u8> {
    let digits = hexadecimal.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// A document as columns, or whole, and back.
fn there_and_back(document: &[u8], whole: bool) -> Vec<u8> {
    let form = Form { depth: 8, whole, declared: Vec::new().into() };
    let mut fields = form.start();
    form.observe(&mut fields, std::iter::once(document));
    let decoded = decode(&[document], &fields, &form, "corpus").unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let encoder = Encoder::new(&decoded.rows, &[], Nulls::Write).unwrap();
    let mut back = Vec::new();
    let start = open(&mut back);
    encoder.fields(0, &mut back).unwrap();
    close(start, &mut back).unwrap();
    back
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").unwrap();
        text
    })
}

/// Whatever is wrong, all at once.
fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_valid_document_becomes_json_that_is_read_as_the_same_document() {
    let mut problems = Vec::new();
    for vectors in Vectors::all() {
        for (name, case) in vectors.cases("valid") {
            // A number that is none has many forms, and texts tell one of them.
            if case["lossy"] == true {
                continue;
            }
            let document = bytes(&case["canonical_bson"]);
            let json = document_json(&document).unwrap();
            let read: Json = serde_json::from_str(&json).unwrap();
            let expected: Document = bson::deserialize_from_slice(&document).unwrap();
            match Bson::try_from(read) {
                Ok(Bson::Document(read))
                    if format!("{read:?}") == format!("{expected:?}") || read == expected => {}
                other => problems.push(format!("{name}: {json} is read as {other:?}")),
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn every_valid_document_comes_back_from_columns_and_whole() {
    let mut problems = Vec::new();
    for vectors in Vectors::all() {
        for (name, case) in vectors.cases("valid") {
            let document = bytes(&case["canonical_bson"]);
            for whole in [false, true] {
                if !whole && case["lossy"] == true {
                    continue;
                }
                let back = there_and_back(&document, whole);
                if back != document {
                    let (had, has) = (hexadecimal(&document), hexadecimal(&back));
                    problems.push(format!("{name}, whole: {whole}: {had} came back as {has}"));
                }
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn what_is_no_bson_is_an_error_and_no_panic() {
    let mut problems = Vec::new();
    for vectors in Vectors::all() {
        for (name, case) in vectors.cases("decodeErrors") {
            if document_json(&bytes(&case["bson"])).is_ok() {
                problems.push(name);
            }
        }
    }
    assert_none(&problems);
}
