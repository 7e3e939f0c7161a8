//! Zips as programs write them.

use towpath_formats::Input;
use towpath_testkit::archives;

use super::written::{Written, deflated, stored, zip};
use crate::archive::Kind::Zip;
use crate::archive::testing::{content, entry_input, limits, listed};

/// Some hundred thousand bytes that neither repeat nor compress to nothing.
fn long() -> Vec<u8> {
    let line = |n: u64| format!("{n},{:x}\n", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (0..40_000).map(line).collect::<String>().into_bytes()
}

#[tokio::test]
async fn entries_are_found_and_read_from_any_place() {
    let long = long();
    let files: [(&str, &[u8]); 4] =
        [("a.csv", b"n\n1\n"), ("dir/", b""), ("dir/b.csv", &long), ("empty", b"")];
    for archive in [archives::zip(&files), archives::stored_zip(&files)] {
        let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
        let names: Vec<_> =
            found.iter().map(|entry| (entry.index, entry.name.as_str(), entry.size)).collect();
        assert_eq!(names, [(0, "a.csv", 4), (2, "dir/b.csv", long.len() as u64), (3, "empty", 0)]);
        for from in [0, 1, 100_000, long.len()] {
            assert!(content(&archive, &found[1], from as u64).await.unwrap() == long[from..], "{from}");
        }
        assert_eq!(content(&archive, &found[0], 0).await.unwrap(), b"n\n1\n");
        assert!(content(&archive, &found[2], 0).await.unwrap().is_empty());
        let input = entry_input(&archive, &found[1]);
        assert_eq!(input.range(7..99).await.unwrap(), long[7..99]);
        assert_eq!(input.range(5..5).await.unwrap(), "");
        assert!(input.range(0..long.len() as u64 + 1).await.is_err());
        assert_eq!(input.name(), "in/a.zip!/dir/b.csv");
        assert_eq!(input.file().size, Some(long.len() as u64));
    }
}

#[tokio::test]
async fn only_what_is_stored_as_it_is_can_be_cut() {
    let archive = zip(&[stored("a", b"content"), deflated("b", b"content")]);
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert_eq!(entry_input(&archive, &found[0]).size(), Some(7));
    assert_eq!(entry_input(&archive, &found[1]).size(), None);
}

#[tokio::test]
async fn only_wanted_entries_are_looked_at() {
    let locked = Written { flags: 1, ..stored("locked.bin", b"x") };
    let strange = Written { method: 14, ..stored("x/strange.bin", b"x") };
    let hidden = stored("__MACOSX/._a.csv", b"x");
    let archive = zip(&[locked, strange, hidden, stored("x/a.csv", b"n\n"), stored("a.csv", b"n\n")]);
    let names =
        |found: Vec<crate::archive::Entry>| found.into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(listed(&archive, Zip, limits("**/*.csv")).await.unwrap()), ["x/a.csv", "a.csv"]);
    assert_eq!(names(listed(&archive, Zip, limits("x/*.csv")).await.unwrap()), ["x/a.csv"]);
}

#[tokio::test]
async fn numbers_of_64_bits_are_read() {
    let entry = Written { is_large: true, ..deflated("a.csv", b"n\n1\n") };
    let archive = zip(&[entry, stored("b.csv", b"x")]);
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert_eq!(content(&archive, &found[0], 0).await.unwrap(), b"n\n1\n");
    assert_eq!(content(&archive, &found[1], 0).await.unwrap(), b"x");
}

#[tokio::test]
async fn ten_thousand_entries_are_found_and_seventy_thousand_too() {
    for count in [10_000, 70_000] {
        let names: Vec<String> = (0..count).map(|n| format!("{n:06}.csv")).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), b"n\n1\n" as &[u8])).collect();
        let archive = archives::stored_zip(&files);
        let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
        assert_eq!(found.len(), count);
        assert_eq!(content(&archive, &found[count - 1], 0).await.unwrap(), b"n\n1\n");
    }
}

#[tokio::test]
async fn what_stands_before_and_behind_a_zip_does_not_matter() {
    let mut archive = b"#!/bin/sh\nexec unzip\n".to_vec();
    archive.extend(archives::zip(&[("a.csv", b"n\n1\n")]));
    let end = archive.len();
    archive[end - 2..].copy_from_slice(&9_u16.to_le_bytes());
    archive.extend_from_slice(b"a comment");
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert_eq!(content(&archive, &found[0], 0).await.unwrap(), b"n\n1\n");
}

#[tokio::test]
async fn an_empty_zip_has_no_entries() {
    assert!(listed(&archives::zip(&[]), Zip, limits("**/*")).await.unwrap().is_empty());
}

#[tokio::test]
async fn zstd_is_read() {
    use async_compression::tokio::bufread::ZstdEncoder;
    use tokio::io::AsyncReadExt;
    let mut body = Vec::new();
    ZstdEncoder::new(&b"n\n1\n"[..]).read_to_end(&mut body).await.unwrap();
    let compressed = body.len() as u64;
    let entry = Written { method: 93, body, compressed, ..stored("a.csv", b"n\n1\n") };
    let archive = zip(&[entry]);
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert_eq!(content(&archive, &found[0], 0).await.unwrap(), b"n\n1\n");
}
