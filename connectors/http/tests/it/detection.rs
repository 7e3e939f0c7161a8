//! `pagination: auto`: what the first answer shows is what is followed.

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{error, ids, open, open_with, read, with};

/// How a server speaks of its pages.
type Api = fn(page: u64, is_last: bool) -> Json;

/// 25 rows in pages of 10, found by page, offset or cursor.
async fn server(api: Api) -> TestServer {
    TestServer::start(move |request: Request| async move { answer(&request, api) }).await
}

fn answer(request: &Request, api: Api) -> Response {
    let cursor = ["page", "cursor", "pageToken", "after", "starting_after"];
    let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
    let told =
        cursor.iter().find_map(|name| request.number(name).or_else(|| body[name].as_str()?.parse().ok()));
    let offset = request.number("offset").or(request.number("startAt"));
    let page = told.or(offset.map(|offset| offset / 10 + 1)).unwrap_or(1);
    let page = if request.param("starting_after").is_some() { page / 10 + 2 } else { page };
    let is_last = page >= 3;
    let mut body = api(page, is_last);
    body["data"] = json!(ids(((page - 1) * 10).min(25)..(page * 10).min(25)));
    if body["object"] == "list" {
        body["data"] = json!(
            ids((page - 1) * 10..(page * 10).min(25))
                .iter()
                .map(|row| json!({"id": row["id"].to_string()}))
                .collect::<Vec<_>>()
        );
    }
    let mut response = Response::json(&body);
    for (name, value) in body["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap());
    }
    response
}

fn auto(url: String, more: &Json) -> Json {
    let mut options = with(url, json!({"records": "$.data", "pagination": {"type": "auto"}}));
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn next(page: u64, is_last: bool) -> Json {
    if is_last { Json::Null } else { json!(page + 1) }
}

fn next_text(page: u64, is_last: bool) -> Json {
    if is_last { json!("") } else { json!((page + 1).to_string()) }
}

fn link(page: u64, is_last: bool) -> Json {
    if is_last { Json::Null } else { json!(format!("/items?page={}", page + 1)) }
}

#[tokio::test]
async fn each_way_is_recognised_and_followed() {
    let cases: [(&str, Api, &str, &[&str]); 13] = [
        (
            "link header",
            |page, is_last| {
                let link = format!("</items?page={}>; rel=\"next\"", page + 1);
                if is_last { json!({}) } else { json!({"headers": {"link": link}}) }
            },
            "/items",
            &["/items", "/items?page=2", "/items?page=3"],
        ),
        ("next", |p, l| json!({"next": link(p, l)}), "/items", &["/items", "/items?page=2", "/items?page=3"]),
        (
            "links.next.href",
            |p, l| json!({"_links": {"next": {"href": link(p, l)}}}),
            "/items",
            &["/items", "/items?page=2", "/items?page=3"],
        ),
        (
            "odata",
            |p, l| json!({"@odata.nextLink": link(p, l)}),
            "/items",
            &["/items", "/items?page=2", "/items?page=3"],
        ),
        (
            "cursor",
            |p, l| json!({"meta": {"next_cursor": next(p, l)}}),
            "/items",
            &["/items", "/items?cursor=2", "/items?cursor=3"],
        ),
        (
            // The last page has a cursor as well.
            "cursor with has_more",
            |p, l| json!({"has_more": !l, "next_cursor": next(p, false)}),
            "/items",
            &["/items", "/items?cursor=2", "/items?cursor=3"],
        ),
        (
            "page token",
            |p, l| json!({"nextPageToken": next_text(p, l)}),
            "/items?q=1",
            &["/items?q=1", "/items?q=1&pageToken=2", "/items?q=1&pageToken=3"],
        ),
        (
            "a cursor whose parameter is in the request",
            |p, l| json!({"next_cursor": next(p, l)}),
            "/items?after=1",
            &["/items?after=1", "/items?after=2", "/items?after=3"],
        ),
        (
            "pages",
            |_, _| json!({"total_pages": 3}),
            "/items?page=1",
            &["/items?page=1", "/items?page=2", "/items?page=3"],
        ),
        (
            "a total and a page",
            |_, _| json!({"total": 25}),
            "/items?page=1&per_page=10",
            &["/items?page=1&per_page=10", "/items?per_page=10&page=2", "/items?per_page=10&page=3"],
        ),
        (
            "a total in a header and an offset",
            |_, _| json!({"headers": {"x-total-count": "25"}}),
            "/items?startAt=0&maxResults=10",
            &[
                "/items?startAt=0&maxResults=10",
                "/items?startAt=10&maxResults=10",
                "/items?startAt=20&maxResults=10",
            ],
        ),
        (
            "has_more and an offset",
            |_, l| json!({"has_more": !l}),
            "/items?offset=0",
            &["/items?offset=0", "/items?offset=10", "/items?offset=20"],
        ),
        (
            "a page and nothing else",
            |_, _| json!({}),
            "/items?page=1",
            &["/items?page=1", "/items?page=2", "/items?page=3", "/items?page=4"],
        ),
    ];
    for (name, api, path, targets) in cases {
        let server = server(api).await;
        let found = read(auto(server.url(path), &json!({}))).await;
        assert_eq!(found.unwrap(), ids(0..25), "{name}");
        let mut asked = server.targets();
        asked.sort();
        let mut expected = targets.to_vec();
        expected.sort_unstable();
        assert_eq!(asked, expected, "{name}");
    }
}

#[tokio::test]
async fn a_list_goes_on_behind_its_last_id() {
    let server = server(|_, is_last| json!({"object": "list", "has_more": !is_last})).await;
    let found = read(auto(server.url("/items"), &json!({}))).await.unwrap();
    assert_eq!(found.len(), 25);
    assert_eq!(server.targets(), ["/items", "/items?starting_after=9", "/items?starting_after=19"]);
}

#[tokio::test]
async fn a_cursor_goes_into_the_body_of_a_request_that_has_one() {
    let server = server(|page, is_last| json!({"next_cursor": next_text(page, is_last)})).await;
    let options = auto(server.url("/items"), &json!({"body": {"json": {"q": "x"}}}));
    assert_eq!(read(options).await.unwrap(), ids(0..25));
    let bodies: Vec<Json> = server
        .requests()
        .iter()
        .map(|recorded| serde_json::from_slice(&recorded.request.body).unwrap())
        .collect();
    assert_eq!(
        bodies,
        [json!({"q": "x"}), json!({"q": "x", "cursor": "2"}), json!({"q": "x", "cursor": "3"})]
    );
}

#[tokio::test]
async fn pages_behind_one_with_a_total_are_read_at_once() {
    let both = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let server = TestServer::start(move |request: Request| {
        let both = both.clone();
        async move {
            if request.number("page") != Some(1) {
                both.wait().await;
            }
            answer(&request, |_, _| json!({"total": 25}))
        }
    })
    .await;
    assert_eq!(read(auto(server.url("/?page=1"), &json!({}))).await.unwrap(), ids(0..25));
    assert_eq!(server.peak(), 2);
}

#[tokio::test]
async fn signs_of_more_pages_that_lead_nowhere_are_an_error() {
    let cases: [(Api, &str); 6] = [
        (|_, _| json!({"has_more": true}), "`$.has_more` is true"),
        (|_, _| json!({"total_pages": 3}), "`$.total_pages` is 3"),
        (|_, _| json!({"meta": {"total": 25}}), "`$.meta.total` is 25"),
        (|_, _| json!({"headers": {"x-total-count": "25"}}), "the header `x-total-count` is 25"),
        (|_, _| json!({"headers": {"x-wp-totalpages": "3"}}), "the header `x-wp-totalpages` is 3"),
        (|_, _| json!({"next_page": 2}), "`$.next_page` is set"),
    ];
    for (api, sign) in cases {
        let server = server(api).await;
        let error = error(auto(server.url("/items"), &json!({}))).await;
        assert_eq!(error.kind(), ErrorKind::DataInvalid);
        assert_eq!(
            error.message(),
            format!("{sign}, so there are more pages, and no way to them was recognised")
        );
        assert!(error.help_text().unwrap().contains("another `pagination` than auto"), "{error}");
        assert!(error.detail_value("url").is_some());
    }
}

#[tokio::test]
async fn an_answer_without_signs_is_a_single_page() {
    let cases: [Api; 5] = [
        |_, _| json!({}),
        |_, _| json!({"has_more": false, "next_cursor": "x"}),
        |_, _| json!({"total": 10}),
        |_, _| json!({"total_pages": 1}),
        |_, _| json!({"next": null, "links": {"next": ""}}),
    ];
    for api in cases {
        let server = server(api).await;
        assert_eq!(read(auto(server.url("/items"), &json!({}))).await.unwrap(), ids(0..10));
        assert_eq!(server.requests().len(), 1);
    }
    let csv = crate::support::always(Response::bytes("text/csv", "id\n0\n1\n")).await;
    let options = with(csv.url("/"), json!({"pagination": {"type": "auto"}}));
    assert_eq!(read(options).await.unwrap(), ids(0..2));
}

#[tokio::test]
async fn a_run_that_goes_on_follows_what_the_first_answer_showed() {
    let cases: [(Api, &str, &str); 3] = [
        (|p, l| json!({"next": link(p, l)}), "/items", "/items?page=2"),
        (|_, _| json!({"total": 25}), "/items?page=1", "/items?page=2"),
        (|p, l| json!({"next_cursor": next(p, l)}), "/items", "/items?cursor=2"),
    ];
    for (api, path, second) in cases {
        let server = server(api).await;
        let options = auto(server.url(path), &json!({}));
        let opened = open(options.clone()).await;
        let split = opened.only_split().await;
        let batches = opened.batches(&split, Position::Start).await.unwrap();
        assert_eq!(batches.len(), 3);
        server.clear();
        // Another process, which has not seen the first page.
        let (cx, _) = crate::support::context();
        let later = open_with(options, &cx).await.unwrap();
        let rest = crate::support::Opened { source: later, cx, recorder: std::sync::Arc::default() };
        let stored: Position = serde_json::from_value(json!(batches[0].resume)).unwrap();
        let rows = crate::support::to_json(&rest.batches(&split, stored).await.unwrap());
        assert_eq!(rows, ids(10..25), "{path}");
        assert!(server.targets().contains(&second.to_owned()), "{:?}", server.targets());
        assert!(!server.targets().contains(&path.to_owned()), "{:?}", server.targets());
    }
}

#[tokio::test]
async fn no_more_pages_are_followed_than_asked_for() {
    let server = server(|page, is_last| json!({"next": link(page, is_last)})).await;
    let options = auto(server.url("/items"), &json!({"pagination": {"type": "auto", "max_pages": 2}}));
    assert_eq!(read(options).await.unwrap(), ids(0..20));
}
