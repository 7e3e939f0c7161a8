//! Methods, bodies and headers of reading requests.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, open, read, to_json, with};

/// Echoes what came as a row.
async fn echo() -> TestServer {
    TestServer::start(|request: Request| async move {
        Response::json(&json!([{
            "method": request.method,
            "type": request.header("content-type"),
            "body": String::from_utf8_lossy(&request.body),
        }]))
    })
    .await
}

async fn echoed(more: Json) -> Vec<Json> {
    read(with(echo().await.url("/"), more)).await.unwrap()
}

fn body(row: &Json) -> Json {
    serde_json::from_str(row["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_method_is_told_or_follows_from_the_body() {
    assert_eq!(echoed(json!({})).await[0]["method"], "GET");
    assert_eq!(echoed(json!({"body": {"json": {}}})).await[0]["method"], "POST");
    assert_eq!(echoed(json!({"method": "POST"})).await[0]["method"], "POST");
    assert_eq!(echoed(json!({"method": "PUT", "body": {"json": {}}})).await[0]["method"], "PUT");
    let error = error(with("http://a/", json!({"method": "GET", "body": {"json": {}}}))).await;
    assert_eq!((error.kind(), error.message()), (ErrorKind::Config, "`method: GET` has no `body`"));
}

#[tokio::test]
async fn parameters_are_filled_into_json_and_keep_their_type() {
    let rows = echoed(json!({
        "body": {"json": {"q": "state:{state} {x}", "page": ["{n}"], "deep": {"text": "n{n}"}, "on": true}},
        "params": {"state": ["open", "a \"b\""], "n": {"from": 1, "to": 2}},
    }))
    .await;
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["type"], "application/json");
    assert_eq!(
        body(&rows[0]),
        json!({"q": "state:open {x}", "page": [1], "deep": {"text": "n1"}, "on": true})
    );
    assert_eq!(
        body(&rows[3]),
        json!({"q": "state:open {x}", "page": [2], "deep": {"text": "n2"}, "on": true})
            .as_object()
            .map(|fields| {
                let mut fields = fields.clone();
                fields.insert("q".to_owned(), json!("state:a \"b\" {x}"));
                Json::Object(fields)
            })
            .unwrap()
    );
}

#[tokio::test]
async fn a_form_is_sent_as_one() {
    let rows = echoed(json!({
        "body": {"form": {"grant": "a&b", "id": ["{n}", "x"]}}, "params": {"n": 5},
    }))
    .await;
    assert_eq!(rows[0]["type"], "application/x-www-form-urlencoded");
    assert_eq!(rows[0]["body"], "grant=a%26b&id=5&id=x");
}

#[tokio::test]
async fn a_multipart_form_holds_texts_and_files() {
    let rows = echoed(json!({
        "body": {"multipart": {
            "query": {"content": "id\n{n}\n", "filename": "ids \"{x}\".csv", "content_type": "text/csv"},
            "raw": {"content": "x"},
            "kind": "n{n}",
            "tag": ["a", "{n}"],
        }},
        "params": {"n": 5},
    }))
    .await;
    let content_type = rows[0]["type"].as_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let part = |head: &str, content: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let expected = [
        part("name=\"kind\"", "n5"),
        part("name=\"tag\"", "a"),
        part("name=\"tag\"", "5"),
        part("name=\"query\"; filename=\"ids %22{x}%22.csv\"\r\nContent-Type: text/csv", "id\n5\n"),
        part("name=\"raw\"; filename=\"raw\"\r\nContent-Type: application/octet-stream", "x"),
        format!("--{boundary}--\r\n"),
    ];
    assert_eq!(rows[0]["body"].as_str().unwrap(), expected.concat());
}

#[tokio::test]
async fn the_next_page_may_be_a_field_of_a_multipart_form() {
    let server = TestServer::start(|request: Request| async move {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let page = if body.contains("name=\"page\"\r\n\r\n2") { 2 } else { 1 };
        assert_eq!(body.matches("name=\"page\"").count(), 1, "{body}");
        Response::json(&json!({"pages": 2, "data": [{"page": page}]}))
    })
    .await;
    let options = json!({
        "body": {"multipart": {"kind": "x", "page": 1}}, "records": "$.data",
        "pagination": {"type": "page_number", "in": "body", "total_pages": "$.pages"},
    });
    let rows = read(with(server.url("/"), options)).await.unwrap();
    assert_eq!(rows, [json!({"page": 1}), json!({"page": 2})]);
}

#[tokio::test]
async fn a_graphql_query_goes_with_its_variables() {
    let query = "query Q($first: Int) { items(first: $first) { n } }";
    let rows = echoed(json!({
        "body": {"graphql": {"query": query, "variables": {"first": "{n}"}, "operation_name": "Q"}},
        "params": {"n": [5]},
    }))
    .await;
    assert_eq!(body(&rows[0]), json!({"query": query, "variables": {"first": 5}, "operationName": "Q"}));
}

#[tokio::test]
async fn requests_to_one_url_are_splits_with_names_of_their_own() {
    let server = echo().await;
    let opened = open(with(
        server.url("/{a}"),
        json!({"body": {"json": ["{a}", "{b}"]}, "params": {"a": "x", "b": ["1", "2"]}}),
    ))
    .await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    let names: Vec<_> =
        splits.iter().map(|split| split.id.to_string().replace(&server.url(""), "")).collect();
    assert_eq!(names, ["/x [b=1]", "/x [b=2]"]);
    let second = to_json(&opened.batches(&splits[1], Position::Start).await.unwrap());
    assert_eq!(body(&second[0]), json!(["x", "2"]));
    // Other values behind the same index are noticed.
    let other = open(with(
        server.url("/{a}"),
        json!({"body": {"json": ["{a}", "{b}"]}, "params": {"a": "x", "b": ["1", "3"]}}),
    ))
    .await;
    let error = other.batches(&splits[1], Position::Start).await.unwrap_err();
    assert!(error.message().contains("have changed while a run was under way"), "{error}");
}

#[tokio::test]
async fn parameters_are_filled_into_headers_which_stay_on_their_host() {
    let other = echo().await;
    let target = other.url("/");
    let server = TestServer::start(move |request: Request| {
        let target = target.clone();
        async move {
            match request.header("x-account") {
                Some("b") => Response::status(307).header("location", target),
                account => Response::json(&json!([{"account": account, "fixed": request.header("x-fixed")}])),
            }
        }
    })
    .await;
    let options =
        json!({"headers": {"X-Account": "{id}", "X-Fixed": "{other}"}, "params": {"id": ["a", "b"]}});
    let rows = read(with(server.url("/"), options)).await.unwrap();
    assert_eq!(rows[0], json!({"account": "a", "fixed": "{other}"}));
    assert_eq!(other.requests().len(), 1);
    assert_eq!(other.requests()[0].request.header("x-account"), None);
}

#[tokio::test]
async fn a_header_with_a_parameter_is_no_less_a_secret() {
    let server =
        TestServer::start(|_| async { Response::status(400).body("bad key hush-hush-a of hush-hush-") })
            .await;
    let options = json!({"headers": {"X-Key": "hush-hush-{id}"}, "params": {"id": "a"}});
    let error = error(with(server.url("/"), options)).await;
    assert_eq!(error.detail_value("body"), Some("bad key ***a of ***"));
}

#[tokio::test]
async fn errors_in_a_graphql_answer_are_errors() {
    let server = TestServer::start(|request: Request| async move {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let failure = match request.attempt {
            1 if body.contains("busy") => {
                json!({"message": "slow down", "extensions": {"code": "THROTTLED"}})
            }
            _ if body.contains("wrong") => json!({"message": "no field `wrong`", "path": ["items"]}),
            _ => return Response::json(&json!({"data": {"items": [{"id": 1}]}})),
        };
        Response::json(&json!({"data": null, "errors": [failure]}))
    })
    .await;
    let options = |query: &str| {
        let path = if query.contains("busy") { "/busy" } else { "/" };
        with(server.url(path), json!({"records": "$.data.items", "body": {"graphql": {"query": query}}}))
    };
    let error = error(options("{ wrong }")).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "the GraphQL answer has errors: no field `wrong`");
    assert_eq!(error.detail_value("url"), Some(&*server.url("/")));
    let opened = open(options("{ busy }")).await;
    let split = opened.only_split().await;
    let found = opened.rows_with_resumes(&split).await.unwrap();
    assert_eq!(found, (vec![json!({"id": 1})], 1));
}

#[tokio::test]
async fn a_refused_query_is_not_said_to_be_refused_rows() {
    let server = TestServer::start(|_| async { Response::status(422).body("bad filter") }).await;
    let error = error(with(server.url("/"), json!({"body": {"json": {}}}))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!error.help_text().unwrap_or_default().contains("rows"), "{error}");
}
