//! Pagination: which pages are asked for, in which order, how many at once, and where reading goes on.

use std::time::Duration;

use futures::TryStreamExt;
use serde_json::json;
use towpath_core::{ErrorKind, Json, Position, ScanRequest};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, eventually, ids, open, read, to_json, with};

/// 25 rows in pages of 10, by every kind of pagination at once.
async fn paged() -> TestServer {
    TestServer::start(|request: Request| async move { page_of(&request) }).await
}

fn page_of(request: &Request) -> Response {
    let page = request.number("page").or(request.number("cursor")).unwrap_or(1);
    let offset = request.number("offset").unwrap_or((page - 1) * 10);
    let limit = request.number("limit").unwrap_or(10).min(10);
    let rows = ids(offset.min(25)..(offset + limit).min(25));
    let next = (page < 3).then_some(page + 1);
    let body = json!({
        "data": rows, "total": 25, "pages": 3,
        "next": next, "url": next.map(|next| format!("/items?page={next}")),
    });
    let response = Response::json(&body);
    match next {
        Some(next) => response.header("link", format!("</items?page={next}>; rel=\"next\"")),
        None => response,
    }
}

fn options(server: &TestServer, pagination: &Json) -> Json {
    with(server.url("/items"), json!({"records": "$.data", "pagination": pagination}))
}

#[tokio::test]
async fn every_pagination_gives_every_row_once_and_in_order() {
    for (pagination, targets) in [
        (json!({"type": "link_header"}), vec!["/items", "/items?page=2", "/items?page=3"]),
        (json!({"type": "next_url", "path": "$.url"}), vec!["/items", "/items?page=2", "/items?page=3"]),
        (
            json!({"type": "cursor", "next": "$.next", "param": "cursor"}),
            vec!["/items", "/items?cursor=2", "/items?cursor=3"],
        ),
        (
            json!({"type": "page_number"}),
            vec!["/items?page=1", "/items?page=2", "/items?page=3", "/items?page=4"],
        ),
        (
            json!({"type": "page_number", "page_size": 10, "size_param": "limit", "stop_on_short_page": true}),
            vec!["/items?page=1&limit=10", "/items?page=2&limit=10", "/items?page=3&limit=10"],
        ),
        (
            json!({"type": "offset", "limit": 10}),
            vec![
                "/items?offset=0&limit=10",
                "/items?offset=10&limit=10",
                "/items?offset=20&limit=10",
                "/items?offset=25&limit=10",
            ],
        ),
        (
            json!({"type": "offset", "limit": 10, "stop_on_short_page": true, "limit_param": "n", "param": "offset"}),
            vec!["/items?offset=0&n=10", "/items?offset=10&n=10", "/items?offset=20&n=10"],
        ),
    ] {
        let server = paged().await;
        assert_eq!(read(options(&server, &pagination)).await.unwrap(), ids(0..25), "{pagination}");
        assert_eq!(server.targets(), targets, "{pagination}");
    }
}

#[tokio::test]
async fn known_pages_are_read_at_once_and_come_in_order() {
    for pagination in [
        json!({"type": "page_number", "total_pages": "$.pages"}),
        json!({"type": "page_number", "total": "$.total"}),
        json!({"type": "offset", "limit": 10, "total": "$.total"}),
        // A server that gives less than it is asked for.
        json!({"type": "offset", "limit": 1000, "total": "$.total"}),
    ] {
        // The second and third page are answered only when both have been asked for.
        let both = std::sync::Arc::new(tokio::sync::Barrier::new(2));
        let server = TestServer::start(move |request: Request| {
            let both = both.clone();
            async move {
                let first = request.number("page") == Some(1) || request.number("offset") == Some(0);
                if !first {
                    both.wait().await;
                }
                page_of(&request)
            }
        })
        .await;
        assert_eq!(read(options(&server, &pagination)).await.unwrap(), ids(0..25), "{pagination}");
        assert_eq!(server.requests().len(), 3, "{pagination}");
        assert_eq!(server.peak(), 2, "{pagination}");
    }
}

#[tokio::test]
async fn no_more_pages_are_in_flight_than_allowed() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        Response::json(&json!({"pages": 12, "data": ids(page..page + 1)})).delay(Duration::from_millis(5))
    })
    .await;
    let mut options = options(&server, &json!({"type": "page_number", "total_pages": "$.pages"}));
    options["pages_in_flight"] = json!(3);
    assert_eq!(read(options.clone()).await.unwrap(), ids(1..13));
    assert!(server.peak() <= 3, "{}", server.peak());
    server.clear();
    options["pages_in_flight"] = json!(1);
    read(options).await.unwrap();
    assert_eq!(server.peak(), 1);
}

#[tokio::test]
async fn many_urls_ask_for_pages_ahead_only_as_far_as_they_may_be_read_at_once() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        Response::json(&json!({"pages": 12, "data": ids(page..page + 1)})).delay(Duration::from_millis(50))
    })
    .await;
    let pagination = json!({"type": "page_number", "total_pages": "$.pages"});
    let more = json!({"records": "$.data", "params": {"id": [1, 2, 3]}, "pagination": pagination, "pages_in_flight": 4});
    // One page of each URL is always on its way, and of those behind it the greater of both numbers together.
    for (parallelism, peak) in [(1, 5..=7), (100, 8..=12)] {
        server.clear();
        let opened = open(with(server.url("/items/{id}"), more.clone())).await;
        let mut request = ScanRequest::default();
        request.parallelism = parallelism;
        let splits = opened.splits(&request).await.unwrap();
        let reads = splits.iter().map(|split| opened.batches(split, Position::Start));
        for batches in futures::future::join_all(reads).await {
            assert_eq!(to_json(&batches.unwrap()), ids(1..13));
        }
        assert!(peak.contains(&server.peak()), "{} with {parallelism}", server.peak());
    }
}

#[tokio::test]
async fn a_page_that_fails_among_many_fails_in_its_turn_and_is_read_again() {
    let server = TestServer::start(|request: Request| async move {
        match (request.number("page").unwrap(), request.attempt) {
            (4, 1) => Response::status(503),
            (page, _) => Response::json(&json!({"pages": 8, "data": ids(page..page + 1)})),
        }
    })
    .await;
    let opened = open(options(&server, &json!({"type": "page_number", "total_pages": "$.pages"}))).await;
    let split = opened.only_split().await;
    let (rows, errors) = opened.rows_with_resumes(&split).await.unwrap();
    assert_eq!((rows, errors), (ids(1..9), 1));
}

#[tokio::test]
async fn the_next_page_is_on_its_way_while_this_one_is_consumed() {
    for pagination in [
        json!({"type": "link_header"}),
        json!({"type": "next_url", "path": "$.url"}),
        json!({"type": "cursor", "next": "$.next", "param": "cursor"}),
    ] {
        let server = paged().await;
        let opened = open(options(&server, &pagination)).await;
        let split = opened.only_split().await;
        let mut stream = opened.source.read(&opened.cx, &split, Position::Start).unwrap();
        let first = stream.try_next().await.unwrap().unwrap();
        assert_eq!(first.rows.num_rows(), 10);
        // Nobody asks for the second batch.
        eventually("the second page is asked for", || server.requests().len() == 2).await;
    }
}

#[tokio::test]
async fn reading_goes_on_behind_every_page() {
    for pagination in [
        json!({"type": "link_header"}),
        json!({"type": "next_url", "path": "$.url"}),
        json!({"type": "cursor", "next": "$.next", "param": "cursor"}),
        json!({"type": "page_number"}),
        json!({"type": "page_number", "total": "$.total"}),
        json!({"type": "offset", "limit": 10, "total": "$.total"}),
    ] {
        let server = paged().await;
        let opened = open(options(&server, &pagination)).await;
        let split = opened.only_split().await;
        let batches = opened.batches(&split, Position::Start).await.unwrap();
        assert_eq!(batches.len(), 3, "{pagination}");
        for (index, batch) in batches.iter().enumerate() {
            server.clear();
            let rest = opened.batches(&split, batch.resume.clone()).await.unwrap();
            assert_eq!(to_json(&rest), to_json(&batches[index + 1..]), "{pagination}");
            assert!(server.requests().len() <= 3 - index, "{pagination}: {:?}", server.targets());
        }
    }
}

#[tokio::test]
async fn a_resumed_read_knows_how_many_pages_there_are() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        // Only the first page tells.
        let pages = (page == 1).then_some(9);
        Response::json(&json!({"pages": pages, "data": ids(page..page + 1)})).delay(Duration::from_millis(20))
    })
    .await;
    let opened = open(options(&server, &json!({"type": "page_number", "total_pages": "$.pages"}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    server.clear();
    let rest = opened.batches(&split, batches[1].resume.clone()).await.unwrap();
    assert_eq!(to_json(&rest), ids(3..10));
    assert!(server.peak() > 1);
}

#[tokio::test]
async fn no_more_pages_are_read_than_wanted() {
    for pagination in [
        json!({"type": "link_header", "max_pages": 2}),
        json!({"type": "next_url", "path": "$.url", "max_pages": 2}),
        json!({"type": "cursor", "next": "$.next", "param": "cursor", "max_pages": 2}),
        json!({"type": "page_number", "max_pages": 2}),
        json!({"type": "page_number", "total_pages": "$.pages", "max_pages": 2}),
        json!({"type": "offset", "limit": 10, "max_pages": 2}),
        json!({"type": "offset", "limit": 10, "total": "$.total", "max_pages": 2}),
    ] {
        let server = paged().await;
        assert_eq!(read(options(&server, &pagination)).await.unwrap(), ids(0..20), "{pagination}");
        assert_eq!(server.requests().len(), 2, "{pagination}");
    }
}

#[tokio::test]
async fn pages_that_go_in_a_circle_are_an_error() {
    for pagination in [
        json!({"type": "next_url", "path": "$.url"}),
        json!({"type": "cursor", "next": "$.next", "param": "cursor"}),
        json!({"type": "link_header"}),
    ] {
        let server = TestServer::start(|_| async {
            Response::json(&json!({"data": [{"id": 1}], "next": "same", "url": "/items?page=2"}))
                .header("link", "<?page=2>; rel=next")
        })
        .await;
        let error = error(options(&server, &pagination)).await;
        assert_eq!(error.kind(), ErrorKind::DataInvalid, "{pagination}");
        assert_eq!(error.message(), "the pages go in a circle: page 2 leads back to one that has been read");
        assert!(error.detail_value("url").is_some(), "{error}");
    }
}

#[tokio::test]
async fn a_missing_total_is_named_with_its_url() {
    let server = paged().await;
    let error = error(options(&server, &json!({"type": "offset", "limit": 10, "total": "$.totl"}))).await;
    assert_eq!(error.message(), "the body has no total at `$.totl`");
    assert_eq!(error.detail_value("url"), Some(&*server.url("/items?offset=0&limit=10")));
}

#[tokio::test]
async fn pages_may_be_csv() {
    let server = TestServer::start(|request: Request| async move {
        let page = request.number("page").unwrap();
        let rows: String =
            (page * 10..page * 10 + 3).flat_map(|id| [id.to_string(), "\n".to_owned()]).collect();
        let body = if page > 2 { "id\n".to_owned() } else { format!("id\n{rows}") };
        Response::bytes("text/csv", body)
    })
    .await;
    let found = read(with(server.url("/"), json!({"pagination": {"type": "page_number"}}))).await.unwrap();
    assert_eq!(found, [ids(10..13), ids(20..23)].concat());
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_204_is_a_page_without_records() {
    let server = TestServer::start(|request: Request| async move {
        if request.number("page") == Some(2) {
            Response::status(204)
        } else {
            Response::json(&json!([{"id": 1}]))
        }
    })
    .await;
    let found = read(with(server.url("/"), json!({"pagination": {"type": "page_number"}}))).await.unwrap();
    assert_eq!(found, [json!({"id": 1})]);
}

#[tokio::test]
async fn dropping_a_read_ends_the_requests_that_went_ahead() {
    let server = TestServer::start(|request: Request| async move {
        match request.number("page").unwrap() {
            1 => Response::json(&json!({"pages": 20, "data": [{"id": 1}]})),
            _ => Response::never(),
        }
    })
    .await;
    let opened = open(options(&server, &json!({"type": "page_number", "total_pages": "$.pages"}))).await;
    let split = opened.only_split().await;
    let mut stream = opened.source.read(&opened.cx, &split, Position::Start).unwrap();
    stream.try_next().await.unwrap().unwrap();
    let second = tokio::time::timeout(Duration::from_millis(100), stream.try_next()).await;
    assert!(second.is_err());
    eventually("pages are asked for ahead", || server.in_flight() > 1).await;
    drop(stream);
    eventually("the requests end", || server.in_flight() == 0).await;
    eventually("their permits are given back", || opened.recorder.record().held == 0).await;
}

#[tokio::test]
async fn counting_begins_where_the_server_says_and_in_its_steps() {
    for (pagination, targets) in [
        (
            json!({"type": "offset", "start": 1, "limit": 10, "total": "$.total"}),
            vec!["/?offset=1&limit=10", "/?offset=11&limit=10", "/?offset=21&limit=10"],
        ),
        (
            json!({"type": "offset", "start": 1, "limit": 10, "limit_param": null, "stop_on_short_page": true}),
            vec!["/?offset=1", "/?offset=11", "/?offset=21"],
        ),
        (
            json!({"type": "offset", "start": 1, "limit": 10, "total": "$.total", "in_first_request": false}),
            vec!["/?limit=10", "/?offset=11&limit=10", "/?offset=21&limit=10"],
        ),
        (
            json!({"type": "page_number", "param": "offset", "start": 1, "step": 10, "total_pages": "$.pages"}),
            vec!["/?offset=1", "/?offset=11", "/?offset=21"],
        ),
        (
            json!({"type": "page_number", "param": "offset", "start": 1, "step": 10, "total": "$.total"}),
            vec!["/?offset=1", "/?offset=11", "/?offset=21"],
        ),
        (
            json!({"type": "page_number", "param": "offset", "start": 1, "step": 10, "page_size": 10,
                   "stop_on_short_page": true, "in_first_request": false}),
            vec!["/", "/?offset=11", "/?offset=21"],
        ),
        (
            json!({"type": "page_number", "param": "offset", "start": 1, "step": 10, "has_more": "$.more"}),
            vec!["/?offset=1", "/?offset=11", "/?offset=21"],
        ),
    ] {
        // Offsets count from 1.
        let server = TestServer::start(|request: Request| async move {
            let skip = request.number("offset").unwrap_or(1) - 1;
            let data = ids(skip.min(25)..(skip + 10).min(25));
            Response::json(&json!({"total": 25, "pages": 3, "more": skip < 20, "data": data}))
        })
        .await;
        let options = with(server.url("/"), json!({"records": "$.data", "pagination": pagination}));
        assert_eq!(read(options).await.unwrap(), ids(0..25), "{pagination}");
        let mut asked = server.targets();
        asked.sort_by_key(|target| (target.len(), target.clone()));
        assert_eq!(asked, targets, "{pagination}");
    }
}
