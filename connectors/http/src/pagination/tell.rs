//! What a page tells about those behind it: totals, cursors, and whether there are any.

use towpath_core::{Error, Json, Result};
use towpath_formats::json::JsonPath;

use super::{Key, Place, Seen};
use crate::config::ParamPlace;

/// Where a total stands.
#[derive(Clone, Copy)]
pub(super) enum Total<'a> {
    Body(&'a JsonPath),
    Header(&'a str),
}

impl<'a> Total<'a> {
    pub(super) fn of(path: Option<&'a JsonPath>, header: Option<&'a String>) -> Option<Self> {
        path.map(Self::Body).or_else(|| header.map(|name| Self::Header(name)))
    }

    fn name(self) -> String {
        match self {
            Self::Body(path) => format!("at `{path}`"),
            Self::Header(name) => format!("in the header `{name}`"),
        }
    }
}

/// A count. The first page has to tell it, unless it is empty.
pub(super) fn count(seen: &Seen<'_>, total: Total<'_>, place: &Place) -> Result<Option<u64>> {
    let value = match total {
        Total::Body(path) => (seen.value)(path),
        Total::Header(name) => {
            let value = seen.headers.get(name).and_then(|value| value.to_str().ok());
            value.map(|value| Json::String(value.to_owned()))
        }
    };
    let number = match &value {
        Some(Json::Number(number)) => number.as_u64(),
        Some(Json::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match (number, value) {
        (Some(number), _) => Ok(Some(number)),
        (None, None | Some(Json::Null)) if place.index > 0 || seen.records == Some(0) => Ok(None),
        (None, None | Some(Json::Null)) => {
            let what = if matches!(total, Total::Body(_)) { "body" } else { "answer" };
            Err(Error::data(format!("the {what} has no total {}", total.name()))
                .help("check the path in `pagination`, or leave it out to read until a page is empty"))
        }
        (None, Some(other)) => Err(Error::data(format!("the total {} is no count: {other}", total.name()))),
    }
}

/// Whether there are more pages. The first has to tell; some servers leave it out of the last.
pub(super) fn has_more(seen: &Seen<'_>, path: &JsonPath, place: &Place) -> Result<bool> {
    let is_empty = || seen.records.map_or_else(|| (seen.last)().is_none(), |records| records == 0);
    match (seen.value)(path) {
        Some(Json::Bool(more)) => Ok(more),
        Some(Json::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Json::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        None | Some(Json::Null) if place.index > 0 || is_empty() => Ok(false),
        None | Some(Json::Null) => {
            Err(Error::data(format!("the body does not say at `{path}` whether there are more pages"))
                .help("check `has_more` in `pagination`"))
        }
        Some(other) => {
            Err(Error::data(format!("`{path}` leads to {other}, which is neither true nor false"))
                .help("check `has_more` in `pagination`"))
        }
    }
}

/// A field of the last record.
pub(super) fn last(record: &Json, field: &str) -> Result<Json> {
    let found =
        record.get(field).or_else(|| field.split('.').try_fold(record, |record, name| record.get(name)));
    match found {
        Some(value) if !value.is_null() => Ok(value.clone()),
        _ => Err(Error::data(format!("the last record of the page has no `{field}`"))
            .help("check `last_record` in `pagination`")),
    }
}

/// A cursor or URL in the body; none when it is missing, null, false or empty.
pub(super) fn text(value: Option<Json>, path: &JsonPath) -> Result<Option<String>> {
    match value {
        None | Some(Json::Null | Json::Bool(false)) => Ok(None),
        Some(Json::String(text)) => Ok((!text.is_empty()).then_some(text)),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => Err(no_text(&other, &path.to_string())),
    }
}

/// A cursor, which a body may hold as it is.
pub(super) fn typed(value: Option<Json>, name: &str, place: ParamPlace) -> Result<Option<Key>> {
    match value {
        None | Some(Json::Null | Json::Bool(false)) => Ok(None),
        Some(Json::String(text)) => Ok((!text.is_empty()).then_some(Key::Cursor(text))),
        Some(other) if place == ParamPlace::Body => Ok(Some(Key::Json(other.to_string()))),
        Some(Json::Number(number)) => Ok(Some(Key::Cursor(number.to_string()))),
        Some(other) => Err(no_text(&other, name)),
    }
}

fn no_text(value: &Json, name: &str) -> Error {
    Error::data(format!("`{name}` leads to {value}, which is no text")).help("check the path in `pagination`")
}
