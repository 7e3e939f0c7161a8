//! Servers that delay, throttle, fail, cut and lie: every row arrives once all the same.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use towpath_testkit::http::{RawReply, RawServer, Request, Response, TestServer};
use towpath_tests::{Project, blocking};

/// The rows of a page, ten each.
pub(crate) fn page(number: u64) -> Vec<Value> {
    (number * 10..number * 10 + 10).map(|id| json!({ "id": id, "name": format!("row {id}") })).collect()
}

/// Page `page` of `total`, which the body tells.
pub(crate) fn numbered(request: &Request, total: u64) -> Response {
    let number = request.number("page").expect("a page is asked for");
    Response::json(&json!({ "total_pages": total, "data": page(number - 1) }))
}

/// A pipeline of one stream over the pages of a server.
pub(crate) fn pages(url: &str, sink: &str) -> String {
    format!(
        "name: pages\nconnections:\n  api: {{ connector: http, base_url: \"{url}\", retry: {{ base: 1ms, max_delay: 5ms }} }}\n\
         streams:\n  rows:\n    source:\n      connection: api\n      path: /rows\n      records: $.data\n      \
         pagination: {{ type: page_number, total_pages: $.total_pages }}\n    sink: {sink}\n    \
         commit: {{ rows: 10 }}\n"
    )
}

async fn all_pages_arrive(server: &TestServer, total: u64) -> Value {
    let project = Arc::new(Project::new());
    project.write("pipeline.yaml", pages(&server.url(""), "{ connector: file, path: out/rows.ndjson }"));
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(0), "{report:#}");
    assert_eq!(project.ids("out"), (0..total * 10).collect::<Vec<_>>());
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_known_total_are_read_at_once() {
    let server =
        TestServer::start(|request| async move { numbered(&request, 30).delay(Duration::from_millis(30)) })
            .await;
    all_pages_arrive(&server, 30).await;
    assert!(server.peak() > 1, "{} at once", server.peak());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_throttles_and_fails_gives_every_row_once() {
    let server = TestServer::start(|request| async move {
        match (request.attempt, request.number("page").unwrap_or(0) % 4) {
            (1, 1) => Response::status(503),
            (1, 2) => Response::status(429).header("Retry-After", "0"),
            _ => numbered(&request, 12),
        }
    })
    .await;
    let report = all_pages_arrive(&server, 12).await;
    assert!(report["streams"][0]["throttled"].as_u64() > Some(0), "{report:#}");
    assert!(report["streams"][0]["retries"].as_u64() > Some(0), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_give_every_row_once() {
    let server = TestServer::start(|request| async move {
        let response = numbered(&request, 9);
        if request.attempt == 1 { response.cut_after(40) } else { response }
    })
    .await;
    all_pages_arrive(&server, 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_shorter_than_it_claims_is_not_taken() {
    let server = RawServer::start(|_| RawReply::lying(1000, "application/json", "[{\"id\": 1}]")).await;
    let project = Arc::new(Project::new());
    let text = format!(
        "name: lying\nstreams:\n  rows:\n    source: {{ connector: http, url: \"{}\", retry: {{ attempts: 2, base: 1ms }} }}\n    \
         sink: {{ connector: file, path: out.ndjson }}\n",
        server.url("/rows")
    );
    project.write("pipeline.yaml", text);
    let running = project.clone();
    let (ended, report) = blocking(move || running.run()).await;
    assert_eq!(ended.code, Some(1), "{report:#}");
    let message = report["streams"][0]["failures"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("every retry failed"), "{message}");
    assert!(!project.path("out.ndjson").exists(), "nothing half is visible");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_in_no_output() {
    let server = TestServer::start(|request| async move {
        let known = request.header("authorization") == Some("Bearer s3cret-token");
        if known { Response::json(&json!([{ "id": 1 }])) } else { Response::status(401) }
    })
    .await;
    let project = Arc::new(Project::new());
    let pipeline = |path: &str, token: &str| {
        format!(
            "name: secret\nstreams:\n  rows:\n    source: {{ connector: http, url: \"{}\", auth: {{ type: bearer, token: \"${{{token}}}\" }} }}\n    \
             sink: {{ connector: file, path: {path} }}\n",
            server.url("/rows")
        )
    };
    project.write("pipeline.yaml", pipeline("out.ndjson", "TOKEN"));
    project.write("wrong.yaml", pipeline("other.ndjson", "WRONG"));
    let running = project.clone();
    let outputs = blocking(move || {
        ["pipeline.yaml", "wrong.yaml"].map(|file| {
            let mut command = running.command(&["run", file, "--json", "-vvv"]);
            command.env("TOKEN", "s3cret-token").env("WRONG", "wr0ng-token").output().expect("it runs")
        })
    })
    .await;
    assert_eq!(outputs[0].status.code(), Some(0));
    assert_eq!(outputs[1].status.code(), Some(1));
    for output in outputs {
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("s3cret-token") && !said.contains("wr0ng-token"), "{said}");
    }
}
