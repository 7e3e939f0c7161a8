//! The options of pagination.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_formats::json::JsonPath;

/// How one page leads to the next.
///
/// Reading ends where the server says so: no next link, URL or cursor, the total reached, or a page without records.
/// Records that come or go while pages are counted shift those behind them: some are then read twice or not at all. Sort
/// by something that does not change, ask for a closed window of time, or use a cursor; `merge` removes what came twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pagination {
    /// A single page.
    #[default]
    None,
    /// What the first answer shows. It is looked for, in this order: a `Link` header; the next page's URL in a field such as
    /// `next`, `links.next` or `@odata.nextLink`; a cursor in a field such as `next_cursor` or `nextPageToken`; a list with
    /// `has_more` whose next page begins behind the last `id`; a page number or an offset in the request's own query or body,
    /// such as `page: 1` or `offset: 0`, with a total where there is one. The log says what was found. When there are more
    /// pages, and no way to them is recognised, reading fails.
    Auto {
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// The header `Link: <URL>; rel="next"`.
    LinkHeader {
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// The next page's URL stands in the body.
    NextUrl {
        /// `JSONPath` to it, such as `$.links.next`.
        path: JsonPath,
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// A cursor of the answer goes into the next request. It is found by one of `next`, `next_header` and `last_record`.
    Cursor {
        /// `JSONPath` to the cursor of the next page, such as `$.meta.next`. The last page has none, or an empty one.
        #[serde(default)]
        next: Option<JsonPath>,
        /// The header of the answer that holds it.
        #[serde(default)]
        next_header: Option<String>,
        /// The field of the last record that it is, such as `id`; a field in a field as `meta.id`. A page without records
        /// is the last.
        #[serde(default)]
        last_record: Option<String>,
        /// What gets it: a query parameter, a header, or a field of the body. In a body, `a.b` is a field in a field, and
        /// with `graphql` a variable.
        param: String,
        /// `JSONPath` to whether there are more pages, such as `$.has_more`.
        #[serde(default)]
        has_more: Option<JsonPath>,
        /// Where `param` goes.
        #[serde(default, rename = "in")]
        place: ParamPlace,
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// A query parameter counts pages. With a total, pages are read in parallel.
    PageNumber {
        /// The query parameter.
        #[serde(default = "page")]
        param: String,
        /// The number of the first page.
        #[serde(default = "one")]
        start: u64,
        /// By how much the number grows from page to page; 1 by default.
        #[serde(default = "step")]
        step: NonZeroU64,
        /// Whether the first page is asked for with `param`, too; on by default.
        #[serde(default = "yes")]
        in_first_request: bool,
        /// `JSONPath` to the number of pages, such as `$.total_pages`.
        #[serde(default)]
        total_pages: Option<JsonPath>,
        /// `JSONPath` to the number of records, such as `$.total`. One below the records of the first page is not believed.
        #[serde(default)]
        total: Option<JsonPath>,
        /// The header with the number of pages, such as `X-WP-TotalPages`.
        #[serde(default)]
        total_pages_header: Option<String>,
        /// The header with the number of records, such as `X-Total-Count`.
        #[serde(default)]
        total_header: Option<String>,
        /// `JSONPath` to whether there are more pages, such as `$.has_more`.
        #[serde(default)]
        has_more: Option<JsonPath>,
        /// Where `param` and `size_param` go.
        #[serde(default, rename = "in")]
        place: ParamPlace,
        /// How many records a page holds; by default as many as the first page has.
        #[serde(default)]
        page_size: Option<NonZeroU64>,
        /// The query parameter that asks for `page_size`.
        #[serde(default)]
        size_param: Option<String>,
        /// Whether a page with fewer records than `page_size` is the last. Off by default, because many servers give less
        /// than they are asked for.
        #[serde(default)]
        stop_on_short_page: bool,
        /// Whether two pages in a row may have the same records. By default that is an error, because the server seems to
        /// ignore `param`.
        #[serde(default)]
        may_repeat: bool,
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// Query parameters count records. With a total, pages are read in parallel.
    Offset {
        /// The query parameter for how many records are left out.
        #[serde(default = "offset")]
        param: String,
        /// The offset of the first record: 1 where servers count from 1.
        #[serde(default)]
        start: u64,
        /// Whether the first page is asked for with `param`, too; on by default.
        #[serde(default = "yes")]
        in_first_request: bool,
        /// The query parameter for how many records are wanted; `null` where the server decides.
        #[serde(default = "limit")]
        limit_param: Option<String>,
        /// How many records are wanted in a page; 100 by default.
        #[serde(default = "hundred")]
        limit: NonZeroU64,
        /// `JSONPath` to the number of records, such as `$.total`. One below the records of the first page is not believed.
        #[serde(default)]
        total: Option<JsonPath>,
        /// The header with the number of records, such as `X-Total-Count`.
        #[serde(default)]
        total_header: Option<String>,
        /// `JSONPath` to whether there are more pages, such as `$.has_more`.
        #[serde(default)]
        has_more: Option<JsonPath>,
        /// Where `param` and `limit_param` go.
        #[serde(default, rename = "in")]
        place: ParamPlace,
        /// Whether a page with fewer records than `limit` is the last. Off by default, because many servers give less than
        /// they are asked for.
        #[serde(default)]
        stop_on_short_page: bool,
        /// Whether two pages in a row may have the same records. By default that is an error, because the server seems to
        /// ignore `param`.
        #[serde(default)]
        may_repeat: bool,
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
}

/// Where a parameter of pagination goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamPlace {
    /// The query of the URL.
    #[default]
    Query,
    /// A header.
    Header,
    /// The body: a field, or with `graphql` a variable.
    Body,
}

fn page() -> String {
    "page".to_owned()
}

fn offset() -> String {
    "offset".to_owned()
}

#[expect(clippy::unnecessary_wraps, reason = "it is the default of an option that may be null")]
fn limit() -> Option<String> {
    Some("limit".to_owned())
}

fn yes() -> bool {
    true
}

fn step() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn one() -> u64 {
    1
}

fn hundred() -> NonZeroU64 {
    const HUNDRED: NonZeroU64 = NonZeroU64::new(100).expect("a hundred is not zero");
    HUNDRED
}
