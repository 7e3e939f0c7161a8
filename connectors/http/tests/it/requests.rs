//! What goes out: URLs, query, headers, credentials.

use serde_json::json;
use towpath_core::{CursorRange, ErrorKind, Position, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{context, error, open, open_with, read, with};

/// Echoes the request as a row.
async fn echo() -> TestServer {
    TestServer::start(|request: Request| async move {
        Response::json(&json!({"path": request.path, "query": request.query}))
    })
    .await
}

async fn header_of(name: &str, more: towpath_core::Json) -> Option<String> {
    let server = echo().await;
    read(with(server.url("/"), more)).await.unwrap();
    server.requests()[0].request.header(name).map(str::to_owned)
}

#[tokio::test]
async fn one_url_and_several_are_read() {
    let server = echo().await;
    assert_eq!(
        read(with(server.url("/a?x=1"), json!({}))).await.unwrap(),
        [json!({"path": "/a", "query": "x=1"})]
    );
    let urls = [server.url("/b"), server.url("/c")];
    let found = read(json!({ "urls": urls })).await.unwrap();
    assert_eq!(found, [json!({"path": "/b", "query": ""}), json!({"path": "/c", "query": ""})]);
}

#[tokio::test]
async fn paths_stand_behind_the_base_url() {
    let server = echo().await;
    read(json!({"base_url": server.url("/v2/"), "path": "/items"})).await.unwrap();
    read(json!({"base_url": server.url("/v2"), "paths": ["a", "b?x=1"]})).await.unwrap();
    assert_eq!(server.targets(), ["/v2/items", "/v2/a", "/v2/b?x=1"]);
}

#[tokio::test]
async fn parameters_become_splits_with_names_of_their_own() {
    let server = echo().await;
    let params = json!({"owner": ["a", "b/c"], "page": {"from": 1, "to": 2}});
    let opened =
        open(with(server.url("/{owner}?page={page}"), json!({"params": params, "query": {"q": "{owner}"}})))
            .await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    let names: Vec<_> =
        splits.iter().map(|split| split.id.to_string().replace(&server.url(""), "")).collect();
    assert_eq!(names, ["/a?page=1&q=a", "/a?page=2&q=a", "/b%2Fc?page=1&q=b%2Fc", "/b%2Fc?page=2&q=b%2Fc"]);
    opened.rows().await.unwrap();
    assert_eq!(server.targets(), names);
}

#[tokio::test]
async fn zipped_parameters_go_side_by_side() {
    let server = echo().await;
    let options = json!({"params": {"a": [1, 2], "b": ["x", "y"]}, "combine": "zip"});
    read(with(server.url("/{a}/{b}"), options)).await.unwrap();
    assert_eq!(server.targets(), ["/1/x", "/2/y"]);
}

#[tokio::test]
async fn a_url_that_comes_twice_is_read_once() {
    let server = echo().await;
    read(json!({"urls": [server.url("/a"), server.url("/a")]})).await.unwrap();
    assert_eq!(server.targets(), ["/a"]);
}

#[tokio::test]
async fn the_query_is_appended() {
    let server = echo().await;
    read(with(server.url("/?x=1"), json!({"query": {"tag": ["a b", "c&d"], "deep": true}}))).await.unwrap();
    assert_eq!(server.targets(), ["/?x=1&deep=true&tag=a+b&tag=c%26d"]);
}

#[tokio::test]
async fn the_cursor_goes_into_its_parameter() {
    let server = echo().await;
    let opened = open(with(server.url("/"), json!({"cursor_param": "since"}))).await;
    let mut request = ScanRequest::default();
    request.cursor = Some(CursorRange::new("updated_at", None, None));
    opened.rows_of(&request).await.unwrap();
    request.cursor = Some(CursorRange::new("updated_at", Some(json!("2026-11-27 08:00")), None));
    opened.rows_of(&request).await.unwrap();
    request.cursor = Some(CursorRange::new("id", Some(json!(17)), None));
    opened.rows_of(&request).await.unwrap();
    assert_eq!(server.targets(), ["/", "/?since=2026-11-27+08%3A00", "/?since=17"]);
    let error = opened.rows().await.unwrap_err();
    assert_eq!(error.message(), "`cursor_param: since` has no cursor to send");
}

#[tokio::test]
async fn headers_and_user_agent_are_sent() {
    assert_eq!(
        header_of("x-tenant", json!({"headers": {"X-Tenant": "blue"}})).await.as_deref(),
        Some("blue")
    );
    assert_eq!(
        header_of("accept", json!({"headers": {"accept": "text/x"}})).await.as_deref(),
        Some("text/x")
    );
    assert_eq!(header_of("user-agent", json!({"user_agent": "me/1"})).await.as_deref(), Some("me/1"));
    let ours = header_of("user-agent", json!({})).await.unwrap();
    assert!(ours.starts_with("towpath/"), "{ours}");
}

#[tokio::test]
async fn the_format_is_asked_for() {
    assert_eq!(
        header_of("accept", json!({"format": "json"})).await.as_deref(),
        Some("application/json, */*;q=0.5")
    );
    assert_eq!(header_of("accept-encoding", json!({"format": "ndjson"})).await.as_deref(), Some("identity"));
    let compressed = header_of("accept-encoding", json!({})).await.unwrap();
    assert!(["gzip", "br", "zstd"].iter().all(|codec| compressed.contains(codec)), "{compressed}");
}

#[tokio::test]
async fn each_way_to_authenticate_is_sent() {
    let bearer = json!({"auth": {"type": "bearer", "token": "t0ken"}});
    assert_eq!(header_of("authorization", bearer).await.as_deref(), Some("Bearer t0ken"));
    let basic = json!({"auth": {"type": "basic", "username": "Aladdin", "password": "open sesame"}});
    let expected = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(header_of("authorization", basic).await.as_deref(), expected);
    let key = json!({"auth": {"type": "api_key", "name": "X-Api-Key", "value": "k3y"}});
    assert_eq!(header_of("x-api-key", key).await.as_deref(), Some("k3y"));
    let server = echo().await;
    let key = json!({"auth": {"type": "api_key", "name": "passkey", "value": "k3y", "in": "query"}});
    read(with(server.url("/?x=1"), key)).await.unwrap();
    assert_eq!(server.targets(), ["/?x=1&passkey=k3y"]);
    let url = server.url("/user").replace("://", "://Aladdin:open%20sesame@");
    read(with(url, json!({}))).await.unwrap();
    assert_eq!(server.requests()[1].request.header("authorization"), expected);
}

#[tokio::test]
async fn credentials_of_a_connection_stay_on_its_base_url() {
    let (server, base) = (echo().await, echo().await);
    let auth = json!({"type": "bearer", "token": "t0ken"});
    read(with(server.url("/"), json!({"base_url": base.url("/"), "auth": auth}))).await.unwrap();
    assert_eq!(server.requests()[0].request.header("authorization"), None);
}

#[tokio::test]
async fn secrets_of_a_url_are_in_no_split_and_no_position() {
    let server = TestServer::start(|request: Request| async move {
        let next = format!("/?passkey=hush2&page={}", request.number("page").unwrap_or(1) + 1);
        let next = (request.number("page") != Some(3)).then_some(next);
        Response::json(&json!({"next": next, "data": [{"id": 1}]}))
    })
    .await;
    let auth = json!({"type": "api_key", "name": "passkey", "value": "hush2", "in": "query"});
    let pagination = json!({"type": "next_url", "path": "$.next"});
    let url = server.url("/?token=hush1").replace("://", "://ann:hush3@");
    let opened = open(with(url, json!({"auth": auth, "records": "$.data", "pagination": pagination}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    assert_eq!(batches.len(), 3);
    let stored = format!("{split:?} {:?}", batches.iter().map(|batch| &batch.resume).collect::<Vec<_>>());
    assert!(!stored.contains("hush"), "{stored}");
    // And still each request carries them.
    assert!(server.targets().iter().all(|target| target.contains("passkey=hush2")), "{:?}", server.targets());
    assert!(server.targets()[0].contains("token=hush1"));
}

#[tokio::test]
async fn secrets_are_in_no_error() {
    let server = TestServer::start(|request: Request| async move {
        Response::text(format!("who is {} ?", request.query)).with_status(403)
    })
    .await;
    let auth = json!({"type": "api_key", "name": "passkey", "value": "hush-hush", "in": "query"});
    let error = error(with(server.url("/?token=hush1"), json!({"auth": auth}))).await;
    let text = format!("{error} {error:?}");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!text.contains("hush-hush") && text.contains("/?token=***"), "{text}");
}

#[tokio::test]
async fn planning_goes_on_behind_any_of_its_steps_and_secrets_are_found_again() {
    let server = echo().await;
    let params = json!({"token": ["one", "two", "three"]});
    let opened = open(with(server.url("/?token={token}"), json!({"params": params}))).await;
    let splits = opened.splits(&ScanRequest::default()).await.unwrap();
    let mut request = ScanRequest::default();
    request.planned = Position::At(json!({"next": 1}));
    assert_eq!(opened.splits(&request).await.unwrap(), splits[1..]);
    opened.batches(&splits[2], Position::Start).await.unwrap();
    assert_eq!(server.targets(), ["/?token=three"]);
}

#[tokio::test]
async fn a_split_of_another_pipeline_is_refused() {
    let server = echo().await;
    let url = |tail: &str| with(server.url(tail), json!({}));
    let split = open(url("/?token=one")).await.only_split().await;
    let error = open(url("/other?token=one")).await.batches(&split, Position::Start).await.unwrap_err();
    assert_eq!(error.message(), "the URLs of the pipeline have changed while a run was under way");
}

#[tokio::test]
async fn one_pool_of_connections_serves_all_streams() {
    let server = echo().await;
    let (cx, _) = context();
    for _ in 0..3 {
        let source = open_with(with(server.url("/"), json!({})), &cx).await.unwrap();
        let opened = crate::support::Opened { source, cx: cx.clone(), recorder: context().1 };
        opened.rows().await.unwrap();
    }
    assert_eq!((server.requests().len(), server.accepted()), (3, 1));
}

#[tokio::test]
async fn check_asks_once_and_discover_tells_the_columns() {
    let server = echo().await;
    let opened = open(with(server.url("/v2/orders"), json!({"headers": {"x": "y"}}))).await;
    opened.source.check(&opened.cx).await.unwrap();
    assert_eq!(server.targets(), ["/v2/orders"]);
    let datasets = opened.source.discover(&opened.cx).await.unwrap();
    assert_eq!(datasets[0].name, "items");
    let columns: Vec<_> =
        datasets[0].schema.as_ref().unwrap().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(columns, ["path", "query"]);
}

#[tokio::test]
async fn a_wrong_option_is_named() {
    let (cx, _) = context();
    let options = |more| with("http://127.0.0.1:1/", more);
    for (options, expected) in [
        (options(json!({"pagination": {"type": "pages"}})), "unknown variant `pages`"),
        (options(json!({"pagination": {"type": "cursor", "param": "c"}})), "set one of `next`,"),
        (options(json!({"records": "data"})), "`data` is not a JSONPath"),
        (options(json!({"headers": {"bad name": "x"}})), "`bad name` is not the name of a header"),
        (options(json!({"headers": {"x": "a\nb"}})), "the value of the header `x` holds characters"),
        (options(json!({"user_agent": "a\nb"})), "`user_agent` holds characters"),
        (options(json!({"pages_in_flight": 0})), "`pages_in_flight` must be above zero"),
        (options(json!({"base_url": "nonsense"})), "`base_url` is not a URL"),
        (options(json!({"timeout": {"connect": "soon"}})), "`soon` is not a duration"),
    ] {
        let Err(error) = open_with(options, &cx).await else { panic!("{expected}: it was opened") };
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_a_server_echoes_are_hidden() {
    let server = TestServer::start(|request: Request| async move {
        Response::text(format!("not for {:?}", request.header("authorization"))).with_status(403)
    })
    .await;
    let basic = json!({"auth": {"type": "basic", "username": "Aladdin", "password": "open sesame"}});
    let user = server.url("/").replace("://", "://Aladdin:open%20sesame@");
    for (url, options) in [(server.url("/"), basic), (user, json!({}))] {
        let error = read(with(url, options)).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("not for"), "{shown}");
        assert!(!shown.contains("QWxhZGRpbjpvcGVuIHNlc2FtZQ"), "{shown}");
    }
}
