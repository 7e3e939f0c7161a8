//! Streams that are read for each row of another.

use std::sync::Arc;

use futures::StreamExt;
use serde_json::json;
use towpath_core::{
    Connector, Context, DynSource, Json, Parent, Planned, Position, Rejected, Resume, ScanRequest,
    WriteDisposition,
};
use towpath_layers::{LayerSettings, layer_parent};
use towpath_testkit::faults::{Fault, Faults, Point};
use towpath_testkit::memory::{MemoryData, MemorySource};
use towpath_testkit::{context, rows};

use super::harness::Harness;
use crate::for_each::ForEachSource;
use crate::{
    CommitPolicy, ForEachSpec, MissingParent, OnError, SchemaContract, SinkSpec, SourceSpec, StreamSpec,
    StreamStatus,
};

/// The parents of a stream in memory, the nearest first. Each but the last has a parent itself.
pub(super) struct Parents(pub(super) Vec<Level>);

pub(super) struct Level {
    pub(super) data: MemoryData,
    pub(super) spec: ForEachSpec,
    pub(super) source: fn(MemorySource) -> MemorySource,
}

impl Level {
    /// A parent whose field `id` names the child's splits.
    pub(super) fn new(data: &MemoryData) -> Self {
        let stream = StreamSpec {
            name: "parent".to_owned(),
            datasets: Vec::new(),
            source: SourceSpec {
                connector: Connector::new("memory", ""),
                connection: String::new(),
                options: json!({}),
            },
            for_each: None,
            sink: SinkSpec::never_opened(""),
            transform: Vec::new(),
            cursor: None,
            key: Vec::new(),
            write_disposition: None,
            schema_contract: SchemaContract::default(),
            on_error: OnError::default(),
            dead_letter: None,
            commit: CommitPolicy::default(),
        };
        let spec = ForEachSpec {
            stream: Box::new(stream),
            include: Vec::new(),
            missing: MissingParent::Error,
            incremental: false,
        };
        Self { data: data.clone(), spec, source: |source| source }
    }

    fn steps(mut self, steps: Json) -> Self {
        self.spec.stream.transform = serde_json::from_value(steps).unwrap();
        self
    }

    pub(super) fn include(mut self, column: &str, field: &str) -> Self {
        self.spec.include.push((column.to_owned(), field.to_owned()));
        self
    }
}

impl Parents {
    pub(super) fn above(
        &self,
        child: Arc<dyn DynSource>,
        faults: &Faults,
        cx: &Context,
    ) -> Arc<dyn DynSource> {
        put_above(&self.0, child, faults, cx)
    }
}

fn put_above(
    levels: &[Level],
    child: Arc<dyn DynSource>,
    faults: &Faults,
    cx: &Context,
) -> Arc<dyn DynSource> {
    let Some((level, above)) = levels.split_first() else { return child };
    let mut source = (level.source)(MemorySource::new(&level.data));
    if !above.is_empty() {
        source = source.of_parent("id");
    }
    let layers: LayerSettings =
        serde_json::from_value(json!({"retry": {"base": "1us", "max_delay": "1us"}})).unwrap();
    let parent = layer_parent(faults.source(source.shared()), &layers);
    let parent = put_above(above, parent, faults, cx);
    let fields = child.parent_fields().expect("it knows its parent");
    Arc::new(ForEachSource::new(child, fields, parent, cx.clone(), &level.spec, "run").unwrap())
}

/// Two splits of parents 0 to 5, in two batches each, and a name.
pub(super) fn parents() -> MemoryData {
    let batch = |rows: Json| rows::batch("id: int64, name: string", &rows);
    MemoryData::new()
        .split("p", [batch(json!([[0, "ann"], [1, "bob"]])), batch(json!([[2, "cem"]]))])
        .split("q", [batch(json!([[3, "dee"]])), batch(json!([[4, "eli"], [5, "fay"]]))])
}

/// Two splits with two batches of two rows for each parent.
pub(super) fn children(parents: u64) -> MemoryData {
    (0..parents * 2).fold(MemoryData::new(), |data, split| {
        let first = split * 4;
        let batch = |from: u64| rows::batch("id: int64", &json!([[from], [from + 1]]));
        data.split(&format!("{}/{}", split / 2, split % 2), [batch(first), batch(first + 2)])
    })
}

pub(super) fn harness(level: Level, children: MemoryData) -> Harness {
    let mut harness = Harness::with(children);
    harness.source = |source| source.of_parent("id");
    harness.parents = Some(Parents(vec![level]));
    harness
}

fn family() -> Harness {
    harness(Level::new(&parents()), children(6))
}

#[tokio::test]
async fn a_child_is_read_for_each_row_of_its_parent() {
    let harness = family();
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
    assert_eq!((progress.splits(), progress.rows_committed()), (12, 48));
    assert_eq!(progress.source.snapshot().rows_read, 48, "rows of the parent are none of the stream's");
}

#[tokio::test]
async fn fields_of_the_parent_come_as_columns_of_their_types() {
    let data = MemoryData::new().split(
        "p",
        [rows::batch(
            "id: int64, price: decimal(9,2), at: timestamp(us, UTC), ok: bool, note: string",
            &json!([[0, "1.50", "2024-01-31T12:00:00Z", true, null]]),
        )],
    );
    let level = Level::new(&data)
        .include("parent_id", "id")
        .include("price", "price")
        .include("at", "at")
        .include("ok", "ok")
        .include("note", "note");
    let harness = harness(level, MemoryData::new().split("0", [rows::batch("id: int64", &json!([[7]]))]));
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let schema = harness.target.schema("s").unwrap();
    let held = data.rows();
    let shown: Vec<_> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(shown[1..4], ["Int64", "Decimal128(9, 2)", "Timestamp(µs, \"UTC\")"], "{shown:?}");
    let row = &harness.rows()[0];
    assert_eq!((&row["id"], &row["parent_id"], &row["note"]), (&json!(7), &json!(0), &json!(null)));
    assert_eq!((&row["price"], &row["at"], &row["ok"]), (&held[0]["price"], &held[0]["at"], &held[0]["ok"]));
}

#[tokio::test]
async fn a_column_that_the_rows_have_already_is_not_overwritten() {
    let harness = harness(Level::new(&parents()).include("id", "id"), children(6));
    let (outcome, _) = harness.run().await;
    assert!(
        outcome.failures[0].message.contains("names the column `id`, which the rows have already"),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn filters_and_transforms_of_the_parent_apply() {
    let data = MemoryData::new()
        .split("p", [rows::batch("key: int64, ok: bool", &json!([[0, true], [1, false], [2, true]]))]);
    let level = Level::new(&data).steps(json!([{"filter": "ok"}, {"rename": {"key": "id"}}]));
    let harness = harness(level, children(3));
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let ids: Vec<_> = harness.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.iter().filter(|id| (8..16).contains(*id)).count(), 0, "of parent 1");
    assert_eq!(ids.len(), 16);
}

#[tokio::test]
async fn filters_on_included_columns_are_the_engines_alone() {
    let mut harness = harness(Level::new(&parents()).include("parent_id", "id"), children(6));
    harness.steps = json!([{"filter": "parent_id = 4"}, {"select": ["parent_id"]}]);
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(harness.rows(), vec![json!({"parent_id": 4}); 8]);
}

#[tokio::test]
async fn equal_rows_of_the_parent_are_planned_each_with_splits_of_their_own() {
    let data = MemoryData::new().split("p", [rows::batch("id: int64", &json!([[0], [0]]))]);
    let harness = harness(Level::new(&data), children(1));
    let request = ScanRequest::default();
    let opened = harness.opened();
    let plan = opened.source.plan(&opened.source_cx, &request).await.unwrap();
    let ids: Vec<_> = plan
        .splits
        .map(|step| match step.unwrap() {
            Planned::Split { split, .. } => split.id.0,
            Planned::Complete { .. } => panic!("there is nothing to remember"),
        })
        .collect()
        .await;
    assert_eq!(
        ids,
        [
            "0/0 [parent 1.1: id=0]",
            "0/1 [parent 1.1: id=0]",
            "0/0 [parent 1.2: id=0]",
            "0/1 [parent 1.2: id=0]"
        ]
    );
    harness.run().await;
    assert_eq!(harness.rows().len(), 16);
}

#[tokio::test]
async fn a_row_without_the_field_ends_the_stream_or_is_left_out_and_counted() {
    let batch = rows::batch("id: int64", &json!([[0], [null], [1], [null]]));
    let data = MemoryData::new().split("p", [batch]);
    let mut harness = harness(Level::new(&data), children(2));
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed));
    let message = &outcome.failures[0].message;
    assert!(
        message.contains("a row of `parent` has no `id`") && message.contains("`missing: skip`"),
        "{message}"
    );

    harness.target = towpath_testkit::memory::MemoryTarget::new();
    harness.parents.as_mut().unwrap().0[0].spec.missing = MissingParent::Skip;
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
    let warning = "2 rows of `parent` could not be used and were left out (`missing: skip`)";
    assert_eq!(outcome.warnings, [warning]);
}

#[tokio::test]
async fn a_row_of_the_parent_that_cannot_be_read_is_not_forgotten() {
    let unreadable = Rejected::new("p#3", "no number");
    let data = parents().reject("p", unreadable);
    let mut harness = harness(Level::new(&data), children(6));
    let (outcome, _) = harness.run().await;
    assert!(outcome.failures[0].message.contains("a row of `parent` could not be read"), "{outcome:?}");

    harness.target = towpath_testkit::memory::MemoryTarget::new();
    harness.parents.as_mut().unwrap().0[0].spec.missing = MissingParent::Skip;
    let (outcome, _) = harness.run().await;
    harness.assert_complete();
    assert!(outcome.warnings[0].starts_with("1 row of `parent`"), "{outcome:?}");
}

#[tokio::test]
async fn a_failing_split_of_the_child_fails_alone() {
    let mut harness = family();
    harness.on_error = OnError::Continue;
    harness.faults = Faults::new().always_split(Point::Read, "2/1", Fault::lasting());
    let (outcome, progress) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Incomplete), "{outcome:?}");
    assert_eq!((progress.splits_failed(), harness.rows().len()), (1, 44));
    assert_eq!(outcome.failures[0].split.as_deref(), Some("2/1 [parent 1.3: id=2]"));
    let harness = harness.without_faults();
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done() && outcome.resumed, "{outcome:?}");
    assert_eq!(progress.splits(), 1, "only what failed is read again");
    harness.assert_complete();
}

#[tokio::test]
async fn what_is_transient_in_the_parent_is_tried_again() {
    let mut harness = family();
    harness.faults =
        Faults::new().at(Point::Batch, 1, Fault::transient()).at(Point::Planned, 2, Fault::transient());
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn a_parent_that_breaks_leaves_the_rest_to_the_next_run() {
    let mut harness = family();
    harness.max_readers = 1;
    harness.faults = Faults::new().always_split(Point::Read, "q", Fault::lasting());
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed), "{outcome:?}");
    let harness = harness.without_faults();
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    harness.assert_complete();
}

#[tokio::test]
async fn replace_and_merge_work_as_for_any_stream() {
    let mut harness = family();
    harness.disposition = WriteDisposition::Replace;
    harness.target.insert("s", rows::batch("id: int64", &json!([[999]])));
    let (_, progress) = harness.run().await;
    assert_eq!(progress.commits(), 1);
    harness.assert_complete();
    harness.disposition = WriteDisposition::Merge;
    harness.key = vec!["id".to_owned()];
    harness.run().await;
    harness.assert_complete();
}

#[tokio::test]
async fn the_childs_cursor_leaves_out_what_an_earlier_run_loaded() {
    let mut harness = family();
    harness.cursor = Some("id".to_owned());
    harness.run().await;
    harness.data.push("3/new", rows::batch("id: int64", &json!([[5], [100]])));
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!(progress.rows_committed(), 1);
    assert_eq!(harness.target.checkpoint("p", "s").unwrap().cursor, Some(json!(100)));
}

#[tokio::test]
async fn each_run_reads_for_all_rows_or_only_for_new_ones() {
    for incremental in [false, true] {
        let data = parents();
        let mut level = Level::new(&data);
        level.spec.stream.cursor = Some("id".to_owned());
        level.spec.incremental = incremental;
        let harness = harness(level, children(7));
        harness.run().await;
        assert_eq!(harness.rows().len(), 48);
        data.push("q", rows::batch("id: int64, name: string", &json!([[6, "gil"]])));
        let (outcome, progress) = harness.run().await;
        assert!(outcome.is_done(), "{outcome:?}");
        assert_eq!(progress.rows_committed(), if incremental { 8 } else { 56 });
    }
}

#[tokio::test]
async fn what_the_parents_source_has_seen_is_kept_with_the_child() {
    let data = parents();
    let mut level = Level::new(&data);
    level.source = MemorySource::new_splits_only;
    level.spec.incremental = true;
    let harness = harness(level, children(7));
    harness.run().await;
    harness.assert_rows(48);
    data.push("r", rows::batch("id: int64, name: string", &json!([[6, "gil"]])));
    harness.run().await;
    harness.assert_rows(56);
    harness.run().await;
    harness.assert_rows(56);
}

#[tokio::test]
async fn incremental_without_anything_to_tell_new_rows_by_says_so() {
    let mut level = Level::new(&parents());
    level.spec.incremental = true;
    let harness = harness(level, children(6));
    let (outcome, _) = harness.run().await;
    assert!(outcome.warnings[0].contains("`incremental` of `for_each` has no effect"), "{outcome:?}");
}

#[tokio::test]
async fn a_parent_is_put_aside_until_its_rows_are_wanted() {
    let data = MemoryData::new()
        .split("p", (0..50).map(|id| rows::batch("id: int64, name: string", &json!([[id, "x"]]))));
    let harness = harness(Level::new(&data), children(50));
    let opened = harness.opened();
    let mut request = ScanRequest::default();
    request.parallelism = 1;
    let mut splits = opened.source.plan(&opened.source_cx, &request).await.unwrap().splits;
    let mut planned = 0;
    while splits.next().await.transpose().unwrap().is_some() {
        planned += 1;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(data.open_reads(), 0, "it holds nothing that others could need");
    }
    assert_eq!(planned, 100);
}

#[tokio::test]
async fn planning_that_is_dropped_leaves_nothing_behind() {
    let data = parents();
    let harness = harness(Level::new(&data), children(6));
    let opened = harness.opened();
    let mut splits = opened.source.plan(&opened.source_cx, &ScanRequest::default()).await.unwrap().splits;
    splits.next().await.unwrap().unwrap();
    drop(splits);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(data.open_reads(), 0);
}

#[tokio::test]
async fn parents_of_parents_carry_their_fields_down() {
    let grand = MemoryData::new().split("g", [rows::batch("id: int64", &json!([[0], [1]]))]);
    let middle = MemoryData::new()
        .split("0", [rows::batch("id: int64", &json!([[0], [1]]))])
        .split("1", [rows::batch("id: int64", &json!([[2]]))]);
    let mut harness = harness(Level::new(&middle).include("grand", "grand"), children(3));
    harness.parents.as_mut().unwrap().0.push(Level::new(&grand).include("grand", "id"));
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let of = |grand: u64| harness.rows().iter().filter(|row| row["grand"] == grand).count();
    assert_eq!((of(0), of(1)), (16, 8));
}

#[tokio::test]
async fn splits_of_another_pipeline_are_refused() {
    let harness = family();
    let opened = harness.opened();
    let split = towpath_core::Split::new("x", json!({"split": "0/0"}));
    let error = opened.source.read(&context(), &split, Position::Start).err().unwrap();
    assert!(error.to_string().contains("planned without `for_each`"), "{error}");
    let mut request = ScanRequest::default();
    request.planned = Position::At(json!(3));
    let error = opened.source.plan(&context(), &request).await.err().unwrap();
    assert!(error.to_string().contains("was not planned for each row of `parent`"), "{error}");
}

#[test]
fn a_field_of_a_row_may_be_nested() {
    let row = json!({"owner": {"id": 7, "name": ""}, "n": null});
    let parent: Parent = serde_json::from_value(row).unwrap();
    assert_eq!(parent.get("owner.id"), Some(&json!(7)));
    assert_eq!((parent.get("owner.name"), parent.get("n"), parent.get("owner.x.y")), (None, None, None));
}

impl Harness {
    fn assert_rows(&self, count: usize) {
        assert_eq!(self.rows().len(), count);
    }
}

/// Whatever the parent's positions outlive.
pub(super) const RESUMES: [fn(MemorySource) -> MemorySource; 3] =
    [|source| source, |source| source.resume(Resume::Run), |source| source.resume(Resume::Split)];
