//! Tokens of `OAuth2`.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use serde_json::json;
use tokio::sync::Semaphore;
use towpath_core::{Clock, Connection, Context, Error, ErrorKind, Json, Limiter, Permit, Retry};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{
    Opened, Recorder, always, context, error, ids, install_tls, open, open_with, read, with,
};

/// What the server knows of its tokens, which are `token-1`, `token-2` and so on.
#[derive(Default)]
struct Issued {
    count: AtomicU64,
    /// The first one that is still good.
    first_good: AtomicU64,
}

impl Issued {
    fn next(&self) -> String {
        format!("token-{}", self.count.fetch_add(1, SeqCst) + 1)
    }

    fn accepts(&self, authorization: Option<&str>) -> bool {
        let number = authorization.and_then(|text| text.strip_prefix("Bearer token-")?.parse::<u64>().ok());
        number
            .is_some_and(|number| number >= self.first_good.load(SeqCst) && number <= self.count.load(SeqCst))
    }

    /// Takes back all that were issued.
    fn revoke(&self) {
        self.first_good.store(self.count.load(SeqCst) + 1, SeqCst);
    }
}

/// A server with `/token` and rows for whoever has a token of it.
async fn server(more: Json) -> (TestServer, Arc<Issued>) {
    let issued = Arc::new(Issued::default());
    let shared = issued.clone();
    let server = TestServer::start(move |request: Request| {
        let (issued, mut answer) = (shared.clone(), more.clone());
        async move {
            if request.path == "/token" {
                answer["access_token"] = json!(issued.next());
                answer["token_type"] = json!("Bearer");
                return Response::json(&answer).delay(Duration::from_millis(50));
            }
            if issued.accepts(request.header("authorization")) {
                Response::json(&json!([{"id": 0}]))
            } else {
                Response::text("who are you?").with_status(401)
            }
        }
    })
    .await;
    (server, issued)
}

fn client(server: &TestServer, more: Json) -> Json {
    let mut auth = json!({
        "type": "oauth2_client_credentials",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "client_secret": "hush-secret",
    });
    let Json::Object(more) = more else { panic!("options are an object") };
    auth.as_object_mut().unwrap().extend(more);
    auth
}

fn to_token(server: &TestServer) -> Vec<Request> {
    let requests = server.requests().into_iter().map(|recorded| recorded.request);
    requests.filter(|request| request.path == "/token").collect()
}

pub(crate) fn form(request: &Request) -> String {
    String::from_utf8(request.body.to_vec()).unwrap()
}

pub(crate) fn text(error: &Error) -> String {
    format!("{error} {error:?}")
}

#[tokio::test]
async fn a_client_gets_a_token_for_its_credentials() {
    let (server, _) = server(json!({})).await;
    let options = json!({"scopes": ["read", "write"], "params": {"audience": "https://api.example"}});
    let auth = client(&server, options);
    assert_eq!(read(with(server.url("/items"), json!({"auth": auth}))).await.unwrap(), ids(0..1));
    assert_eq!(server.targets(), ["/token", "/items"]);
    let request = &to_token(&server)[0];
    assert_eq!((request.method.as_str(), request.header("authorization")), ("POST", None));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(
        form(request),
        "grant_type=client_credentials&client_id=ann&client_secret=hush-secret&scope=read+write\
         &audience=https%3A%2F%2Fapi.example"
    );
}

#[tokio::test]
async fn the_credentials_of_a_client_may_go_into_a_header() {
    let (server, _) = server(json!({})).await;
    let auth = client(&server, json!({"credentials_in": "basic", "client_secret": "open sesame"}));
    read(with(server.url("/items"), json!({"auth": auth}))).await.unwrap();
    let request = &to_token(&server)[0];
    // Encoded as in a form before they are joined: `ann:open+sesame`.
    assert_eq!(request.header("authorization"), Some("Basic YW5uOm9wZW4rc2VzYW1l"));
    assert_eq!(form(request), "grant_type=client_credentials");
}

/// Several streams of one connection, all at once.
async fn read_all(opened: &[Opened]) -> Vec<Result<Vec<Json>, Error>> {
    join_all(opened.iter().map(Opened::rows)).await
}

#[tokio::test]
async fn all_requests_in_flight_share_one_token() {
    let (server, issued) = server(json!({"expires_in": 3600})).await;
    let (cx, recorder) = context();
    let mut opened = Vec::new();
    for stream in 0..8 {
        let options = with(server.url(&format!("/{stream}")), json!({"auth": client(&server, json!({}))}));
        let source = open_with(options, &cx).await.unwrap();
        opened.push(Opened { source, cx: cx.clone(), recorder: recorder.clone() });
    }
    assert!(read_all(&opened).await.iter().all(Result::is_ok));
    assert_eq!((to_token(&server).len(), server.requests().len()), (1, 9));
    // And all that are refused share the next one.
    issued.revoke();
    assert!(read_all(&opened).await.iter().all(Result::is_ok));
    assert_eq!(to_token(&server).len(), 2);
    // Other credentials get tokens of their own.
    let other = client(&server, json!({"client_id": "bob"}));
    let source = open_with(with(server.url("/"), json!({"auth": other})), &cx).await.unwrap();
    Opened { source, cx, recorder }.rows().await.unwrap();
    assert_eq!(to_token(&server).len(), 3);
}

/// Lets one request at a time pass.
#[derive(Debug)]
struct OneAtATime(Arc<Semaphore>);

#[async_trait]
impl Limiter for OneAtATime {
    async fn acquire(&self, _origin: &str) -> Permit {
        let held = self.0.clone().acquire_owned().await.unwrap();
        Permit::new(Instant::now(), move |_, _| drop(held))
    }

    fn pause(&self, _origin: &str, _pause: Duration) {}
}

#[tokio::test]
async fn a_request_for_a_token_waits_for_no_request_that_needs_it() {
    install_tls();
    let (server, issued) = server(json!({})).await;
    let connection = Arc::new(Connection::new("api", Arc::new(OneAtATime(Arc::new(Semaphore::new(1))))));
    let cx = towpath_testkit::context_with(|builder| builder.stream("items").connection(connection));
    let mut opened = Vec::new();
    for stream in 0..3 {
        let options = with(server.url(&format!("/{stream}")), json!({"auth": client(&server, json!({}))}));
        let source = open_with(options, &cx).await.unwrap();
        opened.push(Opened { source, cx: cx.clone(), recorder: Arc::new(Recorder::default()) });
    }
    assert!(read_all(&opened).await.iter().all(Result::is_ok));
    issued.revoke();
    assert!(read_all(&opened).await.iter().all(Result::is_ok));
    assert_eq!(to_token(&server).len(), 2);
}

/// A clock that is turned by hand.
#[derive(Default)]
pub(crate) struct Turned(pub(crate) Mutex<Duration>);

impl Clock for Turned {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    for (expires_in, good, late) in [(json!(100_000), 90_000, 99_980), (json!("1000"), 800, 975)] {
        install_tls();
        let (server, _) = server(json!({ "expires_in": expires_in })).await;
        let clock = Arc::new(Turned::default());
        let cx = Context::builder(clock.clone()).stream("items").build();
        let options = with(server.url("/"), json!({"auth": client(&server, json!({}))}));
        let source = open_with(options, &cx).await.unwrap();
        let opened = Opened { source, cx, recorder: Arc::new(Recorder::default()) };
        let mut fetched = Vec::new();
        for seconds in [0, good, late] {
            *clock.0.lock().unwrap() = Duration::from_secs(seconds);
            opened.rows().await.unwrap();
            fetched.push(to_token(&server).len());
        }
        assert_eq!(fetched, [1, 1, 2]);
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_a_second_refusal_is_the_error() {
    let (server, issued) = server(json!({})).await;
    issued.first_good.store(2, SeqCst);
    let options = with(server.url("/items"), json!({"auth": client(&server, json!({}))}));
    assert_eq!(read(options.clone()).await.unwrap(), ids(0..1));
    assert_eq!(server.targets(), ["/token", "/items", "/token", "/items"]);
    server.clear();
    issued.first_good.store(1_000, SeqCst);
    let error = error(options).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(error.message(), "the server answered 401 Unauthorized");
    assert_eq!(server.targets(), ["/token", "/items", "/token", "/items"]);
}

#[tokio::test]
async fn a_refusal_to_give_a_token_tells_its_reason_and_no_secret() {
    let refusal = json!({
        "error": "invalid_client",
        "error_description": "hush-secret is wrong",
        "access_token": "hush-token",
    });
    for status in [200, 400, 401] {
        let mut refusal = refusal.clone();
        if status == 200 {
            refusal.as_object_mut().unwrap().remove("access_token");
        }
        let server = always(Response::json(&refusal).with_status(status)).await;
        let error = error(with("http://127.0.0.1:9/", json!({"auth": client(&server, json!({}))}))).await;
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthenticated, false));
        assert!(error.message().starts_with("`token_url` gave no token"), "{error}");
        assert_eq!(error.detail_value("url"), Some(server.url("/token").as_str()));
        assert_eq!(error.detail_value("reason"), Some("invalid_client: *** is wrong"));
        assert!(!text(&error).contains("hush"), "{error:?}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_being_shown() {
    for (body, message) in [
        (json!({"token": "hush"}), "the answer holds no `access_token`"),
        (
            json!({"access_token": "hush", "token_type": "mac"}),
            "the token is of the type `mac` and not a bearer token",
        ),
        (json!("hush"), "the answer holds no `access_token`"),
    ] {
        let server = always(Response::json(&body)).await;
        let error = error(with(server.url("/"), json!({"auth": client(&server, json!({}))}))).await;
        assert_eq!(error.message(), message);
        assert!(!text(&error).replace("hush-secret", "").contains("hush"), "{error:?}");
    }
    let server = always(Response::status(302).header("location", "/login")).await;
    let error = error(with(server.url("/"), json!({"auth": client(&server, json!({}))}))).await;
    assert_eq!((error.kind(), server.requests().len()), (ErrorKind::Config, 1));
}

#[tokio::test]
async fn a_busy_token_server_is_asked_again_later() {
    let server = always(Response::status(503).header("retry-after", "7")).await;
    let opened = open(with("http://127.0.0.1:9/", json!({"auth": client(&server, json!({}))}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!(error.retry_policy(), Retry::After(Duration::from_secs(7)));
    let record = opened.recorder.record();
    assert_eq!((record.pauses, record.held), (vec![(server.url(""), Duration::from_secs(7))], 0));
}

#[tokio::test]
async fn a_token_is_in_no_error_and_goes_to_no_other_host() {
    let (other, elsewhere) =
        (always(Response::json(&json!([{"id": 0}]))).await, Arc::new(Mutex::new(String::new())));
    *elsewhere.lock().unwrap() = other.url("/");
    let server = TestServer::start(move |request: Request| {
        let elsewhere = elsewhere.lock().unwrap().clone();
        async move {
            match request.path.as_str() {
                "/token" => Response::json(&json!({"access_token": "hush-token"})),
                "/moved" => Response::status(302).header("location", elsewhere),
                _ => {
                    Response::text(format!("not for {:?}", request.header("authorization"))).with_status(403)
                }
            }
        }
    })
    .await;
    let auth = client(&server, json!({}));
    let error = error(with(server.url("/"), json!({"auth": auth}))).await;
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(text(&error).contains("Bearer ***") && !text(&error).contains("hush"), "{error:?}");
    read(with(server.url("/moved"), json!({"auth": auth}))).await.unwrap();
    assert_eq!(other.requests()[0].request.header("authorization"), None);
    // A stream that names another host needs no token at all.
    server.clear();
    read(with(other.url("/"), json!({"base_url": server.url("/"), "auth": auth}))).await.unwrap();
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_refresh_token_gives_access_tokens_and_may_be_replaced() {
    let issued = Arc::new(Issued::default());
    let shared = issued.clone();
    // Each refresh token is good once.
    let server = TestServer::start(move |request: Request| {
        let issued = shared.clone();
        async move {
            if request.path == "/token" {
                let count = issued.count.load(SeqCst);
                if !form(&request).contains(&format!("refresh_token=refresh-{count}&")) {
                    return Response::json(&json!({"error": "invalid_grant"})).with_status(400);
                }
                let answer =
                    json!({"access_token": issued.next(), "refresh_token": format!("refresh-{}", count + 1)});
                return Response::json(&answer);
            }
            let good = issued.accepts(request.header("authorization"));
            if good { Response::json(&json!([{"id": 0}])) } else { Response::status(401) }
        }
    })
    .await;
    let auth = json!({
        "type": "oauth2_refresh_token",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "refresh_token": "refresh-0",
        "scopes": ["read"],
    });
    let opened = open(with(server.url("/items"), json!({"auth": auth}))).await;
    for _ in 0..3 {
        assert_eq!(opened.rows().await.unwrap(), ids(0..1));
        issued.revoke();
    }
    let forms: Vec<_> = to_token(&server).iter().map(form).collect();
    let expected = |n| format!("grant_type=refresh_token&refresh_token=refresh-{n}&client_id=ann&scope=read");
    assert_eq!(forms, [expected(0), expected(1), expected(2)]);
    // Another run begins with the one of the pipeline, which is used up.
    let error = error(with(server.url("/items"), json!({"auth": auth}))).await;
    assert_eq!(error.detail_value("reason"), Some("invalid_grant"));
}

#[tokio::test]
async fn wrong_credentials_are_tried_once_for_all_streams() {
    let refusal = json!({"error": "invalid_client"});
    let server = always(Response::json(&refusal).with_status(401)).await;
    let (cx, recorder) = context();
    let mut opened = Vec::new();
    for stream in 0..5 {
        let options = with(server.url(&format!("/{stream}")), json!({"auth": client(&server, json!({}))}));
        let source = open_with(options, &cx).await.unwrap();
        opened.push(Opened { source, cx: cx.clone(), recorder: recorder.clone() });
    }
    for refused in read_all(&opened).await {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unauthenticated, false));
        assert_eq!(error.detail_value("reason"), Some("invalid_client"));
    }
    assert_eq!(server.targets(), ["/token"]);
}
