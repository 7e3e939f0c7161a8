use serde_json::json;
use towpath_core::{ErrorKind, Rejected, Resume, WriteDisposition};
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::MemoryTarget;
use towpath_testkit::rows;

use super::harness::{Harness, grid};
use crate::{OnError, StreamStatus};

#[tokio::test]
async fn transient_faults_anywhere_are_healed() {
    for point in [
        Point::Plan,
        Point::Planned,
        Point::Read,
        Point::Batch,
        Point::Begin,
        Point::Evolve,
        Point::Writer,
        Point::Write,
        Point::Commit,
        Point::Committed,
    ] {
        let mut harness = Harness::new(3, 4);
        harness.faults = Faults::new().at(point, 1, Fault::transient()).at(point, 3, Fault::transient());
        let (outcome, _) = harness.run().await;
        assert!(outcome.is_done(), "{point:?}: {outcome:?}");
        harness.assert_complete();
    }
}

#[tokio::test]
async fn a_split_without_positions_is_read_anew_and_not_doubled() {
    let mut harness = Harness::new(3, 4).resume(Resume::Split);
    harness.faults = Faults::new().at_split(Point::Batch, "split1", 3, Fault::transient());
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn a_failed_split_ends_only_itself_and_the_next_run_reads_the_rest_of_it() {
    let mut harness = Harness::new(5, 4);
    harness.on_error = OnError::Continue;
    harness.faults = Faults::new().at_split(Point::Batch, "split2", 3, Fault::lasting());
    let (outcome, progress) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Incomplete), "{outcome:?}");
    assert_eq!(outcome.failures[0].split.as_deref(), Some("split2"));
    assert_eq!((progress.splits_done(), progress.splits_failed()), (4, 1));
    let harness = harness.without_faults();
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done() && outcome.resumed, "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn under_fail_the_stream_ends_and_what_was_read_is_committed() {
    let mut harness = Harness::new(1, 5);
    harness.faults = Faults::new().at(Point::Batch, 4, Fault::lasting());
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed));
    assert_eq!(harness.rows().len(), 9);
    let harness = harness.without_faults();
    harness.run().await;
    harness.assert_complete();
}

#[tokio::test]
async fn a_replace_that_fails_changes_nothing() {
    let mut harness = Harness::new(2, 3);
    harness.disposition = WriteDisposition::Replace;
    harness.on_error = OnError::Continue;
    harness.target.insert("s", rows::batch("id: int64, split: int64", &json!([[999, 9]])));
    harness.faults = Faults::new().at_split(Point::Batch, "split1", 2, Fault::lasting());
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Incomplete));
    assert_eq!(harness.rows(), [json!({"id": 999, "split": 9})]);
    assert_eq!(harness.target.leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_stream_with_its_error() {
    for point in [Point::Begin, Point::Evolve, Point::Writer, Point::Write, Point::Finish, Point::Commit] {
        let mut harness = Harness::new(2, 3);
        harness.faults = Faults::new().always(point, Fault::lasting());
        let (outcome, _) = harness.run().await;
        assert_eq!(outcome.status, Some(StreamStatus::Failed), "{point:?}");
        assert!(outcome.failures[0].message.contains("a lasting fault"), "{point:?}: {outcome:?}");
        assert_eq!(harness.rows().len(), 0, "{point:?}");
    }
}

#[tokio::test]
async fn a_bad_row_ends_the_stream_unless_it_may_go_on() {
    let bad = || Rejected::new("a.csv:3", "it has 4 fields instead of 2");
    let harness = Harness::with(grid(1, 2).reject("split0", bad()));
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.failures[0].kind, ErrorKind::DataInvalid);
    assert!(outcome.failures[0].message.contains("a.csv:3: it has 4 fields"), "{outcome:?}");

    let mut lenient = Harness::with(grid(1, 2).reject("split0", bad()));
    lenient.on_error = OnError::Continue;
    let (outcome, progress) = lenient.run().await;
    assert_eq!((outcome.rejected.len(), progress.rows_rejected()), (1, 1));
    lenient.assert_complete();
}

#[tokio::test]
async fn a_dead_letter_keeps_the_row_with_place_and_reason() {
    let bad = Rejected::new("a.csv:3", "not a number").column("amount", "x1").row("7,x1");
    let mut harness = Harness::with(grid(1, 2).reject("split0", bad));
    harness.letters = Some(MemoryTarget::new());
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let letters = harness.letters.as_ref().unwrap().rows("s.dead_letter");
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!((&letter["place"], &letter["reason"]), (&json!("a.csv:3"), &json!("not a number")));
    assert_eq!(
        (&letter["column"], &letter["value"], &letter["row"]),
        (&json!("amount"), &json!("x1"), &json!("7,x1"))
    );
}

#[tokio::test]
async fn rows_that_the_sink_refuses_go_to_the_dead_letter_too() {
    let mut harness = Harness::new(1, 2);
    harness.letters = Some(MemoryTarget::new());
    harness.sink = |sink| sink.refusing(|row| (row["id"] == 4).then(|| "four is taken".to_owned()));
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(harness.rows().len(), 5);
    assert_eq!(harness.letters.as_ref().unwrap().rows("s.dead_letter").len(), 1);
}

#[tokio::test]
async fn rows_that_the_commit_refuses_go_to_the_dead_letter_and_the_rest_lands() {
    let mut harness = Harness::new(1, 3);
    harness.letters = Some(MemoryTarget::new());
    harness.sink = |sink| sink.refusing_at_commit(|row| (row["id"] == 4).then(|| "four is taken".to_owned()));
    let (outcome, progress) = harness.run().await;
    assert_eq!(outcome.rejected.len(), 1, "{outcome:?}");
    assert_eq!(outcome.rejected[0].reason, "four is taken");
    let committed = harness.rows().len();
    assert_eq!((committed, progress.rows_committed()), (8, 8));
    assert!(harness.rows().iter().all(|row| row["id"] != 4));
}

#[tokio::test]
async fn a_row_that_the_commit_refuses_fails_the_stream_without_a_dead_letter_and_nothing_of_its_commit_lands()
 {
    let mut harness = Harness::new(1, 1);
    harness.sink = |sink| sink.refusing_at_commit(|row| (row["id"] == 1).then(|| "one is taken".to_owned()));
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed), "{outcome:?}");
    assert!(outcome.failures[0].message.contains("one is taken"), "{outcome:?}");
    assert_eq!((harness.rows(), harness.target.leftovers()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_refused_row_without_a_dead_letter_fails_the_stream() {
    let mut harness = Harness::new(1, 2);
    harness.sink = |sink| sink.refusing(|row| (row["id"] == 4).then(|| "four is taken".to_owned()));
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed));
    assert!(outcome.failures[0].message.contains("four is taken"), "{outcome:?}");
    assert_eq!(harness.target.leftovers(), Vec::<String>::new());
}
