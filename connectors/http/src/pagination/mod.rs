//! How one page leads to the next: pure decisions from what was seen of a page. The reading itself is in [`crate::read`].

mod detect;
mod fields;
pub(crate) mod link;
mod skeleton;
mod tell;

use reqwest::header::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use towpath_core::{Error, Json, Result};
use towpath_formats::json::JsonPath;
use url::Url;

use crate::config::{Pagination, ParamPlace, SourceConfig};
use crate::request::Wanted;

pub(crate) use detect::First;
pub(crate) use skeleton::skeleton;
use tell::{Total, count, has_more, last, text, typed};

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
    /// The same, for a cursor that is no text, as JSON.
    Json(String),
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
    /// The headers that came with it.
    pub(crate) headers: &'a HeaderMap,
    /// The target of its `Link` header.
    pub(crate) link: Option<&'a str>,
    /// Where it came from.
    pub(crate) url: &'a Url,
    /// A value of its body.
    pub(crate) value: &'a (dyn Fn(&JsonPath) -> Option<Json> + Sync),
    /// Its last record.
    pub(crate) last: &'a (dyn Fn() -> Option<Json> + Sync),
}

impl Pagination {
    /// The first page.
    pub(crate) fn first(&self) -> Place {
        let page = match self {
            Self::None
            | Self::Auto { .. }
            | Self::LinkHeader { .. }
            | Self::NextUrl { .. }
            | Self::Cursor { .. } => Key::First,
            Self::PageNumber { start, .. } => Key::Number(*start),
            Self::Offset { start, .. } => Key::Offset(*start),
        };
        Place { page, index: 0, known: None }
    }

    /// Refuses a place that was stored under another pagination.
    pub(crate) fn check(&self, place: &Place) -> Result<()> {
        let fits = match &place.page {
            Key::First => matches!(self.first().page, Key::First),
            Key::Number(_) => matches!(self, Self::PageNumber { .. }),
            Key::Offset(_) => matches!(self, Self::Offset { .. }),
            Key::Cursor(_) | Key::Json(_) => matches!(self, Self::Cursor { .. }),
            Key::Url(_) => matches!(self, Self::LinkHeader { .. } | Self::NextUrl { .. }),
        };
        if fits { Ok(()) } else { Err(foreign(place)) }
    }

    /// Holds it against the other options.
    pub(crate) fn validate(&self, config: &SourceConfig) -> Result<()> {
        let header = |option: &str, name: &str| match name.parse::<HeaderName>() {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::config(format!("`pagination.{option}: {name}` is no name of a header"))),
        };
        let (place, params) = match self {
            Self::None | Self::Auto { .. } | Self::LinkHeader { .. } | Self::NextUrl { .. } => return Ok(()),
            Self::Cursor { next, next_header, last_record, param, place, .. } => {
                let found = [next.is_some(), next_header.is_some(), last_record.is_some()];
                if found.iter().filter(|is_set| **is_set).count() != 1 {
                    return Err(Error::config("`pagination` has to say where the cursor is found, and once")
                        .help("set one of `next`, `next_header` and `last_record`"));
                }
                next_header.iter().try_for_each(|name| header("next_header", name))?;
                (place, vec![param])
            }
            Self::PageNumber {
                param,
                size_param,
                place,
                total,
                total_pages,
                total_header,
                total_pages_header,
                has_more,
                ..
            } => {
                let told = [
                    has_more.is_some(),
                    total.is_some() || total_pages.is_some(),
                    total_header.is_some(),
                    total_pages_header.is_some(),
                ];
                told_once(&told)?;
                total_header.iter().try_for_each(|name| header("total_header", name))?;
                total_pages_header.iter().try_for_each(|name| header("total_pages_header", name))?;
                (place, [Some(param), size_param.as_ref()].into_iter().flatten().collect())
            }
            Self::Offset { param, limit_param, place, total, total_header, has_more, .. } => {
                told_once(&[has_more.is_some(), total.is_some(), total_header.is_some()])?;
                total_header.iter().try_for_each(|name| header("total_header", name))?;
                (place, std::iter::once(param).chain(limit_param).collect())
            }
        };
        match place {
            ParamPlace::Query => Ok(()),
            ParamPlace::Header => params.iter().try_for_each(|name| header("param", name)),
            ParamPlace::Body if config.body.is_some() => Ok(()),
            ParamPlace::Body => Err(Error::config("`pagination` has `in: body`, and there is no `body`")
                .help("set `body`, such as `json: {}`")),
        }
    }

    /// The request for a page of this split.
    ///
    /// # Errors
    /// When the page's place has no place in the request.
    pub(crate) fn request(&self, split: &Wanted, page: &Key) -> Result<Wanted> {
        let mut request = split.clone();
        match (self, page) {
            (_, Key::Url(url)) => request.url = url.clone(),
            (Self::PageNumber { param, size_param, page_size, place, .. }, Key::Number(number)) => {
                if page != &self.first().page || self.counts_first() {
                    put(&mut request, *place, param, (*number).into())?;
                }
                if let (Some(param), Some(size)) = (size_param, page_size) {
                    put(&mut request, *place, param, size.get().into())?;
                }
            }
            (Self::Offset { param, limit_param, limit, place, .. }, Key::Offset(offset)) => {
                if page != &self.first().page || self.counts_first() {
                    put(&mut request, *place, param, (*offset).into())?;
                }
                if let Some(param) = limit_param {
                    put(&mut request, *place, param, limit.get().into())?;
                }
            }
            (Self::Cursor { param, place, .. }, Key::Cursor(cursor)) => {
                put(&mut request, *place, param, Json::String(cursor.clone()))?;
            }
            (Self::Cursor { param, place, .. }, Key::Json(cursor)) => {
                let cursor = serde_json::from_str(cursor)
                    .map_err(|error| Error::unsupported("this position holds no cursor").source(error))?;
                put(&mut request, *place, param, cursor)?;
            }
            _ => {}
        }
        Ok(request)
    }

    /// Whether the body has to be JSON, because it tells where to go on.
    pub(crate) fn needs_json(&self) -> bool {
        match self {
            Self::None | Self::Auto { .. } | Self::LinkHeader { .. } => false,
            Self::NextUrl { .. } => true,
            Self::Cursor { next_header, has_more, .. } => next_header.is_none() || has_more.is_some(),
            Self::PageNumber { total, total_pages, has_more, .. } => {
                total.is_some() || total_pages.is_some() || has_more.is_some()
            }
            Self::Offset { total, has_more, .. } => total.is_some() || has_more.is_some(),
        }
    }

    /// Whether the first answer has to show what it is.
    pub(crate) fn is_auto(&self) -> bool {
        matches!(self, Self::Auto { .. })
    }

    /// Whether the first page is asked for by its number or offset.
    fn counts_first(&self) -> bool {
        match self {
            Self::PageNumber { in_first_request, .. } | Self::Offset { in_first_request, .. } => {
                *in_first_request
            }
            _ => true,
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
            Self::None | Self::Auto { .. } => return Ok(None),
            Self::LinkHeader { .. } => (url_key(seen.link, seen.url)?, None),
            Self::NextUrl { path, .. } => {
                let next = text((seen.value)(path), path)?;
                (url_key(next.as_deref(), seen.url)?, None)
            }
            Self::Cursor { .. } => (self.next_cursor(place, seen)?, None),
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
            Key::Number(number) => {
                let step = if let Self::PageNumber { step, .. } = self { step.get() } else { 1 };
                Some(number.saturating_add(step)).filter(|next| *next < known.end).map(Key::Number)
            }
            Key::Offset(offset) => {
                Some(offset + known.size).filter(|next| *next < known.end).map(Key::Offset)
            }
            _ => None,
        };
        page.map(|page| Place { page, index: place.index + 1, known: Some(known) })
    }

    /// The parameter that counts pages or records, if one does.
    pub(crate) fn counter(&self) -> Option<&str> {
        match self {
            Self::PageNumber { param, .. } | Self::Offset { param, .. } => Some(param),
            _ => None,
        }
    }

    /// Whether two pages in a row with the same records mean that the server ignores which one is asked for.
    pub(crate) fn may_not_repeat(&self) -> bool {
        matches!(self, Self::PageNumber { may_repeat: false, .. } | Self::Offset { may_repeat: false, .. })
    }

    fn max_pages(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Auto { max_pages }
            | Self::LinkHeader { max_pages }
            | Self::NextUrl { max_pages, .. }
            | Self::Cursor { max_pages, .. }
            | Self::PageNumber { max_pages, .. }
            | Self::Offset { max_pages, .. } => max_pages.map(std::num::NonZeroU64::get),
        }
    }

    fn next_cursor(&self, page: &Place, seen: &Seen<'_>) -> Result<Option<Key>> {
        let Self::Cursor { next, next_header, last_record, has_more: path, place, .. } = self else {
            return Err(foreign(page));
        };
        let more = path.as_ref().map(|path| has_more(seen, path, page)).transpose()?;
        if more == Some(false) {
            return Ok(None);
        }
        let key = match (next, next_header, last_record) {
            (Some(path), ..) => typed((seen.value)(path), &path.to_string(), *place)?,
            (_, Some(name), _) => {
                let value = seen.headers.get(name).and_then(|value| value.to_str().ok());
                value.filter(|value| !value.is_empty()).map(|value| Key::Cursor(value.to_owned()))
            }
            (_, _, Some(field)) => match (seen.last)() {
                Some(record) => typed(Some(last(&record, field)?), field, *place)?,
                None => None,
            },
            _ => None,
        };
        match (more, key) {
            // A page without records cannot tell the last one; the others have to.
            (Some(true), None) => Err(Error::data(format!(
                "page {} says that there are more, and has no cursor to them",
                page.index + 1
            ))
            .help("check `pagination`: its cursor or `has_more` may be another field")),
            (_, key) => Ok(key),
        }
    }

    fn next_number(&self, place: &Place, seen: &Seen<'_>) -> Result<(Option<Key>, Option<Known>)> {
        let (
            Self::PageNumber {
                start,
                step,
                total_pages,
                total,
                total_pages_header,
                total_header,
                has_more: path,
                page_size,
                stop_on_short_page,
                ..
            },
            Key::Number(number),
        ) = (self, &place.page)
        else {
            return Err(foreign(place));
        };
        let wanted = page_size.map(std::num::NonZeroU64::get);
        let records = seen.records.unwrap_or_default();
        if let Some(path) = path {
            let next = has_more(seen, path, place)?.then_some(number.saturating_add(step.get()));
            return Ok((next.map(Key::Number), None));
        }
        let behind = |pages: u64| start.saturating_add(pages.saturating_mul(step.get()));
        let known = match (
            Total::of(total_pages.as_ref(), total_pages_header.as_ref()),
            Total::of(total.as_ref(), total_header.as_ref()),
        ) {
            (Some(pages), _) => {
                count(seen, pages, place)?.map(|pages| Known { size: records, end: behind(pages) })
            }
            (None, Some(total)) => {
                count(seen, total, place)?.filter(|total| fits(*total, place, records)).map(|total| {
                    let size = page_records(place, records, wanted, total);
                    Known { size, end: behind(total.div_ceil(size)) }
                })
            }
            (None, None) => None,
        };
        let known = believed(known, *number, records).or(place.known);
        let next = next_count(known, (*number, step.get()), records, wanted.filter(|_| *stop_on_short_page));
        Ok((next.map(Key::Number), known))
    }

    fn next_offset(&self, place: &Place, seen: &Seen<'_>) -> Result<(Option<Key>, Option<Known>)> {
        let (
            Self::Offset { start, limit, total, total_header, has_more: path, stop_on_short_page, .. },
            Key::Offset(offset),
        ) = (self, &place.page)
        else {
            return Err(foreign(place));
        };
        let limit = limit.get();
        let records = seen.records.unwrap_or_default();
        if let Some(path) = path {
            let next = has_more(seen, path, place)?.then_some(offset.saturating_add(records));
            return Ok((next.map(Key::Offset), None));
        }
        let known = match Total::of(total.as_ref(), total_header.as_ref()) {
            None => None,
            Some(total) => {
                count(seen, total, place)?.filter(|total| fits(*total, place, records)).map(|total| Known {
                    size: page_records(place, records, Some(limit), total),
                    end: total.saturating_add(*start),
                })
            }
        };
        let known = believed(known, *offset, records).or(place.known);
        // Without a total, as many are left out as have been seen: some servers give less than they are asked for.
        let step = known.map_or(records, |known| known.size);
        let next = next_count(known, (*offset, step), records, Some(limit).filter(|_| *stop_on_short_page));
        Ok((next.map(Key::Offset), known))
    }
}

/// Whether a total can be one: it is not below the records of the page that told it first. Where it is, pages are read
/// until one is empty.
fn fits(total: u64, place: &Place, records: u64) -> bool {
    place.known.is_some() || (place.index == 0 && total >= records)
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

/// The end of the pages has to be told in one way.
fn told_once(ways: &[bool]) -> Result<()> {
    if ways.iter().filter(|is_set| **is_set).count() < 2 {
        return Ok(());
    }
    Err(Error::config("`pagination` says in more than one way where the pages end")
        .help("set one of `has_more`, the totals and the headers of totals"))
}

/// Puts a parameter where it belongs.
fn put(request: &mut Wanted, place: ParamPlace, name: &str, value: Json) -> Result<()> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match place {
        ParamPlace::Query => request.set_query(name, &text(&value)),
        ParamPlace::Header => request.set_header(name, &text(&value))?,
        ParamPlace::Body => request.set_body(name, value)?,
    }
    Ok(())
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
