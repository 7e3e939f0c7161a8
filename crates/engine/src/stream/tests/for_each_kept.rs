//! Children that keep something in mind for each row of their parent, and those that look back.

use serde_json::json;
use towpath_core::WriteDisposition;
use towpath_testkit::faults::Point;
use towpath_testkit::memory::{MemoryData, MemorySource};
use towpath_testkit::rows;

use super::for_each::{Level, RESUMES, children, harness, parents};
use super::for_each_resume::kill_everywhere;
use super::harness::Harness;

/// A family whose child reads only what it has not read before.
fn family(level: Level, all: MemoryData) -> Harness {
    let mut harness = harness(level, all);
    harness.source = |source| source.of_parent("id").new_splits_only();
    harness
}

#[tokio::test]
async fn what_the_child_has_seen_is_kept_for_each_row() {
    let parents = parents();
    let harness = family(Level::new(&parents), children(7));
    let counts = async || {
        let (outcome, progress) = harness.run().await;
        assert!(outcome.is_done(), "{outcome:?}");
        progress.rows_committed()
    };
    assert_eq!((counts().await, counts().await), (48, 0));
    harness.data.push("3/new", rows::batch("id: int64", &json!([[100], [101]])));
    assert_eq!((counts().await, counts().await), (2, 0));
    // A row that was not there before.
    parents.push("q", rows::batch("id: int64, name: string", &json!([[6, "gil"]])));
    assert_eq!((counts().await, counts().await), (8, 0));
    harness.assert_complete();
}

#[tokio::test]
async fn a_row_that_was_gone_is_read_anew() {
    let mut harness = family(Level::new(&parents()), children(6));
    harness.run().await;
    harness.parents.as_mut().unwrap().0[0].spec.stream.transform =
        serde_json::from_value(json!([{"filter": "id > 0"}])).unwrap();
    let (_, progress) = harness.run().await;
    assert_eq!(progress.rows_committed(), 0);
    harness.parents.as_mut().unwrap().0[0].spec.stream.transform.clear();
    let (_, progress) = harness.run().await;
    assert_eq!(progress.rows_committed(), 8);
}

#[tokio::test]
async fn with_new_rows_only_those_of_earlier_runs_stay_in_mind() {
    let data = parents();
    let mut level = Level::new(&data);
    level.spec.stream.cursor = Some("id".to_owned());
    level.spec.incremental = true;
    let harness = family(level, children(7));
    harness.run().await;
    data.push("q", rows::batch("id: int64, name: string", &json!([[6, "gil"]])));
    harness.run().await;
    let held = harness.target.checkpoint("p", "s").unwrap().since;
    let kept = serde_json::to_value(held).unwrap()["at"]["children"].as_str().unwrap().lines().count();
    assert_eq!(kept, 7);
    harness.assert_complete();
}

#[tokio::test]
async fn replace_reads_everything_whatever_is_kept() {
    let mut harness = family(Level::new(&parents()), children(6));
    harness.run().await;
    harness.disposition = WriteDisposition::Replace;
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(progress.rows_committed(), 48);
}

#[tokio::test]
async fn a_kill_anywhere_leaves_the_next_run_nothing_to_read_twice() {
    for source in RESUMES {
        for point in [Point::Batch, Point::Planned, Point::Committed] {
            kill_everywhere(point, || {
                let level = Level { source, ..Level::new(&parents()) };
                let mut harness = family(level, children(6));
                harness.max_readers = 1;
                harness
            })
            .await;
        }
    }
    // What was in mind when it was killed is there when the run has ended.
    let mut harness = family(Level::new(&parents()), children(6));
    harness.max_readers = 1;
    for call in 1.. {
        use towpath_testkit::faults::{Fault, Faults};
        harness.target = towpath_testkit::memory::MemoryTarget::new();
        harness.faults = Faults::new().at(Point::Committed, call, Fault::Kill);
        let opened = harness.opened();
        let was_killed = tokio::select! {
            () = harness.faults.killed() => true,
            _ = crate::stream::run(opened) => false,
        };
        harness.faults = Faults::new();
        if harness.target.checkpoint("p", "s").is_some_and(|held| held.is_under_way()) {
            harness.run().await;
        }
        let (outcome, progress) = harness.run().await;
        assert!(outcome.is_done(), "{outcome:?}");
        assert_eq!(progress.rows_committed(), 0, "commit {call}");
        harness.assert_complete();
        if !was_killed {
            break;
        }
    }
}

#[tokio::test]
async fn more_rows_than_can_be_kept_are_told() {
    let ids: Vec<_> = (0..60).map(|id| json!([id])).collect();
    let data = MemoryData::new().split("p", [rows::batch("id: int64", &ids.into())]);
    // This source keeps the names of all splits in mind, for each row.
    let all = (0..60).fold(MemoryData::new(), |data, id| {
        data.split(&format!("{id}/{}", "x".repeat(400)), [rows::batch("id: int64", &json!([[id]]))])
    });
    let harness = family(Level::new(&data), all);
    harness.run().await;
    let (outcome, progress) = harness.run().await;
    assert!((20..60).contains(&progress.rows_committed()), "{outcome:?}");
    assert!(outcome.warnings[0].contains("more rows of `parent` than can be kept in mind"), "{outcome:?}");
}

#[tokio::test]
async fn a_child_that_looks_back_gets_its_late_rows() {
    let looks_back: fn(MemorySource) -> MemorySource = |source| source.of_parent("id").looking_back(20);
    let does_not: fn(MemorySource) -> MemorySource = |source| source.of_parent("id");
    for (source, expected) in [(looks_back, 21), (does_not, 0)] {
        let mut harness = harness(Level::new(&parents()), children(6));
        harness.source = source;
        harness.cursor = Some("id".to_owned());
        harness.disposition = WriteDisposition::Merge;
        harness.key = vec!["id".to_owned()];
        harness.run().await;
        assert_eq!(harness.rows().len(), 48);
        // Of the first row of the parent, with a value that others are long behind.
        harness.data.push("0/late", rows::batch("id: int64", &json!([[30]])));
        let (outcome, progress) = harness.run().await;
        assert!(outcome.is_done(), "{outcome:?}");
        assert_eq!(progress.rows_committed(), expected, "those behind 47 - 20, and the late one");
        assert_eq!(harness.target.checkpoint("p", "s").unwrap().cursor, Some(json!(47)));
    }
}

#[tokio::test]
async fn a_parent_that_looks_back_gives_its_late_rows_to_the_child() {
    let data = parents();
    let mut level = Level::new(&data);
    level.source = |source| source.looking_back(3);
    level.spec.stream.cursor = Some("id".to_owned());
    level.spec.incremental = true;
    let harness = harness(level, children(6));
    harness.run().await;
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    // Those behind 5 - 3.
    assert_eq!(progress.rows_committed(), 3 * 8);
}
