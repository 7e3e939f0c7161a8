//! Servers and networks that suffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_connector_gcs::CONNECTOR;
use towpath_core::{DynSource, Json, Planned, Position, Result, ScanRequest};
use towpath_layers::{LayerSettings, RetrySettings, layer_source};
use towpath_testkit::gcs::Conduct;
use towpath_testkit::http::{Request, Response};
use towpath_testkit::rows;

use crate::support::{Site, numbered};

/// Reads everything as a run does: what fails for a moment is tried again.
async fn read_with(site: &Site, path: &str, more: &Json) -> Result<Vec<Json>> {
    let source = CONNECTOR.source_entry().unwrap().open(site.options(path, more), &site.cx).await?;
    let quick = RetrySettings { base: Duration::from_millis(1).into(), ..RetrySettings::default() };
    let source: Arc<dyn DynSource> =
        layer_source(source, &LayerSettings { retry: quick, ..LayerSettings::default() });
    let plan = source.plan(&site.cx, &ScanRequest::default()).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut found = Vec::new();
    for step in &steps {
        let Planned::Split { split, .. } = step else { continue };
        let mut batches = source.read(&site.cx, split, Position::Start)?;
        while let Some(batch) = batches.next().await {
            found.extend(rows::to_json([&batch?.rows]));
        }
    }
    Ok(found)
}

async fn read(site: &Site, path: &str) -> Result<Vec<Json>> {
    read_with(site, path, &json!({})).await
}

/// A server that answers some requests otherwise, with these objects.
async fn behind(
    objects: &[(&str, &str)],
    answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> Site {
    let site = Site::behaving(Conduct::answering(answer)).await;
    for (key, text) in objects {
        site.put(key, *text);
    }
    site
}

fn slow_down() -> Response {
    let body = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    Response::status(503).body(body)
}

fn big(site: &Site) -> usize {
    let lines = numbered(400_000);
    let text = format!("n,m\n{lines}");
    let length = text.len();
    site.put("big.csv", text);
    length
}

fn is_complete(rows: &[Json]) -> bool {
    rows.len() == 400_000 && rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n))
}

#[tokio::test]
async fn a_server_that_wants_less_gets_less_and_everything_is_read() {
    let site =
        behind(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")], |request| (request.attempt <= 2).then(slow_down))
            .await;
    assert_eq!(read(&site, "*.csv").await.unwrap(), [json!({"n": 1}), json!({"n": 2})]);
    let metrics = site.cx.metrics().snapshot();
    assert!(metrics.throttled >= 4 && metrics.retries >= 4, "{metrics:?}");
}

#[tokio::test]
async fn a_429_is_asked_again_when_the_server_says() {
    let wait =
        |request: &Request| (request.attempt == 1).then(|| Response::status(429).header("retry-after", "1"));
    let site = behind(&[("a.csv", "n\n1\n")], wait).await;
    assert_eq!(read(&site, "a.csv").await.unwrap(), [json!({"n": 1})]);
}

#[tokio::test]
async fn a_range_is_read_on_and_the_object_not_read_again() {
    // The second range breaks off, more often than the columns are looked for and less often than is tried.
    let cuts = AtomicUsize::new(0);
    let cut = move |request: &Request, answer: Response| {
        let is_second = request.header("range").is_some_and(|range| range.starts_with("bytes=1048576-"));
        if is_second && cuts.fetch_add(1, Ordering::SeqCst) < 3 { answer.cut_after(300_000) } else { answer }
    };
    let site = Site::behaving(Conduct::changing(cut)).await;
    let length = big(&site);
    assert!(is_complete(&read(&site, "big.csv").await.unwrap()));
    let metrics = site.cx.metrics().snapshot();
    assert!(metrics.retries > 0, "{metrics:?}");
    assert!(metrics.bytes_read < 4 * length as u64, "{metrics:?}");
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_and_not_the_whole_listing() {
    let refused = AtomicUsize::new(0);
    let fail = move |request: &Request| {
        let fails = request.param("prefix").is_some_and(|prefix| prefix.ends_with("x/2/"));
        (fails && refused.fetch_add(1, Ordering::SeqCst) == 0).then(|| Response::status(500))
    };
    let objects = [("x/1/a.csv", "n\n1\n"), ("x/2/a.csv", "n\n2\n"), ("x/3/a.csv", "n\n3\n")];
    let site = behind(&objects, fail).await;
    assert_eq!(read(&site, "x/*/*.csv").await.unwrap().len(), 3);
    let requests = site.server.requests();
    let of_the_level =
        requests.iter().filter(|recorded| recorded.request.param("prefix").as_deref() == Some("x/")).count();
    // Once for the columns, once for the splits.
    assert_eq!(of_the_level, 2);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_asked_again() {
    let site = behind(&[("a.csv", "n\n1\n")], |request| (request.attempt == 1).then(Response::never)).await;
    let rows = read_with(&site, "a.csv", &json!({"timeout": {"idle": "2s"}})).await.unwrap();
    assert_eq!(rows, [json!({"n": 1})]);
    assert!(site.cx.metrics().snapshot().retries > 0);
}
