//! A page from the wire to its batches.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use reqwest::header::HeaderMap;
use serde::de::IgnoredAny;
use towpath_core::{Batch, Error, ErrorKind, Json, Position, Result};
use towpath_formats::MemoryInput;
use towpath_formats::json::{JsonPath, Page};
use url::Url;

use super::input::Document;
use super::judge::web_page;
use super::metadata::Facts;
use super::{Reading, graphql, is_empty, whole};
use crate::client::Answer;
use crate::config::Pagination;
use crate::formats::html;
use crate::pagination::{First, Key, Place, Seen, link, skeleton};
use crate::responses::Ruling;

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
    /// What the rules for answers say.
    ruling: Option<Ruling>,
    facts: Option<Facts>,
    redirected: bool,
}

/// A page that has been looked into.
pub(super) struct Opened {
    /// What the rules for answers say.
    pub(super) ruling: Option<Ruling>,
    content: Content,
    facts: Option<Facts>,
    headers: HeaderMap,
    url: Url,
    /// Its links that are to be followed.
    links: Vec<Url>,
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
        let answer = reading.page(&place.page).await.map_err(|error| expired(error, place))?;
        Self::collect(reading, answer).await
    }

    /// Waits for the last byte of an answer.
    pub(super) async fn collect(reading: &Reading, mut answer: Answer) -> Result<Self> {
        let name: Arc<str> = reading.shared.client.show(&answer.url).into();
        let facts = reading.shared.metadata.facts(&answer, &name);
        let body = match answer.ruling {
            None => answer.body.collect(reading.shared.max_body).await,
            // The body of a refusal is no page.
            Some(_) => Ok(Bytes::new()),
        };
        let body = body.map_err(|error| error.detail("url", &name))?;
        let ruling = reading.judge(&answer, Some(&body))?;
        if ruling == Some(Ruling::Skip) {
            reading.shared.responses.skipped(&reading.cx, &name, answer.status);
        }
        let Answer { status, headers, url, redirected, .. } = answer;
        let is_empty = is_empty(status) || ruling == Some(Ruling::Empty);
        Ok(Self { body, headers, url, name, is_empty, ruling, facts, redirected })
    }

    /// Looks into it.
    ///
    /// # Errors
    /// `DataInvalid` when it is not what it should be; `Unavailable` when it ends in the middle.
    pub(super) async fn open(self, reading: &Reading) -> Result<Opened> {
        let Self { body, headers, url, name, is_empty, ruling, facts, redirected } = self;
        if is_empty || ruling.is_some() {
            return Ok(Opened { ruling, content: Content::Nothing, facts, headers, url, links: Vec::new() });
        }
        if reading.is_graphql() {
            graphql::refuse_errors(&body).map_err(|error| error.detail("url", &name))?;
        }
        if let Some(scraper) = reading.shared.formats.scraper.clone() {
            let (told, at, shown) = (headers.clone(), url.clone(), name.clone());
            let scrape = move || {
                let scraped = scraper.scrape(&body, &told, &at);
                let (rows, links) = scraped.map_err(|error| error.detail("url", &shown))?;
                Ok((Page::parse(rows.clone(), &shown, None)?, rows, links))
            };
            let (page, body, links) = reading.cx.cpu(scrape).await?;
            let content = Content::Json { page, body, name };
            return Ok(Opened { ruling, content, facts, headers, url, links });
        }
        let is_json = reading.shared.formats.is_json(&headers, &url);
        let is_json = is_json.map_err(|error| web_page(error, redirected));
        let content = if is_json.map_err(|error| error.detail("url", &name))? {
            if redirected && body.trim_ascii_start().starts_with(b"<") {
                return Err(web_page(html(), redirected).detail("url", &name));
            }
            let small = body.len() <= SMALL;
            let shared = reading.shared.clone();
            let (text, shown) = (body.clone(), name.clone());
            let parse = move || parse(&text, &shown, shared.formats.records.as_ref());
            let page = if small { parse() } else { reading.cx.cpu(parse).await };
            Content::Json { page: page?, body, name }
        } else {
            Content::Other { body, name }
        };
        Ok(Opened { ruling, content, facts, headers, url, links: Vec::new() })
    }
}

/// Adds to a refusal what a cursor may have to do with it: most servers keep them for a while only.
fn expired(error: Error, place: &Place) -> Error {
    let is_cursor = matches!(place.page, Key::Cursor(_) | Key::Json(_) | Key::Url(_));
    let refused = matches!(error.kind(), ErrorKind::Config | ErrorKind::NotFound | ErrorKind::DataInvalid);
    if !is_cursor || !refused {
        return error;
    }
    error
        .detail("page", place.index + 1)
        .help("the cursor may have expired: `towpath state reset` makes the next run begin at the first page")
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
    /// The links on it that are to be followed.
    pub(super) fn links(&self) -> &[Url] {
        &self.links
    }

    /// Where it came from.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

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

    /// By which it is told from another page with records.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match &self.content {
            Content::Nothing => {}
            Content::Json { page, .. } => page.records().hash(&mut hasher),
            Content::Other { body, .. } => body.hash(&mut hasher),
        }
        hasher.finish()
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
        let next = reading.pagination.after(place, &self.seen(records, &value, &last));
        let mut next = next.map_err(|error| error.detail("url", client.show(&self.url)))?;
        // A place may be stored, and the key is put on every request anyway.
        if let Some(Place { page: Key::Url(url), .. }) = &mut next {
            client.take_key_out(url);
        }
        Ok(next)
    }

    /// How it leads to the next page, as far as it shows.
    ///
    /// # Errors
    /// When there are more pages, and no way to them is known.
    pub(super) fn detect(&self, reading: &Reading, records: u64) -> Result<Pagination> {
        let Pagination::Auto { max_pages } = *reading.pagination else {
            return Ok(Pagination::clone(&reading.pagination));
        };
        let body = match &self.content {
            Content::Json { body, .. } => skeleton(body),
            Content::Nothing | Content::Other { .. } => Json::Null,
        };
        let first = First {
            request: &reading.request,
            headers: &self.headers,
            link: link::next(&self.headers),
            body: &body,
            records,
            last: &|| self.value(&reading.shared.formats.last_record),
        };
        first.detect(max_pages).map_err(|error| error.detail("url", reading.shared.client.show(&self.url)))
    }

    /// Its batches behind a position within it. Their positions are within it, too.
    pub(super) async fn batches(
        &self,
        reading: &Reading,
        place: &Place,
        within: Position,
    ) -> Result<Vec<Batch>> {
        let mut batches = self.decode(reading, within).await?;
        for batch in &mut batches {
            reading.shared.metadata.add(batch, self.facts.as_ref(), place.index + 1)?;
        }
        Ok(batches)
    }

    async fn decode(&self, reading: &Reading, within: Position) -> Result<Vec<Batch>> {
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
