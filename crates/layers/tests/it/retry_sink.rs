use std::sync::Arc;

use arrow_schema::Schema;
use towpath_core::{Committed, DynSink, Retry};
use towpath_layers::RetrySink;

use crate::support::{Fault, Faults, Memory, TRANSIENT, begun, context, load, policy, rows, token};

fn retrying(sink: &Arc<Memory>, attempts: u32) -> RetrySink {
    RetrySink::new(sink.clone(), policy(attempts))
}

#[tokio::test(start_paused = true)]
async fn every_call_but_finish_is_tried_again() {
    // Every other event fails.
    let faults = Faults::new(|n| (n % 2 == 0).then_some(TRANSIENT));
    let (sink, cx, begun) = (retrying(&Memory::new(&faults), 2), context(), begun());
    sink.check(&cx, &load()).await.unwrap();
    sink.checkpoint(&cx, &load()).await.unwrap();
    sink.forget(&cx, &load()).await.unwrap();
    sink.begin(&cx, &load()).await.unwrap();
    sink.evolve(&cx, &begun, &Arc::new(Schema::empty())).await.unwrap();
    let mut writer = sink.writer(&cx, &begun, 0).await.unwrap();
    writer.write(rows(&[1])).await.unwrap();
    sink.abort(&cx, &begun, vec![]).await.unwrap();
    assert_eq!(cx.metrics().snapshot().retries, 8);
    assert!(writer.finish().await.unwrap_err().is_retryable());
    assert_eq!(faults.log().iter().filter(|event| *event == "finish").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_is_written_again_and_only_once() {
    for event in 1..4 {
        let faults = Faults::at(event, TRANSIENT);
        let memory = Memory::new(&faults);
        let mut writer = retrying(&memory, 2).writer(&context(), &begun(), 0).await.unwrap();
        for batch in [[1, 2], [3, 4], [5, 6]] {
            writer.write(rows(&batch)).await.unwrap();
        }
        assert_eq!(memory.state.lock().unwrap().staged, [1, 2, 3, 4, 5, 6]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_lost_lands_once() {
    // writer, write, finish, commit, and the answer to the commit.
    let faults = Faults::at(4, TRANSIENT);
    let memory = Memory::new(&faults);
    let (sink, cx) = (retrying(&memory, 2), context());
    let mut writer = sink.writer(&cx, &begun(), 0).await.unwrap();
    writer.write(rows(&[1, 2])).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let committed = sink.commit(&cx, &begun(), &token(1), vec![staged]).await.unwrap();
    assert_eq!(committed, Committed::AlreadyApplied);
    assert_eq!(memory.state.lock().unwrap().committed, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_final_error_of_a_write_is_passed_on_at_once() {
    let faults = Faults::at(1, Fault::Fail(Retry::Never));
    let cx = context();
    let mut writer = retrying(&Memory::new(&faults), 5).writer(&cx, &begun(), 0).await.unwrap();
    assert_eq!(writer.write(rows(&[1])).await.unwrap_err().retry_policy(), Retry::Never);
    assert_eq!(cx.metrics().snapshot().retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_works_is_exhausted() {
    let faults = Faults::new(|n| (n > 0).then_some(TRANSIENT));
    let mut writer = retrying(&Memory::new(&faults), 3).writer(&context(), &begun(), 0).await.unwrap();
    assert_eq!(writer.write(rows(&[1])).await.unwrap_err().retry_policy(), Retry::Exhausted);
    assert_eq!(faults.events(), 4);
}
