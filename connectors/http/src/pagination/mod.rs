//! How one page leads to the next: pure decisions from what was seen of a page. The reading itself is in [`crate::read`].

pub(crate) mod link;

use serde::{Deserialize, Serialize};
use towpath_core::{Error, Json, Result};
use towpath_formats::json::JsonPath;
use url::Url;

use crate::config::Pagination;
use crate::query;
use crate::request::Wanted;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Key {
    /// The one that the split's own URL gives.
    First,
    /// The one with this number.
    Number(u64),
    /// The one behind so many records.
    Offset(u64),
    /// The one that this cursor leads to.
    Cursor(String),
    /// The one at this URL.
    Url(Url),
}

/// A page, and what is known about those behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) page: Key,
    /// How many pages came before it.
    pub(crate) index: u64,
    /// How far the pages are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<Known>,
}

/// Pages that can be read at once, because how many there are is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// How many records a page has.
    pub(crate) size: u64,
    /// Behind the last page number or record.
    pub(crate) end: u64,
}

/// What was seen of a page.
pub(crate) struct Seen<'a> {
    /// How many records it has, those that were rejected included. `None` before they are decoded.
    pub(crate) records: Option<u64>,
    /// The target of its `Link` header.
    pub(crate) link: Option<&'a str>,
    /// Where it came from.
    pub(crate) url: &'a Url,
    /// A value of its body.
    pub(crate) value: &'a (dyn Fn(&JsonPath) -> Option<Json> + Sync),
}

impl Pagination {
    /// The first page.
    pub(crate) fn first(&self) -> Place {
        let page = match self {
            Self::None | Self::LinkHeader { .. } | Self::NextUrl { .. } | Self::Cursor { .. } => Key::First,
            Self::PageNumber { start, .. } => Key::Number(*start),
            Self::Offset { .. } => Key::Offset(0),
        };
        Place { page, index: 0, known: None }
    }

    /// Refuses a place that was stored under another pagination.
    pub(crate) fn check(&self, place: &Place) -> Result<()> {
        let fits = match &place.page {
            Key::First => matches!(self.first().page, Key::First),
            Key::Number(_) => matches!(self, Self::PageNumber { .. }),
            Key::Offset(_) => matches!(self, Self::Offset { .. }),
            Key::Cursor(_) => matches!(self, Self::Cursor { .. }),
            Key::Url(_) => matches!(self, Self::LinkHeader { .. } | Self::NextUrl { .. }),
        };
        if fits { Ok(()) } else { Err(foreign(place)) }
    }

    /// The URL of a page of this split.
    pub(crate) fn url(&self, split: &Url, page: &Key) -> Url {
        if let Key::Url(url) = page {
            return url.clone();
        }
        let mut url = split.clone();
        match (self, page) {
            (Self::PageNumber { param, size_param, page_size, .. }, Key::Number(number)) => {
                query::set(&mut url, param, &number.to_string());
                if let (Some(param), Some(size)) = (size_param, page_size) {
                    query::set(&mut url, param, &size.to_string());
                }
            }
            (Self::Offset { param, limit_param, limit, .. }, Key::Offset(offset)) => {
                query::set(&mut url, param, &offset.to_string());
                query::set(&mut url, limit_param, &limit.to_string());
            }
            (Self::Cursor { param, .. }, Key::Cursor(cursor)) => query::set(&mut url, param, cursor),
            _ => {}
        }
        url
    }

    /// The request for a page of this split.
    ///
    /// # Errors
    /// When the page's place has no place in the request.
    pub(crate) fn request(&self, split: &Wanted, page: &Key) -> Result<Wanted> {
        Ok(Wanted { url: self.url(&split.url, page), ..split.clone() })
    }

    /// Whether the body has to be JSON, because it tells where to go on.
    pub(crate) fn needs_json(&self) -> bool {
        match self {
            Self::None | Self::LinkHeader { .. } => false,
            Self::NextUrl { .. } | Self::Cursor { .. } => true,
            Self::PageNumber { total, total_pages, .. } => total.is_some() || total_pages.is_some(),
            Self::Offset { total, .. } => total.is_some(),
        }
    }

    /// Whether the next page is known before the records of this one are decoded.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self, Self::LinkHeader { .. } | Self::NextUrl { .. } | Self::Cursor { .. })
    }

    /// The page behind this one; `None` at the end.
    ///
    /// # Errors
    /// `DataInvalid` when the body does not say what it should.
    pub(crate) fn after(&self, place: &Place, seen: &Seen<'_>) -> Result<Option<Place>> {
        if self.max_pages().is_some_and(|most| place.index + 1 >= most) {
            return Ok(None);
        }
        let (page, known) = match self {
            Self::None => return Ok(None),
            Self::LinkHeader { .. } => (url_key(seen.link, seen.url)?, None),
            Self::NextUrl { path, .. } => {
                let next = text((seen.value)(path), path)?;
                (url_key(next.as_deref(), seen.url)?, None)
            }
            Self::Cursor { next, .. } => (text((seen.value)(next), next)?.map(Key::Cursor), None),
            Self::PageNumber { .. } => self.next_number(place, seen)?,
            Self::Offset { .. } => self.next_offset(place, seen)?,
        };
        Ok(page.map(|page| Place { page, index: place.index + 1, known }))
    }

    /// The place behind one of several known pages; `None` behind the last.
    pub(crate) fn next_known(&self, place: &Place) -> Option<Place> {
        let known = place.known?;
        if self.max_pages().is_some_and(|most| place.index + 1 >= most) {
            return None;
        }
        let page = match place.page {
            Key::Number(number) => Some(number + 1).filter(|next| *next < known.end).map(Key::Number),
            Key::Offset(offset) => {
                Some(offset + known.size).filter(|next| *next < known.end).map(Key::Offset)
            }
            _ => None,
        };
        page.map(|page| Place { page, index: place.index + 1, known: Some(known) })
    }

    fn max_pages(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::LinkHeader { max_pages }
            | Self::NextUrl { max_pages, .. }
            | Self::Cursor { max_pages, .. }
            | Self::PageNumber { max_pages, .. }
            | Self::Offset { max_pages, .. } => max_pages.map(std::num::NonZeroU64::get),
        }
    }

    fn next_number(&self, place: &Place, seen: &Seen<'_>) -> Result<(Option<Key>, Option<Known>)> {
        let (
            Self::PageNumber { start, total_pages, total, page_size, stop_on_short_page, .. },
            Key::Number(number),
        ) = (self, &place.page)
        else {
            return Err(foreign(place));
        };
        let wanted = page_size.map(std::num::NonZeroU64::get);
        let records = seen.records.unwrap_or_default();
        let known = match (total_pages, total) {
            (Some(path), _) => count(seen, path, place)?
                .map(|pages| Known { size: records, end: start.saturating_add(pages) }),
            (None, Some(path)) => count(seen, path, place)?.map(|total| {
                let size = page_records(place, records, wanted, total);
                Known { size, end: start.saturating_add(total.div_ceil(size)) }
            }),
            (None, None) => None,
        };
        let known = believed(known, *number, records).or(place.known);
        let next = next_count(known, (*number, 1), records, wanted.filter(|_| *stop_on_short_page));
        Ok((next.map(Key::Number), known))
    }

    fn next_offset(&self, place: &Place, seen: &Seen<'_>) -> Result<(Option<Key>, Option<Known>)> {
        let (Self::Offset { limit, total, stop_on_short_page, .. }, Key::Offset(offset)) =
            (self, &place.page)
        else {
            return Err(foreign(place));
        };
        let limit = limit.get();
        let records = seen.records.unwrap_or_default();
        let known = match total {
            None => None,
            Some(path) => count(seen, path, place)?
                .map(|total| Known { size: page_records(place, records, Some(limit), total), end: total }),
        };
        let known = believed(known, *offset, records).or(place.known);
        // Without a total, as many are left out as have been seen: some servers give less than they are asked for.
        let step = known.map_or(records, |known| known.size);
        let next = next_count(known, (*offset, step), records, Some(limit).filter(|_| *stop_on_short_page));
        Ok((next.map(Key::Offset), known))
    }
}

/// A total that a page tells. Some servers tell one only once, or a wrong one later: it must not cut off the page that
/// told it.
fn believed(told: Option<Known>, at: u64, records: u64) -> Option<Known> {
    told.filter(|known| known.end > at || records == 0)
}

/// Where a counted page leads: to the next one below a known end, else on until a page is empty.
fn next_count(
    known: Option<Known>,
    (at, step): (u64, u64),
    records: u64,
    full_page: Option<u64>,
) -> Option<u64> {
    let next = at.saturating_add(step);
    let is_there = match known {
        Some(known) => next < known.end && step > 0,
        None => records > 0 && full_page.is_none_or(|full| records >= full),
    };
    is_there.then_some(next)
}

/// How many records each page has. A first page that is not the last and gives less than was asked for shows the most
/// that the server gives.
fn page_records(place: &Place, records: u64, wanted: Option<u64>, total: u64) -> u64 {
    if let Some(known) = place.known {
        return known.size;
    }
    let size = match wanted {
        Some(wanted) if records == 0 || records >= total => wanted,
        Some(wanted) => wanted.min(records),
        None => records,
    };
    size.max(1)
}

/// A count in the body. The first page has to tell it, unless it is empty.
fn count(seen: &Seen<'_>, path: &JsonPath, place: &Place) -> Result<Option<u64>> {
    let value = (seen.value)(path);
    let number = match &value {
        Some(Json::Number(number)) => number.as_u64(),
        Some(Json::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match (number, value) {
        (Some(number), _) => Ok(Some(number)),
        (None, None | Some(Json::Null)) if place.index > 0 || seen.records == Some(0) => Ok(None),
        (None, None | Some(Json::Null)) => Err(Error::data(format!("the body has no total at `{path}`"))
            .help("check the path in `pagination`, or leave it out to read until a page is empty")),
        (None, Some(other)) => Err(Error::data(format!("the total at `{path}` is no count: {other}"))),
    }
}

/// A cursor or URL in the body; none when it is missing, null, false or empty.
fn text(value: Option<Json>, path: &JsonPath) -> Result<Option<String>> {
    match value {
        None | Some(Json::Null | Json::Bool(false)) => Ok(None),
        Some(Json::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(Error::data(format!("`{path}` leads to {other}, which is no text"))
            .help("check the path in `pagination`")),
    }
}

fn url_key(target: Option<&str>, page: &Url) -> Result<Option<Key>> {
    let Some(target) = target.filter(|target| !target.is_empty()) else { return Ok(None) };
    match page.join(target) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(Key::Url(url))),
        _ => Err(Error::data("the next page is no HTTP URL").help("check the path in `pagination`")),
    }
}

fn foreign(place: &Place) -> Error {
    Error::config(format!("this position was stored under another `pagination`: {:?}", place.page))
        .help("finish the run with the old options, or `towpath state reset`")
}

#[cfg(test)]
mod tests;
