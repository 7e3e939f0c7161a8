//! The sink: what is sent, in which pieces, and what an error means.

use std::sync::Arc;

use serde_json::json;
use towpath_connector_http::CONNECTOR;
use towpath_core::{
    Context, Delivery, DynSink, DynWriter, ErrorKind, Json, LoadSpec, Result, WriteDisposition,
};
use towpath_testkit::http::{Request, Response, TestServer};
use towpath_testkit::rows;

use crate::support::{context, with};

async fn open(options: Json) -> Result<(Arc<dyn DynSink>, Context)> {
    let (cx, _) = context();
    let sink = CONNECTOR.sink_entry().expect("there is a sink").open(options, &cx).await?;
    Ok((sink, cx))
}

async fn writer(options: Json) -> Box<dyn DynWriter> {
    let (sink, cx) = open(options).await.unwrap();
    let load = LoadSpec::new("shop", "orders", "run1", WriteDisposition::Append);
    let begun = sink.begin(&cx, &load).await.unwrap();
    let begun = sink.evolve(&cx, &begun, &rows::schema("id: int64")).await.unwrap();
    sink.writer(&cx, &begun, 3).await.unwrap()
}

fn batch(count: u64) -> arrow::array::RecordBatch {
    rows::batch("id: int64", &(0..count).map(|id| json!([id])).collect())
}

async fn accepting() -> TestServer {
    TestServer::start(|_| async { Response::status(201) }).await
}

fn bodies(server: &TestServer) -> Vec<Json> {
    server.requests().iter().map(|r| serde_json::from_slice(&r.request.body).unwrap()).collect()
}

fn header(server: &TestServer, name: &str) -> Vec<String> {
    server.requests().iter().map(|r| r.request.header(name).unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn rows_are_sent_in_pieces_with_keys_of_their_own() {
    let server = accepting().await;
    let mut writer = writer(with(server.url("/in?x=1"), json!({"batch_rows": 2, "query": {"y": 2}}))).await;
    writer.write(batch(3)).await.unwrap();
    writer.write(batch(1)).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!((staged.part, staged.rows), (3, 4));
    assert_eq!(bodies(&server), [json!([{"id": 0}, {"id": 1}]), json!([{"id": 2}]), json!([{"id": 0}])]);
    assert_eq!(server.requests()[0].target(), "/in?x=1&y=2");
    let keys = ["shop-orders-run1-3-0", "shop-orders-run1-3-2", "shop-orders-run1-3-3"];
    assert_eq!(header(&server, "idempotency-key"), keys);
    assert_eq!(header(&server, "content-type"), ["application/json"; 3]);
}

#[tokio::test]
async fn method_and_body_are_as_set() {
    for (method, expected) in [(json!("POST"), "POST"), (json!("PUT"), "PUT"), (json!("PATCH"), "PATCH")] {
        let server = accepting().await;
        let options =
            json!({"base_url": server.url("/v2"), "path": "in", "method": method, "body": "ndjson"});
        let mut writer = writer(options).await;
        writer.write(batch(2)).await.unwrap();
        assert_eq!(server.requests()[0].request.method, expected);
        assert_eq!(server.targets(), ["/v2/in"]);
        assert_eq!(server.requests()[0].request.body, "{\"id\":0}\n{\"id\":1}\n");
        assert_eq!(header(&server, "content-type"), ["application/x-ndjson"]);
    }
}

#[tokio::test]
async fn headers_and_credentials_are_sent() {
    let server = accepting().await;
    let options = json!({
        "headers": {"X-Tenant": "blue"}, "auth": {"type": "bearer", "token": "t0ken"}, "user_agent": "me/1",
    });
    writer(with(server.url("/"), options)).await.write(batch(1)).await.unwrap();
    assert_eq!(header(&server, "x-tenant"), ["blue"]);
    assert_eq!(header(&server, "authorization"), ["Bearer t0ken"]);
    assert_eq!(header(&server, "user-agent"), ["me/1"]);
}

#[tokio::test]
async fn a_write_that_is_tried_again_sends_only_what_was_not_taken() {
    // The second request fails once.
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let server = TestServer::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async move { Response::status(if number == 1 { 503 } else { 200 }) }
    })
    .await;
    let mut writer = writer(with(server.url("/"), json!({"batch_rows": 1}))).await;
    let error = writer.write(batch(3)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    writer.write(batch(3)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().rows, 3);
    assert_eq!(bodies(&server), [0, 1, 1, 2].map(|id| json!([{ "id": id }])));
    let keys = header(&server, "idempotency-key");
    // The request that is tried again can be told by its key.
    assert_eq!((&keys[1], keys[0] == keys[1]), (&keys[2], false));
}

#[tokio::test]
async fn rows_that_the_server_refuses_are_an_error_with_its_answer() {
    let server = TestServer::start(|_| async { Response::text("`id` is taken").with_status(422) }).await;
    let error = writer(with(server.url("/in"), json!({}))).await.write(batch(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DataInvalid, false));
    assert_eq!(error.detail_value("body"), Some("`id` is taken"));
    let server = TestServer::start(|_| async { Response::status(413) }).await;
    let error = writer(with(server.url("/in"), json!({}))).await.write(batch(1)).await.unwrap_err();
    assert_eq!(error.help_text(), Some("lower `batch_rows`"));
}

#[tokio::test]
async fn only_redirects_that_keep_the_body_are_followed() {
    let redirect = |status: u16| {
        TestServer::start(move |request: Request| async move {
            if request.path == "/new" {
                Response::status(200)
            } else {
                Response::status(status).header("location", "/new")
            }
        })
    };
    let server = redirect(308).await;
    writer(with(server.url("/"), json!({}))).await.write(batch(1)).await.unwrap();
    assert_eq!(bodies(&server), [0, 0].map(|id| json!([{ "id": id }])));
    let server = redirect(302).await;
    let error = writer(with(server.url("/"), json!({}))).await.write(batch(1)).await.unwrap_err();
    assert!(error.help_text().unwrap().contains("a redirect that cannot be followed"), "{error}");
    assert_eq!(server.requests().len(), 1);
    let server = redirect(308).await;
    let error =
        writer(with(server.url("/"), json!({"redirects": 0}))).await.write(batch(1)).await.unwrap_err();
    assert_eq!(error.message(), "the server redirects more than 0 times");
}

#[tokio::test]
async fn check_tells_wrong_credentials_and_sends_no_rows() {
    let server = TestServer::start(|request: Request| async move {
        Response::status(if request.header("authorization").is_some() { 405 } else { 401 })
    })
    .await;
    let load = LoadSpec::new("p", "s", "run-1", WriteDisposition::Append);
    let (sink, cx) = open(with(server.url("/"), json!({}))).await.unwrap();
    assert_eq!(sink.check(&cx, &load).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let auth = json!({"auth": {"type": "bearer", "token": "t0ken"}});
    let (sink, cx) = open(with(server.url("/"), auth)).await.unwrap();
    sink.check(&cx, &load).await.unwrap();
    assert!(server.requests().iter().all(|r| r.request.method == "OPTIONS"));
}

#[tokio::test]
async fn it_promises_no_more_than_a_server_can_keep() {
    let (sink, _) = open(with("http://127.0.0.1:1/", json!({}))).await.unwrap();
    let capabilities = sink.capabilities();
    assert_eq!(capabilities.delivery, Delivery::AtLeastOnce);
    assert_eq!(capabilities.dispositions, [WriteDisposition::Append]);
}

#[tokio::test]
async fn where_to_send_is_said_once() {
    for (options, expected) in [
        (json!({}), "nowhere to send to"),
        (json!({"url": "http://a/", "path": "/x"}), "`url` and `path` cannot both be set"),
        (json!({"url": "ftp://a/"}), "`ftp://a/` is not an HTTP URL"),
        (json!({"url": "http://a/", "batch_rows": 0}), "nonzero"),
    ] {
        let Err(error) = open(options).await else { panic!("{expected}: it was opened") };
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_body_is_sent_again_with_a_new_token() {
    let server = TestServer::start(|request: Request| async move {
        match (request.path.as_str(), request.header("authorization")) {
            ("/token", _) => Response::json(&json!({"access_token": format!("t{}", request.attempt)})),
            (_, Some("Bearer t1")) => Response::status(401),
            _ => Response::status(201),
        }
    })
    .await;
    let auth = json!({
        "type": "oauth2_client_credentials",
        "token_url": server.url("/token"),
        "client_id": "ann",
        "client_secret": "hush",
    });
    let mut writer = writer(with(server.url("/in"), json!({ "auth": auth }))).await;
    writer.write(batch(1)).await.unwrap();
    let requests: Vec<_> = server.requests().into_iter().map(|recorded| recorded.request).collect();
    let sent: Vec<_> = requests.iter().filter(|request| request.path == "/in").collect();
    assert_eq!((requests.len(), sent.len()), (4, 2));
    assert_eq!(sent[0].body, sent[1].body);
    assert_eq!(serde_json::from_slice::<Json>(&sent[1].body).unwrap(), json!([{"id": 0}]));
    assert_eq!(sent[0].header("idempotency-key"), sent[1].header("idempotency-key"));
}
