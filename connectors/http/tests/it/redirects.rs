//! Redirects, and who gets credentials on the way.

use serde_json::json;
use towpath_core::{ErrorKind, Json};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, read, with};

fn to(status: u16, target: impl Into<String>) -> Response {
    Response::status(status).header("location", target)
}

async fn data() -> TestServer {
    TestServer::start(|_| async { Response::json(&json!([{"id": 1}])) }).await
}

async fn redirecting(target: String) -> TestServer {
    TestServer::start(move |_| {
        let target = target.clone();
        async move { to(302, target) }
    })
    .await
}

/// Credentials in every place that there is.
fn credentials() -> Json {
    json!({
        "auth": {"type": "bearer", "token": "t0ken"},
        "headers": {"cookie": "session=1", "x-secret": "2"},
    })
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host_with_credentials() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/a" => to(301, "/b?x=1"),
            "/b" => to(307, "c"),
            _ => Response::json(&json!([{"id": 1}])),
        }
    })
    .await;
    assert_eq!(read(with(server.url("/a"), credentials())).await.unwrap(), [json!({"id": 1})]);
    assert_eq!(server.targets(), ["/a", "/b?x=1", "/c"]);
    assert!(server.requests().iter().all(|r| r.request.header("authorization") == Some("Bearer t0ken")));
}

#[tokio::test]
async fn another_host_gets_no_credentials() {
    let other = data().await;
    let server = redirecting(other.url("/elsewhere")).await;
    for key in [json!({}), json!({"auth": {"type": "api_key", "name": "k", "value": "v", "in": "query"}})] {
        let mut options = with(server.url("/"), credentials());
        options.as_object_mut().unwrap().extend(key.as_object().unwrap().clone());
        read(options).await.unwrap();
    }
    assert_eq!(other.targets(), ["/elsewhere", "/elsewhere"]);
    for received in other.requests() {
        for name in ["authorization", "cookie", "x-secret"] {
            assert_eq!(received.request.header(name), None, "{name}");
        }
        assert!(received.request.header("user-agent").is_some());
    }
}

#[tokio::test]
async fn a_next_link_to_another_host_gets_no_credentials() {
    let other = data().await;
    let target = format!("<{}>; rel=\"next\"", other.url("/page2"));
    let server = TestServer::start(move |_| {
        let target = target.clone();
        async move { Response::json(&json!([{"id": 0}])).header("link", target) }
    })
    .await;
    let mut options = with(server.url("/"), credentials());
    options["pagination"] = json!({"type": "link_header"});
    assert_eq!(read(options).await.unwrap().len(), 2);
    assert_eq!(other.requests()[0].request.header("authorization"), None);
}

#[tokio::test]
async fn redirects_are_bounded() {
    let server = TestServer::start(|request: Request| async move {
        match request.number("n").unwrap_or(0) {
            3 => Response::json(&json!([])),
            n => to(302, format!("/?n={}", n + 1)),
        }
    })
    .await;
    assert!(read(with(server.url("/"), json!({"redirects": 3}))).await.is_ok());
    let found = error(with(server.url("/"), json!({"redirects": 2}))).await;
    assert_eq!(
        (found.kind(), found.message()),
        (ErrorKind::Config, "the server redirects more than 2 times")
    );
    let found = error(with(server.url("/"), json!({"redirects": 0}))).await;
    assert_eq!(found.message(), "the server redirects more than 0 times");
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = TestServer::start(|_| async { to(302, "/") }).await;
    let found = error(with(server.url("/"), json!({}))).await;
    assert_eq!(found.message(), "the server redirects in a circle");
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_circle_of_redirects_is_named() {
    let server = TestServer::start(|request: Request| async move {
        match request.path.as_str() {
            "/a" => to(307, "/b"),
            _ => to(302, "/a?token=hush"),
        }
    })
    .await;
    let found = error(with(server.url("/start"), json!({}))).await;
    let (a, b) = (server.url("/a?token=***"), server.url("/b"));
    assert_eq!(found.detail_value("redirects"), Some(&*format!("{b} -> {a} -> {b}")), "{found}");
    assert!(found.help_text().unwrap().contains("cookie"), "{found}");
}

#[tokio::test]
async fn a_303_after_a_reading_post_is_followed_with_get() {
    let server = TestServer::start(|request: Request| async move {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/search") => to(303, "/result/7"),
            ("GET", "/result/7") if request.body.is_empty() => Response::json(&json!([{"id": 7}])),
            _ => Response::status(400),
        }
    })
    .await;
    let mut options = with(server.url("/search"), credentials());
    options["body"] = json!({"json": {"q": "x"}});
    assert_eq!(read(options).await.unwrap(), [json!({"id": 7})]);
    let last = server.requests().pop().unwrap().request;
    assert_eq!((last.header("content-type"), last.header("authorization")), (None, Some("Bearer t0ken")));
}

#[tokio::test]
async fn a_302_after_a_reading_post_is_not_guessed_at() {
    let server = redirecting("/elsewhere".to_owned()).await;
    let found = error(with(server.url("/"), json!({"body": {"json": {}}}))).await;
    assert!(found.message().starts_with("the server answered 302"), "{found}");
}

#[tokio::test]
async fn a_redirect_to_a_login_page_is_told_from_other_html() {
    let page = "<!doctype html><html><form action=/login></form></html>";
    for (content_type, more) in [
        ("text/html", json!({})),
        ("text/html", json!({"records": "$.data"})),
        ("text/html", json!({"format": "csv"})),
        ("application/json", json!({})),
        ("text/html", json!({"pagination": {"type": "page_number"}})),
    ] {
        let server = TestServer::start(move |request: Request| async move {
            if request.path == "/login" { Response::bytes(content_type, page) } else { to(302, "/login") }
        })
        .await;
        let found = error(with(server.url("/x"), more.clone())).await;
        let message = "the server redirects to a web page instead of answering with data";
        assert_eq!((found.kind(), found.message()), (ErrorKind::DataInvalid, message), "{more}");
        assert_eq!(found.detail_value("url"), Some(&*server.url("/login")));
        assert!(found.help_text().unwrap().contains("login: set `auth`"), "{found}");
    }
}

#[tokio::test]
async fn a_redirect_to_something_else_than_http_is_refused() {
    let server = redirecting("file:///etc/passwd".to_owned()).await;
    let found = error(with(server.url("/"), json!({}))).await;
    assert_eq!(found.message(), "the server redirects to something that is no HTTP URL");
}
