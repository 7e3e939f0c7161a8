//! Tells from the first answer how a server leads from page to page.
//!
//! The order is from what is a standard to what is a guess:
//!
//! 1. a `Link` header with `rel="next"`;
//! 2. the next page's URL in a field that is known for it;
//! 3. a cursor in a field that is known for it, with a `has_more` where there is one;
//! 4. a list with `has_more` whose next page begins behind the last record's `id`;
//! 5. a page number or an offset in the request, with a count of pages or records, or a `has_more`, where there is one.
//!
//! Where none of these fits and something still says that there are more pages, that is an error: rows would be missing.

use std::fmt;
use std::num::NonZeroU64;

use reqwest::header::HeaderMap;
use serde_json::Value as Json;
use towpath_core::{Error, Result};
use towpath_formats::json::JsonPath;
use url::Url;

use super::fields::{
    CURSOR_PARAMS, CURSORS, HAS_MORE, NEXT_URLS, OFFSETS, PAGE_SIZES, PAGES, TOTAL_HEADERS,
    TOTAL_PAGES_HEADERS, TOTALS, TOTALS_OF_PAGES,
};
use crate::config::{Pagination, ParamPlace};
use crate::request::{Content, Wanted};

/// What the first answer shows.
pub(crate) struct First<'a> {
    pub(crate) request: &'a Wanted,
    pub(crate) headers: &'a HeaderMap,
    /// The target of its `Link` header.
    pub(crate) link: Option<&'a str>,
    /// Its body without what is in arrays; null when it is no JSON.
    pub(crate) body: &'a Json,
    pub(crate) records: u64,
    /// Its last record.
    pub(crate) last: &'a (dyn Fn() -> Option<Json> + Sync),
}

/// A parameter of the request that counts.
struct Counter {
    name: String,
    value: u64,
    place: ParamPlace,
}

impl First<'_> {
    /// How one page leads to the next; not at all where nothing speaks of other pages.
    ///
    /// # Errors
    /// When there are more pages, and no way to them is known.
    pub(crate) fn detect(&self, max_pages: Option<NonZeroU64>) -> Result<Pagination> {
        if self.link.is_some() {
            return Ok(Pagination::LinkHeader { max_pages });
        }
        if let Some(path) = NEXT_URLS.iter().find(|path| is_url(self.value(path))) {
            return Ok(Pagination::NextUrl { path: json_path(path), max_pages });
        }
        let more = HAS_MORE.iter().find(|path| self.value(path).is_some_and(Json::is_boolean));
        let has_more = || more.map(|path| json_path(path));
        let is_last = more.is_some_and(|path| self.value(path) == Some(&Json::Bool(false)));
        if is_last {
            return Ok(Pagination::None);
        }
        if let Some((path, param)) = CURSORS.iter().find(|(path, _)| is_cursor(self.value(path))) {
            let (param, place) = self.cursor_param(param);
            let next = Some(json_path(path));
            let (next_header, last_record) = (None, None);
            return Ok(Pagination::Cursor {
                next,
                next_header,
                last_record,
                param,
                has_more: has_more(),
                place,
                max_pages,
            });
        }
        if more.is_some() && self.is_list_by_last_id() {
            return Ok(Pagination::Cursor {
                next: None,
                next_header: None,
                last_record: Some("id".to_owned()),
                param: "starting_after".to_owned(),
                has_more: has_more(),
                place: ParamPlace::Query,
                max_pages,
            });
        }
        let by_count = self.by_count(has_more(), max_pages);
        match (by_count, self.sign(more.copied())) {
            (Some(found), _) => Ok(found),
            (None, Some(sign)) => Err(Error::data(format!(
                "{sign}, so there are more pages, and no way to them was recognised"
            ))
            .help(
                "write the parameter that counts into `query`, such as `page: 1` or `offset: 0`, or set another \
                 `pagination` than auto",
            )),
            (None, None) => Ok(Pagination::None),
        }
    }

    fn value(&self, path: &str) -> Option<&Json> {
        path.split('/').try_fold(self.body, |value, name| value.get(name)).filter(|value| !value.is_null())
    }

    /// The parameter for a cursor: one that the request has already, or the usual one.
    fn cursor_param(&self, usual: &str) -> (String, ParamPlace) {
        let has_body = matches!(self.request.body, Some(Content::Json(_) | Content::Graphql(_)));
        let in_query = |name: &&&str| self.request.url.query_pairs().any(|(known, _)| known == **name);
        if let Some(name) = CURSOR_PARAMS.iter().find(in_query) {
            return ((*name).to_owned(), ParamPlace::Query);
        }
        let in_body = |name: &&&str| body_field(self.request, name).is_some();
        let name = CURSOR_PARAMS.iter().find(in_body).map_or(usual, |name| *name);
        (name.to_owned(), if has_body { ParamPlace::Body } else { ParamPlace::Query })
    }

    /// Whether it is a list as Stripe's API gives it, and those that took after it.
    fn is_list_by_last_id(&self) -> bool {
        let is_list = self.value("object").is_some_and(|object| object == "list");
        is_list && (self.last)().is_some_and(|record| record.get("id").is_some_and(Json::is_string))
    }

    fn by_count(&self, has_more: Option<JsonPath>, max_pages: Option<NonZeroU64>) -> Option<Pagination> {
        let has_count = |path: &&&str| self.count(path).is_some();
        let has_header = |name: &&&str| self.header(name).is_some();
        let body = |paths: &[&str]| paths.iter().find(has_count).map(|path| json_path(path));
        let header = |names: &[&str]| names.iter().find(has_header).map(|name| (*name).to_owned());
        // One of them has to be enough, and the first is the one that is least likely to be wrong.
        let total_pages = body(TOTALS_OF_PAGES).filter(|_| has_more.is_none());
        let total_pages_header =
            header(TOTAL_PAGES_HEADERS).filter(|_| has_more.is_none() && total_pages.is_none());
        let is_told = has_more.is_some() || total_pages.is_some() || total_pages_header.is_some();
        let size = self.counter(PAGE_SIZES);
        if let Some(Counter { name: param, value: start, place }) = self.counter(PAGES) {
            let total = body(TOTALS).filter(|_| !is_told);
            let total_header = header(TOTAL_HEADERS).filter(|_| !is_told && total.is_none());
            return Some(Pagination::PageNumber {
                param,
                start,
                step: NonZeroU64::MIN,
                in_first_request: true,
                total_pages,
                total,
                total_pages_header,
                total_header,
                has_more,
                place,
                page_size: size.and_then(|size| size.value.try_into().ok()),
                size_param: None,
                stop_on_short_page: false,
                may_repeat: false,
                max_pages,
            });
        }
        let Counter { name: param, value: start, place } = self.counter(OFFSETS)?;
        let total = body(TOTALS).filter(|_| has_more.is_none());
        let total_header = header(TOTAL_HEADERS).filter(|_| has_more.is_none() && total.is_none());
        // Without a size in the request, the server decides, and as many are asked for as it gave.
        let (limit_param, limit) = match size {
            Some(size) => (Some(size.name), size.value),
            None => (None, self.records),
        };
        Some(Pagination::Offset {
            param,
            start,
            in_first_request: true,
            limit_param,
            limit: limit.max(1).try_into().ok()?,
            total,
            total_header,
            has_more,
            place,
            stop_on_short_page: false,
            may_repeat: false,
            max_pages,
        })
    }

    /// The first of these parameters that the request has, with a number.
    fn counter(&self, names: &[&str]) -> Option<Counter> {
        let pairs: Vec<_> = self.request.url.query_pairs().collect();
        for name in names {
            let in_query = pairs.iter().find(|(known, _)| known == name);
            if let Some(value) = in_query.and_then(|(_, value)| value.parse().ok()) {
                return Some(Counter { name: (*name).to_owned(), value, place: ParamPlace::Query });
            }
            if let Some(value) = body_field(self.request, name).as_ref().and_then(Json::as_u64) {
                return Some(Counter { name: (*name).to_owned(), value, place: ParamPlace::Body });
            }
        }
        None
    }

    fn count(&self, path: &str) -> Option<u64> {
        let value = self.value(path)?;
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    fn header(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.trim().parse().ok()
    }

    /// What says that there are more pages than this one.
    fn sign(&self, more: Option<&str>) -> Option<String> {
        if let Some(path) = more {
            return Some(format!("`{}` is true", json_path(path)));
        }
        let told = |paths: &[&str], least: u64| {
            let found = paths.iter().find_map(|path| Some((path, self.count(path)?)));
            found
                .filter(|(_, count)| *count > least)
                .map(|(path, count)| format!("`{}` is {count}", json_path(path)))
        };
        let in_header = |names: &[&str], least: u64| {
            let found = names.iter().find_map(|name| Some((name, self.header(name)?)));
            found
                .filter(|(_, count)| *count > least)
                .map(|(name, count)| format!("the header `{name}` is {count}"))
        };
        let next = || {
            let path = NEXT_URLS.iter().find(|path| is_cursor(self.value(path)))?;
            Some(format!("`{}` is set", json_path(path)))
        };
        told(TOTALS_OF_PAGES, 1)
            .or_else(|| in_header(TOTAL_PAGES_HEADERS, 1))
            .or_else(|| told(TOTALS, self.records).filter(|_| self.records > 0))
            .or_else(|| in_header(TOTAL_HEADERS, self.records).filter(|_| self.records > 0))
            .or_else(next)
    }
}

/// What was detected, for the log.
impl fmt::Display for Pagination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("a single page"),
            Self::Auto { .. } => f.write_str("as the first answer shows"),
            Self::LinkHeader { .. } => f.write_str("the `Link` header"),
            Self::NextUrl { path, .. } => write!(f, "the next URL at `{path}`"),
            Self::Cursor { next: Some(path), param, .. } => {
                write!(f, "the cursor at `{path}`, sent as `{param}`")
            }
            Self::Cursor { param, .. } => write!(f, "a cursor, sent as `{param}`"),
            Self::PageNumber { param, .. } => write!(f, "the page number `{param}`"),
            Self::Offset { param, .. } => write!(f, "the offset `{param}`"),
        }
    }
}

/// A field of the request's JSON body.
fn body_field(request: &Wanted, name: &str) -> Option<Json> {
    match &request.body {
        Some(Content::Json(body)) => body.get(name).cloned(),
        Some(Content::Graphql(body)) => body["variables"].get(name).cloned(),
        _ => None,
    }
}

/// Whether a text is a URL, from its root or to this page with another query.
fn is_url(value: Option<&Json>) -> bool {
    let Some(text) = value.and_then(Json::as_str) else { return false };
    text.starts_with('/')
        || text.starts_with('?')
        || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

fn is_cursor(value: Option<&Json>) -> bool {
    match value {
        Some(Json::String(text)) => !text.is_empty(),
        Some(Json::Number(_)) => true,
        _ => false,
    }
}

fn json_path(path: &str) -> JsonPath {
    let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let step = |name: &str| if is_plain(name) { format!(".{name}") } else { format!("['{name}']") };
    let text: String = path.split('/').map(step).collect();
    format!("${text}").parse().expect("names make a path")
}
