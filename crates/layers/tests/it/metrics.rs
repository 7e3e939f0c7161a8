use futures::StreamExt;
use serde_json::json;
use towpath_core::{DynSink, DynSource, Position, Resume, Split};
use towpath_layers::{MeterSink, MeterSource};

use crate::support::{Fault, Faults, Memory, Numbers, begun, context, rows, secs, token};

fn nanos(seconds: u64) -> u64 {
    seconds * 1_000_000_000
}

#[tokio::test(start_paused = true)]
async fn batches_and_rows_are_counted_and_only_the_waits_of_the_reader() {
    let faults = Faults::new(|n| (n > 0).then_some(Fault::Slow(secs(2))));
    let (source, cx) = (MeterSource::new(Numbers::new(Resume::Exact, &faults)), context());
    let mut batches = source.read(&cx, &Split::new("all", json!(null)), Position::Start).unwrap();
    while let Some(batch) = batches.next().await {
        batch.unwrap();
        tokio::time::sleep(secs(50)).await;
    }
    let seen = cx.metrics().snapshot();
    // Four batches and the end, two seconds each.
    assert_eq!((seen.batches, seen.rows_read, seen.source_wait), (4, 8, nanos(10)));
}

#[tokio::test(start_paused = true)]
async fn rows_written_are_counted_and_the_waits_for_write_finish_and_commit() {
    // writer, write, write, finish, commit, and the answer to the commit.
    let faults = Faults::new(|n| (n > 0).then_some(Fault::Slow(secs(3))));
    let (sink, cx) = (MeterSink::new(Memory::new(&faults)), context());
    let mut writer = sink.writer(&cx, &begun(), 0).await.unwrap();
    writer.write(rows(&[1, 2])).await.unwrap();
    tokio::time::sleep(secs(50)).await;
    writer.write(rows(&[3])).await.unwrap();
    let staged = writer.finish().await.unwrap();
    sink.commit(&cx, &begun(), &token(1), vec![staged]).await.unwrap();
    let seen = cx.metrics().snapshot();
    assert_eq!((seen.rows_written, seen.sink_wait), (3, nanos(15)));
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_failed_write_do_not_count_and_its_wait_does() {
    let faults = Faults::at(1, Fault::Hang);
    let (sink, cx) = (MeterSink::new(Memory::new(&faults)), context());
    let mut writer = sink.writer(&cx, &begun(), 0).await.unwrap();
    let given_up = tokio::time::timeout(secs(4), writer.write(rows(&[1]))).await;
    assert!(given_up.is_err());
    let seen = cx.metrics().snapshot();
    assert_eq!((seen.rows_written, seen.sink_wait), (0, nanos(4)));
}
