//! Children that are killed and go on.

use serde_json::json;
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::MemoryData;
use towpath_testkit::rows;

use super::for_each::{Level, RESUMES, children, harness, parents};
use super::harness::Harness;
use crate::stream::run;

/// Kills at every call of a point, resumes, and compares.
pub(super) async fn kill_everywhere(point: Point, mut make: impl FnMut() -> Harness) {
    for call in 1.. {
        let mut harness = make();
        harness.faults = Faults::new().at(point, call, Fault::Kill);
        let opened = harness.opened();
        let was_killed = tokio::select! {
            () = harness.faults.killed() => true,
            _ = run(opened) => false,
        };
        let harness = harness.without_faults();
        // Where the last commit was in already, the next run would be a new one.
        let finished =
            harness.target.checkpoint("p", "s").is_some_and(|held| held.sequence > 0 && !held.is_under_way());
        if !finished {
            let (outcome, _) = harness.run().await;
            assert!(outcome.is_done(), "{point:?} {call}: {outcome:?}");
        }
        rows::assert_same(&harness.data.rows(), &harness.rows());
        assert_eq!(harness.target.leftovers(), Vec::<String>::new(), "{point:?} {call}");
        if !was_killed {
            assert!(call > 1, "{point:?} was never reached");
            return;
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_batch_of_parent_or_child_loses_and_doubles_nothing() {
    for source in RESUMES {
        kill_everywhere(Point::Batch, || harness(Level { source, ..Level::new(&parents()) }, children(6)))
            .await;
    }
}

#[tokio::test]
async fn a_kill_at_any_step_of_planning_loses_and_doubles_nothing() {
    for source in RESUMES {
        kill_everywhere(Point::Planned, || {
            let mut harness = harness(Level { source, ..Level::new(&parents()) }, children(6));
            // So that the other splits are committed while planning goes on.
            harness.max_readers = 1;
            harness
        })
        .await;
    }
}

#[tokio::test]
async fn a_kill_after_any_commit_loses_and_doubles_nothing() {
    for source in RESUMES {
        kill_everywhere(Point::Committed, || {
            let mut harness = harness(Level { source, ..Level::new(&parents()) }, children(6));
            harness.max_readers = 1;
            harness
        })
        .await;
    }
}

#[tokio::test]
async fn a_kill_with_a_parent_of_the_parent_loses_and_doubles_nothing() {
    for point in [Point::Batch, Point::Planned, Point::Committed] {
        kill_everywhere(point, || {
            let grand = MemoryData::new().split("g", [rows::batch("id: int64", &json!([[0], [1]]))]);
            let middle = MemoryData::new()
                .split("0", [rows::batch("id: int64", &json!([[0], [1]]))])
                .split("1/x", [rows::batch("id: int64", &json!([[2]]))])
                .split("1/y", [rows::batch("id: int64", &json!([[3]]))]);
            let mut harness = harness(Level::new(&middle), children(4));
            harness.parents.as_mut().unwrap().0.push(Level::new(&grand));
            harness.max_readers = 1;
            harness
        })
        .await;
    }
}

#[tokio::test]
async fn an_incremental_run_that_is_killed_goes_on_with_the_rows_that_it_meant() {
    for call in 1..12 {
        let mut level = Level::new(&parents());
        level.spec.stream.cursor = Some("id".to_owned());
        level.spec.incremental = true;
        let mut harness = harness(level, children(6));
        harness.max_readers = 1;
        harness.faults = Faults::new().at(Point::Committed, call, Fault::Kill);
        let opened = harness.opened();
        tokio::select! {
            () = harness.faults.killed() => {}
            _ = run(opened) => {}
        }
        let harness = harness.without_faults();
        harness.run().await;
        harness.run().await;
        rows::assert_same(&harness.data.rows(), &harness.rows());
    }
}

#[tokio::test]
async fn rows_that_come_in_other_batches_the_next_time_are_counted_all_the_same() {
    for call in 1..30 {
        let one =
            MemoryData::new().split("p", [rows::batch("id: int64", &json!([[0], [1], [2], [3], [4], [5]]))]);
        let mut harness = harness(Level::new(&one), children(6));
        harness.max_readers = 1;
        harness.faults = Faults::new().at(Point::Committed, call, Fault::Kill);
        let opened = harness.opened();
        tokio::select! {
            () = harness.faults.killed() => {}
            _ = run(opened) => break,
        }
        let many = MemoryData::new().split("p", (0..6).map(|id| rows::batch("id: int64", &json!([[id]]))));
        harness.parents.as_mut().unwrap().0[0].data = many;
        let harness = harness.without_faults();
        // Once the split was read to its end, its position is that of its only batch.
        if !harness.target.checkpoint("p", "s").unwrap().is_under_way() {
            continue;
        }
        harness.run().await;
        rows::assert_same(&harness.data.rows(), &harness.rows());
    }
}

#[tokio::test]
async fn rows_that_come_in_another_order_the_next_time_are_found_again() {
    for call in 1..12 {
        let order = |ids: &[u64]| {
            let ids: Vec<_> = ids.iter().map(|id| json!([id])).collect();
            MemoryData::new().split("p", [rows::batch("id: int64", &ids.into())])
        };
        let level = Level { source: RESUMES[1], ..Level::new(&order(&[3, 1, 5, 0, 2, 4])) };
        let mut harness = harness(level, children(6));
        harness.max_readers = 1;
        harness.faults = Faults::new().at(Point::Committed, call, Fault::Kill);
        let opened = harness.opened();
        tokio::select! {
            () = harness.faults.killed() => {}
            _ = run(opened) => {}
        }
        harness.parents.as_mut().unwrap().0[0].data = order(&[0, 4, 2, 1, 5, 3]);
        let harness = harness.without_faults();
        if harness.target.checkpoint("p", "s").unwrap().is_under_way() {
            harness.run().await;
        }
        rows::assert_same(&harness.data.rows(), &harness.rows());
    }
}
