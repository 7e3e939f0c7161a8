//! Jobs that fail, take too long, or cannot work.

use std::time::Duration;

use futures::TryStreamExt;
use serde_json::{Value as Json, json};
use towpath_core::{ErrorKind, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::jobs::{Reports, options, rows_of};
use crate::support::open;

#[tokio::test]
async fn a_failed_job_is_an_error_with_what_the_server_says() {
    let reports = Reports::default();
    let server = reports.start().await;
    reports.fail("j1");
    let opened = open(options(&server, &[])).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!(error.message(), "the job j1 has failed: no such column");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!(error.detail_value("state"), Some("FAILED"));
    assert!(error.detail_value("url").unwrap().ends_with("/reports/j1"), "{error}");
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_an_error() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/reports" => Response::json(&json!({"id": "j1"})),
            _ => Response::json(&json!({"status": "QUEUED"})),
        }
    })
    .await;
    let hasty = [("/status/poll_every", json!("2m")), ("/status/timeout", json!("1m"))];
    let error = rows_of(options(&server, &hasty)).await.unwrap_err();
    assert_eq!(error.message(), "the job j1 is not done after 1m");
    assert_eq!((error.is_retryable(), error.detail_value("state")), (false, Some("QUEUED")));
    assert!(error.help_text().unwrap().contains("job.status.timeout"), "{error}");
}

#[tokio::test]
async fn a_graphql_error_is_one_also_where_a_job_is_created() {
    let server =
        crate::support::always(Response::json(&json!({"errors": [{"message": "no such field"}]}))).await;
    let mut options = options(&server, &[]);
    options["body"] = json!({"graphql": {"query": "q"}});
    let error = rows_of(options).await.unwrap_err();
    assert!(error.message().contains("no such field"), "{error}");
}

#[tokio::test]
async fn waiting_ends_when_the_run_is_stopped() {
    let reports = Reports::default();
    let server = reports.start().await;
    let slow = [("/status/poll_every", json!("10m"))];
    let opened = open(options(&server, &slow)).await;
    let split = opened.only_split().await;
    let cancellation = towpath_core::Cancellation::new();
    let cx = opened.cx.with_cancellation(cancellation.clone());
    let mut batches = opened.source.read(&cx, &split, Position::Start).unwrap();
    batches.try_next().await.unwrap();
    let stop = async {
        crate::support::eventually("the status is asked for", || server.requests().len() == 2).await;
        cancellation.cancel();
    };
    let (waited, ()) =
        futures::future::join(tokio::time::timeout(Duration::from_mins(1), batches.try_next()), stop).await;
    assert_eq!(waited.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn answers_without_what_is_needed_are_errors_that_name_it() {
    let cases: [(Json, Json, &str); 4] = [
        (json!({"no": 1}), json!({}), "the answer that created the job has nothing at `$.id`"),
        (json!({"id": "j1"}), json!({"no": 1}), "the status of the job has nothing at `$.status`"),
        (json!({"id": "j1"}), json!({"status": "DONE"}), "the answer has no URL of the result at `$.url`"),
        (json!({"id": "j1"}), json!({"status": "DONE", "url": 7}), "`$.url` leads to 7, which is no URL"),
    ];
    for (creation, status, message) in cases {
        let server = TestServer::start(move |request: Request| {
            let answer = if request.path == "/reports" { creation.clone() } else { status.clone() };
            async move { Response::json(&answer) }
        })
        .await;
        let error = rows_of(options(&server, &[])).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::DataInvalid, message));
        assert!(error.detail_value("url").is_some(), "{error}");
    }
    let server = crate::support::always(Response::bytes("text/html", "<html>log in</html>")).await;
    let error = rows_of(options(&server, &[])).await.unwrap_err();
    assert_eq!(error.message(), "the answer about the job is no JSON");
}

#[tokio::test]
async fn jobs_that_cannot_work_are_refused() {
    let server = Reports::default().start().await;
    for (changes, message) in [
        (vec![("/status/url", json!("$.x"))], "`job.status` has to say where the status is, and once"),
        (vec![("/status/path", Json::Null)], "`job.status` has to say where the status is, and once"),
        (vec![("/id", Json::Null)], "`job.id` has to say where the job's id is"),
        (vec![("/result", json!({}))], "`job.result` does not say where the result is"),
        (vec![("/result", json!({"path": "/{result}"}))], "{result} needs `job.result.id`"),
        (
            vec![("/status/method", json!("GET")), ("/status/body", json!({"json": {}}))],
            "`job.status` has `method: GET` and a `body`",
        ),
        (
            vec![("/status", json!({"url_header": "not a name"}))],
            "`job.status.url_header: not a name` is no name of a header",
        ),
    ] {
        let error = crate::support::error(options(&server, &changes)).await;
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
    }
    let mut taken = options(&server, &[]);
    taken["params"] = json!({"job": [1]});
    taken["path"] = json!("/reports/{job}");
    let error = crate::support::error(taken).await;
    assert!(error.message().starts_with("`params.job` has the name of something else"), "{error}");
    let mut conditional = options(&server, &[]);
    conditional["conditional"] = json!(true);
    conditional["body"] = Json::Null;
    let error = crate::support::error(conditional).await;
    assert!(error.message().starts_with("`conditional` cannot go with `job`"), "{error}");
}
