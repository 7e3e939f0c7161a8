//! Several tokens in rotation.

use std::sync::Arc;

use serde_json::json;
use towpath_core::{Error, ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::text;
use crate::budgets::{Leaping, opened};
use crate::support::{Opened, context, ids, open_with, read, with};

/// A server that answers each token as the test says, and gives a row to everybody else.
async fn server(answer: impl Fn(&str, &Request) -> Option<Response> + Send + Sync + 'static) -> TestServer {
    let answer = Arc::new(answer);
    TestServer::start(move |request: Request| {
        let answer = answer.clone();
        async move {
            let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let row = || Response::json(&json!([{"id": 0}]));
            answer(token.unwrap_or_default(), &request).unwrap_or_else(row)
        }
    })
    .await
}

/// The tokens that came, one after the other.
fn came(server: &TestServer) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests
        .map(|recorded| recorded.request.header("authorization").unwrap().replace("Bearer token-", ""))
        .collect()
}

fn tokens(count: usize, more: &Json) -> Json {
    let tokens: Vec<String> =
        ["a", "b", "c"].iter().take(count).map(|name| format!("token-{name}")).collect();
    let mut auth = json!({"type": "bearer", "tokens": tokens});
    auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    auth
}

/// Reads these paths, one after the other.
async fn read_paths(opened: &Opened) -> Result<usize, Error> {
    opened.rows().await.map(|rows| rows.len())
}

fn paths(server: &TestServer, count: usize, auth: &Json) -> Json {
    let paths: Vec<String> = (0..count).map(|n| format!("/{n}")).collect();
    json!({"base_url": server.url("/"), "paths": paths, "auth": auth})
}

#[tokio::test]
async fn tokens_take_turns() {
    let server = server(|_, _| None).await;
    assert_eq!(read(paths(&server, 6, &tokens(3, &json!({})))).await.unwrap().len(), 6);
    assert_eq!(came(&server), ["a", "b", "c", "a", "b", "c"]);
    // All streams of a connection share their turns.
    server.clear();
    let (cx, _) = context();
    for _ in 0..2 {
        let source = open_with(paths(&server, 1, &tokens(2, &json!({}))), &cx).await.unwrap();
        let opened = Opened { source, cx: cx.clone(), recorder: Arc::default() };
        opened.rows().await.unwrap();
    }
    assert_eq!(came(&server), ["a", "b"]);
}

#[tokio::test]
async fn keys_take_turns_in_their_place() {
    let server = server(|_, _| None).await;
    let auth = json!({"type": "api_key", "name": "key", "in": "query", "values": ["k-1", "k-2"]});
    read(paths(&server, 2, &auth)).await.unwrap();
    assert_eq!(server.targets(), ["/0?key=k-1", "/1?key=k-2"]);
}

#[tokio::test]
async fn each_token_has_a_budget_of_its_own() {
    let server = server(|_, _| None).await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 5, &tokens(2, &json!({"rate_limit": "2/h"}))), &clock).await;
    assert_eq!(read_paths(&opened).await.unwrap(), 5);
    assert_eq!(came(&server).len(), 5);
    // Two of each pass, and the fifth waits an hour.
    assert_eq!(clock.minutes(), [60]);
}

#[tokio::test]
async fn a_token_whose_limit_is_used_up_rests_and_nobody_else_does() {
    let server = server(|token, request| {
        let row = Response::json(&json!([{"id": 0}]));
        (token == "token-a" && request.path == "/0")
            .then(|| row.header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "2400"))
    })
    .await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 4, &tokens(2, &json!({}))), &clock).await;
    assert_eq!(read_paths(&opened).await.unwrap(), 4);
    assert_eq!(came(&server), ["a", "b", "b", "b"]);
    assert!(opened.recorder.record().pauses.is_empty() && clock.minutes().is_empty());
}

#[tokio::test]
async fn a_request_that_one_token_has_no_limit_left_for_is_made_with_another() {
    let server =
        server(|token, _| (token == "token-a").then(|| Response::status(429).header("retry-after", "2400")))
            .await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 3, &tokens(2, &json!({}))), &clock).await;
    assert_eq!(read_paths(&opened).await.unwrap(), 3);
    assert_eq!(came(&server), ["a", "b", "b", "b"]);
    assert!(opened.recorder.record().pauses.is_empty() && clock.minutes().is_empty());
    assert_eq!(opened.cx.metrics().snapshot().throttled, 1);
}

#[tokio::test]
async fn when_no_token_has_anything_left_the_refusal_says_when_to_come_back() {
    let server = server(|_, request| {
        (request.attempt <= 2).then(|| Response::status(429).header("retry-after", "2400"))
    })
    .await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 1, &tokens(2, &json!({}))), &clock).await;
    let error = read_paths(&opened).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    assert_eq!(came(&server), ["a", "b"]);
    // Whoever comes next waits for the first that is ready.
    assert_eq!(read_paths(&opened).await.unwrap(), 1);
    assert_eq!(clock.minutes(), [40]);
    assert!(opened.recorder.record().pauses.is_empty());
}

#[tokio::test]
async fn a_token_that_is_refused_is_put_aside_with_a_warning() {
    let server = server(|token, _| (token == "token-a").then(|| Response::status(401))).await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 3, &tokens(3, &json!({}))), &clock).await;
    assert_eq!(read_paths(&opened).await.unwrap(), 3);
    assert_eq!(came(&server), ["a", "b", "c", "b"]);
    assert_eq!(
        opened.cx.metrics().warnings(),
        ["token 1 of 3 of the connection `api` is not used any more: the server answered 401 Unauthorized"]
    );
}

#[tokio::test]
async fn when_all_tokens_are_refused_nobody_asks_again() {
    let server = server(|token, _| Some(Response::text(format!("no {token}")).with_status(401))).await;
    let clock = Leaping::new(0);
    let opened = opened(paths(&server, 1, &tokens(2, &json!({}))), &clock).await;
    let error = read_paths(&opened).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!text(&error).contains("token-b"), "{error:?}");
    let error = read_paths(&opened).await.unwrap_err();
    assert_eq!(error.message(), "the server has refused each of the tokens");
    assert_eq!(came(&server), ["a", "b"]);
}

#[tokio::test]
async fn a_token_that_may_less_than_another_is_put_aside_and_what_none_may_puts_none_aside() {
    let server = server(|token, request| {
        let forbidden = request.path == "/0" || (token == "token-a" && request.path == "/2");
        forbidden.then(|| Response::status(403))
    })
    .await;
    let clock = Leaping::new(0);
    let auth = tokens(2, &json!({}));
    let options = |path: &str| json!({"base_url": server.url("/"), "path": path, "auth": auth});
    let forbidden = opened(options("/0"), &clock).await;
    assert_eq!(read_paths(&forbidden).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(forbidden.cx.metrics().warnings().is_empty());
    let (source, cx) = (open_with(options("/1"), &forbidden.cx).await.unwrap(), forbidden.cx.clone());
    let allowed = Opened { source, cx, recorder: Arc::default() };
    assert_eq!(read_paths(&allowed).await.unwrap(), 1);
    let (source, cx) = (open_with(options("/2"), &forbidden.cx).await.unwrap(), forbidden.cx.clone());
    let partly = Opened { source, cx, recorder: Arc::default() };
    for _ in 0..3 {
        assert_eq!(read_paths(&partly).await.unwrap(), 1);
    }
    let warnings = partly.cx.metrics().warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("403 Forbidden"), "{warnings:?}");
    assert_eq!(came(&server), ["a", "b", "a", "b", "a", "b", "b"]);
}

#[tokio::test]
async fn one_token_or_several() {
    let (cx, _) = context();
    for (auth, message) in [
        (json!({"type": "bearer"}), "`auth.token` is missing"),
        (json!({"type": "api_key", "name": "k"}), "`auth.value` is missing"),
        (
            json!({"type": "bearer", "token": "hush", "tokens": ["hush"]}),
            "`token` and `tokens` cannot both be set",
        ),
        (
            json!({"type": "bearer", "token": "hush", "rate_limit": "1/s"}),
            "`auth.rate_limit` is that of `tokens`",
        ),
    ] {
        let Err(error) = open_with(with("http://a/", json!({ "auth": auth })), &cx).await else {
            panic!("{auth} was taken")
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
        assert!(!text(&error).contains("hush"), "{error:?}");
    }
    let server = server(|_, _| None).await;
    let one = json!({"type": "bearer", "token": "token-a"});
    assert_eq!(read(with(server.url("/"), json!({ "auth": one }))).await.unwrap(), ids(0..1));
}
