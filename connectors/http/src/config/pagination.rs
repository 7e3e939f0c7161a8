//! The options of pagination.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::Deserialize;
use towpath_formats::json::JsonPath;

/// How one page leads to the next.
///
/// Reading ends where the server says so: no next link, URL or cursor, the total reached, or a page without records.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pagination {
    /// A single page.
    #[default]
    None,
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
    /// A cursor in the body goes into a query parameter.
    Cursor {
        /// `JSONPath` to the cursor of the next page, such as `$.meta.next`. The last page has none, or an empty one.
        next: JsonPath,
        /// The query parameter that gets it.
        param: String,
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
        /// `JSONPath` to the number of pages, such as `$.total_pages`.
        #[serde(default)]
        total_pages: Option<JsonPath>,
        /// `JSONPath` to the number of records, such as `$.total`.
        #[serde(default)]
        total: Option<JsonPath>,
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
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
    /// Query parameters count records. With a total, pages are read in parallel.
    Offset {
        /// The query parameter for how many records are left out.
        #[serde(default = "offset")]
        param: String,
        /// The query parameter for how many records are wanted.
        #[serde(default = "limit")]
        limit_param: String,
        /// How many records are wanted in a page; 100 by default.
        #[serde(default = "hundred")]
        limit: NonZeroU64,
        /// `JSONPath` to the number of records, such as `$.total`.
        #[serde(default)]
        total: Option<JsonPath>,
        /// Whether a page with fewer records than `limit` is the last. Off by default, because many servers give less than
        /// they are asked for.
        #[serde(default)]
        stop_on_short_page: bool,
        /// The most pages of one URL.
        #[serde(default)]
        max_pages: Option<NonZeroU64>,
    },
}

fn page() -> String {
    "page".to_owned()
}

fn offset() -> String {
    "offset".to_owned()
}

fn limit() -> String {
    "limit".to_owned()
}

fn one() -> u64 {
    1
}

fn hundred() -> NonZeroU64 {
    const HUNDRED: NonZeroU64 = NonZeroU64::new(100).expect("a hundred is not zero");
    HUNDRED
}
