//! Sessions: a log-in and its token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use towpath_core::{Context, ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::{Turned, form, text};
use crate::support::{Opened, Recorder, context, error, ids, install_tls, open, open_with, with};

/// A server that gives `sid-N` for a log-in, in several places, and echoes where it comes back.
async fn log_in_server() -> (TestServer, Arc<AtomicU64>) {
    let sessions = Arc::new(AtomicU64::new(0));
    let shared = sessions.clone();
    let server = TestServer::start(move |request: Request| {
        let sessions = shared.clone();
        async move {
            if request.path == "/v1/login" {
                if form(&request).contains("wrong") {
                    return Response::json(&json!({"message": "no such user: hush-wrong"})).with_status(401);
                }
                let sid = format!("sid-{}", sessions.fetch_add(1, SeqCst) + 1);
                let body = json!({"data": {"session": {"token": sid}}});
                let cookie = format!("sid={sid}; Path=/; HttpOnly");
                // Some servers clear a cookie before they set it.
                let answer =
                    Response::json(&body).header("x-session", sid).header("set-cookie", "sid=; Max-Age=0");
                let answer = answer.header("set-cookie", "lang=en");
                return answer.header("set-cookie", cookie);
            }
            let current = format!("sid-{}", sessions.load(SeqCst));
            let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
            let seen = ["authorization", "x-auth", "cookie"].map(header);
            if !seen.iter().any(|text| text.ends_with(&current)) && !request.query.ends_with(&current) {
                return Response::status(401);
            }
            let next = (request.number("page") != Some(2)).then(|| format!("/v1/x?page=2&session={current}"));
            Response::json(&json!({"next": next, "data": [{"id": 0}]}))
        }
    })
    .await;
    (server, sessions)
}

/// Reads with a session, and gives the log-in request and the one behind it.
async fn with_session(more: Json) -> (Request, Request) {
    let (server, sessions) = log_in_server().await;
    let mut auth = json!({"type": "session", "path": "/login"});
    let Json::Object(more) = more else { panic!("options are an object") };
    auth.as_object_mut().unwrap().extend(more);
    let options = json!({"base_url": server.url("/v1"), "path": "/x", "auth": auth, "records": "$.data"});
    let opened = open(options).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    let mut requests = server.requests().into_iter().map(|recorded| recorded.request);
    let found = (requests.next().unwrap(), requests.next().unwrap());
    // A session that the server has ended is begun again.
    sessions.fetch_add(10, SeqCst);
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    let paths: Vec<_> = server.requests().into_iter().map(|recorded| recorded.request.path).collect();
    assert_eq!(paths, ["/v1/login", "/v1/x", "/v1/x", "/v1/login", "/v1/x"]);
    found
}

#[tokio::test]
async fn a_session_logs_in_with_json_and_takes_its_token_out_of_the_body() {
    let (login, request) = with_session(json!({
        "json": {"user": "ann", "password": "hush"},
        "token": {"json": "$.data.session.token"},
        "headers": {"X-App": "towpath"},
    }))
    .await;
    assert_eq!((login.method.as_str(), login.header("content-type")), ("POST", Some("application/json")));
    assert_eq!(
        serde_json::from_slice::<Json>(&login.body).unwrap(),
        json!({"user": "ann", "password": "hush"})
    );
    assert_eq!(login.header("x-app"), Some("towpath"));
    assert_eq!(request.header("authorization"), Some("Bearer sid-1"));
    assert_eq!(request.header("x-app"), None);
}

#[tokio::test]
async fn a_session_logs_in_with_a_form_and_takes_its_token_out_of_a_header() {
    let (login, request) = with_session(json!({
        "form": {"user": "ann", "password": "a b"},
        "method": "PUT",
        "token": {"header": "X-Session"},
        "send": {"name": "X-Auth", "value": "Session {token}"},
    }))
    .await;
    assert_eq!((login.method.as_str(), form(&login).as_str()), ("PUT", "password=a+b&user=ann"));
    assert_eq!(request.header("x-auth"), Some("Session sid-1"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn a_session_may_live_in_a_cookie_or_in_the_query() {
    let (_, request) = with_session(json!({"method": "GET", "token": {"cookie": "sid"}})).await;
    assert_eq!(request.header("cookie"), Some("sid=sid-1"));
    let place = json!({"in": "cookie", "name": "session"});
    let (_, request) = with_session(json!({"token": {"cookie": "sid"}, "send": place})).await;
    assert_eq!(request.header("cookie"), Some("session=sid-1"));
    let place = json!({"in": "query", "name": "session"});
    let (_, request) = with_session(json!({"token": {"header": "x-session"}, "send": place})).await;
    assert_eq!(request.query, "session=sid-1");
}

#[tokio::test]
async fn a_cookie_goes_back_as_it_came() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/login" => Response::status(204).header("set-cookie", "sid=a, b c=\"d\"; Path=/"),
            _ => Response::json(&json!([{"id": 0}])),
        }
    })
    .await;
    let auth = json!({"type": "session", "url": server.url("/login"), "token": {"cookie": "sid"}});
    let opened = open(with(server.url("/x"), json!({"auth": auth}))).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    assert_eq!(server.requests()[1].request.header("cookie"), Some("sid=a, b c=\"d\""));
}

#[tokio::test]
async fn the_token_of_a_session_is_in_no_position() {
    let (server, _) = log_in_server().await;
    let auth = json!({
        "type": "session",
        "url": server.url("/v1/login"),
        "token": {"header": "x-session"},
        "send": {"in": "query", "name": "session"},
    });
    let pagination = json!({"type": "next_url", "path": "$.next"});
    let opened =
        open(with(server.url("/v1/x"), json!({"auth": auth, "records": "$.data", "pagination": pagination})))
            .await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let stored = format!("{split:?} {:?}", batches.iter().map(|batch| &batch.resume).collect::<Vec<_>>());
    assert!(batches.len() == 2 && !stored.contains("sid-1"), "{stored}");
    assert_eq!(server.targets()[1..], ["/v1/x?session=sid-1", "/v1/x?page=2&session=sid-1"]);
}

#[tokio::test]
async fn a_session_may_be_good_for_a_while_only() {
    install_tls();
    let (server, _) = log_in_server().await;
    let clock = Arc::new(Turned::default());
    let cx = Context::builder(clock.clone()).stream("items").build();
    let auth = json!({"type": "session", "url": server.url("/v1/login"), "token": {"cookie": "sid"}, "expires_in": "1h"});
    let source = open_with(with(server.url("/v1/x"), json!({"auth": auth})), &cx).await.unwrap();
    let opened = Opened { source, cx, recorder: Arc::new(Recorder::default()) };
    opened.rows().await.unwrap();
    *clock.0.lock().unwrap() = Duration::from_mins(61);
    opened.rows().await.unwrap();
    assert_eq!(server.targets(), ["/v1/login", "/v1/x", "/v1/login", "/v1/x"]);
}

#[tokio::test]
async fn a_log_in_that_fails_says_why() {
    let (server, _) = log_in_server().await;
    let session = |more: Json| {
        let mut auth =
            json!({"type": "session", "url": server.url("/v1/login"), "token": {"json": "$.token"}});
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(server.url("/v1/x"), json!({ "auth": auth }))
    };
    let refused = error(session(json!({"json": {"password": "hush-wrong"}}))).await;
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert_eq!(refused.message(), "`auth.url` gave no token: the server answered 401 Unauthorized");
    assert_eq!(refused.detail_value("reason"), Some("no such user: ***"));
    for (token, message) in [
        (json!({"json": "$.token"}), "the answer to the log-in has nothing at `$.token`"),
        (json!({"header": "x-token"}), "the answer to the log-in has no header `x-token`"),
        (json!({"cookie": "token"}), "the answer to the log-in has no cookie `token`"),
    ] {
        let missing = error(session(json!({ "token": token }))).await;
        assert_eq!(missing.message(), message);
        assert!(!text(&missing).contains("sid-"), "{missing:?}");
    }
}

#[tokio::test]
async fn a_scheme_that_cannot_work_is_refused_when_it_is_opened() {
    let (cx, _) = context();
    let session = |more: Json| {
        let mut auth = json!({"type": "session", "token": {"cookie": "sid"}});
        auth.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        auth
    };
    for (auth, message) in [
        (session(json!({})), "a session needs `url` or `path`, one of them, to log in at"),
        (session(json!({"url": "nowhere"})), "`auth.url` is not an HTTP URL"),
        (
            session(json!({"url": "http://a", "expires_in": "0s"})),
            "a session with `expires_in: 0s` is over before it begins",
        ),
        (
            session(json!({"url": "http://a", "json": {}, "form": {"a": "b"}})),
            "a log-in has `json` or `form` and not both",
        ),
        (
            session(json!({"url": "http://a", "send": {"name": "x", "value": "token"}})),
            "the value for `x` holds no `{token}`",
        ),
    ] {
        let Err(error) = open_with(with("http://a/", json!({ "auth": auth })), &cx).await else {
            panic!("{auth} was taken")
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
    }
}
