use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_schema::Schema;
use serde_json::json;
use towpath_core::{ByteSize, Pushdown, Realm, Resume, WriteDisposition};
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::MemoryData;
use towpath_testkit::rows;

use super::harness::{Harness, grid};
use crate::{CommitPolicy, StreamStatus};

#[tokio::test]
async fn every_row_arrives_once() {
    let harness = Harness::new(7, 5);
    let (outcome, progress) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Done), "{outcome:?}");
    harness.assert_complete();
    assert_eq!((progress.splits(), progress.splits_done(), progress.in_flight()), (7, 7, 0));
    assert_eq!(progress.rows_committed(), 105);
}

#[tokio::test]
async fn a_stream_without_splits_is_done() {
    let harness = Harness::new(0, 0);
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert!(!harness.target.checkpoint("p", "s").unwrap().is_under_way());
}

#[tokio::test]
async fn a_small_commit_policy_commits_often_and_a_large_one_once() {
    let often = Harness::new(2, 20);
    let (_, progress) = often.run().await;
    assert!(progress.commits() > 2, "{}", progress.commits());
    let mut rarely = Harness::new(2, 20);
    rarely.commit = CommitPolicy::default();
    let (_, progress) = rarely.run().await;
    assert!(progress.commits() <= 2, "{}", progress.commits());
    rarely.assert_complete();
}

#[tokio::test]
async fn a_replace_commits_once_at_the_end() {
    let mut harness = Harness::new(3, 4);
    harness.disposition = WriteDisposition::Replace;
    harness.target.insert("s", rows::batch("id: int64, split: int64", &json!([[999, 9]])));
    let (_, progress) = harness.run().await;
    assert_eq!(progress.commits(), 1);
    harness.assert_complete();
}

#[tokio::test]
async fn a_merge_keeps_the_last_row_of_each_key() {
    let data = grid(1, 0)
        .split("a", [rows::batch("id: int64, split: int64", &json!([[1, 0], [2, 0]]))])
        .split("a", [rows::batch("id: int64, split: int64", &json!([[1, 7]]))]);
    let mut harness = Harness::with(data);
    harness.disposition = WriteDisposition::Merge;
    harness.key = vec!["id".to_owned()];
    harness.run().await;
    rows::assert_same(&[json!({"id": 1, "split": 7}), json!({"id": 2, "split": 0})], &harness.rows());
}

#[tokio::test]
async fn one_writer_is_enough_for_many_splits() {
    let mut harness = Harness::new(9, 3);
    harness.sink = |sink| sink.max_writers(1);
    harness.run().await;
    harness.assert_complete();
    assert_eq!(harness.target.most_writers("s"), 1);
}

#[tokio::test]
async fn splits_that_share_writers_share_one_where_rows_end_up_in_one_sequence() {
    let mut harness = Harness::new(9, 3);
    harness.sink = |sink| sink.one_sequence();
    harness.run().await;
    harness.assert_complete();
    assert_eq!(harness.target.most_writers("s"), 1);
}

#[tokio::test]
async fn splits_with_writers_of_their_own_are_read_side_by_side_and_land_in_their_order() {
    let mut harness = Harness::new(9, 3).resume(Resume::Split);
    harness.sink = |sink| sink.one_sequence();
    harness.disposition = WriteDisposition::Replace;
    // The first split is read anew, so that its rows are the last to be staged.
    harness.faults = Faults::new().at_split(Point::Batch, "split0", 3, Fault::transient());
    harness.run().await;
    assert!(harness.target.most_writers("s") > 1);
    assert_eq!(harness.rows(), harness.data.rows());
}

#[tokio::test]
async fn writers_of_one_split_share_the_memory_of_the_run() {
    for (column_bytes, at_once) in [(0, 4), (20 << 20, 1)] {
        let mut harness = Harness::new(8, 3).resume(Resume::Split);
        harness.sink = match column_bytes {
            0 => |sink| sink,
            _ => |sink| sink.column_bytes(20 << 20),
        };
        harness.run().await;
        harness.assert_complete();
        assert_eq!(harness.target.most_writers("s"), at_once, "two columns of {column_bytes} of 64 MiB");
    }
}

#[tokio::test]
async fn batches_are_joined_as_the_sink_likes() {
    for (batch_bytes, batches) in [(1, 6), (1 << 20, 1)] {
        let mut harness = Harness::new(1, 6);
        harness.commit = CommitPolicy::default();
        harness.sink = match batch_bytes {
            1 => |sink| sink.batch_bytes(1),
            _ => |sink| sink.batch_bytes(1 << 20),
        };
        harness.run().await;
        harness.assert_complete();
        assert_eq!(harness.target.batches("s").len(), batches);
    }
}

#[tokio::test]
async fn a_budget_smaller_than_a_batch_still_moves_everything() {
    let mut harness = Harness::new(8, 6);
    harness.memory = ByteSize::new(1);
    harness.run().await;
    harness.assert_complete();
}

#[tokio::test]
async fn transforms_shape_what_is_written() {
    let mut harness = Harness::new(1, 1);
    harness.steps = json!([{"rename": {"id": "key"}}, {"filter": "key > 0"}, {"drop": ["split"]}]);
    harness.run().await;
    rows::assert_same(&[json!({"key": 1}), json!({"key": 2})], &harness.rows());
}

#[tokio::test]
async fn the_cursor_leaves_out_what_an_earlier_run_loaded() {
    let mut harness = Harness::new(1, 2);
    harness.cursor = Some("id".to_owned());
    harness.run().await;
    harness.data.push("later", rows::batch("id: int64, split: int64", &json!([[3, 1], [50, 1]])));
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(progress.rows_committed(), 1);
    assert_eq!(harness.target.checkpoint("p", "s").unwrap().cursor, Some(json!(50)));
}

#[tokio::test]
async fn a_source_that_looks_back_gets_late_rows_past_the_cursor() {
    let mut harness = Harness::with(MemoryData::new());
    harness.data.push("first", rows::batch("id: int64, split: int64", &json!([[40, 1], [50, 1]])));
    harness.cursor = Some("id".to_owned());
    harness.source = |source| source.looking_back(5);
    harness.run().await;
    harness.data.push("late", rows::batch("id: int64, split: int64", &json!([[44, 1], [46, 1], [51, 1]])));
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    // What is behind 45: 46 and 51, and 50 once more.
    assert_eq!(progress.rows_committed(), 3);
    assert_eq!(harness.target.checkpoint("p", "s").unwrap().cursor, Some(json!(51)));
}

#[tokio::test]
async fn a_batch_without_columns_and_rows_only_says_how_far_its_split_is() {
    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let some = rows::batch("id: int64", &json!([[1], [2]]));
    let mut harness = Harness::with(MemoryData::new().split("a", [nothing, some]));
    harness.source = |source| source.unknown_schema().column_pushdown(Pushdown::Unsupported);
    harness.steps = json!([{"rename": {"id": "key"}}, {"filter": "key > 0"}]);
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(progress.rows_committed(), 2);
}

#[test]
fn a_source_hears_of_a_sink_that_copies_unless_somebody_in_between_looks_at_rows() {
    let hears = |change: fn(&mut Harness)| {
        let mut harness = Harness::new(1, 1);
        harness.sink = |sink| sink.copies_from(Realm::new("memory", "here"));
        change(&mut harness);
        harness.opened().copier() == Some(Realm::new("memory", "here"))
    };
    assert!(hears(|_| {}));
    assert!(!hears(|harness| harness.steps = json!([{ "rename": { "id": "number" } }])));
    assert!(!hears(|harness| harness.cursor = Some("id".to_owned())));
    assert!(!hears(|harness| harness.sink = |sink| sink));
}
