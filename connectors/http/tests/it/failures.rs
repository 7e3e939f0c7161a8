//! Servers that fail, lie and cut: the right error, with the URL and what to do.

use serde_json::json;
use tokio::net::TcpListener;
use towpath_core::{ErrorKind, Outcome};
use towpath_testkit::http::{RawReply, RawServer, Request, Response, TestServer};

use crate::support::{always, error, open, with};

#[tokio::test]
async fn each_refusal_names_url_answer_and_what_to_do() {
    for (status, kind, help) in [
        (400, ErrorKind::Config, "the server refused the request"),
        (401, ErrorKind::Unauthenticated, "set `auth`"),
        (403, ErrorKind::PermissionDenied, "ask for access"),
        (404, ErrorKind::NotFound, "check `url` or `path`"),
    ] {
        let server = always(Response::text("because of\n this").with_status(status)).await;
        let error = error(with(server.url("/x"), json!({}))).await;
        assert_eq!((error.kind(), error.is_retryable()), (kind, false));
        assert_eq!(error.detail_value("url"), Some(&*server.url("/x")));
        assert_eq!(error.detail_value("body"), Some("because of this"));
        assert!(error.help_text().unwrap().contains(help), "{error}");
        assert!(
            error.to_string().starts_with(&format!("http: read: the server answered {status}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn wrong_credentials_are_told_from_missing_ones() {
    let server = always(Response::status(401)).await;
    let auth = json!({"auth": {"type": "bearer", "token": "wrong"}});
    let error = error(with(server.url("/"), auth)).await;
    assert!(error.help_text().unwrap().contains("may be wrong or expired"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_may_come_back() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let opened = open(with(format!("http://{free}/"), json!({}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.message(), "cannot connect");
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
    assert_eq!(opened.recorder.record().outcomes, [Outcome::Failed]);
    let check = opened.source.check(&opened.cx).await.unwrap_err();
    assert!(check.to_string().starts_with("http: check: cannot connect"), "{check}");
}

#[tokio::test]
async fn html_instead_of_data_is_named() {
    let page = "<!doctype html><html><body>Please sign in</body></html>";
    for (content_type, options) in [
        ("text/html", json!({})),
        ("text/html", json!({"format": "csv"})),
        ("text/html; charset=utf-8", json!({"records": "$.data"})),
        ("application/json", json!({})),
    ] {
        let server = always(Response::bytes(content_type, page)).await;
        let error = error(with(server.url("/x"), options.clone())).await;
        assert_eq!(error.kind(), ErrorKind::DataInvalid, "{error}");
        let text = error.to_string();
        assert!(
            text.contains("HTML") && text.contains(&server.url("/x")) && text.contains("login"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn invalid_json_names_its_line() {
    let server = always(Response::bytes("application/json", "[\n{\"id\": 1},\n{\"id\" 2}]")).await;
    let error = error(with(server.url("/x"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::DataInvalid, false));
    assert!(error.message().contains("line 3"), "{error}");
}

#[tokio::test]
async fn a_length_that_lies_is_a_broken_connection() {
    let server = RawServer::start(|_| RawReply::lying(100, "application/json", "[{\"id\": 1}]")).await;
    let opened = open(with(server.url("/x"), json!({}))).await;
    let error = opened.rows().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.message(), "the body broke off after 11 bytes");
    assert_eq!(error.detail_value("url"), Some(&*server.url("/x")));
    assert_eq!(opened.recorder.record().outcomes, [Outcome::Failed]);
}

#[tokio::test]
async fn a_body_that_ends_without_a_length_in_the_middle_is_tried_again() {
    let reply =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[{\"id\": 1}, {\"i";
    let server = RawServer::start(move |_| RawReply::close(reply)).await;
    let error = error(with(server.url("/x"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(error.message(), "the body ends in the middle of the JSON");
}

#[tokio::test]
async fn a_connection_that_is_reset_is_tried_again() {
    let server = RawServer::start(|_| RawReply::reset("")).await;
    let error = error(with(server.url("/x"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    let cut =
        always(Response::chunks("application/json", vec!["[{\"id\":1},", "{\"id\":2}]"]).cut_after(12)).await;
    let error = crate::support::error(with(cut.url("/x"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
}

#[tokio::test]
async fn a_gzip_that_is_cut_is_tried_again() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n";
    let mut reply = head.as_bytes().to_vec();
    // The head of a gzip file and nothing more.
    reply.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let server = RawServer::start(move |_| RawReply::close(reply.clone())).await;
    let error = error(with(server.url("/x"), json!({}))).await;
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
}

#[tokio::test]
async fn secrets_in_bodies_and_queries_are_hidden_by_their_names() {
    let server = TestServer::start(|request: Request| async move {
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        Response::text(format!("what is {body} {}", request.query)).with_status(400)
    })
    .await;
    for body in [
        json!({"json": {"login": {"user": "annabel", "password": "hush-1"}}}),
        json!({"form": {"user": "annabel", "client_secret": "hush-1"}}),
        json!({"graphql": {"query": "q", "variables": {"user": "annabel", "apiKey": "hush-1"}}}),
    ] {
        let options = json!({"body": body, "query": {"api_key": "hush-2", "q": "shown"}});
        let shown = error(with(server.url("/"), options)).await.to_string();
        assert!(shown.contains("annabel") && shown.contains("shown"), "{shown}");
        assert!(!shown.contains("hush"), "{shown}");
    }
}
