//! Faults strike exactly where they are told to.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use towpath_core::{
    CommitToken, DynSource, Error, ErrorKind, LoadSpec, Position, ScanRequest, Split, WriteDisposition,
};
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::{MemoryData, MemorySink, MemorySource, MemoryTarget};
use towpath_testkit::{context, rows};

fn source(faults: &Faults) -> Arc<dyn DynSource> {
    let batch = |id: i64| rows::batch("id: int64", &json!([[id]]));
    let data = MemoryData::new().split("a", [batch(1), batch(2)]).split("b", [batch(3), batch(4)]);
    faults.source(MemorySource::new(&data).shared())
}

fn split(id: &str) -> Split {
    Split::new(id, json!({"split": id, "range": null, "columns": null}))
}

/// How each poll of a read went.
async fn outcomes(source: &Arc<dyn DynSource>, id: &str) -> Vec<std::result::Result<usize, ErrorKind>> {
    let batches = source.read(&context(), &split(id), Position::Start).unwrap();
    batches
        .map(|batch| batch.map(|batch| batch.rows.num_rows()).map_err(|error| error.kind()))
        .collect()
        .await
}

#[tokio::test]
async fn a_fault_strikes_at_its_call_once() {
    let faults = Faults::new().at(Point::Batch, 2, Fault::transient());
    let source = source(&faults);
    assert_eq!(outcomes(&source, "a").await, [Ok(1), Err(ErrorKind::Unavailable)]);
    assert_eq!(outcomes(&source, "a").await, [Ok(1), Ok(1)]);
}

#[tokio::test]
async fn a_fault_of_a_split_leaves_the_others_alone() {
    let faults = Faults::new().always_split(Point::Batch, "b", Fault::lasting());
    let source = source(&faults);
    assert_eq!(outcomes(&source, "a").await, [Ok(1), Ok(1)]);
    assert_eq!(outcomes(&source, "b").await, [Err(ErrorKind::Unexpected)]);
    assert_eq!((faults.count(Point::Read), faults.count(Point::Batch)), (2, 4));
}

#[tokio::test]
async fn planning_breaks_off_at_its_step() {
    let faults = Faults::new().at(Point::Planned, 2, Fault::with(|| Error::data("torn")));
    let plan = source(&faults).plan(&context(), &ScanRequest::default()).await.unwrap();
    let steps: Vec<_> = plan.splits.map(|step| step.is_ok()).collect().await;
    assert_eq!(steps, [true, false]);
}

#[tokio::test]
async fn a_stalled_call_goes_on_when_it_is_released() {
    let faults = Faults::new().at_split(Point::Read, "a", 1, Fault::Stall);
    let source = source(&faults);
    let mut read = Box::pin(outcomes(&source, "a"));
    assert!((&mut read).now_or_never().is_none());
    faults.release();
    assert_eq!(read.await, [Ok(1), Ok(1)]);
}

#[tokio::test]
async fn a_killed_commit_was_applied_or_not_as_the_point_says() {
    for (point, rows) in [(Point::Commit, 0), (Point::Committed, 1)] {
        let faults = Faults::new().at(point, 1, Fault::Kill);
        let target = MemoryTarget::new();
        let sink = faults.sink(MemorySink::new(&target).shared());
        let cx = context();
        let load = LoadSpec::new("p", "s", "r", WriteDisposition::Append);
        let begun = sink.begin(&cx, &load).await.unwrap();
        let batch = rows::batch("id: int64", &json!([[1]]));
        let begun = sink.evolve(&cx, &begun, &batch.schema()).await.unwrap();
        let mut writer = sink.writer(&cx, &begun, 0).await.unwrap();
        writer.write(batch).await.unwrap();
        let staged = writer.finish().await.unwrap();
        let mut token = CommitToken::default();
        (token.run, token.epoch, token.sequence) = ("r".to_owned(), 1, 1);
        let commit = sink.commit(&cx, &begun, &token, vec![staged]);
        tokio::select! {
            committed = commit => panic!("{committed:?}"),
            () = faults.killed() => {}
        }
        assert_eq!(target.rows("s").len(), rows, "{point:?}");
    }
}
