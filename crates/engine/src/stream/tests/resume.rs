use serde_json::json;
use towpath_core::{ErrorKind, Resume, WriteDisposition};
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::MemorySource;
use towpath_testkit::rows;

use super::harness::Harness;
use crate::StreamStatus;
use crate::stream::run;

/// Runs until the fault kills the process at this call; `false` when it got to its end before.
async fn killed_at(harness: &mut Harness, point: Point, call: u64) -> bool {
    harness.faults = Faults::new().at(point, call, Fault::Kill);
    let opened = harness.opened();
    tokio::select! {
        () = harness.faults.killed() => true,
        _ = run(opened) => false,
    }
}

/// Kills at every call of a point, resumes, and compares.
async fn kill_everywhere(point: Point, resume: Resume) {
    for call in 1.. {
        let mut harness = Harness::new(3, 3).resume(resume);
        let was_killed = killed_at(&mut harness, point, call).await;
        let harness = harness.without_faults();
        // Where the last commit was in already, the next run would be a new one.
        let finished =
            harness.target.checkpoint("p", "s").is_some_and(|held| held.sequence > 0 && !held.is_under_way());
        if !finished {
            let (outcome, _) = harness.run().await;
            assert!(outcome.is_done(), "{point:?} {call}: {outcome:?}");
        }
        if !was_killed {
            assert!(call > 1, "{point:?} was never reached");
            return;
        }
        rows::assert_same(&harness.data.rows(), &harness.rows());
        assert_eq!(harness.target.leftovers(), Vec::<String>::new(), "{point:?} {call}");
    }
}

#[tokio::test]
async fn a_kill_at_any_batch_loses_and_doubles_nothing() {
    kill_everywhere(Point::Batch, Resume::Exact).await;
}

#[tokio::test]
async fn a_kill_at_any_step_of_planning_loses_and_doubles_nothing() {
    kill_everywhere(Point::Planned, Resume::Exact).await;
}

#[tokio::test]
async fn a_kill_before_any_commit_loses_and_doubles_nothing() {
    kill_everywhere(Point::Commit, Resume::Exact).await;
}

#[tokio::test]
async fn a_kill_after_any_commit_loses_and_doubles_nothing() {
    kill_everywhere(Point::Committed, Resume::Exact).await;
}

#[tokio::test]
async fn a_kill_between_writing_and_staging_loses_and_doubles_nothing() {
    kill_everywhere(Point::Finish, Resume::Exact).await;
}

#[tokio::test]
async fn a_kill_of_splits_without_positions_loses_and_doubles_nothing() {
    kill_everywhere(Point::Batch, Resume::Split).await;
}

#[tokio::test]
async fn a_kill_of_splits_whose_positions_die_with_the_run_loses_and_doubles_nothing() {
    kill_everywhere(Point::Batch, Resume::Run).await;
}

#[tokio::test]
async fn a_killed_replace_starts_again_and_keeps_the_old_rows_until_then() {
    let mut harness = Harness::new(2, 3);
    harness.disposition = WriteDisposition::Replace;
    harness.target.insert("s", rows::batch("id: int64, split: int64", &json!([[999, 9]])));
    assert!(killed_at(&mut harness, Point::Commit, 1).await);
    assert_eq!(harness.rows(), [json!({"id": 999, "split": 9})]);
    let harness = harness.without_faults();
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done() && !outcome.resumed, "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn a_gentle_stop_commits_what_was_read_and_the_next_run_goes_on() {
    let mut harness = Harness::new(1, 6);
    harness.faults = Faults::new().at(Point::Batch, 4, Fault::Stall);
    let opened = harness.opened();
    let progress = opened.progress.clone();
    let running = tokio::spawn(run(opened));
    while progress.rows_committed() < 9 {
        tokio::task::yield_now().await;
    }
    harness.shutdown.request();
    let outcome = running.await.unwrap();
    assert_eq!(outcome.status, Some(StreamStatus::Interrupted), "{outcome:?}");
    assert_eq!(harness.rows().len(), 9);
    let mut harness = harness.without_faults();
    harness.shutdown = crate::Shutdown::new();
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done() && outcome.resumed, "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut harness = Harness::new(2, 6);
    harness.faults = Faults::new().at(Point::Write, 1, Fault::Stall);
    let running = tokio::spawn(run(harness.opened()));
    while harness.faults.count(Point::Write) == 0 {
        tokio::task::yield_now().await;
    }
    harness.shutdown.request();
    harness.shutdown.request();
    let outcome = running.await.unwrap();
    assert_eq!(outcome.status, Some(StreamStatus::Interrupted), "{outcome:?}");
    let mut harness = harness.without_faults();
    harness.shutdown = crate::Shutdown::new();
    harness.run().await;
    harness.assert_complete();
}

#[tokio::test]
async fn a_second_run_fences_the_first() {
    let mut harness = Harness::new(1, 4);
    harness.faults = Faults::new().at(Point::Commit, 1, Fault::Stall);
    let first = tokio::spawn(run(harness.opened()));
    while harness.faults.count(Point::Commit) == 0 {
        tokio::task::yield_now().await;
    }
    let faults = std::mem::take(&mut harness.faults);
    let (second, _) = harness.run().await;
    assert!(second.is_done(), "{second:?}");
    faults.release();
    let first = first.await.unwrap();
    assert_eq!(first.status, Some(StreamStatus::Failed));
    assert_eq!(first.failures[0].kind, ErrorKind::Conflict, "{first:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn a_source_that_never_ends_goes_on_in_the_next_run() {
    let mut harness = Harness::new(2, 2);
    harness.source = MemorySource::unbounded;
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
    let checkpoint = harness.target.checkpoint("p", "s").unwrap();
    assert!(checkpoint.is_under_way());
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done() && outcome.resumed, "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn nothing_is_replaced_by_a_source_that_never_ends() {
    let mut harness = Harness::new(1, 1);
    harness.source = MemorySource::unbounded;
    harness.disposition = WriteDisposition::Replace;
    let (outcome, _) = harness.run().await;
    assert!(!outcome.is_done());
    assert!(outcome.failures[0].message.contains("never ends"), "{outcome:?}");
}
