//! Tars as programs write them, and broken ones.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use tar::{Builder, EntryType, Header};
use towpath_formats::{Input, MemoryInput};
use towpath_testkit::{archives, context};

use crate::archive::Kind::Tar;
use crate::archive::testing::{Counted, content, entry_input, error, limits, listed};
use crate::archive::{Entry, Limits, entries};

fn names(found: &[Entry]) -> Vec<&str> {
    found.iter().map(|entry| entry.name.as_str()).collect()
}

fn header(size: usize, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size as u64);
    header.set_entry_type(kind);
    header
}

/// A tar of one entry whose header was changed.
fn changed(name: &str, body: &[u8], kind: EntryType, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = header(body.len(), kind);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    change(&mut header);
    header.set_cksum();
    let mut archive = Builder::new(Vec::new());
    archive.append(&header, body).unwrap();
    archive.into_inner().unwrap()
}

async fn wrong(archive: &[u8]) -> String {
    error(archive, Tar, limits("**/*")).await
}

#[tokio::test]
async fn entries_are_found_and_read_from_any_place() {
    let long: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let archive = archives::tar(&[("./a.csv", b"n\n1\n"), ("dir/", b""), ("dir/b", &long), ("empty", b"")]);
    let found = listed(&archive, Tar, limits("**/*")).await.unwrap();
    assert_eq!(names(&found), ["a.csv", "dir/b", "empty"]);
    assert_eq!(found.iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 2, 3]);
    for from in [0, 1, 299_999, 300_000] {
        assert!(content(&archive, &found[1], from as u64).await.unwrap() == long[from..]);
    }
    let input = entry_input(&archive, &found[1]);
    assert_eq!(input.size(), Some(300_000));
    assert_eq!(input.range(1_000..1_100).await.unwrap(), long[1_000..1_100]);
    let cut: Vec<Bytes> = input.stream_to(10, Some(20)).await.unwrap().try_collect().await.unwrap();
    assert!(cut.concat() == long[10..], "a row may go on behind the end that is wanted");
    assert!(content(&archive, &found[2], 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn long_names_are_read_as_all_programs_write_them() {
    let long = format!("{}/a.csv", "folder/".repeat(40).trim_end_matches('/'));
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header(2, EntryType::Regular), &long, &b"n\n"[..]).unwrap();
    let path = format!("größe\n{long}");
    let size = "2";
    archive
        .append_pax_extensions([
            ("path", path.replace('\n', "/").as_bytes()),
            ("size", size.as_bytes()),
            ("comment", b"a\nb"),
        ])
        .unwrap();
    let mut short = header(2, EntryType::Regular);
    short.set_path("short").unwrap();
    short.set_cksum();
    archive.append(&short, &b"m\n"[..]).unwrap();
    archive.append_data(&mut header(2, EntryType::Regular), "last", &b"o\n"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let found = listed(&archive, Tar, limits("**/*")).await.unwrap();
    assert_eq!(names(&found), [long.as_str(), &format!("größe/{long}"), "last"]);
    assert_eq!(content(&archive, &found[1], 0).await.unwrap(), b"m\n");
}

#[tokio::test]
async fn a_size_of_the_properties_is_that_of_the_entry() {
    let mut archive = Builder::new(Vec::new());
    archive.append_pax_extensions([("size", b"4".as_slice())]).unwrap();
    let mut bytes = archive.into_inner().unwrap();
    bytes.truncate(1024);
    bytes.extend(changed("a", b"n\n1\n", EntryType::Regular, |header| header.set_size(0)));
    let found = listed(&bytes, Tar, limits("**/*")).await.unwrap();
    assert_eq!(content(&bytes, &found[0], 0).await.unwrap(), b"n\n1\n");
}

#[tokio::test]
async fn folders_and_links_are_left_out() {
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header(2, EntryType::Regular), "a", &b"n\n"[..]).unwrap();
    archive.append_link(&mut header(0, EntryType::Symlink), "b", "a").unwrap();
    archive.append_link(&mut header(0, EntryType::Link), "c", "a").unwrap();
    archive.append_data(&mut header(0, EntryType::Directory), "d/", &b""[..]).unwrap();
    archive.append_data(&mut header(0, EntryType::Fifo), "e", &b""[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    assert_eq!(names(&listed(&archive, Tar, limits("**/*")).await.unwrap()), ["a"]);
}

#[tokio::test]
async fn bodies_are_not_fetched_and_headers_of_small_entries_come_together() {
    let large = vec![7; 1 << 20];
    for (count, body, most_bytes, most_requests) in
        [(20, &large[..], 200 << 10, 21), (1_000, &large[..10], 1_100 << 10, 17)]
    {
        let named: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let files: Vec<_> = named.iter().map(|name| (name.as_str(), body)).collect();
        let input = Counted::new(MemoryInput::new("a.tar", archives::tar(&files)));
        let found = entries(&context(), input.clone(), Tar, Arc::new(limits("**/*")));
        assert_eq!(found.try_collect::<Vec<_>>().await.unwrap().len(), count);
        let [streams, requests, bytes] = input.counts();
        assert_eq!(streams, 0, "a tar is not read through");
        assert!(bytes <= most_bytes && requests <= most_requests, "{bytes} in {requests}");
    }
}

#[tokio::test]
async fn what_is_cut_anywhere_is_an_error() {
    let whole = archives::tar(&[("a.csv", &[7; 1_000]), ("b.csv", b"n\n1\n")]);
    let end = whole.len() - 1024;
    for length in (512..=end).step_by(64) {
        let text = wrong(&whole[..length]).await;
        assert!(text.contains("tar ends"), "{length}: {text}");
    }
}

#[tokio::test]
async fn what_is_no_tar_says_so() {
    let mut archive = archives::tar(&[("a", b"x"), ("b", b"y")]);
    archive[1024 + 3] ^= 1;
    let text = wrong(&archive).await;
    assert!(
        text.starts_with("it is no tar, or a broken one: here should be a header (byte: 1024)"),
        "{text}"
    );
    for length in [0, 100, 2_000] {
        let text = wrong(&vec![b'x'; length]).await;
        assert!(text.contains("is it a tar"), "{text}");
    }
    let mut gzip = vec![0x1f, 0x8b];
    gzip.resize(2_000, 9);
    let text = wrong(&gzip).await;
    assert!(text.starts_with("the tar is compressed by gzip"), "{text}");
    assert!(text.contains("`.tar.gz`"), "{text}");
}

#[tokio::test]
async fn sizes_that_are_not_true_are_errors() {
    let larger = changed("a", b"x", EntryType::Regular, |header| header.set_size(1 << 40));
    let text = wrong(&larger).await;
    assert!(text.starts_with("the tar ends in the middle of an entry (entry: a)"), "{text}");
    let huge = changed("a", b"x", EntryType::Regular, |header| header.set_size(u64::MAX));
    let text = wrong(&huge).await;
    assert!(text.starts_with("an entry of the tar is larger than any file"), "{text}");
    let name = changed("a", b"x", EntryType::GNULongName, |header| header.set_size(2 << 20));
    let text = wrong(&name).await;
    assert!(text.starts_with("a header of the tar has 2097152 bytes"), "{text}");
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    for name in ["../a", "x/../../a", "a\nb"] {
        let text = wrong(&changed(name, b"x", EntryType::Regular, |_| {})).await;
        assert!(text.starts_with("the name of an entry "), "{name:?}: {text}");
    }
    let archive = changed("/etc/passwd", b"x", EntryType::Regular, |_| {});
    assert_eq!(names(&listed(&archive, Tar, limits("**/*")).await.unwrap()), ["etc/passwd"]);
    let latin = changed("a", b"x", EntryType::Regular, |header| header.as_old_mut().name[0] = 0xe4);
    let text = wrong(&latin).await;
    assert!(text.starts_with("the name of an entry is not UTF-8"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_read_names_the_entry() {
    let sparse = changed("a", b"x", EntryType::GNUSparse, |_| {});
    assert!(wrong(&sparse).await.starts_with("the entry is a sparse file"));
    let volume = changed("a", b"x", EntryType::new(b'M'), |_| {});
    let text = wrong(&volume).await;
    assert!(text.starts_with("the tar is one volume of several (entry: a)"), "{text}");
    let all = changed("g", b"11 size=99\n", EntryType::XGlobalHeader, |_| {});
    let text = wrong(&all).await;
    assert!(text.starts_with("the tar has one name or size for all entries"), "{text}");
    let twice = archives::tar(&[("a", b"x"), ("./a", b"y")]);
    let text = wrong(&twice).await;
    assert!(text.starts_with("two entries have one name (entry: a)"), "{text}");
}

#[tokio::test]
async fn more_entries_than_allowed_are_refused() {
    let archive = archives::tar(&[("a", b"x"), ("b", b"x"), ("c", b"x")]);
    let text = error(&archive, Tar, Limits { max_entries: 2, ..limits("a") }).await;
    assert!(text.starts_with("the archive has more than 2 entries"), "{text}");
    assert_eq!(listed(&archive, Tar, Limits { max_entries: 3, ..limits("a") }).await.unwrap().len(), 1);
}

#[tokio::test]
async fn ten_thousand_entries_are_found() {
    let named: Vec<String> = (0..10_000).map(|n| format!("{n}.csv")).collect();
    let files: Vec<(&str, &[u8])> = named.iter().map(|name| (name.as_str(), b"n\n" as &[u8])).collect();
    let found = listed(&archives::tar(&files), Tar, limits("**/*")).await.unwrap();
    assert_eq!(found.len(), 10_000);
}
