//! Objects as they are, put together from their chunks.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, DynSink, Finished, LoadSpec, Position, Rejected, Result, Split,
    SplitAdvance, Staged, WriteDisposition, chunk_schema,
};
use towpath_formats::chunks::{Algorithm, File, Hasher, batch};

use crate::support::Prefix;

/// The size of chunks, as sources give them.
const CHUNK: usize = 1 << 20;

/// A run into a folder `out/`.
struct Run {
    sink: Arc<dyn DynSink>,
    begun: Begun,
    sequence: u64,
    part: u32,
}

async fn begin(prefix: &Prefix, run: &str, disposition: WriteDisposition) -> Run {
    let options = prefix.options("out/", &json!({"format": "bytes", "part_size": "5MiB"}));
    let sink = CONNECTOR.sink_entry().unwrap().open(options, &prefix.cx).await.unwrap();
    let begun = sink.begin(&prefix.cx, &LoadSpec::new("p", "s", run, disposition)).await.unwrap();
    let begun = sink.evolve(&prefix.cx, &begun, &chunk_schema()).await.unwrap();
    Run { sink, begun, sequence: 0, part: 0 }
}

async fn append(prefix: &Prefix, run: &str) -> Run {
    begin(prefix, run, WriteDisposition::Append).await
}

/// Bytes that differ wherever one looks.
fn content(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at / 7 + at % 251) % 256).unwrap()).collect::<Vec<u8>>().into()
}

fn file(name: &str, content: &Bytes) -> File {
    File {
        name: name.to_owned(),
        size: Some(content.len() as u64),
        version: Some("1".to_owned()),
        digest: None,
    }
}

impl Run {
    /// Stages the bytes of a file from one place to another with a writer of its own.
    async fn stage(
        &mut self,
        prefix: &Prefix,
        file: &File,
        content: &Bytes,
        from: usize,
        to: usize,
    ) -> Staged {
        self.part += 1;
        let mut writer = self.sink.writer(&prefix.cx, &self.begun, self.part).await.unwrap();
        let mut at = from;
        loop {
            let end = (at + CHUNK).min(to);
            writer.write(batch(file, at as u64, content.slice(at..end)).unwrap()).await.unwrap();
            at = end;
            if at >= to {
                return writer.finish().await.unwrap();
            }
        }
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
        let advance = |(from, to)| SplitAdvance {
            split: Split::new("a", json!({})),
            from,
            to: Position::At(json!(to)),
        };
        token.splits = step.into_iter().map(advance).collect();
        token.finished = finished.then(Finished::default);
        token
    }

    async fn commit_with(
        &mut self,
        prefix: &Prefix,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let committed = self.sink.commit(&prefix.cx, &self.begun, token, staged).await?;
        if committed == Committed::Applied {
            self.sequence = token.sequence;
        }
        Ok(committed)
    }

    async fn commit(&mut self, prefix: &Prefix, staged: Vec<Staged>, finished: bool) -> Committed {
        let token = self.token(None, finished);
        self.commit_with(prefix, &token, staged).await.unwrap()
    }
}

/// What lies around beside what the manifest knows.
async fn hidden(prefix: &Prefix) -> Vec<String> {
    let mut found = prefix.staged().await;
    found.extend(prefix.all_keys().await.into_iter().filter(|key| key.contains("/partial/")));
    found
}

#[tokio::test]
async fn an_object_is_visible_when_all_its_chunks_are_committed_in_whatever_order_they_came() {
    let prefix = Prefix::new();
    let mut run = append(&prefix, "1").await;
    let (large, none) = (content(12 * CHUNK + 7), Bytes::new());
    let (a, b) = (file("x/large", &large), file("empty", &none));
    // The second part of the upload is written by two of them.
    let first = run.stage(&prefix, &a, &large, 7 * CHUNK, large.len()).await;
    let second = run.stage(&prefix, &b, &none, 0, 0).await;
    assert_eq!((first.rows, first.bytes), (6, (large.len() - 7 * CHUNK) as u64));
    assert_eq!(run.commit(&prefix, vec![first, second], false).await, Committed::Applied);
    assert_eq!(prefix.visible().await, ["out/empty"]);
    let third = run.stage(&prefix, &a, &large, 0, 7 * CHUNK).await;
    assert_eq!(prefix.visible().await, ["out/empty"]);
    assert_eq!(run.commit(&prefix, vec![third], true).await, Committed::Applied);
    assert_eq!(prefix.visible().await, ["out/empty", "out/x/large"]);
    assert!(prefix.get("out/x/large").await == large, "the bytes differ");
    assert_eq!(prefix.get("out/empty").await, b"");
    assert_eq!(hidden(&prefix).await, [""; 0]);
}

#[tokio::test]
async fn a_killed_run_goes_on_with_the_bytes_that_were_committed_and_no_others() {
    for is_there in [false, true] {
        killed(is_there).await;
    }
}

/// A run that is killed and one that goes on, where a blob of the name is there already or not.
async fn killed(is_there: bool) {
    let prefix = Prefix::new();
    if is_there {
        prefix.put("out/a", "before").await;
    }
    let mut run = append(&prefix, "1").await;
    let large = content(11 * CHUNK);
    let a = file("a", &large);
    let staged = run.stage(&prefix, &a, &large, 0, 6 * CHUNK).await;
    let token = run.token(Some((Position::Start, 6)), false);
    run.commit_with(&prefix, &token, vec![staged]).await.unwrap();
    // Staged, and never committed.
    let other = content(3 * CHUNK);
    run.stage(&prefix, &file("b", &other), &other, 0, 3 * CHUNK).await;
    if is_there {
        assert_eq!(prefix.get("out/a").await, b"before");
    }
    let mut next = append(&prefix, "2").await;
    let progress = next.begun.checkpoint.progress.as_ref().unwrap();
    assert_eq!(progress.position(&"a".into()), Some(&Position::At(json!(6))));
    let rest = next.stage(&prefix, &a, &large, 6 * CHUNK, 11 * CHUNK).await;
    let mut token = next.token(Some((Position::At(json!(6)), 11)), true);
    token.splits[0].to = Position::End;
    assert_eq!(next.commit_with(&prefix, &token, vec![rest]).await.unwrap(), Committed::Applied);
    assert_eq!(prefix.visible().await, ["out/a"]);
    assert!(prefix.get("out/a").await == large, "the bytes differ");
    assert_eq!(hidden(&prefix).await, [""; 0], "the upload of the dead run is given up");
}

#[tokio::test]
async fn an_object_has_the_digest_that_it_must_have_or_is_refused() {
    let prefix = Prefix::new();
    let large = content(6 * CHUNK);
    let digest = |content: &Bytes| {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        hasher.finish().to_string()
    };
    let right = File { digest: Some(digest(&large)), ..file("right", &large) };
    let wrong = File { digest: Some(digest(&Bytes::new())), ..file("wrong", &large) };
    let mut run = append(&prefix, "1").await;
    let staged = vec![
        run.stage(&prefix, &right, &large, 3 * CHUNK, 6 * CHUNK).await,
        run.stage(&prefix, &right, &large, 0, 3 * CHUNK).await,
        run.stage(&prefix, &wrong, &large, 0, 6 * CHUNK).await,
    ];
    let refused = match run.commit(&prefix, staged.clone(), true).await {
        Committed::Refused(rows) => rows.iter().map(Rejected::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("wrong") && refused[0].contains("its digest is sha256:"), "{refused:?}");
    // The engine leaves it out, and commits the rest.
    assert_eq!(run.commit(&prefix, staged, true).await, Committed::Applied);
    assert_eq!(prefix.visible().await, ["out/right"]);
    assert!(prefix.get("out/right").await == large, "the bytes differ");
}

#[tokio::test]
async fn a_replace_keeps_what_comes_again_and_removes_the_rest_of_its_own() {
    let prefix = Prefix::new();
    let small = content(10);
    for (run, names) in [("1", ["a", "b"]), ("2", ["b", "c"])] {
        let mut run = begin(&prefix, run, WriteDisposition::Replace).await;
        let mut staged = Vec::new();
        for name in names {
            staged.push(run.stage(&prefix, &file(name, &small), &small, 0, 10).await);
        }
        assert_eq!(run.commit(&prefix, staged, true).await, Committed::Applied);
        prefix.put("out/foreign", "x").await;
    }
    assert_eq!(prefix.visible().await, ["out/b", "out/c", "out/foreign"]);
    assert_eq!(hidden(&prefix).await, [""; 0]);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_refused_and_the_others_land() {
    let prefix = Prefix::new();
    let small = content(10);
    let mut run = append(&prefix, "1").await;
    let staged = vec![
        run.stage(&prefix, &file("../evil", &small), &small, 0, 10).await,
        run.stage(&prefix, &file("good", &small), &small, 0, 10).await,
    ];
    assert_eq!(staged[0].rejected.len(), 1);
    assert_eq!(run.commit(&prefix, staged, true).await, Committed::Applied);
    assert_eq!(prefix.visible().await, ["out/good"]);
}

#[tokio::test]
async fn what_nobody_commits_is_given_up() {
    let prefix = Prefix::new();
    let small = content(10);
    let mut run = append(&prefix, "1").await;
    let staged = run.stage(&prefix, &file("a", &small), &small, 0, 10).await;
    run.sink.abort(&prefix.cx, &run.begun, vec![staged]).await.unwrap();
    let mut writer = run.sink.writer(&prefix.cx, &run.begun, 9).await.unwrap();
    writer.write(batch(&file("b", &small), 0, small.clone()).unwrap()).await.unwrap();
    drop(writer);
    for _ in 0..500 {
        if hidden(&prefix).await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it stays: {:?}", hidden(&prefix).await);
}
