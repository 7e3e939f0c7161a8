//! The sink: single rows and templates.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use arrow::array::RecordBatch;
use serde_json::json;
use towpath_connector_http::CONNECTOR;
use towpath_core::{
    Context, DynSink, DynWriter, ErrorKind, Json, LoadSpec, Rejected, Result, Staged, WriteDisposition,
};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::rows;

use crate::support::{always, context, with};

const COLUMNS: &str = "id: int64, name: string";

pub(crate) fn people(rows: &Json) -> RecordBatch {
    rows::batch(COLUMNS, rows)
}

async fn open(options: Json) -> Result<(Arc<dyn DynSink>, Context)> {
    let (cx, _) = context();
    Ok((CONNECTOR.sink_entry().expect("there is a sink").open(options, &cx).await?, cx))
}

async fn try_writer(options: Json, columns: &str) -> Result<Box<dyn DynWriter>> {
    let (sink, cx) = open(options).await?;
    let load = LoadSpec::new("crm", "people", "run1", WriteDisposition::Append);
    let begun = sink.begin(&cx, &load).await?;
    let begun = sink.evolve(&cx, &begun, &rows::schema(columns)).await?;
    sink.writer(&cx, &begun, 0).await
}

pub(crate) async fn writer(options: Json) -> Box<dyn DynWriter> {
    try_writer(options, COLUMNS).await.unwrap()
}

/// Writes rows and gives the receipt.
pub(crate) async fn send(options: Json, rows: Json) -> Staged {
    let mut writer = writer(options).await;
    writer.write(people(&rows)).await.unwrap();
    writer.finish().await.unwrap()
}

pub(crate) async fn refusal(options: Json) -> towpath_core::Error {
    match try_writer(options, COLUMNS).await {
        Err(error) => error,
        Ok(_) => panic!("it must be refused"),
    }
}

pub(crate) fn body(request: &Request) -> Json {
    serde_json::from_slice(&request.body).unwrap()
}

/// The requests so far, sorted, because they overlap.
fn sorted<T: Ord>(server: &TestServer, of: impl Fn(&Request) -> T) -> Vec<T> {
    let mut found: Vec<_> = server.requests().iter().map(|recorded| of(&recorded.request)).collect();
    found.sort();
    found
}

pub(crate) fn reasons(staged: &Staged) -> Vec<(Json, String)> {
    let row = |rejected: &Rejected| rejected.row.clone().unwrap();
    let mut found: Vec<_> = staged.rejected.iter().map(|r| (row(r), r.reason.clone())).collect();
    found.sort_by_key(|(row, _)| row["id"].as_i64());
    found
}

#[tokio::test]
async fn a_row_fills_in_url_query_headers_and_key() {
    let server = always(Response::status(200)).await;
    let options = json!({
        "base_url": server.url("/v2"), "path": "/contacts/{id}?by={name}", "method": "PUT", "rows": "single",
        "query": {"dry": "no-{id}"}, "headers": {"X-Name": "n {name}", "X-Fixed": "{ x }"},
        "idempotency_key": "contact-{id}", "idempotency_header": "X-Request-Id",
    });
    let staged = send(options, json!([[7, "Ann & Bob/?#"]])).await;
    assert_eq!((staged.rows, staged.rejected.len()), (1, 0));
    let recorded = &server.requests()[0];
    assert_eq!(recorded.target(), "/v2/contacts/7?by=Ann%20%26%20Bob%2F%3F%23&dry=no-7");
    let request = &recorded.request;
    assert_eq!(request.method, "PUT");
    assert_eq!(request.header("x-name"), Some("n Ann & Bob/?#"));
    assert_eq!(request.header("x-fixed"), Some("{ x }"));
    assert_eq!(request.header("x-request-id"), Some("contact-7"));
    assert_eq!(request.header("idempotency-key"), None);
    assert_eq!(body(request), json!({"id": 7, "name": "Ann & Bob/?#"}));
}

#[tokio::test]
async fn no_value_leaves_its_place_in_the_url() {
    let server = always(Response::status(200)).await;
    let options =
        with(server.url("/people/{name}/notes"), json!({"rows": "single", "requests_in_flight": 1}));
    let evil = ["..", ".", "", "a/../../admin", "%2e%2e", "x?y=1", "x#y", "\\..\\", "a b\n", "@b.example"];
    let rows: Vec<Json> = (0..).zip(evil).map(|(id, name)| json!([id, name])).collect();
    let staged = send(options, json!(rows)).await;
    let expected = [
        "/people/a%2F..%2F..%2Fadmin/notes",
        "/people/%252e%252e/notes",
        "/people/x%3Fy%3D1/notes",
        "/people/x%23y/notes",
        "/people/%5C..%5C/notes",
        "/people/a%20b%0A/notes",
        "/people/%40b.example/notes",
    ];
    assert_eq!(server.targets(), expected);
    let told: Vec<_> = staged.rejected.iter().map(|rejected| rejected.reason.as_str()).collect();
    let climbs = "`name` would lead to another path";
    assert_eq!(told, [climbs, climbs, "`name` is empty, and stands in the path"]);
    assert_eq!(staged.rejected[0].column.as_deref(), Some("name"));
}

#[tokio::test]
async fn a_row_without_a_value_for_the_url_is_rejected_and_others_are_left_out() {
    let server = always(Response::status(200)).await;
    let options = json!({
        "url": server.url("/{id}"), "rows": "single", "query": {"q": "{name}"}, "headers": {"X-Name": "{name}"},
    });
    let staged = send(options, json!([[null, "a"], [2, null]])).await;
    assert_eq!(reasons(&staged)[0].1, "`id` is null, and the URL needs it");
    assert_eq!(server.targets(), ["/2"]);
    assert_eq!(server.requests()[0].request.header("x-name"), None);
}

#[tokio::test]
async fn a_row_cannot_choose_the_host() {
    for url in ["http://{name}/x", "http://a.{name}:80/x", "http://{name}@a/x"] {
        let error = refusal(json!({"url": url, "rows": "single"})).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    }
    let error = refusal(json!({"url": "http://a{name}/", "rows": "single"})).await;
    assert!(error.message().contains("would let a row choose the host"), "{error}");
}

#[tokio::test]
async fn headers_of_rows_stay_with_the_host_of_the_connection() {
    let other = always(Response::status(200)).await;
    let options = json!({
        "base_url": "http://127.0.0.1:1/", "url": other.url("/"), "rows": "single",
        "headers": {"X-Name": "secret {name}"},
    });
    send(options, json!([[1, "ann"]])).await;
    assert_eq!(other.requests()[0].request.header("x-name"), None);
}

#[tokio::test]
async fn columns_of_the_url_are_left_out_of_the_body_where_asked() {
    for (omit, expected) in [(false, json!({"id": 7, "name": "ann"})), (true, json!({"name": "ann"}))] {
        let server = always(Response::status(200)).await;
        let options = json!({"rows": "single", "method": "PATCH", "omit_url_columns": omit});
        send(with(server.url("/p/{id}"), options), json!([[7, "ann"]])).await;
        assert_eq!(body(&server.requests()[0].request), expected);
    }
    // Whoever looks for a refused row wants all of it.
    let server = always(Response::status(422)).await;
    let options = with(server.url("/p/{id}"), json!({"rows": "single", "omit_url_columns": true}));
    assert_eq!(reasons(&send(options, json!([[7, "ann"]])).await)[0].0, json!({"id": 7, "name": "ann"}));
}

#[tokio::test]
async fn a_body_stands_within_a_template() {
    for (options, expected) in [
        (
            json!({"json": {"items": "{rows}", "source": "towpath"}}),
            json!({"items": [{"id": 1, "name": "a\"{id}"}, {"id": 2, "name": null}], "source": "towpath"}),
        ),
        (json!("json"), json!([{"id": 1, "name": "a\"{id}"}, {"id": 2, "name": null}])),
    ] {
        let server = always(Response::status(200)).await;
        send(with(server.url("/"), json!({ "body": options })), json!([[1, "a\"{id}"], [2, null]])).await;
        assert_eq!(body(&server.requests()[0].request), expected);
    }
    let server = always(Response::status(200)).await;
    let template =
        json!({"contact": "{row}", "ref": {"id": "{id}", "text": "no. {id} {other}"}, "n": [1, null]});
    let options = json!({"rows": "single", "body": {"json": template}});
    send(with(server.url("/"), options), json!([[9_007_199_254_740_993_i64, null]])).await;
    let id = 9_007_199_254_740_993_i64;
    assert_eq!(
        body(&server.requests()[0].request),
        json!({
            "contact": {"id": id, "name": null},
            "ref": {"id": id, "text": format!("no. {id} {{other}}")}, "n": [1, null],
        })
    );
    let error = refusal(with(server.url("/"), json!({"body": {"json": {"items": "{row}"}}}))).await;
    assert_eq!(error.message(), "`body.json` has no place for the rows");
}

#[tokio::test]
async fn several_lines_stand_for_each_row() {
    let server = always(Response::status(200)).await;
    let lines = json!({"ndjson": [{"index": {"_id": "{id}"}}, "{row}"]});
    send(with(server.url("/_bulk"), json!({ "body": lines })), json!([[1, "a"], [2, "b"]])).await;
    let request = &server.requests()[0].request;
    assert_eq!(request.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(
        request.body,
        "{\"index\":{\"_id\":1}}\n{\"id\":1,\"name\":\"a\"}\n{\"index\":{\"_id\":2}}\n{\"id\":2,\"name\":\"b\"}\n"
    );
    let server = always(Response::status(200)).await;
    let options = json!({"rows": "single", "body": "ndjson"});
    send(with(server.url("/"), options), json!([[1, "a"]])).await;
    assert_eq!(server.requests()[0].request.body, "{\"id\":1,\"name\":\"a\"}\n");
}

#[tokio::test]
async fn a_form_has_the_columns_of_a_row() {
    for (form, expected) in [
        (json!("form"), "id=1&name=a+%26+b"),
        (json!({"form": {"who": "Mr {name}", "fixed": "x"}}), "fixed=x&who=Mr+a+%26+b"),
    ] {
        let server = always(Response::status(200)).await;
        send(with(server.url("/"), json!({"rows": "single", "body": form})), json!([[1, "a & b"]])).await;
        let request = &server.requests()[0].request;
        assert_eq!(request.body, expected);
        assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    }
    let server = always(Response::status(200)).await;
    send(with(server.url("/"), json!({"rows": "single", "body": "form"})), json!([[1, null]])).await;
    assert_eq!(server.requests()[0].request.body, "id=1");
}

#[tokio::test]
async fn rows_are_deleted_one_by_one_without_a_body() {
    let server = always(Response::status(204)).await;
    let options = json!({"rows": "single", "method": "DELETE"});
    send(with(server.url("/p/{id}"), options), json!([[1, "a"], [2, "b"]])).await;
    assert_eq!(
        sorted(&server, |r| (r.method.clone(), r.path.clone())),
        [("DELETE", "/p/1"), ("DELETE", "/p/2")].map(|(m, p)| (m.to_owned(), p.to_owned()))
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|r| r.request.body.is_empty() && r.request.header("content-type").is_none())
    );
    let server = always(Response::status(204)).await;
    let options = json!({"rows": "single", "method": "DELETE", "body": "json"});
    send(with(server.url("/p"), options), json!([[1, "a"]])).await;
    assert_eq!(body(&server.requests()[0].request), json!({"id": 1, "name": "a"}));
    let server = always(Response::status(204)).await;
    send(with(server.url("/p"), json!({"rows": "single", "body": "none"})), json!([[1, "a"]])).await;
    assert!(server.requests()[0].request.body.is_empty());
}

#[tokio::test]
async fn a_request_has_no_more_bytes_than_asked_for() {
    let server = always(Response::status(200)).await;
    let rows = json!([[1, "a"], [2, "b"], [3, "x".repeat(100)], [4, "d"]]);
    send(with(server.url("/"), json!({"batch_bytes": 45})), rows).await;
    let ids = server.requests().into_iter().map(|r| {
        body(&r.request).as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(ids.collect::<Vec<_>>(), [vec![1, 2], vec![3], vec![4]]);
}

/// A server that answers only when so many requests are under way.
async fn together(count: usize) -> TestServer {
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    TestServer::start(move |_| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            Response::status(200)
        }
    })
    .await
}

fn numbered(count: i64) -> Json {
    (0..count).map(|id| json!([id, format!("n{}", id % 3)])).collect()
}

#[tokio::test]
async fn single_rows_overlap() {
    let server = together(32).await;
    send(with(server.url("/{id}"), json!({"rows": "single"})), numbered(64)).await;
    assert_eq!(server.requests().len(), 64);
    let server = together(5).await;
    let options = json!({"rows": "single", "requests_in_flight": 5});
    send(with(server.url("/{id}"), options), numbered(20)).await;
    assert_eq!(server.peak(), 5);
    let server = together(2).await;
    let options = json!({"batch_rows": 2, "requests_in_flight": 2});
    send(with(server.url("/"), options), numbered(8)).await;
    assert_eq!(server.peak(), 2);
}

#[tokio::test]
async fn rows_of_one_key_keep_their_order() {
    let server = TestServer::start(|request: Request| async move {
        // Later rows would overtake earlier ones.
        let id: u64 = request.path[1..].parse().unwrap();
        Response::status(200).delay(Duration::from_millis(20_u64.saturating_sub(id)))
    })
    .await;
    let options = json!({"rows": "single", "keep_order_of": ["name"]});
    send(with(server.url("/{id}"), options), numbered(21)).await;
    for group in 0..3 {
        let ids = server.requests().into_iter().map(|r| r.request.path[1..].parse::<i64>().unwrap());
        let ids: Vec<_> = ids.filter(|id| id % 3 == group).collect();
        assert_eq!(ids, (0..7).map(|n| n * 3 + group).collect::<Vec<_>>());
    }
    assert!(server.peak() <= 3);
    let error = refusal(with(server.url("/"), json!({"rows": "single", "keep_order_of": ["nme"]}))).await;
    assert!(
        error.to_string().contains("`keep_order_of` names `nme`") && error.to_string().contains("`name`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_failure_holds_back_no_other_row_and_is_sent_again_with_its_key() {
    let server = TestServer::start(|request: Request| async move {
        let fails = request.path.ends_with('7') && request.attempt == 1;
        Response::status(if fails { 503 } else { 200 })
    })
    .await;
    let mut writer =
        writer(with(server.url("/{id}"), json!({"rows": "single", "requests_in_flight": 4}))).await;
    let error = writer.write(people(&numbered(40))).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(server.requests().len(), 40, "those behind the failure were sent all the same");
    writer.write(people(&numbered(40))).await.unwrap();
    writer.write(people(&numbered(1))).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().rows, 41);
    let again = &server.requests()[40..];
    let mut paths: Vec<_> = again.iter().map(|r| r.request.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/0", "/17", "/27", "/37", "/7"]);
    let keys = |path: &str| {
        let found = server.requests().into_iter().filter(|r| r.request.path == path);
        found.map(|r| r.request.header("idempotency-key").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys("/17"), ["crm-people-run1-0-17"; 2]);
    assert_eq!(keys("/0"), ["crm-people-run1-0-0", "crm-people-run1-0-40"]);
}

#[tokio::test]
async fn a_server_that_is_down_is_not_asked_for_every_row() {
    let server = always(Response::status(503)).await;
    let mut writer =
        writer(with(server.url("/{id}"), json!({"rows": "single", "requests_in_flight": 4}))).await;
    assert!(writer.write(people(&numbered(400))).await.unwrap_err().is_retryable());
    assert!(server.requests().len() < 20, "{}", server.requests().len());
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    for (options, expected) in [
        (json!({"url": "http://a/{id}"}), "names the column `id`, and a request has many rows"),
        (json!({"url": "http://a/{di}", "rows": "single"}), "`http://a/{di}` names `di`"),
        (
            json!({"url": "http://a/", "rows": "single", "headers": {"x": "{di}"}}),
            "the header `x` names a column",
        ),
        (
            json!({"url": "http://a/", "rows": "single", "body": {"form": {"x": "{di}"}}}),
            "`body.form.x` names `di`",
        ),
        (json!({"url": "http://a/", "body": "form"}), "`body: form` is for single rows"),
        (json!({"url": "http://a/", "body": "none"}), "`body: none` is for single rows"),
        (json!({"url": "http://a/", "omit_url_columns": true}), "`omit_url_columns` is for single rows"),
        (json!({"url": "http://a/", "keep_order_of": ["id"]}), "`keep_order_of` is for single rows"),
        (json!({"url": "http://a/", "idempotency_key": "x"}), "`idempotency_key` is for single rows"),
        (json!({"url": "http://a/", "body": "xml"}), "unknown variant `xml`"),
        (json!({"url": "http://a/", "idempotency_header": "a b"}), "`a b` is no name of a header"),
        (
            json!({"url": "http://a/", "rejected": {"path": "$", "index": "$", "key": {"id": "$"}}}),
            "`rejected` has both `index` and `key`",
        ),
    ] {
        let error = refusal(options).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let server = always(Response::status(200)).await;
    send(with(server.url("/{{x}}"), json!({})), json!([[1, "a"]])).await;
    assert_eq!(server.targets(), ["/%7Bx%7D"]);
}

#[tokio::test]
async fn check_writes_nothing_for_single_rows_either() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = TestServer::start(move |request: Request| {
        count.fetch_add(1, SeqCst);
        async move { Response::status(if request.method == "OPTIONS" { 404 } else { 500 }) }
    })
    .await;
    let options = json!({"rows": "single", "method": "DELETE", "headers": {"X-Id": "{id}"}});
    let (sink, cx) = open(with(server.url("/p/{id}"), options)).await.unwrap();
    sink.check(&cx, &LoadSpec::new("p", "s", "run-1", WriteDisposition::Append)).await.unwrap();
    assert_eq!(asked.load(SeqCst), 1);
    assert_eq!(server.requests()[0].request.header("x-id"), None);
}
