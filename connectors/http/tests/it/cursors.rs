//! The cursor's last value in requests: where it goes, how it is written, and what a first run sends.

use serde_json::json;
use towpath_core::{CursorRange, ErrorKind, Json, Position, Pushdown, Result, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, open, with};

/// Echoes the request as a row.
async fn echo() -> TestServer {
    TestServer::start(|request: Request| async move {
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let row = json!({
            "target": format!("{}?{}", request.path, request.query),
            "header": request.header("x-since"), "body": body.to_string(),
        });
        Response::json(&json!([row]))
    })
    .await
}

fn behind(after: Option<Json>) -> ScanRequest {
    let mut request = ScanRequest::default();
    request.cursor = Some(CursorRange::new("at", after, None));
    request
}

async fn asked(options: Json, after: Option<Json>) -> Result<Json> {
    Ok(open(options).await.rows_of(&behind(after)).await?.remove(0))
}

fn since(more: Json) -> Json {
    let mut param = json!({"cursor": true});
    let Json::Object(more) = more else { panic!("options are an object") };
    param.as_object_mut().unwrap().extend(more);
    json!({ "since": param })
}

#[tokio::test]
async fn the_cursor_goes_wherever_a_parameter_may_stand() {
    let server = echo().await;
    let options = with(
        server.url("/rows/{since}/new"),
        json!({
            "params": since(json!({"initial": 0})),
            "query": {"since": "{since}", "filter": "id>{since}"},
            "headers": {"x-since": "{since}"},
            "body": {"json": {"after": "{since}", "text": "since {since}"}},
        }),
    );
    let body = |row: &Json| serde_json::from_str::<Json>(row["body"].as_str().unwrap()).unwrap();
    let first = asked(options.clone(), None).await.unwrap();
    assert_eq!(first["target"], "/rows/0/new?filter=id%3E0&since=0");
    assert_eq!(body(&first), json!({"after": 0, "text": "since 0"}));
    let next = asked(options, Some(json!(17))).await.unwrap();
    assert_eq!(next["target"], "/rows/17/new?filter=id%3E17&since=17");
    assert_eq!(next["header"], "17");
    // A number is one where it is all there is.
    assert_eq!(body(&next), json!({"after": 17, "text": "since 17"}));
}

#[tokio::test]
async fn a_first_run_without_an_initial_value_leaves_parameters_and_headers_out() {
    let server = echo().await;
    let options = with(
        server.url("/rows"),
        json!({
            "params": since(json!({})),
            "query": {"since": "{since}", "order": "at"},
            "headers": {"x-since": "{since}"},
        }),
    );
    let first = asked(options.clone(), None).await.unwrap();
    assert_eq!((&first["target"], &first["header"]), (&json!("/rows?order=at"), &Json::Null));
    let next = asked(options, Some(json!("2024-01-04"))).await.unwrap();
    assert_eq!(next["target"], "/rows?order=at&since=2024-01-04");
    assert_eq!(next["header"], "2024-01-04");
}

#[tokio::test]
async fn where_nothing_can_be_left_out_an_initial_value_is_asked_for() {
    for (options, place) in [
        (json!({"url": "http://localhost/{since}"}), "`http://localhost/{since}`"),
        (json!({"url": "http://localhost/", "body": {"json": {"after": "{since}"}}}), "the body"),
    ] {
        let mut options = options;
        options["params"] = since(json!({}));
        let error = error(options).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().starts_with(&format!("{place} needs `since` in a first run")), "{error}");
        assert!(error.help_text().unwrap().contains("set `params.since.initial`"), "{error}");
    }
}

#[tokio::test]
async fn a_time_is_written_in_the_format_that_is_asked_for() {
    let server = echo().await;
    let value = json!("2024-01-04T06:30:00Z");
    for (more, after, expected) in [
        (json!({}), &value, "2024-01-04T06%3A30%3A00Z"),
        (json!({"format": "%Y-%m-%d"}), &value, "2024-01-04"),
        (json!({"format": "date"}), &value, "2024-01-04"),
        (json!({"format": "unix"}), &value, "1704349800"),
        (json!({"format": "unix_ms"}), &value, "1704349800000"),
        (json!({"format": "rfc3339"}), &json!("2024-01-04 08:30:00"), "2024-01-04T08%3A30%3A00Z"),
        (json!({"format": "http_date"}), &value, "Thu%2C+04+Jan+2024+06%3A30%3A00+GMT"),
        (json!({"format": "unix", "lookback": "30m"}), &value, "1704348000"),
        (json!({"lookback": "1d"}), &value, "2024-01-03T06%3A30%3A00Z"),
        (json!({"lookback": 10}), &json!(17), "7"),
        (json!({"format": "unix", "lookback": "1m"}), &json!(100), "40"),
        (json!({"format": "unix", "lookback": 10}), &json!(100), "90"),
    ] {
        let options =
            with(server.url("/"), json!({"params": since(more.clone()), "query": {"s": "{since}"}}));
        let found = asked(options, Some(after.clone())).await.unwrap();
        assert_eq!(found["target"], format!("/?s={expected}"), "{more}");
    }
    // So is the first.
    let options = json!({"params": since(json!({"initial": "2024-01-04", "format": "unix"})), "body": {"json": ["{since}"]}});
    let first = asked(with(server.url("/"), options), None).await.unwrap();
    assert_eq!(first["body"], "[1704326400]");
}

#[tokio::test]
async fn what_a_lookback_reads_again_passes_the_filter_of_the_engine() {
    let server = echo().await;
    let plan = async |params: Json, target: &str, after: Json| {
        let opened = open(with(server.url(target), json!({"params": params, "query": {}}))).await;
        let plan = opened.source.plan(&opened.cx, &behind(Some(after))).await.unwrap();
        assert_eq!(plan.cursor, Pushdown::Inexact);
        plan.after
    };
    let late = json!("2024-01-04T06:00:00Z");
    let in_query = json!({"cursor": true, "initial": 0, "lookback": "1d"});
    let windows = json!({"start": "2024-01-01", "lookback": "2h", "format": "date"});
    assert_eq!(plan(json!({"s": in_query}), "/{s}", late.clone()).await, Some(json!("2024-01-03T06:00:00Z")));
    assert_eq!(plan(json!({"s": windows}), "/{s}", late.clone()).await, Some(json!("2024-01-04T04:00:00Z")));
    // The furthest counts.
    assert_eq!(
        plan(json!({"s": in_query, "w": windows}), "/{s}/{w}", late).await,
        Some(json!("2024-01-03T06:00:00Z"))
    );
    let number = json!({"cursor": true, "initial": 0, "lookback": 5});
    assert_eq!(plan(json!({"s": number}), "/{s}", json!(17)).await, Some(json!(12)));
    let without = json!({"cursor": true, "initial": 0});
    assert_eq!(plan(json!({"s": without}), "/{s}", json!(17)).await, None);
}

#[tokio::test]
async fn a_split_that_is_read_later_asks_for_the_same() {
    let server = echo().await;
    for more in [json!({"query": {"s": "{since}"}}), json!({"body": {"json": ["{since}"]}})] {
        let mut options = with(server.url("/"), more);
        options["params"] = since(json!({"initial": 0}));
        let opened = open(options.clone()).await;
        let split = opened.splits(&behind(Some(json!(17)))).await.unwrap().remove(0);
        server.clear();
        opened.batches(&split, Position::Start).await.unwrap();
        open(options).await.batches(&split, Position::Start).await.unwrap();
        let asked: Vec<_> = server
            .requests()
            .iter()
            .map(|recorded| (recorded.target(), recorded.request.body.clone()))
            .collect();
        assert_eq!(asked[0], asked[1]);
        assert!(format!("{asked:?}").contains("17"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_list_that_was_not_modified_has_no_rows() {
    let server = TestServer::start(|request: Request| async move {
        match request.header("if-modified-since") {
            Some("Thu, 04 Jan 2024 06:30:00 GMT") => Response::status(304),
            Some(other) => Response::text(other).with_status(400),
            None => Response::json(&json!([{"id": 1}])),
        }
    })
    .await;
    let options = with(
        server.url("/"),
        json!({
            "params": since(json!({"format": "http_date"})),
            "headers": {"If-Modified-Since": "{since}"},
        }),
    );
    for pagination in [json!({"type": "none"}), json!({"type": "link_header"})] {
        let mut options = options.clone();
        options["pagination"] = pagination;
        let opened = open(options).await;
        assert_eq!(opened.rows_of(&behind(None)).await.unwrap(), [json!({"id": 1})]);
        let later = behind(Some(json!("2024-01-04T06:30:00Z")));
        assert!(opened.rows_of(&later).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_cursor_that_does_not_fit_is_named() {
    let server = echo().await;
    let url = server.url("/");
    let options = |more: Json| with(url.clone(), json!({"params": since(more), "query": {"s": "{since}"}}));
    let error = open(options(json!({}))).await.rows().await.unwrap_err();
    assert_eq!(error.message(), "`params.since` has no cursor to send");
    assert!(error.help_text().unwrap().contains("set the stream's `cursor`"), "{error}");
    for (more, after, message) in [
        (json!({"format": "date"}), json!(17), "the cursor's last value 17 is no time"),
        (json!({"format": "date"}), json!("x"), "the cursor's last value \"x\" is no time"),
        (json!({"lookback": "1d"}), json!(17), "`lookback: 1d` is one; write a number"),
        (json!({"lookback": 3}), json!("2024-01-04"), "`lookback: 3` is one; write a duration"),
        (json!({"lookback": 3, "format": "date"}), json!("2024-01-04"), "`lookback: 3` is one"),
    ] {
        let error = asked(options(more), Some(after)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().starts_with("`params.since`: "), "{error}");
        assert!(error.message().contains(message), "{error}");
    }
    for (more, message) in [
        (json!({"cursor": false}), "`cursor: false` has no meaning"),
        (json!({"initial": "x", "format": "date"}), "`initial: x` is neither a date"),
        (json!({"first": 1}), "unknown field `first`"),
    ] {
        let error = crate::support::error(options(more)).await;
        assert!(error.to_string().contains(message), "{error}");
    }
    let mut conditional = options(json!({}));
    conditional["conditional"] = json!(true);
    let error = crate::support::error(conditional).await;
    assert!(error.message().starts_with("`conditional` cannot go with a cursor in `params`"), "{error}");
}
