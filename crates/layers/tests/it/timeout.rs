use std::sync::Arc;

use arrow_schema::Schema;
use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use serde_json::json;
use tokio::time::Instant;
use towpath_core::{
    Batch, BatchStream, Connection, Context, Dataset, DynSink, DynSource, ErrorKind, Limiter, Position,
    Result, Resume, Retry, ScanPlan, ScanRequest, SourceCapabilities, Split,
};
use towpath_layers::{
    ConnectionLimiter, LimitSettings, RunLimit, TimeoutSettings, TimeoutSink, TimeoutSource, TokioClock,
};

use crate::support::{Fault, Faults, Memory, Numbers, begun, context, load, read_all, rows, secs, token};

fn settings() -> TimeoutSettings {
    TimeoutSettings { operation: Some(secs(30).into()), idle: Some(secs(300).into()) }
}

fn split() -> Split {
    Split::new("all", json!(null))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_ends_with_its_name_and_limit() {
    let source = TimeoutSource::new(Numbers::new(Resume::Exact, &Faults::at(0, Fault::Hang)), &settings());
    let asked = Instant::now();
    let error = source.check(&context()).await.unwrap_err();
    assert_eq!(asked.elapsed(), secs(30));
    assert_eq!((error.kind(), error.retry_policy()), (ErrorKind::Unavailable, Retry::Transient));
    assert_eq!(
        error.to_string(),
        "check: no answer within 30s; raise `timeout.operation` if it may take longer"
    );
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_source_is_bounded() {
    let faults = Faults::new(|_| Some(Fault::Hang));
    let (source, cx) = (TimeoutSource::new(Numbers::new(Resume::Exact, &faults), &settings()), context());
    assert_eq!(source.discover(&cx).await.unwrap_err().operation_name(), Some("discover"));
    let request = ScanRequest::default();
    assert_eq!(source.plan(&cx, &request).await.unwrap_err().operation_name(), Some("plan"));
    let error = read_all(&source, &cx).await.unwrap_err();
    assert_eq!(error.to_string(), "read: no answer within 5m; raise `timeout.idle` if it may take longer");
}

#[tokio::test(start_paused = true)]
async fn every_call_of_a_sink_is_bounded() {
    let faults = Faults::new(|n| (n != 5).then_some(Fault::Hang));
    let sink = TimeoutSink::new(Memory::new(&faults), &settings());
    let (cx, begun) = (context(), begun());
    let mut ended = vec![
        sink.check(&cx, &load()).await.unwrap_err(),
        sink.checkpoint(&cx, &load()).await.unwrap_err(),
        sink.forget(&cx, &load()).await.unwrap_err(),
        sink.begin(&cx, &load()).await.unwrap_err(),
        sink.evolve(&cx, &begun, &Arc::new(Schema::empty())).await.unwrap_err(),
    ];
    let writer = sink.writer(&cx, &begun, 0).await.unwrap();
    ended.push(writer.finish().await.unwrap_err());
    ended.push(sink.writer(&cx, &begun, 0).await.err().unwrap());
    ended.push(sink.commit(&cx, &begun, &token(1), vec![]).await.unwrap_err());
    ended.push(sink.abort(&cx, &begun, vec![]).await.unwrap_err());
    let names: Vec<_> = ended.iter().map(|error| error.operation_name().unwrap()).collect();
    let expected =
        ["check", "checkpoint", "forget", "begin", "evolve", "finish", "writer", "commit", "abort"];
    assert_eq!(names, expected);
    assert!(ended.iter().all(|error| error.retry_policy() == Retry::Transient));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_cut_off_is_never_repeated() {
    let faults = Faults::at(1, Fault::Hang);
    let sink = TimeoutSink::new(Memory::new(&faults), &settings());
    let mut writer = sink.writer(&context(), &begun(), 0).await.unwrap();
    let error = writer.write(rows(&[1])).await.unwrap_err();
    assert_eq!((error.operation_name(), error.retry_policy()), (Some("write"), Retry::Never));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_writer_itself_keeps_its_kind() {
    let faults = Faults::at(1, Fault::Fail(Retry::After(secs(1))));
    let sink = TimeoutSink::new(Memory::new(&faults), &settings());
    let mut writer = sink.writer(&context(), &begun(), 0).await.unwrap();
    assert_eq!(writer.write(rows(&[1])).await.unwrap_err().retry_policy(), Retry::After(secs(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_and_within_its_time_is_left_alone() {
    let faults = Faults::new(|_| Some(Fault::Slow(secs(29))));
    let source = Numbers::new(Resume::Exact, &faults);
    let layered = TimeoutSource::new(source.clone(), &settings());
    layered.check(&context()).await.unwrap();
    assert_eq!(read_all(&layered, &context()).await.unwrap(), source.all());
}

#[tokio::test(start_paused = true)]
async fn without_limits_nothing_is_ended() {
    let faults = Faults::new(|_| Some(Fault::Slow(secs(1_000_000))));
    let source = Numbers::new(Resume::Exact, &faults);
    let layered = TimeoutSource::new(source.clone(), &TimeoutSettings { operation: None, idle: None });
    layered.check(&context()).await.unwrap();
    assert_eq!(read_all(&layered, &context()).await.unwrap(), source.all());
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_stands_still_ends() {
    let faults = Faults::at(2, Fault::Hang);
    let source = TimeoutSource::new(Numbers::new(Resume::Exact, &faults), &settings());
    let mut plan = source.plan(&context(), &ScanRequest::default()).await.unwrap();
    plan.splits.next().await.unwrap().unwrap();
    let error = plan.splits.next().await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("plan: no answer within 5m"), "{error}");
    assert!(plan.splits.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_time_between_two_batches_of_a_busy_consumer_does_not_count() {
    let faults = Faults::new(|_| Some(Fault::Slow(secs(299))));
    let source = TimeoutSource::new(Numbers::new(Resume::Exact, &faults), &settings());
    let mut batches = source.read(&context(), &split(), Position::Start).unwrap();
    while let Some(batch) = batches.next().await {
        batch.unwrap();
        tokio::time::sleep(secs(3_600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_nobody_polls_does_not_count_either() {
    let faults = Faults::at(1, Fault::Slow(secs(400)));
    let source = TimeoutSource::new(Numbers::new(Resume::Exact, &faults), &settings());
    let mut batches = source.read(&context(), &split(), Position::Start).unwrap();
    // The consumer looks once, and then has other things to do for longer than the read may be idle.
    assert!(futures::poll!(batches.next()).is_pending());
    tokio::time::advance(secs(350)).await;
    batches.next().await.unwrap().unwrap();
}

/// A source that asks for a permit before its only batch.
struct Asking;

#[async_trait]
impl DynSource for Asking {
    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities { resume: Resume::Exact, ordered: false, bounded: true }
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        cx.permit("").await.map(drop)
    }

    async fn discover(&self, _cx: &Context) -> Result<Vec<Dataset>> {
        Ok(vec![])
    }

    async fn plan(&self, _cx: &Context, _request: &ScanRequest) -> Result<ScanPlan> {
        Ok(ScanPlan::new(None, stream::empty().boxed()))
    }

    fn read(&self, cx: &Context, _split: &Split, _from: Position) -> Result<BatchStream> {
        let cx = cx.clone();
        let batch = async move {
            drop(cx.permit("").await?);
            Ok(Batch::new(rows(&[1]), Position::End))
        };
        Ok(stream::once(batch).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_our_own_limiter_is_not_the_servers_silence() {
    let run = RunLimit::new(8.try_into().unwrap(), Arc::new(TokioClock));
    let limiter = Arc::new(ConnectionLimiter::new(&run, &LimitSettings::default()));
    let cx = context().for_connection(Arc::new(Connection::new("shop", limiter.clone())));
    let source = TimeoutSource::new(Arc::new(Asking), &settings());
    limiter.pause("", secs(3_000));
    source.check(&cx).await.unwrap();
    limiter.pause("", secs(3_000));
    assert_eq!(read_all(&source, &cx).await.unwrap(), [1]);
}
