//! Zips that are broken, lie, or mean harm.

use towpath_core::ByteSize;
use towpath_testkit::archives;

use super::written::{Written, deflated, stored, zip};
use crate::archive::Kind::Zip;
use crate::archive::Limits;
use crate::archive::testing::{content, error, limits, listed};

async fn wrong(entries: &[Written]) -> String {
    error(&zip(entries), Zip, limits("**/*")).await
}

#[tokio::test]
async fn what_is_cut_anywhere_is_an_error() {
    let whole = archives::zip(&[("a.csv", &[7; 5_000]), ("b.csv", b"n\n1\n")]);
    for length in (0..whole.len()).step_by(3) {
        let text = error(&whole[..length], Zip, limits("**/*")).await;
        assert!(text.contains("zip"), "{length}: {text}");
    }
    // The beginning is gone instead of the end.
    let text = error(&whole[50..], Zip, limits("**/*")).await;
    assert!(text.contains("zip"), "{text}");
}

#[tokio::test]
async fn sizes_that_are_not_true_are_errors() {
    let long = [7; 5_000];
    let less = wrong(&[Written { size: 4_000, ..deflated("a", &long) }]).await;
    assert!(
        less.starts_with("the entry becomes more than the 4000 bytes that the table of the zip tells"),
        "{less}"
    );
    let more = wrong(&[Written { size: 6_000, ..deflated("a", &long) }]).await;
    assert!(more.starts_with("the entry has 5000 bytes instead of the 6000 that the table tells"), "{more}");
    let other = wrong(&[Written { size: 6_000, ..stored("a", &long) }]).await;
    assert!(
        other.starts_with("the entry is stored as it is, in 5000 bytes, and should have 6000 (entry: a)"),
        "{other}"
    );
    let cut = deflated("a", &long);
    let cut = wrong(&[Written { compressed: cut.compressed - 3, ..cut }]).await;
    assert!(cut.starts_with("the entry ends in the middle of its compressed data"), "{cut}");
    let mut behind = deflated("a", &long);
    behind.body.extend_from_slice(b"more");
    behind.compressed += 4;
    let behind = wrong(&[behind]).await;
    assert!(behind.starts_with("4 bytes follow the compressed data"), "{behind}");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_crc_are_an_error_and_the_last_ones_never_come() {
    for entry in [stored("a", b"content"), deflated("a", b"content")] {
        let text = wrong(&[Written { crc: 0xdead_beef, ..entry.clone() }]).await;
        assert!(text.contains("CRC-32") && text.contains("instead of deadbeef"), "{text}");
        let broken = Written { body: vec![0xff; entry.body.len()], ..entry };
        wrong(&[broken]).await;
    }
    // Who begins behind the first bytes of a compressed entry reads it all, too.
    let archive = zip(&[Written { crc: 1, ..deflated("a", b"content") }]);
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert!(content(&archive, &found[0], 3).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_read_names_the_entry() {
    let locked = wrong(&[Written { flags: 1, ..stored("x/locked.csv", b"x") }]).await;
    assert!(locked.starts_with("the entry is encrypted (entry: x/locked.csv)"), "{locked}");
    let lzma = wrong(&[Written { method: 14, ..stored("x/a.csv", b"x") }]).await;
    assert!(lzma.starts_with("the entry is compressed by method 14 (LZMA) (entry: x/a.csv)"), "{lzma}");
    let aes = wrong(&[Written { method: 99, ..stored("x/a.csv", b"x") }]).await;
    assert!(aes.contains("method 99 (AES)"), "{aes}");
}

#[tokio::test]
async fn a_bomb_is_an_error_before_it_is_read() {
    let small = Limits { max_decompressed: Some(ByteSize::new(4_999)), ..limits("**/*") };
    let text = error(&zip(&[deflated("a", &[7; 5_000])]), Zip, small).await;
    assert!(
        text.starts_with("the entry becomes 5000 bytes, more than the 4999 that it may (entry: a)"),
        "{text}"
    );
    assert!(text.contains("`max_decompressed`"), "{text}");
    let huge = Written { size: 65 << 30, is_large: true, ..deflated("a", b"x") };
    let text = wrong(&[huge]).await;
    assert!(text.contains("more than the 68719476736 that it may"), "{text}");
    // Many entries of the same bytes: each is small in the archive, and all of them are large.
    let same = deflated("a", &[7; 5_000]);
    let again = Written { header: Some(0), name: b"b".to_vec(), ..same.clone() };
    let text = wrong(&[same, again]).await;
    assert!(text.starts_with("entries of the zip overlap"), "{text}");
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    for name in ["../a.csv", "x/../../a.csv", "..\\a.csv", "a\0b.csv"] {
        let text = wrong(&[stored(name, b"x")]).await;
        assert!(text.starts_with("the name of an entry "), "{name:?}: {text}");
    }
    let archive = zip(&[stored("/etc/passwd", b"x"), stored("C:\\x\\a.csv", b"y")]);
    let found = listed(&archive, Zip, limits("**/*")).await.unwrap();
    assert_eq!(found.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["etc/passwd", "x/a.csv"]);
    assert_eq!(content(&archive, &found[1], 0).await.unwrap(), b"y");
}

#[tokio::test]
async fn two_entries_of_one_name_are_refused() {
    let text = wrong(&[stored("a.csv", b"x"), stored("./a.csv", b"y")]).await;
    assert!(text.starts_with("two entries have one name (entry: a.csv)"), "{text}");
}

#[tokio::test]
async fn a_header_of_another_entry_is_refused() {
    let other = Written { local_name: Some(b"b.csv".to_vec()), ..stored("a.csv", b"x") };
    let text = wrong(&[other]).await;
    assert!(text.starts_with("the header of the entry is not what the table of the zip tells"), "{text}");
}

#[tokio::test]
async fn more_entries_than_allowed_are_refused() {
    let archive = zip(&[stored("a", b"x"), stored("b", b"x"), stored("c", b"x")]);
    let two = Limits { max_entries: 2, ..limits("a") };
    let text = error(&archive, Zip, two).await;
    assert!(text.starts_with("the archive has more than 2 entries; set `archive.max_entries`"), "{text}");
    let three = Limits { max_entries: 3, ..limits("a") };
    assert_eq!(listed(&archive, Zip, three).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_table_with_more_or_less_than_it_says_is_refused() {
    let mut archive = zip(&[stored("a", b"x"), stored("b", b"x")]);
    let end = archive.len() - 22;
    for count in [1, 3] {
        archive[end + 8] = count;
        archive[end + 10] = count;
        let text = error(&archive, Zip, limits("**/*")).await;
        assert!(
            text.starts_with(&format!("the table of the zip has 2 entries instead of {count}")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn one_part_of_several_is_refused() {
    let whole = zip(&[stored("a", b"x")]);
    let end = whole.len() - 22;
    for (at, value) in [(4, 1), (6, 1), (8, 0)] {
        let mut archive = whole.clone();
        archive[end + at] = value;
        let text = error(&archive, Zip, limits("**/*")).await;
        assert!(text.starts_with("the zip is one part of several"), "{at}: {text}");
    }
}

#[tokio::test]
async fn an_entry_behind_the_end_is_refused() {
    let text = wrong(&[Written { header: Some(u64::from(u32::MAX) - 1), ..stored("a", b"x") }]).await;
    assert!(text.starts_with("an entry of the zip lies behind its end"), "{text}");
}
