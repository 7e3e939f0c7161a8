//! Archives as folders.

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{ErrorKind, Planned, Position, ScanRequest};

use super::{ObjectSite, ObjectSiteTools, error, numbered};
use crate::archives::{stored_zip, tar, tar_gz, zip};

/// An entry is a file, whatever the archive.
pub async fn entries_of_archives_are_read_as_objects_are<S: ObjectSite>() {
    let site = S::new().await;
    let many = format!("n,m\n{}", numbered(30_000));
    site.put("a.zip", zip(&[("x.csv", b"n,m\n-1,1\n"), ("day=2/big.csv", many.as_bytes())])).await;
    site.put("b.tar", tar(&[("dir/y.csv", b"n,m\n-2,2\n")])).await;
    site.put("c.tgz", tar_gz(&[("readme", b"?"), ("dir/z.csv", b"n,m\n-3,3\n")])).await;
    let options = json!({"archive": {"entries": "**/*.csv"}, "file_column": "file"});
    let rows = site.read("*", &options).await.unwrap();
    assert_eq!(rows.len(), 30_003);
    assert_eq!(rows[0], json!({"n": -1, "m": 1, "file": format!("{}!/x.csv", site.url("a.zip"))}));
    assert_eq!(rows[30_000]["day"], json!(2));
    assert_eq!(rows[30_001]["file"], json!(format!("{}!/dir/y.csv", site.url("b.tar"))));
    assert_eq!(rows[30_002]["file"], json!(format!("{}!/dir/z.csv", site.url("c.tgz"))));
}

/// What lies in an archive as it is need not be read from its beginning.
pub async fn a_large_entry_is_read_by_ranges_and_nothing_else_of_its_archive<S: ObjectSite>() {
    let site = S::new().await;
    let lines = format!("n,m\n{}", numbered(100_000));
    let other = vec![b'x'; 8 << 20];
    let entries: [(&str, &[u8]); 3] =
        [("other.bin", &other), ("big.csv", lines.as_bytes()), ("more.bin", &other)];
    for (name, archive) in [("a.zip", stored_zip(&entries)), ("a.tar", tar(&entries))] {
        site.put(name, archive).await;
        let before = site.cx().metrics().snapshot().bytes_read;
        let options = json!({"archive": {"entries": "*.csv"}, "split_size": "256KiB"});
        let found = site.scan(name, &options, &ScanRequest::default()).await.unwrap();
        assert!(found.splits().len() > 1, "{name}: {}", found.splits().len());
        let rows = found.rows();
        assert_eq!(rows.len(), 100_000);
        assert!(rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n)));
        let read = site.cx().metrics().snapshot().bytes_read - before;
        assert!(read < 8 << 20, "{name}: {read}");
    }
}

/// What is read is of the archive that was planned.
pub async fn an_archive_that_changed_since_it_was_planned_is_an_error<S: ObjectSite>() {
    let site = S::new().await;
    site.put("a.zip", zip(&[("x.csv", b"n\n1\n"), ("y.csv", b"n\n2\n")])).await;
    let source = site.source("a.zip", &json!({"archive": "zip"})).await;
    let plan = source.plan(site.cx(), &ScanRequest::default()).await.unwrap();
    let steps: Vec<_> = plan.splits.try_collect().await.unwrap();
    let [Planned::Split { split: first, .. }, Planned::Split { split: second, .. }] = &steps[..] else {
        panic!("two splits")
    };
    let read =
        async |split| source.read(site.cx(), split, Position::Start).unwrap().try_collect::<Vec<_>>().await;
    assert_eq!(read(first).await.unwrap().len(), 1);
    // As long as before, and perhaps within the same second.
    site.put("a.zip", zip(&[("x.csv", b"n\n3\n"), ("y.csv", b"n\n4\n")])).await;
    let changed = error(read(second).await);
    assert_eq!(changed.kind(), ErrorKind::Conflict);
    assert!(changed.to_string().contains("the file changed after it was planned"), "{changed}");
}

/// An archive is remembered as the object that it is.
pub async fn a_second_run_reads_only_new_archives<S: ObjectSite>() {
    let site = S::new().await;
    site.put("1.zip", zip(&[("x.csv", b"n\n1\n"), ("y.csv", b"n\n2\n")])).await;
    let options = json!({"archive": "auto", "incremental": true});
    let first = site.scan("*.zip", &options, &ScanRequest::default()).await.unwrap();
    assert_eq!(first.rows(), [json!({"n": 1}), json!({"n": 2})]);
    let mut request = ScanRequest::default();
    request.since = first.since();
    site.put("2.zip", zip(&[("x.csv", b"n\n3\n")])).await;
    let second = site.scan("*.zip", &options, &request).await.unwrap();
    assert_eq!(second.rows(), [json!({"n": 3})]);
    request.since = second.since();
    let third = site.scan("*.zip", &options, &request).await.unwrap();
    assert!(third.rows().is_empty());
}
