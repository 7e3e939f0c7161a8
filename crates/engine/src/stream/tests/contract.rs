use serde_json::json;
use towpath_core::TypeFamily;
use towpath_testkit::memory::MemoryData;
use towpath_testkit::rows;

use super::harness::Harness;
use crate::{OnError, SchemaContract, StreamStatus};

/// Two splits; the second brings a wider type and a new column.
fn drifting(contract: SchemaContract) -> Harness {
    let data = MemoryData::new()
        .split("a", [rows::batch("id: int64", &json!([[1], [2]]))])
        .split("b", [rows::batch("id: float64, extra: string", &json!([[3.5, "x"]]))])
        .split("c", [rows::batch("id: int64", &json!([[4]]))]);
    let mut harness = Harness::with(data);
    harness.contract = contract;
    harness.max_readers = 1;
    harness.source = |source| source.unknown_schema();
    harness
}

#[tokio::test]
async fn evolving_loses_nothing_while_writers_are_at_work() {
    let harness = drifting(SchemaContract::Evolve);
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let expected = [
        json!({"id": 1.0, "extra": null}),
        json!({"id": 2.0, "extra": null}),
        json!({"id": 3.5, "extra": "x"}),
        json!({"id": 4.0, "extra": null}),
    ];
    rows::assert_same(&expected, &harness.rows());
}

#[tokio::test]
async fn freezing_ends_the_stream_and_names_the_change() {
    let harness = drifting(SchemaContract::Freeze);
    let (outcome, _) = harness.run().await;
    assert_eq!(outcome.status, Some(StreamStatus::Failed));
    assert!(outcome.failures[0].message.contains("`extra` is new (string)"), "{outcome:?}");
    assert_eq!(harness.rows().len(), 2, "what came before is committed");
}

#[tokio::test]
async fn the_columns_of_an_earlier_run_bind_a_later_one() {
    let mut harness = drifting(SchemaContract::Evolve);
    harness.run().await;
    harness.source = |source| source.unknown_schema().new_splits_only();
    harness.contract = SchemaContract::Freeze;
    harness.data.push("d", rows::batch("id: int64, more: bool", &json!([[9, true]])));
    let (outcome, _) = harness.run().await;
    assert!(outcome.failures[0].message.contains("`more` is new (bool)"), "{outcome:?}");
}

#[tokio::test]
async fn discarding_rows_rejects_what_does_not_fit() {
    let mut harness = drifting(SchemaContract::DiscardRow);
    harness.on_error = OnError::Continue;
    let (outcome, progress) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    assert_eq!((harness.rows().len(), progress.rows_rejected()), (3, 1));
    assert_eq!(outcome.rejected[0].row, Some(json!({"id": 3.5, "extra": "x"})));
}

#[tokio::test]
async fn discarding_values_keeps_the_row() {
    let harness = drifting(SchemaContract::DiscardValue);
    harness.run().await;
    let expected = [json!({"id": 1}), json!({"id": 2}), json!({"id": null}), json!({"id": 4})];
    rows::assert_same(&expected, &harness.rows());
}

#[tokio::test]
async fn a_type_that_the_sink_cannot_hold_is_named() {
    let mut harness = drifting(SchemaContract::Evolve);
    harness.sink = |sink| sink.types(&[TypeFamily::Int]);
    let (outcome, _) = harness.run().await;
    assert!(outcome.failures[0].message.contains("the sink cannot hold column"), "{outcome:?}");
}

#[tokio::test]
async fn many_splits_that_all_drift_evolve_together() {
    let data = (0..40).fold(MemoryData::new(), |data, split| {
        let columns = format!("id: int64, c{}: int64", split % 10);
        data.split(
            &format!("s{split:02}"),
            (0..5).map(|batch| rows::batch(&columns, &json!([[split * 5 + batch, 1]]))),
        )
    });
    let mut harness = Harness::with(data);
    harness.max_readers = 16;
    harness.source = |source| source.unknown_schema();
    let (outcome, _) = harness.run().await;
    assert!(outcome.is_done(), "{outcome:?}");
    let mut ids: Vec<_> = harness.rows().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..200).collect::<Vec<_>>());
    assert_eq!(harness.target.schema("s").unwrap().fields().len(), 11);
}
