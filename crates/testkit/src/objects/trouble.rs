//! Servers and networks that suffer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use serde_json::json;
use towpath_core::{DynSource, ErrorKind, Json, Planned, Position, Result, ScanRequest};
use towpath_layers::{LayerSettings, RetrySettings, layer_source};

use super::{ObjectSite, ObjectSiteTools, behind, error, numbered, through};
use crate::http::{Response, TestServer};
use crate::proxy::Proxy;
use crate::rows;

/// Reads everything as a run does: what fails for a moment is tried again.
async fn read<S: ObjectSite>(site: &S, path: &str, more: &Json) -> Result<Vec<Json>> {
    let source = site.source(path, more).await;
    let quick = RetrySettings { base: Duration::from_millis(1).into(), ..RetrySettings::default() };
    let source: Arc<dyn DynSource> =
        layer_source(source, &LayerSettings { retry: quick, ..LayerSettings::default() });
    let plan = source.plan(site.cx(), &ScanRequest::default()).await?;
    let steps: Vec<Planned> = plan.splits.try_collect().await?;
    let mut found = Vec::new();
    for step in &steps {
        let Planned::Split { split, .. } = step else { continue };
        let mut batches = source.read(site.cx(), split, Position::Start)?;
        while let Some(batch) = batches.next().await {
            found.extend(rows::to_json([&batch?.rows]));
        }
    }
    Ok(found)
}

/// The options that lead to a server in front of the real one.
fn at(site: &impl ObjectSite, front: &TestServer) -> Json {
    json!({"endpoint": site.endpoint_at(&front.url(""))})
}

async fn big(site: &impl ObjectSite) -> usize {
    let lines = numbered(400_000);
    let text = format!("n,m\n{lines}");
    let length = text.len();
    site.put("big.csv", text).await;
    length
}

fn is_complete(rows: &[Json]) -> bool {
    rows.len() == 400_000 && rows.iter().enumerate().all(|(n, row)| row["n"] == json!(n))
}

/// A store that says that it wants less is waited for, and that is counted.
pub async fn a_server_that_wants_less_gets_less_and_everything_is_read<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n"), ("b.csv", "n\n2\n")]).await;
    let front = behind(&site, |request| (request.attempt <= 2).then(S::slow_down)).await;
    let rows = read(&site, "*.csv", &at(&site, &front)).await.unwrap();
    assert_eq!(rows, [json!({"n": 1}), json!({"n": 2})]);
    let metrics = site.cx().metrics().snapshot();
    assert!(metrics.throttled >= 4 && metrics.retries >= 4, "{metrics:?}");
}

/// `Retry-After` is heeded.
pub async fn a_429_is_asked_again_when_the_server_says<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n")]).await;
    let front = behind(&site, |request| {
        (request.attempt == 1).then(|| Response::status(429).header("retry-after", "1"))
    })
    .await;
    let rows = read(&site, "a.csv", &at(&site, &front)).await.unwrap();
    assert_eq!(rows, [json!({"n": 1})]);
}

/// When a range breaks off, what came of it is kept.
pub async fn a_range_is_read_on_and_the_object_not_read_again<S: ObjectSite>() {
    // Each answer breaks off that is longer, so no range comes at once.
    const MOST: usize = 1 << 20;
    let site = S::new().await;
    let length = big(&site).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let front = through(&site, move |request, answer| {
        if request.header("range").is_some() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        answer.cut_after(MOST)
    })
    .await;
    let rows = read(&site, "big.csv", &at(&site, &front)).await;
    assert!(is_complete(&rows.unwrap()));
    let metrics = site.cx().metrics().snapshot();
    assert!(metrics.retries > 0, "{metrics:?}");
    // Once to look for the columns, once to read.
    let needed = 2 * (length / MOST + 2);
    assert!(asked.load(Ordering::SeqCst) <= needed, "{asked:?} ranges, {needed} would do");
}

/// Where a server listens, as a URL has it.
fn address(origin: &str) -> SocketAddr {
    origin.split_once("://").unwrap().1.parse().unwrap()
}

/// A network that cuts each connection behind so many bytes, and the options that lead through it.
async fn cutting(site: &impl ObjectSite, bytes: u64) -> (Proxy, Json) {
    let origin = site.origin();
    let proxy = Proxy::start(address(&origin)).await;
    proxy.cut_after(Some(bytes));
    let scheme = origin.split_once("://").unwrap().0;
    let endpoint = site.endpoint_at(&format!("{scheme}://{}", proxy.address()));
    (proxy, json!({"endpoint": endpoint}))
}

/// However short its connections live, an object arrives as long as each brings some of it.
pub async fn an_object_is_read_although_no_connection_brings_a_whole_range<S: ObjectSite>() {
    let site = S::new().await;
    let length = big(&site).await;
    let (_proxy, through) = cutting(&site, 400_000).await;
    // Its ranges are of 1 MiB and of the rest.
    assert!(length > 5 << 20);
    assert!(is_complete(&read(&site, "big.csv", &through).await.unwrap()));
}

/// A range is not tried for ever, and the error says how much came.
pub async fn a_range_of_which_next_to_nothing_comes_is_given_up<S: ObjectSite>() {
    let site = S::new().await;
    big(&site).await;
    // A head has less than that, with or without encryption; then a little of the body comes.
    let front =
        through(
            &site,
            |request, answer| {
                if request.header("range").is_some() { answer.cut_after(1_000) } else { answer }
            },
        )
        .await;
    let given_up = error(site.read("big.csv", &at(&site, &front)).await);
    assert_eq!(given_up.kind(), ErrorKind::Unavailable);
    let said = format!("{given_up}");
    assert!(said.contains("big.csv") && said.contains("cuts its answers"), "{said}");
    assert!(given_up.detail_value("received").is_some(), "{given_up:?}");
    // The second range is on its way meanwhile.
    let of_the_first = |range: &str| range.ends_with("-1048575");
    let requests = front.requests();
    let asked = requests.iter().filter(|asked| asked.request.header("range").is_some_and(of_the_first));
    assert_eq!(asked.count(), 4);
}

/// A listing goes on where it failed.
pub async fn a_page_that_fails_is_asked_for_again_and_not_the_whole_listing<S: ObjectSite>() {
    let site = S::with(&[("x/1/a.csv", "n\n1\n"), ("x/2/a.csv", "n\n2\n"), ("x/3/a.csv", "n\n3\n")]).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let (counter, failing) = (refused.clone(), site.key("x/2/"));
    let front = behind(&site, move |request| {
        let fails = request.param("prefix").as_ref() == Some(&failing);
        (fails && counter.fetch_add(1, Ordering::SeqCst) == 0).then(|| Response::status(500))
    })
    .await;
    let rows = read(&site, "x/*/*.csv", &at(&site, &front)).await.unwrap();
    assert_eq!(rows.len(), 3);
    let level = site.key("x/");
    let requests = front.requests();
    let of_the_level =
        requests.iter().filter(|asked| asked.request.param("prefix").as_ref() == Some(&level)).count();
    // Once for the columns, once for the splits.
    assert_eq!(of_the_level, 2);
}

/// `timeout.idle` ends a request to which nobody answers.
pub async fn a_server_that_falls_silent_is_asked_again<S: ObjectSite>() {
    let site = S::with(&[("a.csv", "n\n1\n")]).await;
    let front = behind(&site, |request| (request.attempt == 1).then(Response::never)).await;
    let mut options = at(&site, &front);
    options["timeout"] = json!({"idle": "2s"});
    assert_eq!(read(&site, "a.csv", &options).await.unwrap(), [json!({"n": 1})]);
    assert!(site.cx().metrics().snapshot().retries > 0);
}

/// `timeout.connect` ends a connection that does not come about, and the error names it.
pub async fn a_server_that_makes_no_connection_is_given_up_in_time<S: ObjectSite>() {
    let site = S::new().await;
    // The system takes connections on behalf of a server that never says a word, so TLS does not come about.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = site.endpoint_at(&format!("https://{}", silent.local_addr().unwrap()));
    let source = site.source("*.csv", &json!({"endpoint": endpoint, "timeout": {"connect": "200ms"}})).await;
    let began = Instant::now();
    let late = error(source.check(site.cx()).await);
    // One attempt would take ten seconds without the option.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    assert!(late.to_string().contains("`timeout.connect`"), "{late}");
}
