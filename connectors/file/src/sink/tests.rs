//! Crashes between the steps of a commit, which only tests inside can take one by one.

use super::*;
use std::sync::Arc;

use serde_json::json;
use towpath_core::{
    Advance, Begun, CommitToken, Committed, Context, ErrorKind, Finished, Json, LoadSpec, Position, Sink,
    Staged, WriteDisposition, Writer,
};
use towpath_files::sink::Old;
use towpath_testkit::{context, rows};

use super::folder::home;
use super::manifest::{Home, Move};

type Receipt = towpath_files::sink::Receipt<Move>;

/// A folder with a sink in it.
struct Target {
    folder: tempfile::TempDir,
    cx: Context,
    sink: RowSink<Folder>,
}

impl Target {
    async fn new(path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({ "path": format!("{}/{path}", folder.path().display()) });
        let cx = context();
        let sink = RowSink::open(serde_json::from_value(options).unwrap(), &cx).await.unwrap();
        Self { folder, cx, sink }
    }

    async fn begin(&self, run: &str, disposition: WriteDisposition) -> Begun {
        self.sink.begin(&self.cx, &LoadSpec::new("p", "s", run, disposition)).await.unwrap()
    }

    fn home(&self, begun: &Begun) -> Home {
        home(self.sink.target(), &begun.load)
    }

    /// Stages a file for each of these ids.
    async fn stage(&self, begun: &Begun, ids: &[i64]) -> Vec<Staged> {
        let mut staged = Vec::new();
        for (part, id) in ids.iter().enumerate() {
            let batch = rows::batch("id: int64", &json!([[id]]));
            let begun = self.sink.evolve(&self.cx, begun, &batch.schema()).await.unwrap();
            let mut writer = self.sink.writer(&self.cx, &begun, u32::try_from(part).unwrap()).await.unwrap();
            writer.write(batch).await.unwrap();
            staged.push(writer.finish().await.unwrap());
        }
        staged
    }

    /// Commits up to the point where the intent is stored, and does the first moves.
    fn crash(&self, begun: &Begun, token: &CommitToken, staged: &[Staged], done: usize) -> Vec<Move> {
        let home = self.home(begun);
        let moves: Vec<Move> = staged.iter().flat_map(|staged| Receipt::of(staged).unwrap().files).collect();
        let locked = home.lock().unwrap();
        let (held, intent) =
            commit::prepare(&locked, self.sink.target().old(begun.load.disposition), token, &moves)
                .unwrap()
                .unwrap();
        locked.store(&held, Some(&intent)).unwrap();
        for step in &moves[..done] {
            fs::rename(home.path(&step.staged).unwrap(), home.path(&step.target).unwrap()).unwrap();
        }
        moves
    }

    /// The ids in the visible files.
    fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self
            .files()
            .iter()
            .flat_map(|file| {
                let text = fs::read_to_string(self.folder.path().join("out").join(file)).unwrap();
                let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                lines.iter().map(|line| line["id"].as_i64().unwrap()).collect::<Vec<_>>()
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    fn files(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("out")) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.')).collect()
    }
}

fn token(begun: &Begun) -> CommitToken {
    let mut token = CommitToken::default();
    token.version = 1;
    token.run.clone_from(&begun.checkpoint.run);
    token.epoch = begun.checkpoint.epoch;
    token.sequence = begun.checkpoint.sequence + 1;
    token.planned = Advance { from: Position::Start, to: Position::End };
    token.finished = Some(Finished { since: Position::Start, cursor: Some(json!(begun.load.run)) });
    token
}

#[tokio::test]
async fn a_crash_among_the_moves_is_finished_by_the_next_begin() {
    for moved in 0..=3 {
        let target = Target::new("out/{part}.ndjson").await;
        let begun = target.begin("run1", WriteDisposition::Append).await;
        let staged = target.stage(&begun, &[1, 2, 3]).await;
        target.crash(&begun, &token(&begun), &staged, moved);
        assert_eq!(target.ids().len(), moved);

        let checkpoint = target.sink.checkpoint(&target.cx, &begun.load).await.unwrap().unwrap();
        assert_eq!(checkpoint.cursor, Some(json!("run1")), "a decided commit counts");
        let next = target.begin("run2", WriteDisposition::Append).await;
        assert_eq!(target.ids(), [1, 2, 3]);
        assert_eq!(next.checkpoint.cursor, Some(json!("run1")));
        let fenced = target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap_err();
        assert_eq!(fenced.kind(), ErrorKind::Conflict);
        assert_eq!(target.ids(), [1, 2, 3]);
    }
}

#[tokio::test]
async fn a_commit_that_broke_off_is_finished_by_its_retry() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    let staged = target.stage(&begun, &[1, 2]).await;
    target.crash(&begun, &token(&begun), &staged, 1);
    let committed = target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap();
    assert_eq!(committed, Committed::AlreadyApplied);
    assert_eq!(target.ids(), [1, 2]);
}

#[tokio::test]
async fn a_crash_before_the_intent_leaves_the_old_state() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    let staged = target.stage(&begun, &[1]).await;
    let home = target.home(&begun);
    let moves = Receipt::of(&staged[0]).unwrap().files;
    commit::prepare(&home.lock().unwrap(), Old::Stay, &token(&begun), &moves).unwrap().unwrap();

    let next = target.begin("run2", WriteDisposition::Replace).await;
    assert_eq!((target.ids(), next.checkpoint.cursor.clone()), (vec![], None));
    assert!(!home.path(&moves[0].staged).unwrap().exists(), "what the dead run staged is gone");
    let staged = target.stage(&next, &[7]).await;
    target.sink.commit(&target.cx, &next, &token(&next), staged).await.unwrap();
    assert_eq!(target.ids(), [7], "a noted file that never came to be does no harm");
}

#[tokio::test]
async fn a_crash_in_a_replace_ends_with_the_new_rows_alone() {
    for moved in 0..=2 {
        let target = Target::new("out/{part}.ndjson").await;
        let first = target.begin("run1", WriteDisposition::Replace).await;
        let staged = target.stage(&first, &[1, 2, 3]).await;
        target.sink.commit(&target.cx, &first, &token(&first), staged).await.unwrap();
        fs::write(target.folder.path().join("out/foreign.ndjson"), "{\"id\":99}\n").unwrap();

        let second = target.begin("run2", WriteDisposition::Replace).await;
        let staged = target.stage(&second, &[4, 5]).await;
        target.crash(&second, &token(&second), &staged, moved);
        target.begin("run3", WriteDisposition::Replace).await;
        assert_eq!(target.ids(), [4, 5, 99], "files that the sink did not write stay");
        let listed = target.home(&second).lock().unwrap().files().unwrap();
        assert_eq!(listed.len(), 2);
    }
}

#[tokio::test]
async fn a_file_in_the_way_is_not_overwritten() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    let staged = target.stage(&begun, &[1]).await;
    fs::write(target.folder.path().join("out/run1-00000.ndjson"), "{\"id\":99}\n").unwrap();
    let error = target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("is in the way"), "{error}");
    assert_eq!(target.ids(), [99]);
}

#[tokio::test]
async fn a_damaged_manifest_names_itself_and_can_be_reset() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    let staged = target.stage(&begun, &[1]).await;
    target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap();
    let manifest = target.folder.path().join("out/.towpath/p/s/manifest.json");
    fs::write(&manifest, "{\"version\":1,\"check").unwrap();
    let error = target.sink.begin(&target.cx, &begun.load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(error.to_string().contains("manifest.json"), "{error}");

    target.sink.forget(&target.cx, &begun.load).await.unwrap();
    assert_eq!(target.sink.checkpoint(&target.cx, &begun.load).await.unwrap(), None);
    let next = target.begin("run2", WriteDisposition::Replace).await;
    let staged = target.stage(&next, &[2]).await;
    target.sink.commit(&target.cx, &next, &token(&next), staged).await.unwrap();
    assert_eq!(target.ids(), [2], "`replace` still knows the files of before the reset");
}

#[tokio::test]
async fn a_manifest_of_a_newer_build_is_refused() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    fs::write(target.folder.path().join("out/.towpath/p/s/manifest.json"), "{\"version\":9}").unwrap();
    let error = target.sink.begin(&target.cx, &begun.load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_receipt_never_leads_out_of_the_folder() {
    let target = Target::new("out/{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    for path in ["../evil.ndjson", "/evil.ndjson", "a/../../evil.ndjson", ""] {
        let staged = target.stage(&begun, &[1]).await.remove(0);
        let mut receipt = Receipt::of(&staged).unwrap();
        path.clone_into(&mut receipt.files[0].target);
        let staged = Staged::new(0, 1, 1, serde_json::to_value(receipt).unwrap());
        let error = target.sink.commit(&target.cx, &begun, &token(&begun), vec![staged]).await.unwrap_err();
        assert!(error.to_string().contains("leads out of the target's folder"), "{error}");
    }
    assert_eq!(target.files().len(), 0);
}

#[tokio::test]
async fn commits_of_many_streams_at_once_do_not_meet() {
    let target = Target::new("out/{stream}-{part}.ndjson").await;
    let commits = (0..8_i64).map(|number| {
        let target = &target;
        async move {
            let load = LoadSpec::new("p", format!("s{number}"), "run1", WriteDisposition::Append);
            let begun = target.sink.begin(&target.cx, &load).await.unwrap();
            let staged = target.stage(&begun, &[number]).await;
            target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap();
        }
    });
    futures::future::join_all(commits).await;
    assert_eq!(target.ids(), (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_columns_of_a_commit_are_told_to_the_next_run_until_they_are_forgotten() {
    let target = Target::new("out/{run}-{part}.ndjson").await;
    let begun = target.begin("run1", WriteDisposition::Append).await;
    assert_eq!(begun.schema, None);
    let staged = target.stage(&begun, &[1]).await;
    let columns = rows::schema("id: int64");
    let evolved = target.sink.evolve(&target.cx, &begun, &columns).await.unwrap();
    target.sink.commit(&target.cx, &evolved, &token(&begun), staged).await.unwrap();
    assert_eq!(target.begin("run2", WriteDisposition::Append).await.schema, Some(columns));
    assert_eq!(target.begin("run3", WriteDisposition::Replace).await.schema, None, "its rows go");
    target.sink.forget(&target.cx, &begun.load).await.unwrap();
    assert_eq!(target.begin("run4", WriteDisposition::Append).await.schema, None);
}

#[tokio::test]
async fn writers_of_one_file_are_joined_whatever_the_format() {
    // CSV and NDJSON are joined by the line, JSON and Avro are read and written again.
    for name in ["all.csv", "all.ndjson", "all.ndjson.gz", "all.csv.gz", "all.json", "all.avro"] {
        let target = Target::new(&format!("out/{name}")).await;
        let begun = target.begin("run1", WriteDisposition::Replace).await;
        let staged = target.stage(&begun, &[1, 2, 3]).await;
        let columns = rows::batch("id: int64", &json!([[1]])).schema();
        let begun = target.sink.evolve(&target.cx, &begun, &columns).await.unwrap();
        target.sink.commit(&target.cx, &begun, &token(&begun), staged).await.unwrap();
        assert_eq!(target.files(), [name]);

        let input = crate::input::FileInput::new(
            {
                let path = target.folder.path().join("out").join(name);
                crate::list::entry(path.display().to_string(), &path.metadata().unwrap())
            },
            &target.cx,
        );
        assert_eq!(read_ids(&target.cx, name, Arc::new(input)).await, [1, 2, 3], "{name}");
    }
}

async fn read_ids(cx: &Context, name: &str, input: Arc<dyn towpath_formats::Input>) -> Vec<i64> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use futures::TryStreamExt;

    let options = towpath_formats::ReadOptions::default();
    let reader = towpath_formats::Reader::new(options, name, None, None).unwrap();
    let mut pieces = reader.pieces(cx, input.clone(), 1 << 20);
    let mut ids = Vec::new();
    while let Some(piece) = pieces.try_next().await.unwrap() {
        let batches = reader.read(cx, input.clone(), &piece, Position::Start, None);
        for batch in batches.try_collect::<Vec<_>>().await.unwrap() {
            ids.extend(batch.rows.column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids
}
