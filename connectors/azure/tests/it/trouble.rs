//! Servers and networks that suffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_connector_azure::CONNECTOR;
use towpath_core::{DynSource, Json, Planned, Position, Result, ScanRequest};
use towpath_layers::{LayerSettings, RetrySettings, layer_source};
use towpath_testkit::http::Response;
use towpath_testkit::rows;

use crate::support::{Prefix, at, behind, numbered, through};

/// Reads everything as a run does: what fails for a moment is tried again.
async fn read(prefix: &Prefix, path: &str, more: &Json) -> Result<Vec<Json>> {
    let source = CONNECTOR.source_entry().unwrap().open(prefix.options(path, more), &prefix.cx).await?;
    let quick = RetrySettings { base: Duration::from_millis(1).into(), ..RetrySettings::default() };
    let source: Arc<dyn DynSource> =
        layer_source(source, &LayerSettings { retry: quick, ..LayerSettings::default() });
    let plan = source.plan(&prefix.cx, &ScanRequest::default()).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut found = Vec::new();
    for step in &steps {
        let Planned::Split { split, .. } = step else { continue };
        let mut batches = source.read(&prefix.cx, split, Position::Start)?;
        while let Some(batch) = batches.next().await {
            found.extend(rows::to_json([&batch?.rows]));
        }
    }
    Ok(found)
}

fn busy() -> Response {
    let body = "<Error><Code>ServerBusy</Code><Message>The server is busy.</Message></Error>";
    Response::status(503).body(body)
}

async fn big(prefix: &Prefix) -> usize {
    let lines = numbered(400_000);
    let text = format!("n,m\n{lines}");
    let size = text.len();
    prefix.put("big.csv", text).await;
    size
}

fn is_complete(rows: &[Json]) -> bool {
    rows.len() == 400_000 && rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n))
}

#[tokio::test]
async fn a_server_that_wants_less_gets_less_and_everything_is_read() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let front = behind(|request| (request.attempt <= 2).then(busy)).await;
    let rows = read(&prefix, "*.csv", &json!({"endpoint": at(&front)})).await.unwrap();
    assert_eq!(rows, [json!({"n": 1}), json!({"n": 2})]);
    let metrics = prefix.cx.metrics().snapshot();
    assert!(metrics.throttled >= 4 && metrics.retries >= 4, "{metrics:?}");
}

#[tokio::test]
async fn a_429_is_asked_again_when_the_server_says() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let front =
        behind(|request| (request.attempt == 1).then(|| Response::status(429).header("retry-after", "1")))
            .await;
    let rows = read(&prefix, "a.csv", &json!({"endpoint": at(&front)})).await.unwrap();
    assert_eq!(rows, [json!({"n": 1})]);
}

#[tokio::test]
async fn a_range_is_read_on_and_the_object_not_read_again() {
    let prefix = Prefix::new();
    let size = big(&prefix).await;
    // The second range breaks off, more often than the columns are looked for and less often than is tried.
    let cuts = AtomicUsize::new(0);
    let front = through(move |request, answer| {
        let is_second = request.header("range").is_some_and(|range| range.starts_with("bytes=1048576-"));
        if is_second && cuts.fetch_add(1, Ordering::SeqCst) < 3 { answer.cut_after(300_000) } else { answer }
    })
    .await;
    let rows = read(&prefix, "big.csv", &json!({"endpoint": at(&front)})).await;
    assert!(is_complete(&rows.unwrap()));
    let metrics = prefix.cx.metrics().snapshot();
    assert!(metrics.retries > 0, "{metrics:?}");
    assert!(metrics.bytes_read < 4 * size as u64, "{metrics:?}");
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_and_not_the_whole_listing() {
    let prefix =
        Prefix::with(&[("x/1/a.csv", "n\n1\n"), ("x/2/a.csv", "n\n2\n"), ("x/3/a.csv", "n\n3\n")]).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = refused.clone();
    let front = behind(move |request| {
        let fails = request.param("prefix").is_some_and(|prefix| prefix.ends_with("x/2/"));
        (fails && counter.fetch_add(1, Ordering::SeqCst) == 0).then(|| Response::status(500))
    })
    .await;
    let rows = read(&prefix, "x/*/*.csv", &json!({"endpoint": at(&front)})).await.unwrap();
    assert_eq!(rows.len(), 3);
    let of_the_level = front
        .requests()
        .iter()
        .filter(|recorded| recorded.request.param("prefix").is_some_and(|prefix| prefix.ends_with("/x/")))
        .count();
    // Once for the columns, once for the splits.
    assert_eq!(of_the_level, 2);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_again() {
    let prefix = Prefix::with(&[("a.csv", "n\n1\n")]).await;
    let front = behind(|request| (request.attempt == 1).then(Response::never)).await;
    let options = json!({"endpoint": at(&front), "timeout": {"idle": "2s"}});
    assert_eq!(read(&prefix, "a.csv", &options).await.unwrap(), [json!({"n": 1})]);
    assert!(prefix.cx.metrics().snapshot().retries > 0);
}
