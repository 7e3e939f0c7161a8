//! What we sign ourselves. The expected signatures were made by another implementation.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use futures::future::BoxFuture;
use serde_json::json;
use towpath_core::{Clock, Context, ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::text;
use crate::support::{Opened, Recorder, context, error, ids, install_tls, open_with, read, with};
use crate::web_tokens::jwt;

/// 2026-11-27 08:00:00 UTC, and so many seconds more.
#[derive(Default)]
pub(crate) struct Fixed(pub(crate) Mutex<u64>);

impl Clock for Fixed {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_766_400 + *self.0.lock().unwrap())
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + Duration::from_secs(*self.0.lock().unwrap())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub(crate) async fn server() -> TestServer {
    TestServer::start(|_| async { Response::json(&json!([{"id": 0}])) }).await
}

pub(crate) async fn open(options: Json) -> (Opened, Arc<Fixed>) {
    install_tls();
    let clock = Arc::new(Fixed::default());
    let cx = Context::builder(clock.clone()).stream("items").build();
    let source = open_with(options, &cx).await.unwrap();
    (Opened { source, cx, recorder: Arc::new(Recorder::default()) }, clock)
}

/// The request that is sent with this scheme.
pub(crate) async fn sent(server: &TestServer, target: &str, auth: Json) -> Request {
    let (opened, _) = open(with(server.url(target), json!({ "auth": auth }))).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    server.requests().pop().unwrap().request
}

#[tokio::test]
async fn each_request_is_signed() {
    let server = server().await;
    let auth = json!({
        "type": "hmac",
        "secret": "aHVzaCBodXNoIQ==",
        "secret_in": "base64",
        "headers": {"X-Signature": "{signature}", "X-Timestamp": "{timestamp}"},
    });
    let request = sent(&server, "/v1/x?a=1", auth).await;
    let expected = "acc4569b85e1eff84ebf53ad7316a6147f8c3d2155e76d5b2af01b9c13f86d05";
    assert_eq!(request.header("x-signature"), Some(expected));
    assert_eq!(request.header("x-timestamp"), Some("1795766400"));
}

#[tokio::test]
async fn a_message_is_put_together_as_the_server_wants_it() {
    let server = server().await;
    let auth = json!({
        "type": "hmac",
        "secret": "hush hush!",
        "message": "{timestamp}|{method}|api.example|{path}|{query}|{body}",
        "headers": {"Authorization": "Signed id=7, signature={signature}"},
        "signature_in": "base64",
        "timestamp_in": "milliseconds",
    });
    let request = sent(&server, "/v1/x?a=1", auth).await;
    let expected = "Signed id=7, signature=Op3ktj3GsNcbFUmkvSy+rotV5ETfD1pHvwzaBlSxn/M=";
    assert_eq!(request.header("authorization"), Some(expected));
    let by_host = |host: &str| json!({"type": "hmac", "secret": "s", "message": host, "headers": {"X-Signature": "{signature}"}});
    let host = server.url("").replace("http://", "");
    let (named, written) =
        (sent(&server, "/", by_host("{host}")).await, sent(&server, "/", by_host(&host)).await);
    assert_eq!(named.header("x-signature"), written.header("x-signature"));
}

#[tokio::test]
async fn a_digest_and_a_nonce_can_be_signed_and_sent() {
    let server = server().await;
    let auth = json!({
        "type": "hmac",
        "secret": "hush hush!",
        "digest": "sha1",
        "message": "{timestamp}|{method}|{path}|{body_sha256}",
        "headers": {"X-Signature": "{signature}", "X-Nonce": "{nonce}", "X-Body": "{body_sha256}", "X-Key": "k-7"},
        "signature_in": "base64",
    });
    let options = with(server.url("/v1/x"), json!({"auth": auth, "body": {"json": {"a": 1}}}));
    let (opened, _) = open(options).await;
    opened.rows().await.unwrap();
    opened.rows().await.unwrap();
    let [first, second] = &server.requests()[..] else { panic!("two requests") };
    assert_eq!(first.request.header("x-signature"), Some("PpdFlDUssRfS6yOtoFWx8vO2Ri4="));
    assert_eq!(
        first.request.header("x-body"),
        Some("015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862")
    );
    assert_eq!(first.request.header("x-key"), Some("k-7"));
    let nonces = [first, second].map(|recorded| recorded.request.header("x-nonce").unwrap().to_owned());
    assert!(nonces[0].len() == 32 && nonces[0] != nonces[1], "{nonces:?}");
}

#[tokio::test]
async fn a_signature_may_stand_in_the_query_behind_what_it_signs() {
    let server = TestServer::start(|request: Request| async move {
        let next = format!("{}?{}&page=2", request.path, request.query);
        let next = (request.number("page") != Some(2)).then_some(next);
        Response::json(&json!({"next": next, "data": [{"id": 0}]}))
    })
    .await;
    let auth = json!({
        "type": "hmac",
        "secret": "hush hush!",
        "digest": "sha512",
        "message": "{query}",
        "query": {"timestamp": "{timestamp}", "signature": "{signature}"},
        "timestamp_in": "milliseconds",
    });
    let more =
        json!({"auth": auth, "records": "$.data", "pagination": {"type": "next_url", "path": "$.next"}});
    let (opened, _) = open(with(server.url("/order?symbol=BTC"), more)).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let targets = server.targets();
    let expected = "67d2759a3f91c9fefb658b7c96063cbf7a6d639b6ea4df8a28468c46995611cac2c721ec59fd32a9d8dd78081a93e33da2da8f5e1c60bc7ae08f0a5fca252da5";
    assert_eq!(targets[0], format!("/order?symbol=BTC&timestamp=1795766400000&signature={expected}"));
    // The next page is signed anew, and nothing that is stored holds a signature.
    assert!(
        targets[1].starts_with("/order?symbol=BTC&page=2&timestamp=1795766400000&signature="),
        "{targets:?}"
    );
    assert!(!targets[1].contains(expected) && targets[1].matches("signature").count() == 1, "{targets:?}");
    let stored = format!("{:?}", batches.iter().map(|batch| &batch.resume).collect::<Vec<_>>());
    assert!(!stored.contains("signature"), "{stored}");
}

#[tokio::test]
async fn a_timestamp_is_written_as_the_server_reads_it() {
    let server = server().await;
    for (form, shown, expected) in [
        (
            "rfc3339",
            "2026-11-27T08:00:00.000Z",
            "af907b790dedf0ec17874916f2193313c999d11e620d520a0b710d5c9cac6bd3",
        ),
        (
            "http_date",
            "Fri, 27 Nov 2026 08:00:00 GMT",
            "732b9a46e5f5c572c7f3cfa997b6e39ad4355f745924d710b0e0dc7defc44dac",
        ),
    ] {
        let auth = json!({
            "type": "hmac",
            "secret": "hush hush!",
            "message": "{timestamp}",
            "headers": {"X-Signature": "{signature}", "X-Date": "{timestamp}"},
            "timestamp_in": form,
        });
        let request = sent(&server, "/", auth).await;
        assert_eq!((request.header("x-date"), request.header("x-signature")), (Some(shown), Some(expected)));
    }
}

fn sigv4(more: Json) -> Json {
    let mut auth = json!({
        "type": "aws_sigv4",
        "region": "eu-central-1",
        "service": "execute-api",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": "hush hush!",
        "session_token": "temporary",
    });
    let Json::Object(more) = more else { panic!("options are an object") };
    auth.as_object_mut().unwrap().extend(more);
    auth
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Checks a request as AWS does, by what has arrived.
fn is_signed_for_aws(request: &Request) -> bool {
    let authorization = request.header("authorization").unwrap();
    let (_, rest) = authorization.split_once("SignedHeaders=").unwrap();
    let (names, signature) = rest.split_once(", Signature=").unwrap();
    let header = |name: &str| request.header(name).unwrap();
    let lines: Vec<String> = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let lines = lines.concat();
    let mut query: Vec<&str> = request.query.split('&').collect();
    query.sort_unstable();
    let digest = sha256(&request.body);
    assert_eq!(header("x-amz-content-sha256"), digest);
    let (path, query) = (&request.path, query.join("&"));
    let canonical = format!("{}\n{path}\n{query}\n{lines}\n{names}\n{digest}", request.method);
    let scope = "20261127/eu-central-1/execute-api/aws4_request";
    let time = header("x-amz-date");
    let message = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key = scope.split('/').fold(b"AWS4hush hush!".to_vec(), |key, part| hmac(&key, part));
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, ")));
    HEXLOWER.encode(&hmac(&key, &message)) == signature
}

#[tokio::test]
async fn requests_are_signed_for_aws_as_they_arrive() {
    let server = server().await;
    let request = sent(&server, "/v1/x?q=a+b&a=%C3%A9&q=1", sigv4(json!({}))).await;
    assert!(is_signed_for_aws(&request), "{request:?}");
    assert_eq!(request.query, "q=a%20b&a=%C3%A9&q=1");
    assert_eq!(request.header("x-amz-security-token"), Some("temporary"));
    let lasting = sent(&server, "/v1/x?a=1", sigv4(json!({"session_token": null}))).await;
    assert!(is_signed_for_aws(&lasting) && lasting.header("x-amz-security-token").is_none(), "{lasting:?}");
    let options =
        with(server.url("/v1/x?a=1"), json!({"auth": sigv4(json!({})), "body": {"json": {"a": 1}}}));
    let (opened, _) = open(options).await;
    opened.rows().await.unwrap();
    let request = server.requests().pop().unwrap().request;
    assert!(is_signed_for_aws(&request) && request.method == "POST", "{request:?}");
    // Each of the options is signed.
    for option in
        [json!({"region": "us-east-1"}), json!({"service": "es"}), json!({"access_key_id": "OTHER"})]
    {
        let other = sent(&server, "/v1/x?a=1", sigv4(option.clone())).await;
        assert_ne!(other.header("authorization"), lasting.header("authorization"), "{option}");
        let value = option.as_object().unwrap().values().next().unwrap().as_str().unwrap();
        assert!(other.header("authorization").unwrap().contains(&format!("/{value}/")) || value == "OTHER");
    }
}

#[tokio::test]
async fn no_signature_goes_to_another_host_and_no_secret_into_an_error() {
    let server = TestServer::start(|request: Request| async move {
        let token = request.header("authorization").unwrap_or_default();
        Response::text(format!("{token} is not signed by hush hush!")).with_status(403)
    })
    .await;
    let hmac = json!({"type": "hmac", "secret": "hush hush!", "headers": {"X-Signature": "{signature}"}});
    for auth in [jwt(json!({"secret": "hush hush!", "secret_in": "text"})), hmac.clone()] {
        let error = error(with(server.url("/"), json!({ "auth": auth }))).await;
        let shown = text(&error);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!shown.contains("hush") && !shown.contains("eyJ") && shown.contains("***"), "{shown}");
    }
    let other = self::server().await;
    read(with(other.url("/"), json!({"base_url": server.url("/"), "auth": hmac}))).await.unwrap();
    assert_eq!(other.requests()[0].request.header("x-signature"), None);
}

#[tokio::test]
async fn what_cannot_be_signed_is_refused_when_it_is_opened() {
    let (cx, _) = context();
    let hmac = |name: &str, value: Json| {
        let mut auth = json!({"type": "hmac", "secret": "hush", "headers": {"X-Signature": "{signature}"}});
        auth[name] = value;
        auth
    };
    for (auth, message) in [
        (hmac("message", json!("{verb}")), "`message` holds `{verb}`, which is nothing that a request has"),
        (hmac("message", json!("{body")), "`message` holds a `{` that is never closed"),
        (hmac("message", json!("{signature}")), "`message` holds `{signature}`, which is made of it"),
        (hmac("headers", json!({"X-Signature": "signed"})), "the signature goes nowhere"),
        (
            hmac("query", json!({"time": "{when}"})),
            "`time` holds `{when}`, which is nothing that a request has",
        ),
        (hmac("secret_in", json!("hex")), "`secret` is empty or no hexadecimal"),
        (sigv4(json!({"region": ""})), "`auth.region` is empty, or holds `/`, `,` or spaces"),
        (jwt(json!({"secret": "", "secret_in": "text"})), "`secret` is empty or no text"),
        (jwt(json!({"send": {"name": "x", "value": "token"}})), "the value for `x` holds no `{token}`"),
    ] {
        let Err(error) = open_with(with("http://a/", json!({ "auth": auth })), &cx).await else {
            panic!("{auth} was taken")
        };
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
        assert!(!text(&error).contains("hush"), "{error:?}");
    }
}
