//! A site that is scraped.

use serde_json::json;
use towpath_testkit::http::{Request, Response, TestServer};

use super::{Example, committed};

/// How many pages the catalogue has, each with twenty books.
const PAGES: u64 = 50;

/// A page of the catalogue, as the shop writes it.
fn catalogue(page: u64) -> String {
    let book = |n: u64| {
        let rating =
            ["One", "Two", "Three", "Four", "Five"][usize::try_from(n % 5).expect("it is below five")];
        format!(
            "<li class=\"col-xs-6\"><article class=\"product_pod\"><div class=\"image_container\"><a href=\"book_{n}/index.html\">\
             <img src=\"../media/{n}.jpg\" alt=\"Book {n}\" class=\"thumbnail\"></a></div><p class=\"star-rating {rating}\">\
             <i class=\"icon-star\"></i></p><h3><a href=\"book_{n}/index.html\" title=\"Book {n} &amp; more\">Book {n}...</a></h3>\
             <div class=\"product_price\"><p class=\"price_color\">£{n}.50</p><p class=\"instock availability\"><i class=\"icon-ok\"></i>\n\
             \n        In stock\n    \n</p></div></article></li>"
        )
    };
    let books: String = (page * 20..page * 20 + 20).map(book).collect();
    let next = if page < PAGES {
        format!(
            "<ul class=\"pager\"><li class=\"next\"><a href=\"page-{}.html\">next</a></li></ul>",
            page + 1
        )
    } else {
        String::new()
    };
    format!(
        "<!DOCTYPE html><html><head><title>All products</title></head><body><ol class=\"row\">{books}</ol>{next}</body></html>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn books() {
    let server = TestServer::start(|request: Request| async move {
        if request.path == "/robots.txt" {
            return Response::status(404);
        }
        let name = request.path.rsplit('/').next().unwrap_or_default();
        let number = name.strip_prefix("page-").and_then(|name| name.strip_suffix(".html")?.parse().ok());
        number.map_or_else(|| Response::status(404), |page| Response::bytes("text/html", catalogue(page)))
    })
    .await;
    let example = Example::new("books.yaml", [("BOOKS_URL", server.url(""))]);
    let report = example.run().await;
    assert_eq!(committed(&report, "books"), 1_000);
    let books = example.rows("books/books");
    let book = books.iter().find(|book| book["title"] == "Book 33 & more").expect("it is on page 1");
    assert_eq!(
        (&book["price"], &book["rating"], &book["availability"]),
        (&json!(33.5), &json!("Four"), &json!("In stock"))
    );
    assert_eq!(book["url"], server.url("/catalogue/book_33/index.html"));
}
