//! Budgets of parts of an API.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, join_all};
use serde_json::json;
use towpath_core::{Clock, Connection, Context, ErrorKind, Json, Outcome};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, Recorder, context, install_tls, open_with};

/// Waits shorter than this are timeouts.
const LONG: Duration = Duration::from_mins(5);

/// A clock that leaps over long waits, and remembers them.
pub(crate) struct Leaping {
    /// 2026-11-27 08:00:00 UTC, and so many minutes.
    began: SystemTime,
    leaps: Arc<Mutex<Vec<Duration>>>,
}

impl Leaping {
    pub(crate) fn new(minutes: u64) -> Arc<Self> {
        let began = UNIX_EPOCH + Duration::from_hours(498_824) + Duration::from_mins(minutes);
        Arc::new(Self { began, leaps: Arc::default() })
    }

    /// The minutes of each long wait.
    pub(crate) fn minutes(&self) -> Vec<u64> {
        let leaps = self.leaps.lock().unwrap();
        leaps.iter().map(|leap| (leap.as_secs() + 30) / 60).collect()
    }

    fn leapt(&self) -> Duration {
        self.leaps.lock().unwrap().iter().sum()
    }
}

impl Clock for Leaping {
    fn now(&self) -> SystemTime {
        self.began + self.leapt()
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + self.leapt()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < LONG {
            return Box::pin(tokio::time::sleep(duration));
        }
        let leaps = self.leaps.clone();
        Box::pin(async move { leaps.lock().unwrap().push(duration) })
    }
}

/// A source whose connection has this clock, and a limiter that keeps a record.
pub(crate) async fn opened(options: Json, clock: &Arc<Leaping>) -> Opened {
    install_tls();
    let recorder = Arc::new(Recorder::default());
    let connection = Arc::new(Connection::new("api", recorder.clone()));
    let cx = Context::builder(clock.clone()).stream("items").connection(connection).build();
    Opened { source: open_with(options, &cx).await.unwrap(), cx, recorder }
}

/// Another stream of the same connection.
async fn beside(opened: &Opened, options: Json) -> Opened {
    let source = open_with(options, &opened.cx).await.unwrap();
    Opened { source, cx: opened.cx.clone(), recorder: opened.recorder.clone() }
}

async fn server() -> TestServer {
    TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.attempt) {
            ("/v2/search/full", 1) => Response::status(429).header("retry-after", "2400"),
            ("/v2/search/last", 1) => Response::json(&json!([{"id": 0}]))
                .header("x-ratelimit-remaining", "0")
                .header("x-ratelimit-reset", "1800"),
            ("/v2/search/down", 1) => Response::status(503).header("retry-after", "2400"),
            _ => Response::json(&json!([{"id": 0}])),
        }
    })
    .await
}

fn options(server: &TestServer, paths: &[&str], budgets: &Json) -> Json {
    json!({"base_url": server.url("/v2"), "paths": paths, "budgets": budgets})
}

#[tokio::test]
async fn a_budget_holds_back_what_matches_it_in_all_streams_together() {
    let server = server().await;
    let clock = Leaping::new(20);
    let budgets = json!([{"match": "/search/*", "rate": "2/h"}]);
    let one = opened(options(&server, &["/search/1"], &budgets), &clock).await;
    let two = beside(&one, options(&server, &["/search/2", "/items", "/items/search/1"], &budgets)).await;
    one.rows().await.unwrap();
    assert_eq!(two.rows().await.unwrap().len(), 3);
    assert!(clock.minutes().is_empty());
    one.rows().await.unwrap();
    assert_eq!(clock.minutes(), [60]);
}

#[tokio::test]
async fn a_fixed_window_ends_by_the_clock() {
    let server = server().await;
    let clock = Leaping::new(20);
    let budgets = json!([{"match": "/search/*", "rate": "2/h", "window": "fixed"}]);
    let opened = opened(options(&server, &["/search/1", "/search/2", "/search/3"], &budgets), &clock).await;
    opened.rows().await.unwrap();
    assert_eq!(clock.minutes(), [40]);
}

#[tokio::test]
async fn requests_at_once_never_overdraw_a_budget() {
    let clock = Leaping::new(0);
    let (came, theirs) = (Arc::new(Mutex::new(Vec::new())), clock.clone());
    let arrived = came.clone();
    let server = TestServer::start(move |_: Request| {
        arrived.lock().unwrap().push(theirs.monotonic());
        async { Response::json(&json!([{"id": 0}])).delay(Duration::from_millis(5)) }
    })
    .await;
    let budgets = json!([{"match": format!("{}/v2/*/3", server.url("")), "rate": "3/h"}]);
    let one = opened(options(&server, &["/search/3"], &budgets), &clock).await;
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(beside(&one, options(&server, &["/search/3"], &budgets)).await);
    }
    let rows = join_all(all.iter().map(Opened::rows)).await;
    assert!(rows.iter().all(Result::is_ok));
    let mut came = came.lock().unwrap().clone();
    came.sort();
    assert_eq!(came.len(), 10);
    for four in came.windows(4) {
        assert!(four[3] - four[0] >= Duration::from_hours(1), "{came:?}");
    }
}

#[tokio::test]
async fn a_request_spends_of_each_budget_that_matches() {
    let server = server().await;
    let clock = Leaping::new(0);
    let budgets = json!([{"match": "/search/*", "rate": "10/h"}, {"match": "/*", "rate": "1/h"}]);
    let opened = opened(options(&server, &["/search/1", "/search/2"], &budgets), &clock).await;
    opened.rows().await.unwrap();
    assert_eq!(clock.minutes(), [60]);
}

#[tokio::test]
async fn what_an_answer_says_about_limits_pauses_the_budget_instead_of_the_server() {
    let server = server().await;
    let budgets = json!([{"match": "/search/*", "rate": "1000/h"}]);
    for (path, minutes) in [("/search/full", 40), ("/search/last", 30)] {
        let clock = Leaping::new(0);
        let first = opened(options(&server, &[path], &budgets), &clock).await;
        match (path, first.rows().await) {
            ("/search/full", Err(error)) => {
                assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
            }
            (_, rows) => assert_eq!(rows.unwrap().len(), 1),
        }
        let record = first.recorder.record();
        assert_eq!((record.outcomes, record.pauses), (vec![Outcome::Success], vec![]), "{path}");
        beside(&first, options(&server, &["/items"], &budgets)).await.rows().await.unwrap();
        assert!(clock.minutes().is_empty());
        beside(&first, options(&server, &["/search/1"], &budgets)).await.rows().await.unwrap();
        assert_eq!(clock.minutes(), [minutes], "{path}");
    }
    // A server that is down is down for all.
    let clock = Leaping::new(0);
    let down = opened(options(&server, &["/search/down"], &budgets), &clock).await;
    assert_eq!(down.rows().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(down.recorder.record().pauses.len(), 1);
}

#[tokio::test]
async fn a_pattern_that_matches_nothing_is_refused() {
    let (cx, _) = context();
    let options = json!({"url": "http://a/", "budgets": [{"match": "search", "rate": "1/s"}]});
    let Err(error) = open_with(options, &cx).await else { panic!("it was taken") };
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "`search` in `budgets` is no pattern of a path or URL");
}
