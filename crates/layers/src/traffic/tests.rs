use std::path::Path;

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{Answered, ErrorKind, Exchange, Json, Piece, Recorder, Recording, Result, Then};

use super::{FileRecorder, FileRecording};

fn piece(exchange: u64, asked: Option<&str>, body: &[u8], then: Then) -> Piece {
    let head = asked.map(|asked| Exchange {
        asked: asked.to_owned(),
        request: json!({}),
        answer: json!({ "number": exchange }),
    });
    Piece { exchange, head, body: body.to_vec(), then }
}

async fn ask(recording: &FileRecording, asked: &str) -> Result<(Json, Vec<u8>)> {
    let Answered { head, body } = recording.answer(asked).await?;
    let pieces: Vec<Vec<u8>> = body.try_collect().await?;
    Ok((head["number"].clone(), pieces.concat()))
}

async fn record(path: &Path, pieces: Vec<Piece>) {
    let recorder = FileRecorder::create(path).unwrap();
    for piece in pieces {
        recorder.keep(piece).await.unwrap();
    }
    recorder.finish().unwrap();
}

#[tokio::test]
async fn the_same_request_gets_its_answers_in_their_order_and_none_twice() {
    for name in ["a.ndjson", "a.ndjson.gz"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let pieces = [(1, "GET a", "one"), (2, "GET b", "two"), (3, "GET a", "three")];
        record(&path, pieces.map(|(n, a, body)| piece(n, Some(a), body.as_bytes(), Then::End)).to_vec())
            .await;
        let recording = FileRecording::open(&path).unwrap();
        assert_eq!(ask(&recording, "GET a").await.unwrap(), (json!(1), b"one".to_vec()));
        assert_eq!(ask(&recording, "GET a").await.unwrap(), (json!(3), b"three".to_vec()));
        let error = ask(&recording, "GET a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.message(), "the recording has no further answer to `GET a`; it had 2");
        let error = ask(&recording, "GET c").await.unwrap_err();
        assert_eq!(error.message(), "the recording has no answer to `GET c`");
    }
}

#[tokio::test]
async fn bodies_of_many_pieces_may_come_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    record(
        &path,
        vec![
            piece(1, Some("a"), b"1", Then::More),
            piece(2, Some("b"), &[0xff, 0], Then::More),
            piece(1, None, b"2", Then::More),
            piece(2, None, b"x", Then::Cut("it broke".to_owned())),
            piece(1, None, b"", Then::End),
            piece(3, Some("c"), b"half", Then::More),
        ],
    )
    .await;
    let recording = FileRecording::open(&path).unwrap();
    assert_eq!(ask(&recording, "a").await.unwrap().1, b"12");
    let mut body = recording.answer("b").await.unwrap().body;
    assert_eq!(body.try_next().await.unwrap().unwrap(), [0xff, 0]);
    assert_eq!(body.try_next().await.unwrap().unwrap(), b"x");
    assert_eq!(body.try_next().await.unwrap_err().message(), "it broke");
    let error = ask(&recording, "c").await.unwrap_err();
    assert_eq!(error.message(), "the recording ends within this answer");
}

#[tokio::test]
async fn what_a_killed_run_has_written_can_be_read() {
    for name in ["a.ndjson", "a.ndjson.gz"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        record(&path, vec![piece(1, Some("a"), b"1", Then::End), piece(2, Some("b"), b"2", Then::End)]).await;
        let bytes = std::fs::read(&path).unwrap();
        // In the middle of the last line, or of what ends the compressed form.
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let recording = FileRecording::open(&path).unwrap();
        assert_eq!(ask(&recording, "a").await.unwrap().1, b"1", "{name}");
    }
}

#[tokio::test]
async fn a_recording_begins_when_its_run_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let recorder = FileRecorder::create(&path).unwrap();
    recorder.finish().unwrap();
    let recording = FileRecording::open(&path).unwrap();
    let apart = recorder.began().duration_since(recording.began()).unwrap_or_default();
    assert!(apart.as_millis() == 0, "{apart:?}");
}

#[tokio::test]
async fn what_is_no_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    let kind = |path: &Path| FileRecording::open(path).err().unwrap();
    assert!(kind(&path).to_string().contains("no such file"));
    std::fs::write(&path, "{}\n").unwrap();
    assert_eq!(kind(&path).message(), "the file is no recording");
    std::fs::write(&path, "{\"towpath_recording\":9,\"began\":\"2026-01-01T00:00:00Z\"}\n").unwrap();
    assert_eq!(kind(&path).message(), "the recording has the form 9, not 1");
    assert!(FileRecorder::create(&folder.path().join("no/where")).is_err());
}

#[tokio::test]
async fn a_finished_recording_keeps_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = FileRecorder::create(&folder.path().join("a.ndjson")).unwrap();
    assert_eq!((recorder.number(), recorder.number()), (1, 2));
    recorder.keep_last(piece(1, Some("a"), b"1", Then::End));
    recorder.finish().unwrap();
    assert!(recorder.keep(piece(2, Some("a"), b"1", Then::End)).await.is_err());
}
