//! Objects as they are, put together from their chunks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, DynSink, Finished, LoadSpec, Position, Rejected, Result, Split,
    SplitAdvance, Staged, WriteDisposition, chunk_schema,
};
use towpath_formats::chunks::{Algorithm, File, Hasher, batch};

use super::{ObjectSite, ObjectSiteTools};

/// The size of chunks, as sources give them.
const CHUNK: usize = 1 << 20;

/// A run into a folder `out/`.
struct Run {
    sink: Arc<dyn DynSink>,
    begun: Begun,
    sequence: u64,
    part: u32,
}

async fn begin(site: &impl ObjectSite, run: &str, disposition: WriteDisposition) -> Run {
    let sink = site.sink("out/", &json!({"format": "bytes", "part_size": "5MiB"})).await;
    let begun = sink.begin(site.cx(), &LoadSpec::new("p", "s", run, disposition)).await.unwrap();
    let begun = sink.evolve(site.cx(), &begun, &chunk_schema()).await.unwrap();
    Run { sink, begun, sequence: 0, part: 0 }
}

async fn append(site: &impl ObjectSite, run: &str) -> Run {
    begin(site, run, WriteDisposition::Append).await
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
        site: &impl ObjectSite,
        file: &File,
        content: &Bytes,
        from: usize,
        to: usize,
    ) -> Staged {
        self.part += 1;
        let mut writer = self.sink.writer(site.cx(), &self.begun, self.part).await.unwrap();
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
        site: &impl ObjectSite,
        token: &CommitToken,
        staged: Vec<Staged>,
    ) -> Result<Committed> {
        let committed = self.sink.commit(site.cx(), &self.begun, token, staged).await?;
        if committed == Committed::Applied {
            self.sequence = token.sequence;
        }
        Ok(committed)
    }

    async fn commit(&mut self, site: &impl ObjectSite, staged: Vec<Staged>, finished: bool) -> Committed {
        let token = self.token(None, finished);
        self.commit_with(site, &token, staged).await.unwrap()
    }
}

/// What lies around beside what the manifest knows.
async fn hidden(site: &impl ObjectSite) -> Vec<String> {
    let mut found = site.staged().await;
    found.extend(site.all_keys().await.into_iter().filter(|key| key.contains("/partial/")));
    found
}

/// Chunks come in any order, and are an object when all are there.
pub async fn an_object_is_visible_when_all_its_chunks_are_committed_in_whatever_order_they_came<
    S: ObjectSite,
>() {
    let site = S::new().await;
    let mut run = append(&site, "1").await;
    let (large, none) = (content(12 * CHUNK + 7), Bytes::new());
    let (a, b) = (file("x/large", &large), file("empty", &none));
    // The second part of the upload is written by two of them.
    let first = run.stage(&site, &a, &large, 7 * CHUNK, large.len()).await;
    let second = run.stage(&site, &b, &none, 0, 0).await;
    assert_eq!((first.rows, first.bytes), (6, (large.len() - 7 * CHUNK) as u64));
    assert_eq!(run.commit(&site, vec![first, second], false).await, Committed::Applied);
    assert_eq!(site.visible().await, ["out/empty"]);
    let third = run.stage(&site, &a, &large, 0, 7 * CHUNK).await;
    assert_eq!(site.visible().await, ["out/empty"]);
    assert_eq!(run.commit(&site, vec![third], true).await, Committed::Applied);
    assert_eq!(site.visible().await, ["out/empty", "out/x/large"]);
    assert!(site.object_bytes("out/x/large").await == large, "the bytes differ");
    assert_eq!(site.object_bytes("out/empty").await, b"");
    assert_eq!(hidden(&site).await, [""; 0]);
}

/// Bytes that were committed need not come again.
pub async fn a_killed_run_goes_on_with_the_bytes_that_were_committed_and_no_others<S: ObjectSite>() {
    killed(&S::new().await, None).await;
}

/// An object that is written anew is replaced in one step, whatever happens before that.
pub async fn a_killed_run_leaves_the_object_of_before_until_the_next_has_all_of_the_new_one<S: ObjectSite>() {
    let site = S::with(&[("out/a", "before")]).await;
    killed(&site, Some(b"before")).await;
}

/// A run that is killed and one that goes on, where an object of the name may be there already.
async fn killed(site: &impl ObjectSite, before: Option<&[u8]>) {
    let mut run = append(site, "1").await;
    let large = content(11 * CHUNK);
    let a = file("a", &large);
    let staged = run.stage(site, &a, &large, 0, 6 * CHUNK).await;
    let token = run.token(Some((Position::Start, 6)), false);
    run.commit_with(site, &token, vec![staged]).await.unwrap();
    // Staged, and never committed.
    let other = content(3 * CHUNK);
    run.stage(site, &file("b", &other), &other, 0, 3 * CHUNK).await;
    if let Some(before) = before {
        assert_eq!(site.object_bytes("out/a").await, before);
    }
    let mut next = append(site, "2").await;
    let progress = next.begun.checkpoint.progress.as_ref().unwrap();
    assert_eq!(progress.position(&"a".into()), Some(&Position::At(json!(6))));
    let rest = next.stage(site, &a, &large, 6 * CHUNK, 11 * CHUNK).await;
    let mut token = next.token(Some((Position::At(json!(6)), 11)), true);
    token.splits[0].to = Position::End;
    assert_eq!(next.commit_with(site, &token, vec![rest]).await.unwrap(), Committed::Applied);
    assert_eq!(site.visible().await, ["out/a"]);
    assert!(site.object_bytes("out/a").await == large, "the bytes differ");
    assert_eq!(hidden(site).await, [""; 0], "the upload of the dead run is given up");
}

/// An object that is not what it should be is not written.
pub async fn an_object_has_the_digest_that_it_must_have_or_is_refused<S: ObjectSite>() {
    let site = S::new().await;
    let large = content(6 * CHUNK);
    let digest = |content: &Bytes| {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(content);
        hasher.finish().to_string()
    };
    let right = File { digest: Some(digest(&large)), ..file("right", &large) };
    let wrong = File { digest: Some(digest(&Bytes::new())), ..file("wrong", &large) };
    let mut run = append(&site, "1").await;
    let staged = vec![
        run.stage(&site, &right, &large, 3 * CHUNK, 6 * CHUNK).await,
        run.stage(&site, &right, &large, 0, 3 * CHUNK).await,
        run.stage(&site, &wrong, &large, 0, 6 * CHUNK).await,
    ];
    let refused = match run.commit(&site, staged.clone(), true).await {
        Committed::Refused(rows) => rows.iter().map(Rejected::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].contains("wrong") && refused[0].contains("its digest is sha256:"), "{refused:?}");
    // The engine leaves it out, and commits the rest.
    assert_eq!(run.commit(&site, staged, true).await, Committed::Applied);
    assert_eq!(site.visible().await, ["out/right"]);
    assert!(site.object_bytes("out/right").await == large, "the bytes differ");
}

/// `replace` of whole files, and the files of others.
pub async fn a_replace_keeps_what_comes_again_and_removes_the_rest_of_its_own<S: ObjectSite>() {
    let site = S::new().await;
    let small = content(10);
    for (run, names) in [("1", ["a", "b"]), ("2", ["b", "c"])] {
        let mut run = begin(&site, run, WriteDisposition::Replace).await;
        let mut staged = Vec::new();
        for name in names {
            staged.push(run.stage(&site, &file(name, &small), &small, 0, 10).await);
        }
        assert_eq!(run.commit(&site, staged, true).await, Committed::Applied);
        site.put("out/foreign", "x").await;
    }
    assert_eq!(site.visible().await, ["out/b", "out/c", "out/foreign"]);
    assert_eq!(hidden(&site).await, [""; 0]);
}

/// A name such as `../evil` is a row that is refused.
pub async fn a_name_that_leads_elsewhere_is_refused_and_the_others_land<S: ObjectSite>() {
    let site = S::new().await;
    let small = content(10);
    let mut run = append(&site, "1").await;
    let staged = vec![
        run.stage(&site, &file("../evil", &small), &small, 0, 10).await,
        run.stage(&site, &file("good", &small), &small, 0, 10).await,
    ];
    assert_eq!(staged[0].rejected.len(), 1);
    assert_eq!(run.commit(&site, staged, true).await, Committed::Applied);
    assert_eq!(site.visible().await, ["out/good"]);
}

/// Aborting, and dropping a writer, leave nothing behind.
pub async fn what_nobody_commits_is_given_up<S: ObjectSite>() {
    let site = S::new().await;
    let small = content(10);
    let mut run = append(&site, "1").await;
    let staged = run.stage(&site, &file("a", &small), &small, 0, 10).await;
    run.sink.abort(site.cx(), &run.begun, vec![staged]).await.unwrap();
    let mut writer = run.sink.writer(site.cx(), &run.begun, 9).await.unwrap();
    writer.write(batch(&file("b", &small), 0, small.clone()).unwrap()).await.unwrap();
    drop(writer);
    for _ in 0..500 {
        if hidden(&site).await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it stays: {:?}", hidden(&site).await);
}
