//! Files as they are, put together from their chunks: the promises of a sink, with chunks for rows.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use towpath_connector_file::CONNECTOR;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, DynSink, ErrorKind, Finished, Json, LoadSpec, Position, Rejected,
    Result, ScanRequest, Split, SplitAdvance, Staged, Takes, WriteDisposition, chunk_schema,
};
use towpath_formats::chunks::{File, batch};
use towpath_testkit::rows;

use crate::support::Folder;

/// A run into a folder `out/`.
struct Run {
    sink: Arc<dyn DynSink>,
    begun: Begun,
    sequence: u64,
    part: u32,
}

async fn open(folder: &Folder) -> Arc<dyn DynSink> {
    let options = folder.options("out/", &json!({"format": "bytes"}));
    CONNECTOR.sink_entry().unwrap().open(options, &folder.cx).await.unwrap()
}

async fn begin(folder: &Folder, run: &str, disposition: WriteDisposition) -> Run {
    let sink = open(folder).await;
    let begun = sink.begin(&folder.cx, &LoadSpec::new("p", "s", run, disposition)).await.unwrap();
    let begun = sink.evolve(&folder.cx, &begun, &chunk_schema()).await.unwrap();
    Run { sink, begun, sequence: 0, part: 0 }
}

async fn append(folder: &Folder, run: &str) -> Run {
    begin(folder, run, WriteDisposition::Append).await
}

fn file(name: &str, size: u64) -> File {
    File { name: name.to_owned(), size: Some(size), version: Some("1".to_owned()), digest: None }
}

impl Run {
    async fn stage(&mut self, folder: &Folder, chunks: &[(&File, u64, &'static str)]) -> Staged {
        self.part += 1;
        let mut writer = self.sink.writer(&folder.cx, &self.begun, self.part).await.unwrap();
        for (file, offset, text) in chunks {
            writer.write(batch(file, *offset, Bytes::from_static(text.as_bytes())).unwrap()).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    /// The token of the next commit: the split `a` gets from one byte to another, or nothing does.
    fn token(&self, step: Option<(Position, u64)>, finished: bool) -> CommitToken {
        let planned =
            self.begun.checkpoint.progress.as_ref().map_or(Position::Start, |held| held.planned.clone());
        let mut token = CommitToken::default();
        token.version = 1;
        token.run.clone_from(&self.begun.load.run);
        token.epoch = self.begun.checkpoint.epoch;
        token.sequence = self.sequence + 1;
        token.planned = Advance { from: planned.clone(), to: planned };
        token.splits = step
            .into_iter()
            .map(|(from, to)| SplitAdvance {
                split: Split::new("a", json!({})),
                from,
                to: Position::At(json!(to)),
            })
            .collect();
        token.finished = finished.then(Finished::default);
        token
    }

    async fn commit_with(
        &mut self,
        folder: &Folder,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let committed = self.sink.commit(&folder.cx, &self.begun, token, staged).await?;
        if committed == Committed::Applied {
            self.sequence = token.sequence;
        }
        Ok(committed)
    }

    async fn commit(&mut self, folder: &Folder, staged: Vec<Staged>, finished: bool) -> Committed {
        let token = self.token(None, finished);
        self.commit_with(folder, &token, staged).await.unwrap()
    }
}

fn refused(committed: Committed) -> Vec<String> {
    match committed {
        Committed::Refused(rows) => rows.iter().map(Rejected::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// The staged files that are put together.
fn partial(folder: &Folder) -> usize {
    std::fs::read_dir(folder.at("out/.towpath/p/s/staged/partial")).map_or(0, Iterator::count)
}

fn progress(run: &Run) -> Option<Position> {
    run.begun.checkpoint.progress.as_ref()?.position(&"a".into()).cloned()
}

#[tokio::test]
async fn a_file_is_visible_when_all_its_chunks_are_committed_in_whatever_order_they_came() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let (a, b) = (file("x/a.txt", 10), file("empty", 0));
    let first = run.stage(&folder, &[(&a, 5, "56789")]).await;
    let second = run.stage(&folder, &[(&a, 0, "012"), (&b, 0, "")]).await;
    assert_eq!((first.rows, first.bytes), (1, 5));
    assert_eq!(run.commit(&folder, vec![first, second], false).await, Committed::Applied);
    assert_eq!(folder.files("out"), ["empty"]);
    let third = run.stage(&folder, &[(&a, 2, "2345")]).await;
    assert_eq!(folder.files("out"), ["empty"]);
    assert_eq!(run.commit(&folder, vec![third], true).await, Committed::Applied);
    assert_eq!(folder.files("out"), ["empty", "x/a.txt"]);
    assert_eq!(folder.text("out/x/a.txt"), "0123456789");
    assert_eq!(partial(&folder), 0);
}

#[tokio::test]
async fn a_killed_run_goes_on_with_the_bytes_that_were_committed_and_no_others() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let a = file("a.txt", 6);
    let staged = run.stage(&folder, &[(&a, 0, "abc")]).await;
    let token = run.token(Some((Position::Start, 3)), false);
    run.commit_with(&folder, &token, vec![staged]).await.unwrap();
    // Staged, and never committed.
    run.stage(&folder, &[(&a, 3, "XXXX")]).await;
    let mut next = append(&folder, "2").await;
    assert_eq!(progress(&next), Some(Position::At(json!(3))));
    let staged = next.stage(&folder, &[(&a, 3, "def")]).await;
    let mut token = next.token(None, true);
    token.splits = vec![SplitAdvance {
        split: Split::new("a", json!({})),
        from: Position::At(json!(3)),
        to: Position::End,
    }];
    assert_eq!(next.commit_with(&folder, &token, vec![staged]).await.unwrap(), Committed::Applied);
    assert_eq!(folder.text("out/a.txt"), "abcdef");
}

#[tokio::test]
async fn partial_files_that_are_gone_make_the_run_start_again() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let staged = run.stage(&folder, &[(&file("a.txt", 6), 0, "abc")]).await;
    let token = run.token(Some((Position::Start, 3)), false);
    run.commit_with(&folder, &token, vec![staged]).await.unwrap();
    std::fs::remove_dir_all(folder.at("out/.towpath/p/s/staged")).unwrap();
    let next = append(&folder, "2").await;
    assert!(!next.begun.checkpoint.is_under_way());
}

#[tokio::test]
async fn the_same_token_twice_lands_once_and_an_older_run_is_fenced() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let staged = run.stage(&folder, &[(&file("a.txt", 3), 0, "abc")]).await;
    let token = run.token(None, false);
    assert_eq!(run.commit_with(&folder, &token, vec![staged.clone()]).await.unwrap(), Committed::Applied);
    assert_eq!(run.commit_with(&folder, &token, vec![staged]).await.unwrap(), Committed::AlreadyApplied);
    assert_eq!(folder.text("out/a.txt"), "abc");
    append(&folder, "2").await;
    let error = run.commit_with(&folder, &run.token(None, false), vec![]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_wrong_digest_gives_the_file_back_and_the_next_run_downloads_it_anew() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let wrong = File { digest: Some("md5:00000000000000000000000000000000".into()), ..file("a.txt", 3) };
    let staged = run.stage(&folder, &[(&wrong, 0, "abc"), (&file("b.txt", 1), 0, "b")]).await;
    let token = run.token(Some((Position::Start, 3)), false);
    let rejected = refused(run.commit_with(&folder, &token, vec![staged.clone()]).await.unwrap());
    assert_eq!(
        rejected,
        [
            "a.txt: its digest is md5:900150983cd24fb0d6963f7d28e17f72, and must be md5:00000000000000000000000000000000"
        ]
    );
    assert_eq!(folder.files("out"), [""; 0]);
    // A policy that goes on commits the rest.
    assert_eq!(run.commit_with(&folder, &token, vec![staged]).await.unwrap(), Committed::Applied);
    assert_eq!(folder.files("out"), ["b.txt"]);

    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let first = run.stage(&folder, &[(&wrong, 0, "a")]).await;
    let token = run.token(Some((Position::Start, 1)), false);
    run.commit_with(&folder, &token, vec![first]).await.unwrap();
    let staged = run.stage(&folder, &[(&wrong, 1, "bc")]).await;
    refused(run.commit(&folder, vec![staged], false).await);
    assert_eq!(partial(&folder), 0);
    let next = append(&folder, "2").await;
    assert!(!next.begun.checkpoint.is_under_way());
}

#[tokio::test]
async fn a_right_digest_and_a_file_that_stays_incomplete_are_told_apart() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let right = File { digest: Some("crc32:352441c2".into()), ..file("a.txt", 3) };
    let staged = run.stage(&folder, &[(&right, 0, "abc"), (&file("b.txt", 9), 0, "b")]).await;
    let token = run.token(None, true);
    let rejected = refused(run.commit_with(&folder, &token, vec![staged.clone()]).await.unwrap());
    assert_eq!(rejected, ["b.txt: it is incomplete: the bytes from 1 to 9 are missing"]);
    run.commit_with(&folder, &token, vec![staged]).await.unwrap();
    assert_eq!(folder.files("out"), ["a.txt"]);
}

#[tokio::test]
async fn two_contents_of_one_name_do_not_mix() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let (old, new) = (file("a.txt", 4), File { version: Some("2".into()), ..file("a.txt", 4) });
    let staged = run.stage(&folder, &[(&old, 0, "ol"), (&new, 2, "ew")]).await;
    let rejected = refused(run.commit(&folder, vec![staged], false).await);
    assert_eq!(rejected, ["a.txt: two different contents came for it at once"]);
    assert_eq!(folder.files("out"), [""; 0]);
}

#[tokio::test]
async fn append_replaces_a_file_of_the_same_name_and_leaves_others() {
    let folder = Folder::with(&[("out/a.txt", "old"), ("out/other.txt", "other")]);
    for (id, text) in [("1", "abc"), ("2", "xyz")] {
        let mut run = append(&folder, id).await;
        let staged = run.stage(&folder, &[(&file("a.txt", 3), 0, text)]).await;
        run.commit(&folder, vec![staged], true).await;
        assert_eq!(folder.text("out/a.txt"), text);
    }
    assert_eq!(folder.files("out"), ["a.txt", "other.txt"]);
}

#[tokio::test]
async fn replace_removes_the_files_of_earlier_loads_and_no_others() {
    let folder = Folder::with(&[("out/other.txt", "other")]);
    let load = async |id: &str, names: &[&str]| {
        let mut run = begin(&folder, id, WriteDisposition::Replace).await;
        let mut staged = Vec::new();
        for name in names {
            staged.push(run.stage(&folder, &[(&file(name, 3), 0, "abc")]).await);
        }
        assert_eq!(run.commit(&folder, staged, true).await, Committed::Applied);
    };
    load("1", &["a.txt", "x/b.txt"]).await;
    load("2", &["a.txt", "c.txt"]).await;
    assert_eq!(folder.files("out"), ["a.txt", "c.txt", "other.txt"]);
    load("3", &[]).await;
    assert_eq!(folder.files("out"), ["other.txt"]);
}

#[tokio::test]
async fn what_is_thrown_away_leaves_nothing() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let a = file("a.txt", 6);
    let kept = run.stage(&folder, &[(&a, 0, "abc")]).await;
    let thrown = run.stage(&folder, &[(&a, 3, "def"), (&file("b.txt", 2), 0, "b")]).await;
    let mut dropped = run.sink.writer(&folder.cx, &run.begun, 9).await.unwrap();
    for file in [&a, &file("c.txt", 1)] {
        dropped.write(batch(file, 0, Bytes::from_static(b"a")).unwrap()).await.unwrap();
    }
    assert_eq!(partial(&folder), 3);
    drop(dropped);
    assert_eq!(partial(&folder), 2);
    run.sink.abort(&folder.cx, &run.begun, vec![thrown]).await.unwrap();
    assert_eq!(partial(&folder), 1);
    run.sink.abort(&folder.cx, &run.begun, vec![kept]).await.unwrap();
    assert_eq!(partial(&folder), 0);
    run.sink.forget(&folder.cx, &run.begun.load).await.unwrap();
    assert!(run.sink.checkpoint(&folder.cx, &run.begun.load).await.unwrap().is_none());
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_rejected() {
    let folder = Folder::new();
    let mut run = append(&folder, "1").await;
    let names = ["../a", "/etc/passwd", "a/../../b", "a\0b", ".towpath/p/s/manifest.json", "nul"];
    for name in names {
        let staged = run.stage(&folder, &[(&file(name, 1), 0, "x")]).await;
        assert_eq!(staged.rejected.len(), 1, "{name}");
        assert!(
            staged.rejected[0].reason.starts_with("a file cannot have this name: "),
            "{:?}",
            staged.rejected
        );
        assert_eq!(run.commit(&folder, vec![staged], false).await, Committed::Applied);
    }
    assert_eq!(folder.files(""), [""; 0]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_the_folder_is_not_followed() {
    let folder = Folder::with(&[("outside/kept.txt", "kept"), ("out/x", "")]);
    std::os::unix::fs::symlink(folder.at("outside"), folder.at("out/link")).unwrap();
    std::os::unix::fs::symlink(folder.at("outside/kept.txt"), folder.at("out/file.txt")).unwrap();
    let mut run = append(&folder, "1").await;
    let staged = run.stage(&folder, &[(&file("file.txt", 3), 0, "new")]).await;
    run.commit(&folder, vec![staged], false).await;
    assert_eq!((folder.text("out/file.txt"), folder.text("outside/kept.txt")), ("new".into(), "kept".into()));
    let staged = run.stage(&folder, &[(&file("link/a.txt", 1), 0, "a")]).await;
    let error = run.commit_with(&folder, &run.token(None, false), vec![staged]).await.unwrap_err();
    assert!(error.to_string().contains("a link is in the way"), "{error}");
    assert_eq!(folder.files("outside"), ["kept.txt"]);
}

#[tokio::test]
async fn rows_that_are_no_files_and_options_of_rows_are_refused() {
    let folder = Folder::new();
    let run = append(&folder, "1").await;
    assert_eq!(run.sink.capabilities().takes, Takes::Chunks);
    let people = rows::batch("id: int64", &json!([[1]]));
    let error = run.sink.evolve(&folder.cx, &run.begun, &people.schema()).await.unwrap_err().to_string();
    assert!(error.contains("the sink takes whole files as bytes, and the source gives rows"), "{error}");
    let refused = async |path: &str, more: Json| {
        let mut options = folder.options(path, &more);
        options["format"] = json!("bytes");
        CONNECTOR.sink_entry().unwrap().open(options, &folder.cx).await.err().unwrap().to_string()
    };
    let error = refused("out/", json!({"partition_by": ["a"]})).await;
    assert!(error.contains("`partition_by` does not go with `format: bytes`"), "{error}");
    let error = refused("out/{part}", json!({})).await;
    assert!(error.contains("the path is a folder"), "{error}");
    let load = LoadSpec::new("p", "s", "2", WriteDisposition::Merge);
    assert_eq!(run.sink.begin(&folder.cx, &load).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn each_stream_has_its_folder_where_the_path_says_so() {
    let folder = Folder::new();
    let options = folder.options("out/{stream}", &json!({"format": "bytes"}));
    let sink = CONNECTOR.sink_entry().unwrap().open(options, &folder.cx).await.unwrap();
    let begun =
        sink.begin(&folder.cx, &LoadSpec::new("p", "s", "1", WriteDisposition::Append)).await.unwrap();
    let begun = sink.evolve(&folder.cx, &begun, &chunk_schema()).await.unwrap();
    let mut run = Run { sink, begun, sequence: 0, part: 0 };
    let staged = run.stage(&folder, &[(&file("a.txt", 1), 0, "a")]).await;
    run.commit(&folder, vec![staged], true).await;
    assert_eq!(folder.files("out"), ["s/a.txt"]);
}

#[tokio::test]
async fn a_folder_is_read_as_it_is() {
    let large: Vec<u8> = (0..(2 << 20) + 5).map(|at: usize| u8::try_from(at % 251).unwrap()).collect();
    let folder = Folder::with(&[("in/a.csv.gz", "no gzip"), ("in/day=1/b", "")]);
    folder.write("in/large.bin", &large);
    let options = folder.options("in/", &json!({"format": "bytes", "split_size": "1MiB"}));
    let scan = folder.scan(options, &ScanRequest::default()).await.unwrap();
    assert_eq!(scan.schema, Some(chunk_schema()));
    let splits: Vec<_> = scan.splits().iter().map(|split| split.estimate.unwrap().bytes.unwrap()).collect();
    assert_eq!(splits, [7, 0, 1 << 20, 1 << 20, 5]);
    let mut run = append(&folder, "1").await;
    let mut writer = run.sink.writer(&folder.cx, &run.begun, 1).await.unwrap();
    for batch in scan.batches {
        writer.write(batch.rows).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    run.commit(&folder, vec![staged], true).await;
    assert_eq!(folder.files("out"), ["a.csv.gz", "day=1/b", "large.bin"]);
    assert_eq!(folder.text("out/a.csv.gz"), "no gzip");
    assert!(std::fs::read(folder.at("out/large.bin")).unwrap() == large);
    for (option, value) in
        [("columns", json!({"a": "int64"})), ("file_column", json!("file")), ("compression", json!("gzip"))]
    {
        let options = folder.options("in/", &json!({"format": "bytes", option: value}));
        let error = folder.scan(options, &ScanRequest::default()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("`{option}` does not go with `format: bytes`")), "{error}");
    }
}
