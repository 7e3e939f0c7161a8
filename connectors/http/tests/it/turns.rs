//! Pagination: where the next page is found, and where it is asked for.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, ids, open, read, to_json, with};

/// A value of the query, a header or the body.
fn asked(request: &Request, name: &str) -> Option<u64> {
    let number = |text: &str| text.trim_start_matches('c').parse().ok();
    if let Some(value) =
        request.param(name).or_else(|| request.header(&format!("x-{name}")).map(str::to_owned))
    {
        return number(&value);
    }
    if request.header("content-type").is_some_and(|kind| kind.contains("form")) {
        let pairs = String::from_utf8_lossy(&request.body).into_owned();
        let pair = pairs.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
        return pair.and_then(|(_, value)| number(value));
    }
    let body: Json = serde_json::from_slice(&request.body).ok()?;
    let found = [&body["variables"][name], &body["paging"][name], &body[name]];
    let found = found.into_iter().find(|value| !value.is_null())?;
    found.as_u64().or_else(|| number(found.as_str()?)).or_else(|| found[0].as_u64())
}

/// 25 rows in pages of 10. A cursor is the number of rows behind it; `after` the id of the last of them.
async fn server() -> TestServer {
    TestServer::start(|request: Request| async move {
        let page = asked(&request, "page").map(|page| (page - 1) * 10);
        let after = asked(&request, "after").map(|after| after + 1);
        let offset = page.or(after).or(asked(&request, "cursor")).or(asked(&request, "offset")).unwrap_or(0);
        let end = (offset + 10).min(25);
        let more = end < 25;
        let next = more.then(|| format!("c{end}"));
        let response = Response::json(&json!({
            "data": ids(offset.min(25)..end), "more": more, "next": next, "always": format!("c{end}"),
            "sort": more.then_some([end]),
        }));
        let response = response.header("x-total-count", "25").header("x-wp-totalpages", "3");
        match next {
            Some(next) => response.header("x-next", next),
            None => response,
        }
    })
    .await
}

/// Options of requests, with their pagination, and how many of them there are.
fn cases() -> Vec<(Json, Json, usize)> {
    let none = || json!({});
    let body = || json!({"body": {"json": {"q": "x", "paging": {"size": 10}}}});
    let form = || json!({"body": {"form": {"q": "x"}}});
    let graphql = || json!({"body": {"graphql": {"query": "{ x }", "variables": {"q": 1}}}});
    vec![
        (none(), json!({"type": "cursor", "next_header": "X-Next", "param": "cursor"}), 3),
        (none(), json!({"type": "cursor", "next": "$.next", "param": "X-Cursor", "in": "header"}), 3),
        (body(), json!({"type": "cursor", "next": "$.next", "param": "$.paging.cursor", "in": "body"}), 3),
        (body(), json!({"type": "cursor", "next": "$.sort", "param": "cursor", "in": "body"}), 3),
        (form(), json!({"type": "cursor", "next": "$.next", "param": "cursor", "in": "body"}), 3),
        (
            graphql(),
            json!({"type": "cursor", "next": "$.always", "has_more": "$.more", "param": "cursor", "in": "body"}),
            3,
        ),
        (none(), json!({"type": "cursor", "last_record": "id", "param": "after"}), 4),
        (none(), json!({"type": "cursor", "last_record": "id", "has_more": "$.more", "param": "after"}), 3),
        (none(), json!({"type": "page_number", "has_more": "$.more"}), 3),
        (body(), json!({"type": "page_number", "has_more": "$.more", "in": "body"}), 3),
        (none(), json!({"type": "offset", "limit": 10, "has_more": "$.more"}), 3),
        (body(), json!({"type": "offset", "has_more": "$.more", "in": "body", "param": "paging.offset"}), 3),
        (none(), json!({"type": "page_number", "total_header": "X-Total-Count"}), 3),
        (none(), json!({"type": "page_number", "total_pages_header": "X-WP-TotalPages"}), 3),
        (none(), json!({"type": "offset", "limit": 10, "total_header": "X-Total-Count"}), 3),
    ]
}

fn options(server: &TestServer, request: &Json, pagination: &Json) -> Json {
    let mut options = with(server.url("/items"), json!({"records": "$.data", "pagination": pagination}));
    options.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    options
}

#[tokio::test]
async fn every_row_is_read_once_and_in_order() {
    for (request, pagination, requests) in cases() {
        let server = server().await;
        let found = read(options(&server, &request, &pagination)).await;
        assert_eq!(found.unwrap(), ids(0..25), "{pagination}");
        assert_eq!(server.requests().len(), requests, "{pagination}: {:?}", server.targets());
    }
}

#[tokio::test]
async fn a_resumed_run_starts_at_the_page_that_it_had_reached() {
    for (request, pagination, requests) in cases() {
        let server = server().await;
        let options = options(&server, &request, &pagination);
        let opened = open(options.clone()).await;
        let split = opened.only_split().await;
        let batches = opened.batches(&split, Position::Start).await.unwrap();
        assert_eq!(batches.len(), 3, "{pagination}");
        for (index, batch) in batches.iter().enumerate() {
            server.clear();
            // In another process.
            let opened = open(options.clone()).await;
            let rest = opened.batches(&split, batch.resume.clone()).await.unwrap();
            assert_eq!(to_json(&rest), to_json(&batches[index + 1..]), "{pagination}");
            assert!(server.requests().len() < requests - index, "{pagination}: {:?}", server.targets());
        }
    }
}

#[tokio::test]
async fn the_rest_of_the_body_stays_as_it_is() {
    let server = server().await;
    let pagination = json!({"type": "cursor", "next": "$.next", "param": "paging.cursor", "in": "body"});
    let request = json!({"body": {"json": {"q": "{q}", "paging": {"size": 10}}}, "params": {"q": "x"}});
    read(options(&server, &request, &pagination)).await.unwrap();
    let bodies: Vec<Json> =
        server.requests().iter().map(|r| serde_json::from_slice(&r.request.body).unwrap()).collect();
    assert_eq!(bodies[0], json!({"q": "x", "paging": {"size": 10}}));
    assert_eq!(bodies[2], json!({"q": "x", "paging": {"size": 10, "cursor": "c20"}}));
}

#[tokio::test]
async fn the_same_next_page_again_is_an_error() {
    let stuck = json!({"data": [{"id": 1}], "next": "same", "more": true});
    for (pagination, page) in [
        (json!({"type": "cursor", "next": "$.next", "param": "x-cursor", "in": "header"}), 2),
        (json!({"type": "cursor", "next": "$.next", "param": "cursor", "in": "body"}), 2),
        (json!({"type": "cursor", "last_record": "id", "has_more": "$.more", "param": "after"}), 2),
    ] {
        let body = stuck.clone();
        let server = TestServer::start(move |_| {
            let body = body.clone();
            async move { Response::json(&body) }
        })
        .await;
        let error = error(options(&server, &json!({"body": {"json": {}}}), &pagination)).await;
        assert_eq!(error.kind(), ErrorKind::DataInvalid, "{pagination}");
        let message = format!("the pages go in a circle: page {page} leads back to one that has been read");
        assert_eq!(error.message(), message, "{pagination}");
        assert!(error.detail_value("url").is_some_and(|url| url.contains("/items")), "{error}");
    }
    // There is more behind no records, for ever.
    let server = TestServer::start(|_| async { Response::json(&json!({"data": [], "more": true})) }).await;
    let pagination = json!({"type": "offset", "has_more": "$.more"});
    let error = error(options(&server, &json!({}), &pagination)).await;
    assert!(error.message().contains("page 1 leads back"), "{error}");
}

#[tokio::test]
async fn what_a_page_does_not_tell_is_named() {
    for (pagination, message) in [
        (
            json!({"type": "page_number", "has_more": "$.mor"}),
            "the body does not say at `$.mor` whether there are more pages",
        ),
        (
            json!({"type": "offset", "has_more": "$.next"}),
            "`$.next` leads to \"c10\", which is neither true nor false",
        ),
        (
            json!({"type": "cursor", "next": "$.nxt", "has_more": "$.more", "param": "cursor"}),
            "page 1 says that there are more, and has no cursor to them",
        ),
        (
            json!({"type": "cursor", "last_record": "uid", "param": "after"}),
            "the last record of the page has no `uid`",
        ),
        (
            json!({"type": "page_number", "total_header": "X-Count"}),
            "the answer has no total in the header `X-Count`",
        ),
    ] {
        let server = server().await;
        let error = error(options(&server, &json!({}), &pagination)).await;
        assert_eq!((error.kind(), error.message()), (ErrorKind::DataInvalid, message));
        assert!(error.detail_value("url").is_some(), "{error}");
    }
}

#[tokio::test]
async fn options_that_do_not_fit_together_are_refused() {
    for (pagination, message) in [
        (
            json!({"type": "cursor", "param": "c"}),
            "`pagination` has to say where the cursor is found, and once",
        ),
        (
            json!({"type": "cursor", "param": "c", "next": "$.a", "last_record": "id"}),
            "`pagination` has to say where the cursor is found, and once",
        ),
        (
            json!({"type": "cursor", "param": "c", "next": "$.a", "in": "body"}),
            "`pagination` has `in: body`, and there is no `body`",
        ),
        (
            json!({"type": "page_number", "total_header": "a b"}),
            "`pagination.total_header: a b` is no name of a header",
        ),
        (
            json!({"type": "offset", "has_more": "$.a", "total": "$.b"}),
            "`pagination` says in more than one way where the pages end",
        ),
    ] {
        let error = error(with("http://localhost/", json!({ "pagination": pagination }))).await;
        assert_eq!((error.kind(), error.message()), (ErrorKind::Config, message));
    }
}
