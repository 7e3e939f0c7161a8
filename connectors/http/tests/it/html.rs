//! HTML: pages into rows, links to follow, and what sites allow.

use std::time::Duration;

use serde_json::json;
use towpath_core::{ErrorKind, Json, Position};
use towpath_testkit::http::{Request, Response, TestServer};

use crate::support::{always, error, open, open_with, read, to_json, with};

fn html(body: impl Into<String>) -> Response {
    Response::bytes("text/html; charset=utf-8", body.into())
}

/// A list of articles, with links behind it.
fn list(ids: std::ops::Range<u64>, links: &str) -> Response {
    let items = ids.map(|id| {
        format!("<article><h2><a href='/a/{id}'>No. {id}</a></h2><p class=price>{id}.50 EUR</p></article>")
    });
    html(format!("<!doctype html><title>x</title>{}{links}", items.collect::<String>()))
}

fn format() -> Json {
    json!({"type": "html", "rows": "article", "columns": {
        "title": "h2 a",
        "url": {"select": "h2 a", "attribute": "href", "absolute": true},
        "price": {"select": ".price", "regex": "([0-9.]+) EUR"},
    }})
}

/// The options of a source that reads lists of articles.
fn articles(server: &TestServer, path: &str, more: Json) -> Json {
    let mut options = with(server.url(path), more);
    options["format"] = format();
    options
}

fn titles(rows: &[Json]) -> Vec<&str> {
    rows.iter().map(|row| row["title"].as_str().unwrap()).collect()
}

/// A site: no `robots.txt`, and these pages.
async fn site(pages: impl Fn(&Request) -> Response + Send + Sync + 'static) -> TestServer {
    let pages = std::sync::Arc::new(pages);
    TestServer::start(move |request| {
        let pages = pages.clone();
        async move { if request.path == "/robots.txt" { Response::status(404) } else { pages(&request) } }
    })
    .await
}

/// The pages that were asked for, without `robots.txt`.
fn asked(server: &TestServer) -> Vec<String> {
    server.targets().into_iter().filter(|target| target != "/robots.txt").collect()
}

#[tokio::test]
async fn a_page_becomes_rows() {
    let server = site(|_| list(1..3, "")).await;
    let found =
        read(articles(&server, "/list", json!({"columns": {"price": "decimal(6,2)"}}))).await.unwrap();
    let expected = [1, 2].map(|id| {
        json!({"title": format!("No. {id}"), "url": server.url(&format!("/a/{id}")), "price": format!("{id}.50")})
    });
    assert_eq!(found, expected);
    let page = server.requests().into_iter().find(|one| one.request.path == "/list").unwrap();
    assert_eq!(page.request.header("accept"), Some("text/html, application/xhtml+xml, */*;q=0.5"));
}

#[tokio::test]
async fn the_server_may_tell_the_encoding() {
    let page = b"<article><h2><a href=x>caf\xE9</a></h2></article>".to_vec();
    let server = site(move |_| Response::bytes("text/html; charset=\"ISO-8859-1\"", page.clone())).await;
    assert_eq!(titles(&read(articles(&server, "/", json!({}))).await.unwrap()), ["café"]);
}

#[tokio::test]
async fn pages_by_number_end_at_one_without_rows() {
    let server = site(|request| {
        let page = request.number("page").unwrap();
        if page < 3 { list(page..page + 1, "") } else { list(0..0, "") }
    })
    .await;
    let found =
        read(articles(&server, "/list", json!({"pagination": {"type": "page_number"}}))).await.unwrap();
    assert_eq!(titles(&found), ["No. 1", "No. 2"]);
}

/// Three lists in a chain, with links that lead nowhere new.
async fn chain() -> TestServer {
    site(|request| match request.path.as_str() {
        "/1" => list(1..3, "<a class=next href='2'>2</a><a class=next href='/1#top'>again</a>"),
        "/2" => list(3..4, "<a class=next href='/3?x=1'>3</a><a href='/other'>not this</a>"),
        "/3" => list(4..6, "<a class=next href='/1'>back</a><a class=next href='mailto:a@b'>mail</a>"),
        _ => Response::status(500),
    })
    .await
}

#[tokio::test]
async fn links_are_followed_and_each_page_is_read_once() {
    let server = chain().await;
    let found = read(articles(&server, "/1", json!({"follow": {"links": "a.next"}}))).await.unwrap();
    assert_eq!(titles(&found), ["No. 1", "No. 2", "No. 3", "No. 4", "No. 5"]);
    assert_eq!(asked(&server), ["/1", "/2", "/3?x=1"]);
}

#[tokio::test]
async fn depth_and_number_of_pages_are_bounds() {
    for (follow, pages) in [
        (json!({"links": "a.next", "depth": 0}), 1),
        (json!({"links": "a.next", "depth": 1}), 2),
        (json!({"links": "a.next", "max_pages": 2}), 2),
        (json!({"links": "a.next", "depth": 9}), 3),
    ] {
        let server = chain().await;
        read(articles(&server, "/1", json!({"follow": follow}))).await.unwrap();
        assert_eq!(asked(&server).len(), pages, "{follow}");
    }
}

#[tokio::test]
async fn other_hosts_are_left_out_unless_they_are_wanted() {
    let other = site(|_| list(7..8, "")).await;
    // The same address by another name is another host.
    let link = other.url("/z").replace("127.0.0.1", "localhost");
    let links = format!("<a class=next href='{link}'>z</a>");
    let server = site(move |_| list(1..2, &links)).await;
    let follow = |same_host: bool| json!({"follow": {"links": "a.next", "same_host": same_host}});
    assert_eq!(titles(&read(articles(&server, "/", follow(true))).await.unwrap()), ["No. 1"]);
    assert_eq!(titles(&read(articles(&server, "/", follow(false))).await.unwrap()), ["No. 1", "No. 7"]);
    assert_eq!(asked(&other), ["/z"]);
}

#[tokio::test]
async fn links_to_nothing_and_to_something_else_are_left_out() {
    let server = site(|request| match request.path.as_str() {
        "/1" => {
            list(1..2, "<a href='/gone'>g</a><a href='/a.pdf'>p</a><a href='/moved'>m</a><a href='/2'>2</a>")
        }
        "/a.pdf" => Response::bytes("application/pdf", "%PDF"),
        "/2" => list(2..3, "<a href='/moved'>m</a>"),
        // Leads to a page that is found by another link as well.
        "/moved" => Response::status(301).header("location", "/2"),
        _ => Response::status(404),
    })
    .await;
    let options = articles(&server, "/1", json!({"follow": {"links": "body > a"}}));
    assert_eq!(titles(&read(options).await.unwrap()), ["No. 1", "No. 2"]);
    // The first page is no link.
    let refused = error(articles(&server, "/gone", json!({"follow": {"links": "a"}}))).await;
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_crawl_goes_on_behind_any_batch() {
    // A tree of links, whose pages come in any order.
    let server = site(|request| {
        let id: u64 = request.path[1..].parse().unwrap();
        let links: String = [2 * id, 2 * id + 1]
            .iter()
            .filter(|id| **id < 20)
            .map(|id| format!("<a href='/{id}'>x</a>"))
            .collect::<Vec<_>>()
            .concat();
        list(id..id + 1, &links).delay(Duration::from_millis(id % 3))
    })
    .await;
    let opened = open(articles(&server, "/1", json!({"follow": {"links": "body > a"}}))).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    let found = to_json(&batches);
    assert_eq!(titles(&found), (1..20).map(|id| format!("No. {id}")).collect::<Vec<_>>());
    for (index, batch) in batches.iter().enumerate() {
        let rest = opened.batches(&split, batch.resume.clone()).await.unwrap();
        assert_eq!(to_json(&rest), found[index + 1..], "behind batch {index}");
    }
}

#[tokio::test]
async fn a_large_page_of_a_crawl_goes_on_within() {
    let rows = |page: u64| {
        let text = "x".repeat(7_000);
        (0..700)
            .map(|id| {
                format!(
                    "<article><h2><a href=y>{page}-{id}</a></h2><p class=price>{text} 1 EUR</p></article>"
                )
            })
            .collect::<Vec<_>>()
            .concat()
    };
    let server = site(move |request| match request.path.as_str() {
        "/1" => html(format!("{}<a class=next href='/2'>2</a>", rows(1))),
        _ => html(rows(2)),
    })
    .await;
    let mut options = articles(&server, "/1", json!({"follow": {"links": "a.next"}}));
    options["format"]["columns"]["price"] = json!(".price");
    let opened = open(options).await;
    let split = opened.only_split().await;
    let batches = opened.batches(&split, Position::Start).await.unwrap();
    assert!(batches.len() > 2, "{}", batches.len());
    let found = to_json(&batches);
    assert_eq!(found.len(), 1_400);
    for index in [0, batches.len() / 2, batches.len() - 2] {
        let rest = opened.batches(&split, batches[index].resume.clone()).await.unwrap();
        assert!(to_json(&rest) == to_json(&batches[index + 1..]), "behind batch {index}");
    }
}

async fn with_robots(robots: Response) -> TestServer {
    TestServer::start(move |request| {
        let robots = robots.clone();
        async move {
            match request.path.as_str() {
                "/robots.txt" => robots,
                "/1" => list(1..2, "<a href='/private/2'>2</a><a href='/3'>3</a>"),
                "/3" => list(3..4, ""),
                "/moved" => Response::status(302).header("location", "/private/2"),
                _ => list(2..3, ""),
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_a_site_does_not_allow_is_not_read_unless_told_so() {
    let server = with_robots(Response::text("User-agent: *\nDisallow: /private/\n")).await;
    let refused = error(articles(&server, "/private/2", json!({}))).await;
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert_eq!(refused.message(), "the site does not want this to be read by programs");
    assert_eq!(refused.detail_value("robots.txt"), Some(&*server.url("/robots.txt")));
    assert_eq!(asked(&server), [""; 0]);
    // Nor by a redirect, whose target is not even asked for.
    assert_eq!(error(articles(&server, "/moved", json!({}))).await.kind(), ErrorKind::PermissionDenied);
    assert_eq!(asked(&server), ["/moved"]);
    server.clear();

    let found = read(articles(&server, "/1", json!({"follow": {"links": "body > a"}}))).await.unwrap();
    assert_eq!(titles(&found), ["No. 1", "No. 3"]);
    assert_eq!(server.targets().iter().filter(|target| *target == "/robots.txt").count(), 1);
    assert!(!asked(&server).contains(&"/private/2".to_owned()));
    server.clear();

    let ignoring = json!({"robots": "ignore", "follow": {"links": "body > a"}});
    assert_eq!(titles(&read(articles(&server, "/1", ignoring)).await.unwrap()), ["No. 1", "No. 2", "No. 3"]);
    assert!(!server.targets().contains(&"/robots.txt".to_owned()));
}

#[tokio::test]
async fn a_site_may_have_rules_for_us_alone() {
    let server =
        with_robots(Response::text("User-agent: *\nDisallow: /\n\nUser-agent: nutbot\nDisallow:\n")).await;
    assert!(read(articles(&server, "/1", json!({}))).await.is_err());
    assert!(
        read(articles(&server, "/1", json!({"user_agent": "NutBot/2.1 (+https://nut.example)"})))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn only_html_asks_a_site_and_no_answer_is_not_a_yes() {
    let server = always(Response::json(&json!([{"id": 1}]))).await;
    read(with(server.url("/x"), json!({}))).await.unwrap();
    assert_eq!(server.targets(), ["/x"]);
    let server = with_robots(Response::status(503)).await;
    let refused = error(articles(&server, "/1", json!({}))).await;
    assert!(refused.is_retryable(), "{refused}");
    assert_eq!(asked(&server), [""; 0]);
    let server = with_robots(Response::status(403)).await;
    assert!(read(articles(&server, "/1", json!({}))).await.is_ok());
}

#[tokio::test]
async fn the_delay_between_requests_is_kept_by_the_limits_of_the_connection() {
    let server = with_robots(Response::text("User-agent: *\nCrawl-delay: 2\n")).await;
    let opened = open(articles(&server, "/1", json!({"follow": {"links": "body > a"}}))).await;
    opened.rows().await.unwrap();
    let origin = server.url("").trim_end_matches('/').to_owned();
    let expected = vec![(origin, Duration::from_secs(2)); 3];
    assert_eq!(opened.recorder.record().pauses, expected);
}

#[tokio::test]
async fn options_that_do_not_fit_together_are_refused() {
    let (cx, _) = crate::support::context();
    let base = json!({"url": "http://a/", "format": format()});
    for (more, message) in [
        (json!({"format": "csv", "follow": {"links": "a"}}), "`follow` is for HTML"),
        (json!({"follow": {"links": "a["}}), "`a[` is no CSS selector"),
        (
            json!({"follow": {"links": "a"}, "pagination": {"type": "link_header"}}),
            "`follow` and `pagination` are two ways to the next page",
        ),
        (
            json!({"follow": {"links": "a"}, "job": {"status": {"url": "$.url"}, "result": {"url": "$.y"}}}),
            "`follow` and `job` do not go together",
        ),
        (
            json!({"follow": {"links": "a"}, "body": {"json": {}}}),
            "`follow` follows links, which are read by GET",
        ),
        (json!({"follow": {"links": "a", "max_pages": 10_001}}), "`follow.max_pages` is above 10000"),
        (
            json!({"format": {"type": "html", "rows": "b", "columns": {}}}),
            "`columns` of the HTML format are empty",
        ),
        (
            json!({"records": "$.x"}),
            "`records` and totals, cursors and URLs of `pagination` need JSON bodies",
        ),
    ] {
        let mut options = base.clone();
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = open_with(options, &cx).await.err().unwrap();
        assert!(refused.message().starts_with(message), "{refused}");
    }
}
