//! A page from the wire to its batches.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::de::IgnoredAny;
use towpath_core::{Batch, Error, Json, Position, Result};
use towpath_formats::MemoryInput;
use towpath_formats::json::{JsonPath, Page};
use url::Url;

use super::input::Document;
use super::{Reading, graphql, whole};
use crate::client::Answer;
use crate::pagination::{Key, Place, Seen, link};

/// Bodies up to this size are parsed where they arrive: handing them over would cost more.
const SMALL: usize = 16 << 10;
/// Bodies above this size become several batches, so that none of them is large.
pub(super) const LARGE: usize = 4 << 20;

/// A page as it came.
pub(super) struct Fetched {
    body: Bytes,
    headers: HeaderMap,
    url: Url,
    /// The URL as it may be shown.
    name: Arc<str>,
    /// Whether the server says that there is nothing.
    is_empty: bool,
}

/// A page that has been looked into.
pub(super) struct Opened {
    content: Content,
    headers: HeaderMap,
    url: Url,
}

enum Content {
    /// The answer 204.
    Nothing,
    Json {
        page: Page,
        body: Bytes,
        name: Arc<str>,
    },
    Other {
        body: Bytes,
        name: Arc<str>,
    },
}

impl Fetched {
    /// Requests a page and waits for its last byte.
    pub(super) async fn get(reading: &Reading, place: &Place) -> Result<Self> {
        let answer = reading.page(&place.page).await?;
        Self::collect(reading, answer).await
    }

    /// Waits for the last byte of an answer.
    pub(super) async fn collect(reading: &Reading, answer: Answer) -> Result<Self> {
        let Answer { status, headers, url, body, .. } = answer;
        let name: Arc<str> = reading.shared.client.show(&url).into();
        let body = body.collect(reading.shared.max_body).await.map_err(|error| error.detail("url", &name))?;
        Ok(Self { body, headers, url, name, is_empty: status == StatusCode::NO_CONTENT })
    }

    /// Looks into it.
    ///
    /// # Errors
    /// `DataInvalid` when it is not what it should be; `Unavailable` when it ends in the middle.
    pub(super) async fn open(self, reading: &Reading) -> Result<Opened> {
        let Self { body, headers, url, name, is_empty } = self;
        if is_empty {
            return Ok(Opened { content: Content::Nothing, headers, url });
        }
        if reading.is_graphql() {
            graphql::refuse_errors(&body).map_err(|error| error.detail("url", &name))?;
        }
        let is_json = reading.shared.formats.is_json(&headers, &url);
        let content = if is_json.map_err(|error| error.detail("url", &name))? {
            let small = body.len() <= SMALL;
            let shared = reading.shared.clone();
            let (text, shown) = (body.clone(), name.clone());
            let parse = move || parse(&text, &shown, shared.formats.records.as_ref());
            let page = if small { parse() } else { reading.cx.cpu(parse).await };
            Content::Json { page: page?, body, name }
        } else {
            Content::Other { body, name }
        };
        Ok(Opened { content, headers, url })
    }
}

fn parse(body: &Bytes, name: &str, records: Option<&JsonPath>) -> Result<Page> {
    Page::parse(body.clone(), name, records).map_err(|error| {
        // Without a length, a connection that was cut looks like the end.
        let end = serde_json::from_slice::<IgnoredAny>(body)
            .err()
            .filter(|error| error.is_eof() && !body.is_empty());
        match end {
            Some(end) => {
                Error::unavailable("the body ends in the middle of the JSON").detail("url", name).source(end)
            }
            None => error,
        }
    })
}

impl Opened {
    /// What it says about the page behind it.
    fn seen<'a>(
        &'a self,
        records: Option<u64>,
        value: &'a (dyn Fn(&JsonPath) -> Option<Json> + Sync),
        last: &'a (dyn Fn() -> Option<Json> + Sync),
    ) -> Seen<'a> {
        let headers = &self.headers;
        Seen { records, headers, link: link::next(headers), url: &self.url, value, last }
    }

    /// A value of the body.
    fn value(&self, path: &JsonPath) -> Option<Json> {
        match &self.content {
            Content::Json { page, .. } => page.value(path),
            Content::Nothing | Content::Other { .. } => None,
        }
    }

    /// The place behind this page.
    pub(super) fn after(
        &self,
        reading: &Reading,
        place: &Place,
        records: Option<u64>,
    ) -> Result<Option<Place>> {
        let value = |path: &JsonPath| self.value(path);
        let last = || self.value(&reading.shared.formats.last_record);
        let client = &reading.shared.client;
        let next = reading.shared.pagination.after(place, &self.seen(records, &value, &last));
        let mut next = next.map_err(|error| error.detail("url", client.show(&self.url)))?;
        // A place may be stored, and the key is put on every request anyway.
        if let Some(Place { page: Key::Url(url), .. }) = &mut next {
            client.take_key_out(url);
        }
        Ok(next)
    }

    /// Its batches behind a position within it. Their positions are within it, too.
    pub(super) async fn batches(&self, reading: &Reading, within: Position) -> Result<Vec<Batch>> {
        let formats = &reading.shared.formats;
        let (reader, body, name) = match &self.content {
            Content::Nothing => return Ok(Vec::new()),
            Content::Json { page, body, .. } if within == Position::Start && body.len() <= LARGE => {
                let batch = formats.page_reader()?.read_page(&reading.cx, page, 0, None).await?;
                let is_empty = batch.rows.num_rows() == 0 && batch.rejected.is_empty();
                return Ok(if is_empty { Vec::new() } else { vec![batch] });
            }
            Content::Json { body, name, .. } => (formats.page_reader()?, body, name),
            Content::Other { body, name } => {
                (formats.body_reader(&Document::of(&self.headers), &self.url)?, body, name)
            }
        };
        let input = Arc::new(MemoryInput::new(&**name, body.clone()));
        reader.read(&reading.cx, input, &whole(), within, reading.columns.as_deref()).try_collect().await
    }
}
