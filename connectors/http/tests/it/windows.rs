//! Windows of time as parameters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt};
use serde_json::json;
use towpath_core::{
    Clock, Context, CursorRange, ErrorKind, Json, Planned, Position, Pushdown, ScanRequest, Split,
};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, error, install_tls, open_with, to_json, with};

/// 2024-01-04T12:00:00Z.
const NOON: u64 = 1_704_369_600;

/// A clock that says what it is told.
struct Told(AtomicU64);

impl Clock for Told {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

async fn open_at(options: Json, now: u64) -> (Opened, Arc<Told>) {
    install_tls();
    let clock = Arc::new(Told(AtomicU64::new(now)));
    let cx = Context::builder(clock.clone()).stream("items").build();
    let source = open_with(options, &cx).await.unwrap();
    (Opened { source, cx, recorder: Arc::default() }, clock)
}

async fn echo() -> TestServer {
    TestServer::start(|request: Request| async move {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        Response::json(&json!([{ "query": request.query, "body": body.to_string() }]))
    })
    .await
}

fn windows(server: &TestServer, windows: &Json) -> Json {
    with(server.url("/?from={w.start}&to={w.end}"), json!({"params": {"w": windows}}))
}

fn cursor(after: Json) -> ScanRequest {
    let mut request = ScanRequest::default();
    request.cursor = Some(CursorRange::new("at", Some(after), None));
    request
}

/// What was asked for.
async fn asked(options: &Json, request: &ScanRequest, server: &TestServer) -> Vec<String> {
    server.clear();
    open_at(options.clone(), NOON).await.0.rows_of(request).await.unwrap();
    server.targets().iter().map(|target| target.trim_start_matches("/?").to_owned()).collect()
}

#[tokio::test]
async fn windows_go_from_the_start_to_now_in_each_format() {
    let server = echo().await;
    let all = ScanRequest::default();
    for (more, expected) in [
        (
            json!({"step": "1d", "format": "date"}),
            vec![
                "from=2024-01-02&to=2024-01-03",
                "from=2024-01-03&to=2024-01-04",
                "from=2024-01-04&to=2024-01-04",
            ],
        ),
        (
            json!({"step": "2d"}),
            vec![
                "from=2024-01-02T00%3A00%3A00Z&to=2024-01-04T00%3A00%3A00Z",
                "from=2024-01-04T00%3A00%3A00Z&to=2024-01-04T12%3A00%3A00Z",
            ],
        ),
        (json!({"format": "unix"}), vec!["from=1704153600&to=1704369600"]),
        (json!({"format": "unix_ms"}), vec!["from=1704153600000&to=1704369600000"]),
        (json!({"format": "%Y%m%d-%H"}), vec!["from=20240102-00&to=20240104-12"]),
        (
            json!({"format": "unix", "end": "2024-01-03T00:00:00+01:00"}),
            vec!["from=1704153600&to=1704236400"],
        ),
        (json!({"format": "unix", "end": "2030-01-01"}), vec!["from=1704153600&to=1704369600"]),
    ] {
        let mut form = json!({"start": "2024-01-02", "end": "now"});
        form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(asked(&windows(&server, &form), &all, &server).await, expected, "{more}");
    }
}

#[tokio::test]
async fn windows_begin_at_the_last_value_of_the_cursor_less_the_lookback() {
    let server = echo().await;
    let form = |lookback: &str, format: &str| {
        windows(
            &server,
            &json!({"start": "2024-01-02", "step": "1d", "lookback": lookback, "format": format}),
        )
    };
    let after = cursor(json!("2024-01-04T06:00:00Z"));
    assert_eq!(asked(&form("0s", "unix"), &after, &server).await, ["from=1704348000&to=1704369600"]);
    assert_eq!(asked(&form("1h", "unix"), &after, &server).await, ["from=1704344400&to=1704369600"]);
    assert_eq!(asked(&form("0s", "date"), &after, &server).await, ["from=2024-01-04&to=2024-01-04"]);
    assert_eq!(
        asked(&form("0s", "unix"), &cursor(json!(1_704_348_000)), &server).await,
        ["from=1704348000&to=1704369600"]
    );
    // Never before the start, and nothing when there is nothing to read.
    assert_eq!(asked(&form("365d", "date"), &after, &server).await.len(), 3);
    assert!(asked(&form("0s", "unix"), &cursor(json!("2024-01-05")), &server).await.is_empty());
    // An id says nothing about time.
    assert_eq!(asked(&form("0s", "date"), &cursor(json!(17)), &server).await.len(), 3);
    let (opened, _) = open_at(form("0s", "date"), NOON).await;
    assert_eq!(opened.source.plan(&opened.cx, &after).await.unwrap().cursor, Pushdown::Inexact);
}

#[tokio::test]
async fn a_plan_that_goes_on_is_of_the_moment_at_which_it_began() {
    let server = echo().await;
    let form = json!({"start": "2024-01-02", "step": "1d", "format": "unix"});
    // The second stream shows its windows in the body only.
    for options in [
        windows(&server, &form),
        with(server.url("/"), json!({"params": {"w": form}, "body": {"json": ["{w}", "{w.end}"]}})),
    ] {
        let (opened, clock) = open_at(options, NOON).await;
        let first = cursor(json!("2024-01-02T06:00:00Z"));
        let plan = async |request: &ScanRequest| -> Vec<(Split, Position)> {
            let steps: Vec<_> =
                opened.source.plan(&opened.cx, request).await.unwrap().splits.try_collect().await.unwrap();
            let splits = steps.into_iter().filter_map(|step| match step {
                Planned::Split { split, resume } => Some((split, resume)),
                Planned::Complete { .. } => None,
            });
            splits.collect()
        };
        let whole = plan(&first).await;
        assert_eq!(whole.len(), 3);
        let rows = to_json(&opened.batches(&whole[2].0, Position::Start).await.unwrap());
        clock.0.fetch_add(3 * 86_400, Ordering::SeqCst);
        for (index, (_, resume)) in whole.iter().enumerate() {
            let mut request = first.clone();
            request.planned = resume.clone();
            assert_eq!(plan(&request).await, whole[index + 1..]);
        }
        // So are its splits.
        assert_eq!(to_json(&opened.batches(&whole[2].0, Position::Start).await.unwrap()), rows);
        assert_eq!(plan(&first).await.len(), 6);
    }
}

#[tokio::test]
async fn times_in_numbers_are_numbers_in_a_body() {
    let server = echo().await;
    let options = json!({
        "params": {"w": {"start": "2024-01-04", "format": "unix"}},
        "body": {"json": {"range": ["{w.start}", "{w.end}"], "text": "{w.start}-"}},
    });
    let found = open_at(with(server.url("/"), options), NOON).await.0.rows().await.unwrap();
    let body: Json = serde_json::from_str(found[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({"range": [1_704_326_400, 1_704_369_600], "text": "1704326400-"}));
}

#[tokio::test]
async fn wrong_windows_are_named() {
    for (form, message) in [
        (json!({"start": "soon"}), "`soon` is neither a date nor an RFC 3339 time"),
        (
            json!({"start": "2024-01-02", "end": "2024-01-01"}),
            "the `end` of windows is not behind their `start`",
        ),
        (json!({"start": "2024-01-02", "step": "1ms"}), "the `step` of windows has to be a second or more"),
        (json!({"start": "2024-01-02", "format": "iso"}), "`iso` is no format of a time"),
        (json!({"start": "2024-01-02", "stop": "now"}), "unknown field `stop`"),
    ] {
        let error = error(with("http://localhost/{w}", json!({"params": {"w": form}}))).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(message), "{error}");
    }
}
