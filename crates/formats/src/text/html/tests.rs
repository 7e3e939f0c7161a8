//! Selectors on pages, and pages to rows.

use serde_json::{Value, json};

use super::dom::{DOCUMENT, Dom};
use super::selector::Selector;
use super::{Extractor, Links};
use crate::text::testing::{read, rows_of};
use crate::{Compression, HtmlRead, ReadOptions, text};

const PAGE: &str = r#"<!doctype html>
<title>Shop</title>
<div id=list class="items big">
  <p class="item first" data-n="1"><a href="/a?x=1#top">One</a> <b>1</b>0 EUR
  <p class="item" data-n="2"><a href="b" rel="next nofollow">Two</a><span lang="en-GB"></span>
  <p class="other" data-n="3">Three
</div>
<table><tr><th>Name<th>Price<tr><td>Nut<td>1.20 €<tr><td>Bolt<td>2.40 €<br>each</table>
<script>var x = "<p class=item>";</script>"#;

fn found(selector: &str) -> Vec<String> {
    let selector: Selector = selector.parse().unwrap();
    let dom = Dom::parse(PAGE).unwrap();
    selector
        .all(&dom, DOCUMENT)
        .map(|id| match dom.attribute(id, "data-n") {
            Some(number) => format!("{}{number}", dom.name(id)),
            None => format!("{}:{}", dom.name(id), dom.text(id)),
        })
        .collect()
}

#[test]
fn selectors_match_as_in_browsers() {
    for (selector, expected) in [
        ("p", &["p1", "p2", "p3"][..]),
        ("P.item", &["p1", "p2"]),
        (".item.first", &["p1"]),
        ("#list > .item", &["p1", "p2"]),
        ("body > .item", &[]),
        ("div .item, .other", &["p1", "p2", "p3"]),
        (".first + p", &["p2"]),
        (".first ~ p", &["p2", "p3"]),
        ("p:not(.item)", &["p3"]),
        ("p:not(.first, .other)", &["p2"]),
        ("p:has(> a[rel~=next])", &["p2"]),
        ("p:has(+ .other)", &["p2"]),
        ("p:is(.first, .other)", &["p1", "p3"]),
        ("[data-n='2']", &["p2"]),
        ("[data-n=\"2\"]", &["p2"]),
        ("p[class^=it][class$=\"first\"][class*=' ']", &["p1"]),
        ("[CLASS='ITEM' i]", &["p2"]),
        ("span[lang|=en]:empty", &["span:"]),
        ("p:nth-child(2)", &["p2"]),
        ("p:nth-child(odd)", &["p1", "p3"]),
        ("p:nth-child( -n + 2 )", &["p1", "p2"]),
        ("p:nth-last-child(1)", &["p3"]),
        ("p:first-child, p:last-of-type", &["p1", "p3"]),
        ("b:only-of-type", &["b:1"]),
        ("title:first-of-type", &["title:Shop"]),
        ("html:root > head > *", &["title:Shop"]),
        ("tr td:first-child", &["td:Nut", "td:Bolt"]),
        ("td:nth-of-type(2)", &["td:1.20 €", "td:2.40 € each"]),
    ] {
        assert_eq!(found(selector), expected, "{selector}");
    }
}

#[test]
fn a_wrong_selector_is_named_with_its_place() {
    for (selector, message) in [
        ("", "`` is no CSS selector: it ends where a name, `.class`, `#id`, `[attribute]` or `:…` should"),
        ("a >", "`a >` is no CSS selector: it ends where a name"),
        ("a[b", "`a[b` is no CSS selector: it ends where `=` or `]` should"),
        ("a..b", "`a..b` is no CSS selector: `.` stands where a name should"),
        ("a:hover", "`a:hover` is no CSS selector: `:` stands where a pseudo-class that we know should"),
        ("li:nth-child(x)", "`li:nth-child(x)` is no CSS selector: `x` stands where `odd`"),
        ("a)", "`a)` is no CSS selector: `)` stands where a combinator or a comma should"),
    ] {
        let error = selector.parse::<Selector>().unwrap_err();
        assert!(error.message().starts_with(message), "{selector}: {error}");
    }
    let nested = format!("{}a{}", ":not(".repeat(100), ")".repeat(100));
    assert!(nested.parse::<Selector>().is_err());
}

fn options(options: Value) -> HtmlRead {
    serde_json::from_value(options).unwrap()
}

fn scraped(read: Value) -> Value {
    let url = "https://shop.example/x/list.html?page=1".parse().unwrap();
    let scraped =
        Extractor::new(&options(read)).unwrap().scrape(PAGE.as_bytes(), None, Some(&url), None).unwrap();
    serde_json::from_slice(&scraped.rows).unwrap()
}

#[test]
fn rows_become_columns_by_their_options() {
    let found = scraped(json!({"rows": "#list p", "columns": {
        "title": "a",
        "url": {"select": "a", "attribute": "href", "absolute": true},
        "raw": {"select": "a", "attribute": "href"},
        "price": {"regex": "(\\d+) EUR"},
        "unit": {"regex": "EUR"},
        "n": {"attribute": "data-n"},
        "links": {"select": "a", "all": true},
    }}));
    let expected = json!([
        {"title": "One", "url": "https://shop.example/a?x=1#top", "raw": "/a?x=1#top", "price": "10", "unit": "EUR",
         "n": "1", "links": ["One"]},
        {"title": "Two", "url": "https://shop.example/x/b", "raw": "b", "price": null, "unit": null, "n": "2",
         "links": ["Two"]},
        {"title": null, "url": null, "raw": null, "price": null, "unit": null, "n": "3", "links": null},
    ]);
    assert_eq!(found, expected);
}

#[test]
fn what_has_none_of_the_columns_is_no_row() {
    let found = scraped(json!({"rows": "table tr", "columns": {"name": "td", "price": "td + td"}}));
    assert_eq!(found, json!([{"name": "Nut", "price": "1.20 €"}, {"name": "Bolt", "price": "2.40 € each"}]));
}

#[test]
fn links_are_absolute_and_come_once() {
    let page = r#"<base href="https://cdn.example/y/"><a href="n?p=2#a">2</a><a href="n?p=2#b">2</a>
        <a href="mailto:x@y">m</a><a>none</a><a href="//other.example/z">o</a>"#;
    let extractor = Extractor::new(&options(json!({"rows": "p", "columns": {"a": "b"}}))).unwrap();
    let links: Links = "a".parse().unwrap();
    let url = "https://shop.example/".parse().unwrap();
    let found = extractor.scrape(page.as_bytes(), None, Some(&url), Some(&links)).unwrap().links;
    let found: Vec<_> = found.iter().map(url::Url::as_str).collect();
    assert_eq!(found, ["https://cdn.example/y/n?p=2", "https://other.example/z"]);
}

#[test]
fn any_bytes_become_a_tree() {
    for page in
        ["", "<", "<p <p", "</table><tr><td>x", "<table><a>1<b>2</table>3", "<template><p>x</template>", "\0"]
    {
        let dom = Dom::parse(page).unwrap();
        assert!(dom.descendants(DOCUMENT).count() >= 3, "{page}");
    }
    let deep = Dom::parse(&"<div>".repeat(2_000)).unwrap();
    assert!(deep.descendants(DOCUMENT).count() > 2_000);
    assert_eq!(deep.text(DOCUMENT), "");
}

#[test]
fn a_page_that_is_nested_without_end_is_given_up() {
    let error = Dom::parse(&"<div>é".repeat(1_000_000)).unwrap_err();
    assert_eq!(error.message(), "elements are nested deeper than 2048");
}

#[test]
fn wrong_options_are_refused() {
    for (read, message) in [
        (json!({"rows": "p", "columns": {}}), "`columns` of the HTML format are empty"),
        (json!({"rows": "p[", "columns": {"a": "b"}}), "`p[` is no CSS selector"),
        (json!({"rows": "p", "columns": {"a": "b["}}), "`b[` is no CSS selector"),
        (json!({"rows": "p", "columns": {"a": {"regex": "("}}}), "`regex` is no regular expression"),
    ] {
        let error = Extractor::new(&options(read)).unwrap_err();
        assert!(error.message().starts_with(message), "{error}");
    }
    assert!(
        serde_json::from_value::<HtmlRead>(json!({"rows": "p", "columns": {"a": {"selct": "b"}}})).is_err()
    );
}

#[tokio::test]
async fn a_file_of_html_is_read() {
    let read_options = options(
        json!({"rows": "table tr", "columns": {"name": "td", "price": {"select": "td + td", "regex": "[\\d.]+"}}}),
    );
    let kind = text::Kind::Html(Extractor::new(&read_options).unwrap().into());
    let options = ReadOptions {
        columns: crate::Columns(vec![("price".to_owned(), "decimal(6,2)".parse().unwrap())]),
        ..ReadOptions::default()
    };
    let reader = text::Reader::new(kind, Compression::None, options);
    let (rows, rejected) = read(&reader, PAGE).await.unwrap();
    assert_eq!(rejected, []);
    assert_eq!(
        rows_of(&rows),
        [json!({"name": "Nut", "price": "1.20"}), json!({"name": "Bolt", "price": "2.40"})]
    );
}
