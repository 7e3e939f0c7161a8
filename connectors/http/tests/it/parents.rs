//! Requests that are made of rows of another stream.

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{CursorRange, ErrorKind, Json, Parent, Planned, Position, Result, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{Opened, context, error, open, open_with, with};

/// Answers everything with a row.
async fn server() -> TestServer {
    TestServer::start(|_: Request| async move { Response::json(&json!([{"id": 1}])) }).await
}

fn request(row: Json) -> ScanRequest {
    let mut request = ScanRequest::default();
    request.parent = Some(serde_json::from_value::<Parent>(row).unwrap());
    request
}

/// Reads with a row of a parent.
async fn read(opened: &Opened, row: Json) -> Result<Vec<Json>> {
    opened.rows_of(&request(row)).await
}

#[tokio::test]
async fn fields_of_the_parent_fill_path_query_headers_and_body() {
    let server = server().await;
    let opened = open(json!({
        "base_url": server.url("/v2"), "path": "/customers/{parent.id}/orders?by={parent.owner.name}",
        "query": {"q": ["a {parent.id}", "{n}"]}, "headers": {"x-customer": "no {parent.id}"}, "params": {"n": [5, 6]},
        "body": {"json": {"id": "{parent.id}", "text": "<{parent.id}>", "ok": ["{parent.ok}"], "name": "{parent.owner.name}"}},
    }))
    .await;
    let fields = opened.source.parent_fields().unwrap();
    assert_eq!(fields, ["id", "owner.name", "ok"]);
    read(&opened, json!({"id": 7, "owner": {"name": "a&b/c"}, "ok": true})).await.unwrap();
    let targets = server.targets();
    assert_eq!(
        targets,
        ["/v2/customers/7/orders?by=a%26b%2Fc&q=a+7&q=5", "/v2/customers/7/orders?by=a%26b%2Fc&q=a+7&q=6"]
    );
    let sent = &server.requests()[0].request;
    assert_eq!(sent.header("x-customer"), Some("no 7"));
    let body: Json = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body, json!({"id": 7, "text": "<7>", "ok": [true], "name": "a&b/c"}));
}

#[tokio::test]
async fn a_field_may_be_several_parts_of_a_path_and_leads_nowhere_else() {
    let server = server().await;
    let opened =
        open(json!({"base_url": server.url("/v2"), "path": "/repos/{+parent.repository}/issues"})).await;
    assert_eq!(opened.source.parent_fields().unwrap(), ["repository"]);
    read(&opened, json!({"repository": "octo/hello world"})).await.unwrap();
    assert_eq!(server.targets(), ["/v2/repos/octo/hello%20world/issues"]);
    for wrong in ["../../admin", "octo/..", ".."] {
        let refused = read(&opened, json!({ "repository": wrong })).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DataInvalid, "{wrong}");
    }
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn fields_of_the_parent_fill_forms_and_variables_of_graphql() {
    let server = server().await;
    let form = open(with(
        server.url("/"),
        json!({"body": {"form": {"who": "{parent.name}", "n": ["1", "{parent.id}"]}}}),
    ));
    read(&form.await, json!({"id": 3, "name": "a&b=c"})).await.unwrap();
    assert_eq!(server.requests()[0].request.body, "n=1&n=3&who=a%26b%3Dc".as_bytes());
    let graphql = json!({"graphql": {"query": "query($id: Int) { x(id: $id) { id } }", "variables": {"id": "{parent.id}"}}});
    let graphql = open(with(server.url("/"), json!({ "body": graphql }))).await;
    // The answer is no answer of GraphQL; what was asked is looked at.
    let _ = read(&graphql, json!({"id": 3})).await;
    let body: Json = serde_json::from_slice(&server.requests()[1].request.body).unwrap();
    assert_eq!(body["variables"], json!({"id": 3}));
}

#[tokio::test]
async fn a_value_cannot_leave_its_place() {
    let server = server().await;
    let opened = open(with(server.url("/a/{parent.id}/b"), json!({}))).await;
    for value in ["x/../../admin", "?all=1", "#", "a\r\nb", "%2e%2e", "\\..\\", "a;b", "ü", " ", "{n}"] {
        read(&opened, json!({ "id": value })).await.unwrap();
    }
    for target in server.targets() {
        assert!(target.starts_with("/a/") && target.ends_with("/b"), "{target}");
        assert_eq!(target.matches('/').count(), 3, "{target}");
        assert!(!target.contains('?'), "{target}");
    }
    for value in ["..", "."] {
        let error = read(&opened, json!({ "id": value })).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert!(error.to_string().contains("cannot stand in a path"), "{error}");
    }
    let named = open(with(server.url("/files/{parent.name}.json"), json!({}))).await;
    read(&named, json!({"name": ".."})).await.unwrap();
    assert_eq!(server.targets().last().unwrap(), "/files/...json");
}

#[tokio::test]
async fn a_value_that_no_header_can_hold_is_refused_while_planning() {
    let server = server().await;
    let opened = open(with(server.url("/"), json!({"headers": {"x-name": "{parent.name}"}}))).await;
    let error = opened.splits(&request(json!({"name": "a\nb"}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataInvalid);
    assert!(error.to_string().contains("`x-name` holds characters that no header can"), "{error}");
}

#[tokio::test]
async fn a_split_is_read_again_with_the_row_that_it_was_planned_with() {
    let server = server().await;
    let options = with(server.url("/x"), json!({"body": {"json": {"id": "{parent.id}"}}}));
    let opened = open(options.clone()).await;
    let splits = opened.splits(&request(json!({"id": 5}))).await.unwrap();
    // Another process, which knows of no row.
    let later = open(options).await;
    let split = serde_json::from_value(serde_json::to_value(&splits[0]).unwrap()).unwrap();
    later.batches(&split, towpath_core::Position::Start).await.unwrap();
    assert_eq!(server.requests()[0].request.body, r#"{"id":5}"#.as_bytes());
}

#[tokio::test]
async fn a_row_may_name_a_whole_url() {
    let (api, other) = (server().await, server().await);
    let options =
        json!({"base_url": api.url("/"), "url": "{parent.href}", "headers": {"x-key": "secret-key"}});
    let opened = open(options).await;
    read(&opened, json!({"href": api.url("/a/b?c=d")})).await.unwrap();
    read(&opened, json!({"href": other.url("/e")})).await.unwrap();
    assert_eq!(api.targets(), ["/a/b?c=d"]);
    assert_eq!(api.requests()[0].request.header("x-key"), Some("secret-key"));
    assert_eq!(
        other.requests()[0].request.header("x-key"),
        None,
        "credentials are for the host of `base_url`"
    );
    for href in ["file:///etc/passwd", "/relative", "ftp://a/b"] {
        let error = read(&opened, json!({ "href": href })).await.unwrap_err();
        assert!(error.to_string().contains("is no http or https URL"), "{error}");
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
    }
}

#[tokio::test]
async fn rows_do_not_decide_where_credentials_go() {
    for url in ["{parent.href}", "https://{parent.shop}/x", "https://{parent.shop}.shops.example/x"] {
        let (cx, _) = context();
        let options = json!({"url": url, "auth": {"type": "bearer", "token": "t0k3n-value"}});
        let error = open_with(options, &cx).await.err().unwrap();
        assert!(error.to_string().contains("which host gets credentials"), "{url}: {error}");
        open_with(json!({ "url": url }), &cx).await.unwrap();
    }
}

#[tokio::test]
async fn a_field_needs_a_parent() {
    let error = error(json!({"url": "http://127.0.0.1:1/{parent.id}"})).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("such as `for_each: customers`"), "{error}");
    let opened = open(json!({"url": "http://127.0.0.1:1/{parent.id}"})).await;
    assert_eq!(opened.source.check(&opened.cx).await.unwrap_err().kind(), ErrorKind::Config);
    let error = opened.splits(&request(json!({"id": [1]}))).await.unwrap_err();
    assert!(error.to_string().contains("`id` is no single value"), "{error}");
}

#[tokio::test]
async fn zipped_parameters_and_windows_go_with_a_row() {
    let server = server().await;
    let body = json!({"json": {"id": "{parent.id}"}});
    let options = json!({"params": {"a": [1, 2], "b": ["x", "y"]}, "combine": "zip", "body": body});
    let opened = open(with(server.url("/{parent.id}/{a}/{b}"), options)).await;
    read(&opened, json!({"id": "c"})).await.unwrap();
    assert_eq!(server.targets(), ["/c/1/x", "/c/2/y"]);
    server.clear();
    let day = json!({"start": "2024-01-01", "end": "2024-01-03", "step": "1d", "format": "date"});
    let opened =
        open(with(server.url("/{parent.id}/{day}"), json!({"params": {"day": day}, "body": body}))).await;
    read(&opened, json!({"id": "c"})).await.unwrap();
    assert_eq!(server.targets(), ["/c/2024-01-01", "/c/2024-01-02"]);
}

#[tokio::test]
async fn each_row_of_a_parent_has_versions_of_its_own() {
    let server = TestServer::start(|request: Request| async move {
        let tag = format!("\"{}\"", request.path);
        match request.header("if-none-match") {
            Some(told) if told == tag => Response::status(304),
            Some(_) => Response::status(400),
            None => Response::json(&json!([{"id": 1}])).header("etag", tag),
        }
    })
    .await;
    let opened = open(with(server.url("/{parent.id}"), json!({"conditional": true}))).await;
    let plan = async |id: u64, since: Position| {
        let mut asked = request(json!({ "id": id }));
        asked.since = since;
        let plan = opened.source.plan(&opened.cx, &asked).await.unwrap();
        let mut steps: Vec<_> = plan.splits.try_collect().await.unwrap();
        let Some(Planned::Complete { since }) = steps.pop() else { panic!("it says what to keep") };
        (steps.len(), since)
    };
    let (splits, one) = plan(1, Position::Start).await;
    let (other_splits, other) = plan(2, Position::Start).await;
    assert_eq!((splits, other_splits), (1, 1));
    assert_ne!(one, other);
    assert_eq!(plan(1, one.clone()).await, (0, one.clone()));
    assert_eq!(plan(2, one).await.0, 1, "it is the version of another row's document");
}

#[tokio::test]
async fn a_child_looks_back_as_far_for_each_row() {
    let server = server().await;
    let since = json!({"since": {"cursor": true, "initial": "2024-01-01", "lookback": "1d"}});
    let options = with(server.url("/{parent.id}?since={since}"), json!({ "params": since }));
    let opened = open(options).await;
    for id in [1, 2] {
        let mut asked = request(json!({ "id": id }));
        asked.cursor = Some(CursorRange::new("at", Some(json!("2024-03-05")), None));
        let plan = opened.source.plan(&opened.cx, &asked).await.unwrap();
        assert_eq!(plan.after, Some(json!("2024-03-04")));
        opened.rows_of(&asked).await.unwrap();
    }
    assert_eq!(server.targets(), ["/1?since=2024-03-04", "/2?since=2024-03-04"]);
}

#[tokio::test]
async fn fields_of_the_parent_fill_what_a_job_is_asked_by() {
    let server = TestServer::start(|request: Request| async move {
        match format!("{}?{}", request.path, request.query).as_str() {
            "/jobs?" => Response::json(&json!({"id": "j"})),
            "/status/j?of=7" => Response::json(&json!({"state": "done"})),
            "/result/7?" => Response::json(&json!([{"id": 1}])),
            _ => Response::status(404),
        }
    })
    .await;
    let opened = open(json!({
        "base_url": server.url(""),
        "path": "/jobs",
        "method": "POST",
        "job": {
            "id": "$.id",
            "status": {"path": "/status/{job}?of={parent.id}", "done": {"path": "$.state", "values": ["done"]}},
            "result": {"path": "/result/{parent.id}"},
        },
    }))
    .await;
    assert_eq!(read(&opened, json!({"id": 7})).await.unwrap(), [json!({"id": 1})]);
}
