//! The names by which servers speak of pages. A `/` leads into an object.

pub(super) const NEXT_URLS: &[&str] = &[
    "next",
    "next_url",
    "nextUrl",
    "next_page_url",
    "nextPageUrl",
    "next_page",
    "nextPage",
    "next_link",
    "nextLink",
    "@odata.nextLink",
    "odata.nextLink",
    "nextRecordsUrl",
    "links/next",
    "links/next/href",
    "_links/next",
    "_links/next/href",
    "paging/next",
    "paging/next/link",
    "pagination/next",
    "pagination/next_url",
    "pagination/next_page_url",
    "pagination/links/next",
    "meta/next",
    "meta/next_url",
    "meta/next_page_url",
    "meta/pagination/links/next",
    "info/next",
];

/// Cursors, and the parameters that they usually go into.
pub(super) const CURSORS: &[(&str, &str)] = &[
    ("next_cursor", "cursor"),
    ("nextCursor", "cursor"),
    ("meta/next_cursor", "cursor"),
    ("meta/nextCursor", "cursor"),
    ("pagination/next_cursor", "cursor"),
    ("pagination/nextCursor", "cursor"),
    ("paging/next_cursor", "cursor"),
    ("response_metadata/next_cursor", "cursor"),
    ("nextPageToken", "pageToken"),
    ("next_page_token", "page_token"),
    ("nextToken", "nextToken"),
    ("NextToken", "NextToken"),
    ("next_token", "next_token"),
    ("meta/next_token", "next_token"),
    ("continuation_token", "continuation_token"),
    ("continuationToken", "continuationToken"),
    ("paging/next/after", "after"),
    ("pagination/cursor", "after"),
];

/// Parameters of requests that take a cursor.
pub(super) const CURSOR_PARAMS: &[&str] = &[
    "cursor",
    "after",
    "page_token",
    "pageToken",
    "next_token",
    "nextToken",
    "NextToken",
    "pagination_token",
    "continuation_token",
    "continuationToken",
    "starting_after",
    "start_cursor",
];

pub(super) const HAS_MORE: &[&str] = &[
    "has_more",
    "hasMore",
    "has_next",
    "hasNext",
    "has_next_page",
    "hasNextPage",
    "meta/has_more",
    "meta/has_next",
    "pagination/has_more",
    "pagination/has_next",
    "pagination/hasNext",
    "paging/has_more",
];

pub(super) const TOTALS_OF_PAGES: &[&str] = &[
    "total_pages",
    "totalPages",
    "page_count",
    "pageCount",
    "last_page",
    "pages",
    "meta/total_pages",
    "meta/totalPages",
    "meta/last_page",
    "meta/pagination/total_pages",
    "pagination/total_pages",
    "pagination/totalPages",
    "pagination/pages",
    "paging/total_pages",
    "page/totalPages",
    "result_info/total_pages",
    "info/pages",
];

pub(super) const TOTALS: &[&str] = &[
    "total",
    "total_count",
    "totalCount",
    "total_results",
    "totalResults",
    "total_items",
    "totalItems",
    "totalElements",
    "totalSize",
    "@odata.count",
    "response/numFound",
    "meta/total",
    "meta/total_count",
    "meta/totalCount",
    "meta/pagination/total",
    "pagination/total",
    "pagination/total_count",
    "pagination/totalCount",
    "paging/total",
    "page/totalElements",
    "result_info/total_count",
];

pub(super) const TOTAL_PAGES_HEADERS: &[&str] =
    &["x-total-pages", "x-wp-totalpages", "x-pagination-page-count"];

pub(super) const TOTAL_HEADERS: &[&str] =
    &["x-total-count", "x-total", "x-wp-total", "x-pagination-total-count"];

pub(super) const PAGES: &[&str] = &[
    "page",
    "page_number",
    "pageNumber",
    "page_no",
    "pageNo",
    "page_num",
    "pageNum",
    "current_page",
    "currentPage",
    "page[number]",
    "_page",
    "p",
];

pub(super) const OFFSETS: &[&str] = &[
    "offset",
    "$offset",
    "skip",
    "$skip",
    "startAt",
    "startIndex",
    "start",
    "_start",
    "page[offset]",
    "sysparm_offset",
];

pub(super) const PAGE_SIZES: &[&str] = &[
    "limit",
    "$limit",
    "per_page",
    "perPage",
    "page_size",
    "pageSize",
    "pagesize",
    "maxResults",
    "max_results",
    "resultsPerPage",
    "count",
    "rows",
    "size",
    "$top",
    "_limit",
    "page[size]",
    "page[limit]",
    "sysparm_limit",
];
