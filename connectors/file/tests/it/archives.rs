//! Archives as folders.

use futures::StreamExt;
use serde_json::{Value, json};
use towpath_connector_file::CONNECTOR;
use towpath_core::{ErrorKind, Json, Planned, Position, ScanRequest, WriteDisposition};
use towpath_testkit::archives::{stored_zip, tar, tar_gz, zip};
use towpath_testkit::rows;

use crate::support::{Folder, Scan, error, splits};

/// A CSV of these numbers.
fn csv(ids: std::ops::Range<u64>) -> Vec<u8> {
    let lines = ids.map(|id| format!("{id},row {id}\n"));
    std::iter::once("id,name\n".to_owned()).chain(lines).collect::<String>().into_bytes()
}

/// The same as NDJSON, which is cut at any newline.
fn ndjson(ids: std::ops::Range<u64>) -> Vec<u8> {
    let lines = ids.map(|id| format!("{{\"id\":{id},\"name\":\"row {id}\"}}\n"));
    lines.collect::<Vec<_>>().concat().into_bytes()
}

fn ids(scan: &Scan) -> Vec<u64> {
    let mut ids: Vec<u64> = scan.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

async fn scan(folder: &Folder, path: &str, more: &Json) -> towpath_core::Result<Scan> {
    folder.scan(folder.options(path, more), &ScanRequest::default()).await
}

async fn scan_since(folder: &Folder, options: &Json, since: Position) -> Scan {
    let mut request = ScanRequest::default();
    request.since = since;
    folder.scan(options.clone(), &request).await.unwrap()
}

#[tokio::test]
async fn rows_of_entries_are_those_of_files_and_tell_where_they_come_from() {
    for (name, archive) in
        [("a.zip", zip as fn(&[(&str, &[u8])]) -> Vec<u8>), ("a.stored.zip", stored_zip), ("a.tar", tar)]
    {
        let folder = Folder::new();
        let entries: [(&str, &[u8]); 4] =
            [("x.csv", b"id\n1\n2\n"), ("dir/y.csv", b"id\n3\nfour\n"), ("dir/", b""), ("readme.txt", b"?")];
        folder.write(&format!("in/{name}"), archive(&entries));
        let options = json!({
            "archive": { "entries": "**/*.csv" }, "file_column": "file", "columns": { "id": "int64" }
        });
        let found = scan(&folder, "in/*", &options).await.unwrap();
        let path = folder.path(&format!("in/{name}"));
        let row = |id: u64, entry: &str| json!({ "id": id, "file": format!("{path}!/{entry}") });
        assert_eq!(found.rows(), [row(1, "x.csv"), row(2, "x.csv"), row(3, "dir/y.csv")]);
        assert_eq!(found.rejected()[0].place, format!("{path}!/dir/y.csv:3"));
        let split = if name == "a.tar.gz" { format!("{path}#0") } else { format!("{path}!/dir/y.csv#0") };
        assert_eq!(found.splits().last().unwrap().id.0, split);
    }
}

#[tokio::test]
async fn without_the_option_nobody_looks_into_an_archive() {
    let folder = Folder::new();
    folder.write("a.zip", zip(&[("x.csv", b"id\n1\n")]));
    folder.write("b.zip!/x.csv", "id\n2\n");
    let refused = error(scan(&folder, "a.zip", &json!({})).await);
    assert!(refused.to_string().contains("the format cannot be told"), "{refused}");
    assert_eq!(ids(&scan(&folder, "b.zip!/x.csv", &json!({})).await.unwrap()), [2]);
}

#[tokio::test]
async fn entries_of_any_format_and_codec_are_read() {
    let folder = Folder::new();
    let batch = rows::batch("id: int64, name: string", &json!([[1, "a"], [2, "b"]]));
    let replace = WriteDisposition::Replace;
    for name in ["a.csv.gz", "a.ndjson", "a.parquet", "a.arrow", "a.avro"] {
        folder.load(name, &json!({}), "run1", replace, std::slice::from_ref(&batch)).await.unwrap();
        let content = std::fs::read(folder.at(name)).unwrap();
        for (archive, bytes) in [
            ("a.zip", zip(&[(name, &content)])),
            ("b.zip", stored_zip(&[(name, &content)])),
            ("a.tar", tar(&[(name, &content)])),
            ("a.tgz", tar_gz(&[("other/x.csv", b"name\nx\n"), (name, &content)])),
        ] {
            folder.write(archive, bytes);
            let found = scan(&folder, archive, &json!({ "archive": { "entries": "a.*" } })).await.unwrap();
            assert_eq!(ids(&found), [1, 2], "{name} in {archive}");
        }
    }
}

#[tokio::test]
async fn what_is_stored_as_it_is_is_cut_into_splits_and_what_is_compressed_is_one() {
    let folder = Folder::new();
    let content = ndjson(0..20_000);
    let options = json!({ "archive": { "entries": "big.ndjson" }, "split_size": "64KiB" });
    for (name, bytes, is_cut) in [
        ("a.zip", stored_zip(&[("other.csv", b"id\n"), ("big.ndjson", &content)]), true),
        ("a.tar", tar(&[("other.csv", b"id\n"), ("big.ndjson", &content)]), true),
        ("b.zip", zip(&[("other.csv", b"id\n"), ("big.ndjson", &content)]), false),
    ] {
        folder.write(name, bytes);
        let found = scan(&folder, name, &options).await.unwrap();
        assert_eq!(found.splits().len() > 3, is_cut, "{name}: {}", found.splits().len());
        assert_eq!(ids(&found), (0..20_000).collect::<Vec<_>>());
        let bytes: u64 = found.splits().iter().map(|split| split.estimate.unwrap().bytes.unwrap()).sum();
        assert_eq!(bytes, content.len() as u64);
    }
}

#[tokio::test]
async fn parquet_in_an_archive_is_read_by_ranges_and_by_row_groups() {
    let folder = Folder::new();
    let noise = |id: u64| {
        let parts = (0..30).map(|part| format!("{:x}", (id * 31 + part).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        parts.collect::<String>()
    };
    let values: Vec<Json> = (0..6_000_u64).map(|id| json!([id, noise(id)])).collect();
    let batch = rows::batch("id: int64, noise: string", &json!(values));
    let format = json!({ "format": { "type": "parquet", "row_group_rows": 1_000 } });
    folder.load("a.parquet", &format, "run1", WriteDisposition::Replace, &[batch]).await.unwrap();
    let content = std::fs::read(folder.at("a.parquet")).unwrap();
    for (name, bytes) in [
        ("a.tar", tar(&[("x", b"x"), ("a.parquet", &content)])),
        ("a.zip", stored_zip(&[("a.parquet", &content)])),
    ] {
        folder.write(name, bytes);
        let options = folder.options(
            name,
            &json!({
                "archive": { "entries": "**/*.parquet" }, "split_size": "1KiB"
            }),
        );
        let mut request = ScanRequest::default();
        request.columns = Some(vec!["id".to_owned()]);
        let before = folder.cx.metrics().snapshot().bytes_read;
        let found = folder.scan(options, &request).await.unwrap();
        let read = folder.cx.metrics().snapshot().bytes_read - before;
        assert_eq!((found.splits().len(), ids(&found)), (6, (0..6_000).collect()));
        assert!(read < content.len() as u64, "{read} of {}", content.len());
    }
}

#[tokio::test]
async fn a_read_goes_on_behind_any_batch_in_the_middle_of_an_entry() {
    let folder = Folder::new();
    let content = csv(0..200_000);
    folder.write("a.zip", zip(&[("x.csv", b"id,name\n"), ("big.csv", &content)]));
    let options = folder.options("a.zip", &json!({ "archive": "zip" }));
    let source = CONNECTOR.source_entry().unwrap().open(options.clone(), &folder.cx).await.unwrap();
    let found = folder.scan(options, &ScanRequest::default()).await.unwrap();
    assert!(found.batches.len() > 2, "{}", found.batches.len());
    let split = splits(&found.steps).last().unwrap();
    let mut before = 0;
    for batch in &found.batches {
        before += batch.rows.num_rows();
        let rest = source.read(&folder.cx, split, batch.resume.clone()).unwrap();
        let rest: Vec<_> = rest.map(|batch| batch.unwrap().rows.num_rows()).collect().await;
        assert_eq!(before + rest.iter().sum::<usize>(), 200_000);
    }
}

#[tokio::test]
async fn an_archive_that_changes_under_the_reader_is_an_error() {
    let folder = Folder::new();
    folder.write("a.zip", zip(&[("x.csv", b"id\n1\n"), ("y.csv", b"id\n2\n")]));
    let options = folder.options("a.zip", &json!({ "archive": "zip" }));
    let source = CONNECTOR.source_entry().unwrap().open(options.clone(), &folder.cx).await.unwrap();
    let found = folder.scan(options.clone(), &ScanRequest::default()).await.unwrap();
    folder.write("a.zip", zip(&[("x.csv", b"id\n1\n"), ("y.csv", b"id\n222\n")]));
    let split = splits(&found.steps).last().unwrap();
    let mut stream = source.read(&folder.cx, split, Position::Start).unwrap();
    let changed = stream.next().await.unwrap().unwrap_err();
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("the file changed after it was planned"), "{changed}");
    let Planned::Split { resume, .. } = &found.steps[0] else { panic!("a split") };
    let mut request = ScanRequest::default();
    request.planned = resume.clone();
    assert_eq!(error(folder.scan(options, &request).await).kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn planning_goes_on_behind_any_entry() {
    let folder = Folder::new();
    folder.write(
        "in/a.zip",
        stored_zip(&[("x.ndjson", &ndjson(0..9_000)), ("skipped", b""), ("y.csv", &csv(9_000..9_010))]),
    );
    folder.write("in/b.tar", tar(&[("z.csv", &csv(9_010..9_020))]));
    folder.write("in/c.zip", zip(&[("x.csv", &csv(9_020..9_030)), ("y.csv", &csv(9_030..9_040))]));
    let more = json!({
        "archive": { "entries": "*.{csv,ndjson}" }, "split_size": "32KiB", "incremental": true
    });
    let options = folder.options("in/*", &more);
    let whole = folder.scan(options.clone(), &ScanRequest::default()).await.unwrap();
    assert_eq!(ids(&whole), (0..9_040).collect::<Vec<_>>());
    let all: Vec<_> = whole.splits().iter().map(|split| split.id.clone()).collect();
    assert!(all.len() > 6, "{all:?}");
    for (index, step) in whole.steps.iter().enumerate() {
        let Planned::Split { resume, .. } = step else { continue };
        let mut request = ScanRequest::default();
        request.planned = resume.clone();
        let rest = folder.scan(options.clone(), &request).await.unwrap();
        let found: Vec<_> = rest.splits().iter().map(|split| split.id.clone()).collect();
        assert_eq!(found, all[index + 1..], "behind {}", all[index]);
        assert_eq!(rest.since(), whole.since());
    }
}

#[tokio::test]
async fn a_second_run_reads_a_new_archive_alone() {
    for incremental in [json!(true), json!("name"), json!("modified")] {
        let folder = Folder::new();
        folder.write("in/1.zip", zip(&[("x.csv", b"id\n1\n"), ("y.csv", b"id\n2\n")]));
        folder.write("in/2.tar", tar(&[("x.csv", b"id\n3\n")]));
        let options = folder.options("in/*", &json!({ "archive": "auto", "incremental": incremental }));
        let first = scan_since(&folder, &options, Position::Start).await;
        assert_eq!(ids(&first), [1, 2, 3]);
        folder.write("in/3.zip", zip(&[("x.csv", b"id\n4\n")]));
        let second = scan_since(&folder, &options, first.since()).await;
        assert_eq!(ids(&second), [4], "{incremental}");
        let third = scan_since(&folder, &options, second.since()).await;
        assert_eq!(ids(&third), [] as [u64; 0], "{incremental}");
        if incremental != json!(true) {
            continue;
        }
        folder.write("in/1.zip", zip(&[("x.csv", b"id\n1\n"), ("z.csv", b"id\n55\n")]));
        let changed = scan_since(&folder, &options, third.since()).await;
        assert_eq!(ids(&changed), [1, 55], "what is in an archive that changed is read as that of a new one");
    }
}

#[tokio::test]
async fn folders_around_an_archive_and_in_it_become_columns() {
    let folder = Folder::new();
    folder.write("in/day=1/name=x.zip", zip(&[("city=a/n.csv", b"id\n1\n"), ("day=7/n.csv", b"id\n2\n")]));
    let found = scan(&folder, "in", &json!({ "archive": "auto" })).await.unwrap();
    assert_eq!(found.rows(), [json!({"id": 1, "day": 1, "city": "a"}), json!({"id": 2, "day": 7})]);
    let required = scan(&folder, "in", &json!({ "archive": "auto", "hive_partitions": true })).await;
    let text = error(required).to_string();
    assert!(text.contains("day=1/name=x.zip!/day=7/n.csv"), "{text}");
}

#[tokio::test]
async fn an_archive_without_a_wanted_entry_is_an_error_unless_allowed() {
    let folder = Folder::new();
    folder.write("in/a.zip", zip(&[("x.txt", b"?")]));
    folder.write("in/b.zip", zip(&[("x.csv", b"id\n1\n")]));
    let archive = json!({ "entries": "**/*.csv" });
    let none = error(scan(&folder, "in/*.zip", &json!({ "archive": archive })).await);
    assert_eq!(none.kind(), ErrorKind::NotFound);
    assert!(
        none.to_string().contains("in/a.zip") && none.to_string().contains("`archive.entries`"),
        "{none}"
    );
    let allowed = json!({ "archive": archive, "allow_empty": true });
    assert_eq!(ids(&scan(&folder, "in/*.zip", &allowed).await.unwrap()), [1]);
}

#[tokio::test]
async fn each_option_of_an_archive_changes_what_happens() {
    let folder = Folder::new();
    folder.write("a.zip", zip(&[("x.csv", b"id\n1\n"), ("d/y.csv", b"id\n2\n"), ("d/z.csv", b"id\n3\n")]));
    folder.write("zip.data", std::fs::read(folder.at("a.zip")).unwrap());
    let read = async |path: &str, archive: Value| scan(&folder, path, &json!({ "archive": archive })).await;
    assert_eq!(ids(&read("a.zip", json!({ "entries": "d" })).await.unwrap()), [2, 3]);
    assert_eq!(ids(&read("a.zip", json!({ "entries": ["x.csv", "d/z.csv"] })).await.unwrap()), [1, 3]);
    assert_eq!(ids(&read("zip.data", json!({ "format": "zip" })).await.unwrap()), [1, 2, 3]);
    let untold = error(read("zip.data", json!("auto")).await).to_string();
    assert!(untold.contains("`archive.format`") && untold.contains("zip.data"), "{untold}");
    let tar = error(read("a.zip", json!("tar")).await).to_string();
    assert!(tar.contains("it is no tar") && tar.contains("a.zip"), "{tar}");
    assert_eq!(ids(&read("a.zip", json!({ "max_entries": 3 })).await.unwrap()), [1, 2, 3]);
    let many = error(read("a.zip", json!({ "max_entries": 2 })).await).to_string();
    assert!(many.contains("more than 2 entries") && many.contains("a.zip"), "{many}");
    let large = json!({ "archive": "zip", "max_decompressed": "3B" });
    let large = error(scan(&folder, "a.zip", &large).await).to_string();
    assert!(large.contains("x.csv") && large.contains("`max_decompressed`"), "{large}");
}

#[tokio::test]
async fn a_damaged_entry_names_archive_and_entry() {
    let folder = Folder::new();
    let mut archive = stored_zip(&[("dir/x.csv", b"id\n1\n")]);
    let at = archive.windows(5).position(|bytes| bytes == b"id\n1\n").unwrap();
    archive[at + 3] = b'7';
    folder.write("a.zip", archive);
    let damaged = error(scan(&folder, "a.zip", &json!({ "archive": "zip" })).await);
    assert_eq!(damaged.kind(), ErrorKind::DataInvalid);
    let text = damaged.to_string();
    assert!(text.contains("CRC-32") && text.contains("a.zip!/dir/x.csv"), "{text}");
}

#[tokio::test]
async fn discover_and_check_look_into_archives() {
    let folder = Folder::new();
    folder.write(
        "in/2026-01.zip",
        zip(&[("sales_1.csv", b"id\n1\n"), ("sales_2.csv", b"id\n2\n"), ("readme", b"?")]),
    );
    folder.write("in/2026-02.zip", zip(&[("sales_1.csv", b"id\n3\n"), ("cities.csv", b"name\nx\n")]));
    let open = async |more: Value| {
        CONNECTOR.source_entry().unwrap().open(folder.options("in/*", &more), &folder.cx).await.unwrap()
    };
    let found = open(json!({ "archive": "auto" })).await.discover(&folder.cx).await.unwrap();
    let names: Vec<_> = found.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["cities", "sales"]);
    assert_eq!(
        found[1].source,
        json!({ "path": folder.path("in/*-*.zip"), "archive": { "format": "auto", "entries": "sales_*.csv" } })
    );
    let sales = folder.scan(found[1].source.clone(), &ScanRequest::default()).await.unwrap();
    assert_eq!(ids(&sales), [1, 2, 3]);
    open(json!({ "archive": { "entries": "**/*.csv" } })).await.check(&folder.cx).await.unwrap();
    let text =
        error(open(json!({ "archive": { "entries": "readme" } })).await.check(&folder.cx).await).to_string();
    assert!(text.contains("2026-01.zip!/readme"), "{text}");
    let text = error(open(json!({ "archive": "tar" })).await.check(&folder.cx).await).to_string();
    assert!(text.contains("it is no tar"), "{text}");
}

#[tokio::test]
async fn entries_are_copied_as_they_are() {
    let folder = Folder::new();
    folder.write("in/a.zip", zip(&[("x.bin", b"one"), ("dir/y.bin", b"")]));
    let found = scan(&folder, "in/*", &json!({ "archive": "auto", "format": "bytes" })).await.unwrap();
    let names: Vec<_> = found.rows().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["a.zip!/x.bin", "a.zip!/dir/y.bin"]);
}

#[tokio::test]
async fn a_compressed_tar_is_one_split_and_read_on_behind_any_batch() {
    let folder = Folder::new();
    let (many, more) = (csv(0..100_000), csv(100_000..100_010));
    folder.write(
        "a.tgz",
        tar_gz(&[("x.csv", &many), ("empty.csv", b"id,name\n"), ("skipped", b"?"), ("y.csv", &more)]),
    );
    let options = folder.options("a.tgz", &json!({ "archive": { "entries": "*.csv" } }));
    let source = CONNECTOR.source_entry().unwrap().open(options.clone(), &folder.cx).await.unwrap();
    let found = folder.scan(options, &ScanRequest::default()).await.unwrap();
    assert_eq!((found.splits().len(), ids(&found)), (1, (0..100_010).collect()));
    assert!(found.batches.len() > 2, "{}", found.batches.len());
    let mut before = 0;
    for batch in &found.batches {
        before += batch.rows.num_rows() as u64;
        let rest = source.read(&folder.cx, found.splits()[0], batch.resume.clone()).unwrap();
        let rest: Vec<_> = rest.map(|batch| batch.unwrap()).collect().await;
        let rest = rows::to_json(rest.iter().map(|batch| &batch.rows));
        let rest: Vec<_> = rest.iter().map(|row| row["id"].as_u64().unwrap()).collect();
        assert_eq!(rest, (before..100_010).collect::<Vec<_>>(), "behind {:?}", batch.resume);
    }
}

#[tokio::test]
async fn a_compressed_tar_that_is_cut_or_damaged_is_an_error() {
    let folder = Folder::new();
    let whole = tar_gz(&[("x.csv", &csv(0..10_000)), ("y.csv", b"id\n1\n")]);
    let options = json!({ "archive": "auto" });
    for length in [100, whole.len() / 3, whole.len() - 1] {
        folder.write("a.tgz", &whole[..length]);
        let cut = error(scan(&folder, "a.tgz", &options).await);
        assert_eq!(cut.kind(), ErrorKind::DataInvalid);
        assert!(cut.to_string().contains("a.tgz"), "{cut}");
    }
    // The checksum of the codec stands behind everything that is read.
    let mut damaged = whole.clone();
    let end = damaged.len() - 8;
    damaged[end] ^= 1;
    folder.write("a.tgz", damaged);
    assert_eq!(error(scan(&folder, "a.tgz", &options).await).kind(), ErrorKind::DataInvalid);
    folder.write("a.tgz", &whole);
    let large = json!({ "archive": "auto", "max_decompressed": "10KiB" });
    let large = error(scan(&folder, "a.tgz", &large).await).to_string();
    assert!(large.contains("`max_decompressed`"), "{large}");
    folder.write("a.tar.gz", "this is no gzip at all, and long enough for a header ".repeat(30));
    assert_eq!(error(scan(&folder, "a.tar.gz", &options).await).kind(), ErrorKind::DataInvalid);
}

#[tokio::test]
async fn options_hold_for_compressed_tars() {
    let folder = Folder::new();
    folder.write(
        "in/1.tgz",
        tar_gz(&[("day=1/x_1.csv", b"id\n1\n"), ("day=2/x_2.csv", b"id\n2\n"), ("y.csv", b"id\n3\n")]),
    );
    let read = async |more: Json| scan(&folder, "in/*", &more).await;
    let found = read(json!({ "archive": { "entries": "day=*/*" } })).await.unwrap();
    assert_eq!(found.rows(), [json!({"id": 1, "day": 1}), json!({"id": 2, "day": 2})]);
    let required = error(read(json!({ "archive": "auto", "hive_partitions": true })).await).to_string();
    assert!(required.contains("1.tgz!/y.csv"), "{required}");
    let many = error(read(json!({ "archive": { "max_entries": 2 } })).await).to_string();
    assert!(many.contains("more than 2 entries"), "{many}");
    let none = error(read(json!({ "archive": { "entries": "*.json" } })).await).to_string();
    assert!(none.contains("`archive.entries`"), "{none}");
    let allowed = json!({ "archive": { "entries": "*.json" }, "allow_empty": true });
    assert_eq!(read(allowed).await.unwrap().rows().len(), 0);
    let bytes = read(json!({ "archive": { "entries": "y.csv" }, "format": "bytes" })).await.unwrap();
    assert_eq!(bytes.rows()[0]["name"], json!("1.tgz!/y.csv"));
    let options = folder.options("in/*", &json!({ "archive": "auto", "incremental": true }));
    let first = scan_since(&folder, &options, Position::Start).await;
    assert_eq!(ids(&first), [1, 2, 3]);
    folder.write("in/2.tar.gz", tar_gz(&[("x.csv", b"id\n4\n")]));
    assert_eq!(ids(&scan_since(&folder, &options, first.since()).await), [4]);
    let source = CONNECTOR.source_entry().unwrap().open(options, &folder.cx).await.unwrap();
    source.check(&folder.cx).await.unwrap();
    let sets = source.discover(&folder.cx).await.unwrap();
    assert_eq!(sets[1].source["path"], json!(folder.path("in/1.tgz")));
    assert_eq!(sets[1].source["archive"], json!({ "format": "auto", "entries": "**/x_*.csv" }));
}
