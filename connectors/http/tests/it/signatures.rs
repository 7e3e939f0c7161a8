//! What we sign ourselves. The expected signatures were made by another implementation.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serde_json::json;
use towpath_core::{Clock, Context, ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::auth::text;
use crate::support::{Opened, Recorder, context, error, ids, install_tls, open_with, read, with};

/// 2026-11-27 08:00:00 UTC, and so many seconds more.
#[derive(Default)]
struct Fixed(Mutex<u64>);

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

async fn server() -> TestServer {
    TestServer::start(|_| async { Response::json(&json!([{"id": 0}])) }).await
}

async fn open(options: Json) -> (Opened, Arc<Fixed>) {
    install_tls();
    let clock = Arc::new(Fixed::default());
    let cx = Context::builder(clock.clone()).stream("items").build();
    let source = open_with(options, &cx).await.unwrap();
    (Opened { source, cx, recorder: Arc::new(Recorder::default()) }, clock)
}

/// The request that is sent with this scheme.
async fn sent(server: &TestServer, target: &str, auth: Json) -> Request {
    let (opened, _) = open(with(server.url(target), json!({ "auth": auth }))).await;
    assert_eq!(opened.rows().await.unwrap(), ids(0..1));
    server.requests().pop().unwrap().request
}

const JWT: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.\
                   eyJhdWQiOiIvYWRtaW4vIiwiZXhwIjoxNzk1NzY2NzAwLCJpYXQiOjE3OTU3NjY0MDB9.\
                   1PGnmHMAR3RBNmn4ifQ7WZ2Rzqjs75eyuz5LC-htEsE";

fn jwt(more: Json) -> Json {
    let mut auth = json!({
        "type": "jwt",
        "secret": "68757368206875736821",
        "secret_in": "hex",
        "key_id": "k1",
        "claims": {"aud": "/admin/"},
    });
    let Json::Object(more) = more else { panic!("options are an object") };
    auth.as_object_mut().unwrap().extend(more);
    auth
}

#[tokio::test]
async fn a_web_token_is_signed_and_sent() {
    let server = server().await;
    let request = sent(&server, "/", jwt(json!({}))).await;
    assert_eq!(request.header("authorization"), Some(format!("Bearer {JWT}").as_str()));
    // The secret says the same in each of its forms.
    for (form, secret) in [("text", "hush hush!"), ("base64", "aHVzaCBodXNoIQ==")] {
        let request = sent(&server, "/", jwt(json!({"secret": secret, "secret_in": form}))).await;
        assert_eq!(request.header("authorization"), Some(format!("Bearer {JWT}").as_str()), "{form}");
    }
    let send = json!({"name": "Authorization", "value": "Ghost {token}"});
    let request = sent(&server, "/", jwt(json!({ "send": send }))).await;
    assert_eq!(request.header("authorization"), Some(format!("Ghost {JWT}").as_str()));
    let send = json!({"name": "jwt", "in": "query"});
    let request = sent(&server, "/?a=1", jwt(json!({ "send": send }))).await;
    assert_eq!(request.query, format!("a=1&jwt={JWT}"));
}

#[tokio::test]
async fn a_web_token_is_signed_again_before_it_expires() {
    let server = server().await;
    let auth = jwt(json!({"expires_in": "100s"}));
    let (opened, clock) = open(with(server.url("/"), json!({ "auth": auth }))).await;
    for seconds in [0, 80, 95] {
        *clock.0.lock().unwrap() = seconds;
        opened.rows().await.unwrap();
    }
    let tokens: Vec<_> =
        server.requests().iter().map(|r| r.request.header("authorization").unwrap().to_owned()).collect();
    assert!(tokens[0] == tokens[1] && tokens[1] != tokens[2], "{tokens:?}");
}

#[tokio::test]
async fn each_request_is_signed() {
    let server = server().await;
    let auth = json!({
        "type": "hmac",
        "secret": "aHVzaCBodXNoIQ==",
        "secret_in": "base64",
        "header": "X-Signature",
        "timestamp_header": "X-Timestamp",
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
        "header": "Authorization",
        "value": "Signed id=7, signature={signature}",
        "signature_in": "base64",
        "timestamp_in": "milliseconds",
    });
    let request = sent(&server, "/v1/x?a=1", auth).await;
    let expected = "Signed id=7, signature=Op3ktj3GsNcbFUmkvSy+rotV5ETfD1pHvwzaBlSxn/M=";
    assert_eq!(request.header("authorization"), Some(expected));
    let by_host =
        |host: &str| json!({"type": "hmac", "secret": "s", "message": host, "header": "X-Signature"});
    let host = server.url("").replace("http://", "");
    let (named, written) =
        (sent(&server, "/", by_host("{host}")).await, sent(&server, "/", by_host(&host)).await);
    assert_eq!(named.header("x-signature"), written.header("x-signature"));
}

#[tokio::test]
async fn no_signature_goes_to_another_host_and_no_secret_into_an_error() {
    let server = TestServer::start(|request: Request| async move {
        let token = request.header("authorization").unwrap_or_default();
        Response::text(format!("{token} is not signed by hush hush!")).with_status(403)
    })
    .await;
    let hmac = json!({"type": "hmac", "secret": "hush hush!", "header": "X-Signature"});
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
    let hmac = |name: &str, value: &str| {
        let mut auth = json!({"type": "hmac", "secret": "hush", "header": "X-Signature"});
        auth[name] = json!(value);
        auth
    };
    for (auth, message) in [
        (hmac("message", "{verb}"), "`message` holds `{verb}`, which is nothing to sign"),
        (hmac("message", "{body"), "`message` holds a `{` that is never closed"),
        (hmac("value", "signed"), "`value` holds no `{signature}`"),
        (hmac("secret_in", "hex"), "`secret` is empty or no hexadecimal"),
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
