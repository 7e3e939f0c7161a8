//! What the reference offers beyond the contract.

use futures::StreamExt;
use serde_json::json;
use towpath_core::{
    DynSink, DynSource, ErrorKind, LoadSpec, Planned, Position, Rejected, ScanRequest, Source,
    WriteDisposition,
};
use towpath_testkit::memory::{CONNECTOR, MemoryData, MemorySink, MemorySource, MemoryTarget};
use towpath_testkit::{context, rows};

fn batch(id: i64) -> arrow::array::RecordBatch {
    rows::batch("id: int64", &json!([[id]]))
}

async fn planned(source: &MemorySource, request: &ScanRequest) -> Vec<Planned> {
    let plan = Source::plan(source, &context(), request).await.unwrap();
    plan.splits.map(|step| step.unwrap()).collect().await
}

#[tokio::test]
async fn only_splits_that_came_since_are_planned() {
    let data = MemoryData::new().split("a", [batch(1)]);
    let source = MemorySource::new(&data).new_splits_only();
    let first = planned(&source, &ScanRequest::default()).await;
    let Some(Planned::Complete { since }) = first.last() else { panic!("{first:?}") };
    data.push("b", batch(2));
    let mut request = ScanRequest::default();
    request.since = since.clone();
    let next = planned(&source, &request).await;
    assert!(matches!(&next[0], Planned::Split { split, .. } if split.id == "b".into()), "{next:?}");
}

#[tokio::test]
async fn rejected_rows_come_with_their_batch() {
    let data =
        MemoryData::new().split("a", [batch(1), batch(2)]).reject("a", Rejected::new("a:3", "not a number"));
    let source = MemorySource::new(&data).shared();
    let cx = context();
    let mut steps = source.plan(&cx, &ScanRequest::default()).await.unwrap().splits;
    let Some(Ok(Planned::Split { split, .. })) = steps.next().await else { panic!("no split") };
    let batches: Vec<_> = source.read(&cx, &split, Position::Start).unwrap().collect().await;
    let rejected: Vec<_> = batches.into_iter().map(|batch| batch.unwrap().rejected.len()).collect();
    assert_eq!(rejected, [0, 1]);
}

#[tokio::test]
async fn options_find_data_and_target_by_name() {
    MemoryData::named("by-name").push("a", batch(1));
    MemoryTarget::named("by-name").insert("s", batch(2));
    let cx = context();
    let source: std::sync::Arc<dyn DynSource> =
        CONNECTOR.source_entry().unwrap().open(json!({"data": "by-name"}), &cx).await.unwrap();
    assert_eq!(source.discover(&cx).await.unwrap()[0].schema.as_ref().unwrap().fields().len(), 1);
    let sink: std::sync::Arc<dyn DynSink> =
        CONNECTOR.sink_entry().unwrap().open(json!({"target": "by-name"}), &cx).await.unwrap();
    let load = LoadSpec::new("p", "s", "run", WriteDisposition::Append);
    assert!(sink.check(&cx, &load).await.is_ok());
    assert_eq!(MemoryTarget::named("by-name").rows("s"), [json!({"id": 2})]);
}

#[tokio::test]
async fn one_writer_too_many_is_an_error() {
    let target = MemoryTarget::new();
    let sink = MemorySink::new(&target).max_writers(1).shared();
    let cx = context();
    let load = LoadSpec::new("p", "s", "r", WriteDisposition::Append);
    let begun = sink.begin(&cx, &load).await.unwrap();
    let begun = sink.evolve(&cx, &begun, &batch(1).schema()).await.unwrap();
    let mut first = sink.writer(&cx, &begun, 0).await.unwrap();
    let Err(error) = sink.writer(&cx, &begun, 1).await else { panic!("two writers") };
    assert_eq!(error.to_string(), "memory: writer: more than 1 writers at once");
    let error = first.write(rows::batch("other: int64", &json!([[1]]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!((target.most_writers("s"), target.leftovers()), (1, vec!["s: 1 open writers".to_owned()]));
}
