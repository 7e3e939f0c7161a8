//! Rules for answers: by status and by body, what becomes of a page.

use std::time::Duration;

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position, Retry};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{always, error, ids, open, read, with};

fn rules(rules: Json) -> Json {
    Json::Object([("responses".to_owned(), rules)].into_iter().collect())
}

/// Pages of one row each; the page with this number is answered in another way.
async fn with_page(page: u64, answer: Response) -> TestServer {
    TestServer::start(move |request: Request| {
        let answer = answer.clone();
        async move {
            match request.number("page").unwrap() {
                wanted if wanted == page => answer,
                wanted => Response::json(&json!({"pages": 4, "data": ids(wanted..(wanted + 1).min(5))})),
            }
        }
    })
    .await
}

fn paged(server: &TestServer, total: bool, rule: Json) -> Json {
    let mut pagination = json!({"type": "page_number"});
    if total {
        pagination["total_pages"] = json!("$.pages");
    }
    let mut options = with(server.url("/"), json!({"records": "$.data", "pagination": pagination}));
    options["responses"] = Json::Array(vec![rule]);
    options
}

#[tokio::test]
async fn a_refusal_may_count_as_a_page_without_records() {
    let server = always(Response::text("nothing here").with_status(404)).await;
    let found = read(with(server.url("/"), rules(json!([{"status": 404, "action": "empty"}])))).await;
    assert_eq!(found.unwrap(), ids(0..0));
    // Beyond the last page some servers answer with 404.
    let server = with_page(3, Response::status(404)).await;
    let found = read(paged(&server, false, json!({"status": [404, 410], "action": "empty"}))).await;
    assert_eq!(found.unwrap(), ids(1..3));
}

#[tokio::test]
async fn a_page_that_is_left_out_is_told_and_the_known_ones_behind_it_are_read() {
    let server = with_page(2, Response::text("broken").with_status(500)).await;
    let opened = open(paged(&server, true, json!({"status": "5xx", "action": "skip"}))).await;
    assert_eq!(opened.rows().await.unwrap(), [ids(1..2), ids(3..5)].concat());
    let url = server.url("/?page=2");
    let warning = format!("{url} was left out: the server answered 500 Internal Server Error");
    assert_eq!(opened.cx.metrics().warnings(), [warning]);
    // Without a total, nobody knows what is behind it.
    let opened = open(paged(&server, false, json!({"status": "500-599", "action": "skip"}))).await;
    assert_eq!(opened.rows().await.unwrap(), ids(1..2));
    assert_eq!(opened.cx.metrics().warnings().len(), 1);
}

#[tokio::test]
async fn no_more_than_some_pages_that_are_left_out_are_named() {
    let server = always(Response::status(404)).await;
    let options = with(
        server.url("/{n}"),
        json!({"params": {"n": {"from": 1, "to": 30}}, "responses": [{"status": 404, "action": "skip"}]}),
    );
    let opened = open(options).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..0));
    let warnings = opened.cx.metrics().warnings();
    assert_eq!(warnings.len(), 21, "{warnings:?}");
    assert!(
        warnings.iter().any(|text| text == "more than 20 pages were left out; the log names each of them")
    );
}

#[tokio::test]
async fn a_url_may_stop_before_a_page() {
    for total in [false, true] {
        let body = Response::json(&json!({"error": "no access to this page", "data": [{"id": 99}]}));
        let server = with_page(3, body).await;
        let opened = open(paged(&server, total, json!({"json": "$.error", "action": "stop"}))).await;
        assert_eq!(opened.rows().await.unwrap(), ids(1..3), "{total}");
        assert!(opened.cx.metrics().warnings().is_empty());
    }
}

#[tokio::test]
async fn a_success_with_an_error_body_is_tried_again() {
    for (options, rule) in [
        (json!({}), json!({"json": "$.error.code", "equals": ["busy", 17], "action": "retry", "wait": "7s"})),
        (json!({"records": "$.data"}), json!({"json": "$.data", "exists": false, "action": "retry"})),
        (json!({"format": "csv"}), json!({"status": 200, "contains": "busy", "action": "retry"})),
        (json!({"pagination": {"type": "offset"}}), json!({"matches": "\"code\": *17", "action": "retry"})),
    ] {
        let wait = rule["wait"].is_string();
        let server = always(Response::json(&json!({"error": {"code": 17, "text": "busy"}}))).await;
        let mut all = with(server.url("/x"), options);
        all["responses"] = json!([rule]);
        let error = error(all).await;
        let policy = if wait { Retry::After(Duration::from_secs(7)) } else { Retry::Transient };
        assert_eq!((error.kind(), error.retry_policy()), (ErrorKind::Unavailable, policy), "{error}");
        assert_eq!(
            error.message(),
            "the server answered 200 OK, and rule 1 of `responses` says to try again"
        );
        assert!(error.detail_value("body").unwrap().contains("busy"), "{error}");
        assert!(error.detail_value("url").unwrap().starts_with(&server.url("/x")), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_may_be_tried_again_until_the_server_is_ready() {
    let server = TestServer::start(|request: Request| async move {
        if request.attempt < 3 { Response::status(409) } else { Response::json(&json!([{"id": 1}])) }
    })
    .await;
    let options = with(server.url("/"), rules(json!([{"status": 409, "action": "retry"}])));
    let opened = open(options).await;
    let split = opened.only_split().await;
    assert_eq!(opened.rows_with_resumes(&split).await.unwrap(), (ids(1..2), 2));
}

#[tokio::test]
async fn a_rule_that_waits_goes_before_what_the_server_says() {
    let server = always(Response::status(409).header("retry-after", "5")).await;
    let policy = async |rule: Json| error(with(server.url("/"), rules(json!([rule])))).await.retry_policy();
    let waits = |seconds| Retry::After(Duration::from_secs(seconds));
    assert_eq!(policy(json!({"status": 409, "action": "retry"})).await, waits(5));
    assert_eq!(policy(json!({"status": 409, "action": "retry", "wait": "1m"})).await, waits(60));
}

#[tokio::test]
async fn what_would_be_tried_again_may_fail_at_once_with_words_of_its_own() {
    let server = always(Response::json(&json!({"why": "closed for good"})).with_status(503)).await;
    let rule = json!({"status": 503, "json": "$.why", "action": "fail", "message": "the shop is closed"});
    let found = error(with(server.url("/"), rules(json!([rule])))).await;
    assert_eq!((found.kind(), found.is_retryable()), (ErrorKind::Unavailable, false));
    assert_eq!(found.message(), "the shop is closed");
    assert_eq!(found.detail_value("status"), Some("503 Service Unavailable"));
    assert!(found.detail_value("body").unwrap().contains("closed for good"), "{found}");
    let server = always(Response::json(&json!([]))).await;
    let found = error(with(server.url("/"), rules(json!([{"status": "2xx", "action": "fail"}])))).await;
    assert_eq!(found.kind(), ErrorKind::DataInvalid);
    assert_eq!(found.message(), "the server answered 200 OK, which rule 1 of `responses` calls an error");
}

#[tokio::test]
async fn an_answer_that_no_rule_fits_is_as_it_was() {
    let server = always(Response::text("really").with_status(404)).await;
    let rule = json!([{"status": 404, "contains": "not this", "action": "empty"}]);
    let found = error(with(server.url("/"), rules(rule))).await;
    assert_eq!((found.kind(), found.detail_value("body")), (ErrorKind::NotFound, Some("really")));
}

#[tokio::test]
async fn a_long_stream_is_not_held_back_to_look_into_it() {
    let lines: Vec<Json> = (0..20_000).map(|id| json!({"id": id, "text": "busy"})).collect();
    let server = always(Response::ndjson(&lines)).await;
    let found = read(with(server.url("/"), rules(json!([{"contains": "busy", "action": "skip"}])))).await;
    assert_eq!(found.unwrap().len(), 20_000);
    // A status needs no look.
    let found = read(with(server.url("/"), rules(json!([{"status": 200, "action": "skip"}])))).await;
    assert_eq!(found.unwrap().len(), 0);
}

#[tokio::test]
async fn the_rest_of_a_document_is_not_left_out() {
    let lines: Vec<Json> = ids(0..40_000);
    let server = TestServer::start(move |request: Request| {
        let answer = if request.attempt == 1 { Response::ndjson(&lines) } else { Response::status(404) };
        async move { answer }
    })
    .await;
    let options = with(server.url("/x.ndjson"), rules(json!([{"status": 404, "action": "empty"}])));
    let opened = open(options).await;
    let split = opened.only_split().await;
    let first = opened.batches(&split, Position::Start).await.unwrap().remove(0);
    let found = opened.batches(&split, first.resume).await.unwrap_err();
    assert_eq!(found.message(), "a rule of `responses` leaves out a document of which a part was read");
}

#[tokio::test]
async fn a_check_keeps_to_the_rules() {
    let server = always(Response::status(404)).await;
    let opened = open(with(server.url("/"), rules(json!([{"status": 404, "action": "skip"}])))).await;
    opened.source.check(&opened.cx).await.unwrap();
}

#[tokio::test]
async fn an_echoed_secret_is_hidden_from_the_error_of_a_rule() {
    let server = always(Response::text("bad token hush-hush")).await;
    let mut options = with(server.url("/"), rules(json!([{"contains": "bad token", "action": "fail"}])));
    options["auth"] = json!({"type": "bearer", "token": "hush-hush"});
    assert_eq!(error(options).await.detail_value("body"), Some("bad token ***"));
}

#[tokio::test]
async fn a_wrong_rule_is_refused_before_anything_is_asked() {
    let found = error(with("http://localhost/", rules(json!([{"action": "skip"}])))).await;
    assert_eq!(found.message(), "rule 1 of `responses` fits every answer");
}
