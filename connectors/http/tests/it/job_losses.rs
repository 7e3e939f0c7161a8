//! Jobs that the server has lost, or whose result cannot be had any more.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position, Result, ScanRequest};

use crate::jobs::{Reports, created, first_rows, later, options, targets};
use crate::support::{Opened, context, ids, open, open_with, to_json};

/// A run that replaces, or one that merges; else it appends.
fn run(disposition: &str) -> ScanRequest {
    let mut request = ScanRequest::default();
    (request.one_snapshot, request.repeatable) = (disposition == "replace", disposition == "merge");
    request
}

/// Reads on from a position, as a later run of the same kind; with its warnings.
async fn later_run(
    options: &Json,
    request: &ScanRequest,
    from: Position,
) -> (Result<Vec<Json>>, Vec<String>) {
    let (cx, recorder) = context();
    let source = open_with(options.clone(), &cx).await.unwrap();
    let opened = Opened { source, cx, recorder };
    let split = opened.splits(request).await.unwrap().remove(0);
    let read = opened.batches(&split, from).await.map(|batches| to_json(&batches));
    (read, opened.cx.metrics().warnings())
}

fn of_files(server: &towpath_testkit::http::TestServer) -> Json {
    options(server, &[("/result/url", json!("$.files[*].url"))])
}

#[tokio::test]
async fn what_merges_gets_all_rows_of_another_job() {
    for lose in [Reports::forget, Reports::fail] {
        let reports = Reports::default();
        let server = reports.start().await;
        let options = of_files(&server);
        let first = first_rows(&open(options.clone()).await, Position::Start).await.unwrap();
        assert_eq!(to_json(std::slice::from_ref(&first)), ids(0..3));
        lose(&reports, "j1");
        let (rows, warnings) = later_run(&options, &run("merge"), first.resume).await;
        assert_eq!(rows.unwrap(), ids(0..5));
        assert_eq!(reports.created(), 2);
        assert_eq!(
            warnings,
            [
                "the job j1 was lost when a part of its result had been loaded: another one was created, and all of its rows are \
              merged"
            ]
        );
    }
}

#[tokio::test]
async fn what_appends_or_replaces_fails_and_says_what_to_do() {
    for (disposition, help) in [("append", "towpath state reset"), ("replace", "run again")] {
        let reports = Reports::default();
        let server = reports.start().await;
        let options = of_files(&server);
        let first = first_rows(&open(options.clone()).await, Position::Start).await.unwrap();
        reports.forget("j1");
        let (read, _) = later_run(&options, &run(disposition), first.resume).await;
        let error = read.unwrap_err();
        assert_eq!(
            error.message(),
            "the job j1 is lost, and a part of its result has been loaded: the server answered 404 Not Found"
        );
        assert!(error.help_text().unwrap().contains(help) && !error.is_retryable(), "{error}");
        assert!(error.detail_value("url").unwrap().ends_with("/reports/j1"), "{error}");
        assert_eq!(reports.created(), 1);
    }
}

#[tokio::test]
async fn a_job_that_is_lost_while_it_is_read_is_replaced_in_the_same_run() {
    let reports = Reports::default();
    let server = reports.start().await;
    let opened = open(of_files(&server)).await;
    // The first file is there, and with the second all of the job is gone.
    reports.refuse("/files/j1/2", 404, u64::MAX);
    let split = opened.splits(&run("merge")).await.unwrap().remove(0);
    let rows = to_json(&opened.batches(&split, Position::Start).await.unwrap());
    assert_eq!(rows, [ids(0..3), ids(0..5)].concat());
    assert_eq!(reports.created(), 2);
    // One that goes the same way is the last.
    reports.refuse("/files/j3/2", 404, u64::MAX);
    reports.refuse("/files/j4/2", 404, u64::MAX);
    let error = opened.batches(&split, Position::Start).await.unwrap_err();
    assert!(error.message().starts_with("the job j4 is lost"), "{error}");
    assert!(error.help_text().unwrap().contains("another one was lost before"), "{error}");
    assert_eq!(reports.created(), 4);
}

#[tokio::test]
async fn urls_that_are_no_longer_good_are_asked_for_anew() {
    for status in [403, 404, 400] {
        let reports = Reports::default();
        let server = reports.start().await;
        reports.refuse("/files/j1/2", status, 1);
        let opened = open(of_files(&server)).await;
        assert_eq!(opened.rows().await.unwrap(), ids(0..5), "{status}");
        let asked = targets(&server);
        assert_eq!(
            asked[4..],
            ["GET /files/j1/1.ndjson", "GET /files/j1/2.ndjson", "GET /reports/j1", "GET /files/j1/2.ndjson"],
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_result_that_is_forbidden_is_no_lost_job() {
    let reports = Reports::default();
    let server = reports.start().await;
    reports.refuse("/files/", 403, u64::MAX);
    let options = of_files(&server);
    let waiting = created(&open(options.clone()).await).await;
    let error = later(&options, waiting).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::PermissionDenied, "the server answered 403 Forbidden")
    );
    assert_eq!(reports.created(), 1);
}

#[tokio::test]
async fn a_result_that_was_gone_before_a_row_was_loaded_is_that_of_another_job() {
    let reports = Reports::default();
    let server = reports.start().await;
    let options = of_files(&server);
    let waiting = created(&open(options.clone()).await).await;
    reports.refuse("/files/j1", 410, u64::MAX);
    assert_eq!(later(&options, waiting).await.unwrap(), ids(0..5));
    assert_eq!(reports.created(), 2);
}

#[tokio::test]
async fn a_status_that_was_never_there_is_an_error_that_names_the_url() {
    let reports = Reports::default();
    let server = reports.start().await;
    reports.refuse("/reports/j1", 404, u64::MAX);
    let error = open(of_files(&server)).await.rows().await.unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "the server answered 404 Not Found"));
    assert_eq!(error.detail_value("job"), Some("j1"));
    assert!(error.detail_value("url").unwrap().ends_with("/reports/j1"), "{error}");
    assert_eq!(reports.created(), 1);
}
