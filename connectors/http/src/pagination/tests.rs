use super::*;
use reqwest::Method;
use serde_json::json;

fn pagination(options: Json) -> Pagination {
    serde_json::from_value(options).unwrap()
}

/// A server's pages, as a pure function: the body and the number of records of each URL.
type Server<'a> = &'a dyn Fn(&Url) -> (Json, u64);

const START: &str = "https://a.example/items?q=x";

/// Follows the pages, and gives the queries that were asked for.
fn walk(pagination: &Pagination, server: Server<'_>) -> Result<Vec<String>> {
    let url = Url::parse(START).unwrap();
    let split = Wanted { method: Method::GET, url, headers: HeaderMap::new(), body: None, job: None };
    let mut place = pagination.first();
    let mut asked = Vec::new();
    loop {
        let url = pagination.request(&split, &place.page)?.url;
        asked.push(url.query().unwrap_or_default().to_owned());
        let (body, records) = server(&url);
        let value = |path: &JsonPath| body.pointer(&path.to_string().replace('.', "/")[1..]).cloned();
        let link = body["link"].as_str();
        let headers = HeaderMap::new();
        let last = || None;
        let seen =
            Seen { records: Some(records), headers: &headers, link, url: &url, value: &value, last: &last };
        match pagination.after(&place, &seen)? {
            Some(next) => place = next,
            None => return Ok(asked),
        }
    }
}

fn param(url: &Url, name: &str) -> Option<u64> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.parse().unwrap())
}

/// 25 records, at most `most` in a page.
fn counted(url: &Url, most: u64, body: &Json) -> (Json, u64) {
    let limit = param(url, "limit").unwrap_or(most).min(most);
    let offset = param(url, "offset").unwrap_or_else(|| (param(url, "page").unwrap() - 1) * limit);
    (body.clone(), 25_u64.saturating_sub(offset).min(limit))
}

fn ends(asked: &[String], name: &str) -> Vec<u64> {
    let url = |query: &String| Url::parse(&format!("https://a/?{query}")).unwrap();
    asked.iter().map(|query| param(&url(query), name).unwrap()).collect()
}

#[test]
fn without_pagination_there_is_one_page() {
    assert_eq!(walk(&Pagination::None, &|_| (json!({}), 5)).unwrap(), ["q=x"]);
}

#[test]
fn links_and_urls_are_followed_until_there_is_none() {
    let pages = |url: &Url| match url.query() {
        Some("q=x") => (json!({"link": "?p=2", "next": "/items?p=2"}), 1),
        Some("p=2") => (json!({"link": "https://a.example/items?p=3", "next": "https://a.example/?p=3"}), 0),
        _ => (json!({"next": ""}), 1),
    };
    assert_eq!(walk(&pagination(json!({"type": "link_header"})), &pages).unwrap(), ["q=x", "p=2", "p=3"]);
    let next_url = json!({"type": "next_url", "path": "$.next"});
    assert_eq!(walk(&pagination(next_url), &pages).unwrap(), ["q=x", "p=2", "p=3"]);
}

#[test]
fn a_next_page_that_is_no_http_url_is_refused() {
    let next_url = pagination(json!({"type": "next_url", "path": "$.next"}));
    let error = walk(&next_url, &|_| (json!({"next": "file:///etc/passwd"}), 1)).unwrap_err();
    assert_eq!(error.message(), "the next page is no HTTP URL");
}

#[test]
fn a_cursor_goes_into_its_parameter() {
    let cursor = pagination(json!({"type": "cursor", "next": "$.meta.next", "param": "after"}));
    let pages = |url: &Url| match param(url, "after") {
        None => (json!({"meta": {"next": 7}}), 1),
        Some(7) => (json!({"meta": {"next": "8"}}), 1),
        Some(_) => (json!({"meta": {"next": null}}), 1),
    };
    assert_eq!(walk(&cursor, &pages).unwrap(), ["q=x", "q=x&after=7", "q=x&after=8"]);
    let error = walk(&cursor, &|_| (json!({"meta": {"next": {"a": 1}}}), 1)).unwrap_err();
    assert!(error.message().contains("which is no text"), "{error}");
}

#[test]
fn pages_are_counted_until_one_is_empty() {
    let asked =
        walk(&pagination(json!({"type": "page_number"})), &|url| counted(url, 10, &json!({}))).unwrap();
    assert_eq!(ends(&asked, "page"), [1, 2, 3, 4]);
}

#[test]
fn a_short_page_ends_only_when_it_is_said_to() {
    let options = |stop: bool| json!({"type": "page_number", "page_size": 10, "size_param": "limit", "stop_on_short_page": stop});
    let asked = walk(&pagination(options(true)), &|url| counted(url, 10, &json!({}))).unwrap();
    assert_eq!(asked.last().unwrap(), "q=x&page=3&limit=10");
    // A server that gives 8 where 10 were asked for.
    let asked = walk(&pagination(options(false)), &|url| counted(url, 8, &json!({}))).unwrap();
    assert_eq!(ends(&asked, "page"), [1, 2, 3, 4, 5]);
}

#[test]
fn a_total_of_pages_or_records_saves_the_request_for_an_empty_page() {
    let pages = pagination(json!({"type": "page_number", "start": 1, "total_pages": "$.pages"}));
    let asked = walk(&pages, &|url| counted(url, 10, &json!({"pages": 3}))).unwrap();
    assert_eq!(ends(&asked, "page"), [1, 2, 3]);
    let records = pagination(json!({"type": "page_number", "total": "$.total"}));
    let asked = walk(&records, &|url| counted(url, 10, &json!({"total": "25"}))).unwrap();
    assert_eq!(ends(&asked, "page"), [1, 2, 3]);
}

#[test]
fn an_offset_goes_on_behind_what_was_given() {
    let offset = json!({"type": "offset", "limit": 10});
    // The server gives 8 where 10 are asked for, and nothing is left out.
    let asked = walk(&pagination(offset), &|url| counted(url, 8, &json!({}))).unwrap();
    assert_eq!(ends(&asked, "offset"), [0, 8, 16, 24, 25]);
    let offset = json!({"type": "offset", "limit": 10, "total": "$.total"});
    let asked = walk(&pagination(offset), &|url| counted(url, 8, &json!({"total": 25}))).unwrap();
    assert_eq!(ends(&asked, "offset"), [0, 8, 16, 24]);
}

#[test]
fn a_total_that_grows_is_followed_and_a_wrong_one_is_not_believed() {
    let offset = pagination(json!({"type": "offset", "limit": 10, "total": "$.total"}));
    let growing = |url: &Url| {
        let total = if param(url, "offset") == Some(0) { 15 } else { 25 };
        counted(url, 10, &json!({"total": total}))
    };
    assert_eq!(ends(&walk(&offset, &growing).unwrap(), "offset"), [0, 10, 20]);
    // Only the first page tells it, the others say 0.
    let once = |url: &Url| {
        let total = if param(url, "offset") == Some(0) { 25 } else { 0 };
        counted(url, 10, &json!({"total": total}))
    };
    assert_eq!(ends(&walk(&offset, &once).unwrap(), "offset"), [0, 10, 20]);
    assert_eq!(
        ends(&walk(&offset, &|url| counted(url, 10, &json!({"total": 0}))).unwrap(), "offset"),
        [0, 10, 20, 25]
    );
}

#[test]
fn a_missing_total_is_an_error_unless_there_are_no_records() {
    let offset = pagination(json!({"type": "offset", "total": "$.totl"}));
    let error = walk(&offset, &|url| counted(url, 10, &json!({"total": 25}))).unwrap_err();
    assert_eq!(error.message(), "the body has no total at `$.totl`");
    assert_eq!(walk(&offset, &|_| (json!({}), 0)).unwrap().len(), 1);
    let error = walk(&offset, &|_| (json!({"totl": "many"}), 1)).unwrap_err();
    assert_eq!(error.message(), "the total at `$.totl` is no count: \"many\"");
}

#[test]
fn known_pages_are_the_same_as_those_that_are_followed() {
    let options = json!({"type": "offset", "limit": 10, "total": "$.total", "max_pages": 3});
    let offset = pagination(options);
    let place = Place { page: Key::Offset(0), index: 0, known: Some(Known { size: 10, end: 100 }) };
    let second = offset.next_known(&place).unwrap();
    let third = offset.next_known(&second).unwrap();
    assert_eq!((&second.page, &third.page, third.index), (&Key::Offset(10), &Key::Offset(20), 2));
    assert_eq!(offset.next_known(&third), None);
    let asked = walk(&offset, &|url| counted(url, 10, &json!({"total": 25}))).unwrap();
    assert_eq!(ends(&asked, "offset"), [0, 10, 20]);
}

#[test]
fn no_more_pages_are_read_than_allowed() {
    let cursor = pagination(json!({"type": "cursor", "next": "$.next", "param": "c", "max_pages": 2}));
    let endless = |url: &Url| (json!({"next": param(url, "c").unwrap_or_default() + 1}), 1);
    assert_eq!(walk(&cursor, &endless).unwrap(), ["q=x", "q=x&c=1"]);
}

#[test]
fn a_place_of_another_pagination_is_refused() {
    let place = Place { page: Key::Offset(10), index: 1, known: None };
    let error = pagination(json!({"type": "page_number"})).check(&place).unwrap_err();
    assert!(error.message().starts_with("this position was stored under another `pagination`"), "{error}");
    assert!(pagination(json!({"type": "offset"})).check(&place).is_ok());
}

#[test]
fn a_place_is_short_json() {
    let place = Place { page: Key::Number(3), index: 2, known: None };
    assert_eq!(serde_json::to_value(&place).unwrap(), json!({"page": {"number": 3}, "index": 2}));
}
