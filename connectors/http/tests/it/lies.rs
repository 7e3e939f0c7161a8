//! Servers that count wrongly, ignore what they are asked, and forget.

use serde_json::{Value, json};
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{RawReply, RawServer, Request, Response, TestServer};

use crate::support::{always, error, ids, open, read, with};

fn options(server: &TestServer, pagination: &Json) -> Json {
    with(server.url("/items"), json!({"records": "$.data", "pagination": pagination}))
}

/// 25 rows in pages of 10, with a total that depends on the offset.
async fn telling(total: fn(u64) -> Value) -> TestServer {
    TestServer::start(move |request: Request| async move {
        let page = request.number("page").map(|page| (page - 1) * 10);
        let offset = page.or(request.number("offset")).unwrap();
        Response::json(&json!({"data": ids(offset.min(25)..(offset + 10).min(25)), "total": total(offset)}))
    })
    .await
}

/// Pagination by records and by pages, with a total.
fn counted() -> [Json; 2] {
    [
        json!({"type": "offset", "limit": 10, "total": "$.total"}),
        json!({"type": "page_number", "page_size": 10, "total": "$.total"}),
    ]
}

#[tokio::test]
async fn a_total_that_changes_between_pages_loses_and_doubles_nothing() {
    let totals: [fn(u64) -> Value; 5] = [
        // It grows, shrinks below what is there, is told only once, is a text, and is zero later.
        |offset| json!(if offset == 0 { 15 } else { 25 }),
        |offset| json!(if offset == 0 { 25 } else { 7 }),
        |offset| if offset == 0 { json!(25) } else { Value::Null },
        |_| json!("25"),
        |offset| json!(if offset == 0 { 25 } else { 0 }),
    ];
    for pagination in counted() {
        for total in totals {
            let server = telling(total).await;
            assert_eq!(read(options(&server, &pagination)).await.unwrap(), ids(0..25), "{pagination}");
        }
    }
}

#[tokio::test]
async fn a_total_below_the_rows_of_its_page_is_not_believed() {
    for pagination in counted() {
        for total in [|_| json!(0), |_| json!(1), |_| json!(9)] as [fn(u64) -> Value; 3] {
            let server = telling(total).await;
            assert_eq!(read(options(&server, &pagination)).await.unwrap(), ids(0..25), "{pagination}");
        }
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_page_is_noticed() {
    for (pagination, param) in [
        (json!({"type": "page_number"}), "page"),
        (json!({"type": "offset", "limit": 2}), "offset"),
        (json!({"type": "page_number", "has_more": "$.more"}), "page"),
        (json!({"type": "page_number", "total_pages": "$.pages", "param": "p"}), "p"),
        (json!({"type": "offset", "limit": 2, "total": "$.total"}), "offset"),
    ] {
        // What surrounds the records differs each time.
        let count = std::sync::atomic::AtomicU64::new(0);
        let server = TestServer::start(move |_| {
            let request_id = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                Response::json(&json!({
                    "request_id": request_id, "data": ids(0..2), "more": true, "pages": 9, "total": 18,
                }))
            }
        })
        .await;
        let found = error(options(&server, &pagination)).await;
        assert_eq!(
            (found.kind(), found.message()),
            (ErrorKind::DataInvalid, "page 2 has the same records as page 1")
        );
        assert!(found.detail_value("url").unwrap().contains(&format!("{param}=2")), "{found}");
        assert!(found.help_text().unwrap().contains(&format!("ignore `{param}`")), "{found}");
    }
}

#[tokio::test]
async fn pages_that_are_alike_may_be_allowed() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        Response::json(&json!(if page < 4 { ids(0..2) } else { ids(0..0) }))
    })
    .await;
    let pagination = json!({"type": "page_number", "may_repeat": true});
    let found = read(with(server.url("/"), json!({ "pagination": pagination }))).await.unwrap();
    assert_eq!(found, [ids(0..2), ids(0..2), ids(0..2)].concat());
}

#[tokio::test]
async fn csv_pages_that_come_again_are_noticed() {
    let server = always(Response::bytes("text/csv", "id\n1\n2\n")).await;
    let found = error(with(server.url("/"), json!({"pagination": {"type": "page_number"}}))).await;
    assert_eq!(found.message(), "page 2 has the same records as page 1");
}

#[tokio::test]
async fn a_cursor_that_has_expired_names_its_page_and_the_way_out() {
    for (pagination, status) in [
        (json!({"type": "cursor", "next": "$.next", "param": "cursor"}), 400),
        (json!({"type": "cursor", "next": "$.next", "param": "cursor"}), 410),
        (json!({"type": "next_url", "path": "$.url"}), 422),
        (json!({"type": "link_header"}), 404),
    ] {
        let server = TestServer::start(move |request: Request| async move {
            match request.number("cursor").unwrap_or(1) {
                page @ 1..=2 => Response::json(&json!({
                    "data": ids(page..page + 1), "next": page + 1, "url": format!("/items?cursor={}", page + 1),
                }))
                .header("link", format!("</items?cursor={}>; rel=next", page + 1)),
                _ => Response::text("cursor expired").with_status(status),
            }
        })
        .await;
        let opened = open(options(&server, &pagination)).await;
        let found = opened.rows().await.unwrap_err();
        assert_eq!((found.is_retryable(), found.detail_value("page")), (false, Some("3")), "{found}");
        assert_eq!(found.detail_value("body"), Some("cursor expired"));
        assert!(found.help_text().unwrap().contains("`towpath state reset`"), "{found}");
        assert!(found.message().contains(&status.to_string()), "{found}");
    }
    // A first page has no cursor.
    let server = always(Response::status(400)).await;
    let pagination = json!({"type": "cursor", "next": "$.next", "param": "cursor"});
    assert_eq!(error(options(&server, &pagination)).await.detail_value("page"), None);
}

#[tokio::test]
async fn a_cursor_that_expired_between_two_runs_is_told_in_the_same_way() {
    let server = TestServer::start(|request: Request| async move {
        match request.param("cursor") {
            None => Response::json(&json!({"data": [{"id": 1}], "next": "c2"})),
            Some(_) if request.attempt > 1 => Response::status(400),
            Some(_) => Response::json(&json!({"data": [{"id": 2}]})),
        }
    })
    .await;
    let opened =
        open(options(&server, &json!({"type": "cursor", "next": "$.next", "param": "cursor"}))).await;
    let split = opened.only_split().await;
    let first = opened.batches(&split, Position::Start).await.unwrap().remove(0);
    let found = opened.batches(&split, first.resume).await.unwrap_err();
    assert_eq!(found.detail_value("page"), Some("2"));
}

#[tokio::test]
async fn chunks_that_are_cut_short_are_tried_again() {
    for body in [
        // In the middle of a chunk, between two, and before the last one of all.
        "14\r\n[{\"id\": 1}, {\"id\"",
        "e\r\n[{\"id\": 1000},\r\n",
        "f\r\n[{\"id\": 100000}]\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        let reply = format!("{head}{body}");
        let server = RawServer::start(move |_| RawReply::close(reply.clone())).await;
        let found = error(with(server.url("/x"), json!({}))).await;
        assert_eq!((found.kind(), found.is_retryable()), (ErrorKind::Unavailable, true), "{found}");
        assert!(found.message().starts_with("the body broke off after"), "{found}");
    }
}

#[tokio::test]
async fn a_stream_that_is_no_gzip_is_invalid_and_not_tried_again() {
    for content_type in ["application/json", "text/csv"] {
        let server = always(Response::encoded(content_type, "gzip", "id\n1\n2\n3\n4\n5\n6\n7\n8\n9\n")).await;
        let found = error(with(server.url("/x"), json!({}))).await;
        assert_eq!((found.kind(), found.is_retryable()), (ErrorKind::DataInvalid, false));
        assert_eq!(found.message(), "the body is not what its `Content-Encoding` says");
        assert_eq!(found.detail_value("url"), Some(&*server.url("/x")));
    }
}
