//! Reading a split: pages one after the other or at once, or one body as a stream.

mod crawl;
mod events;
mod graphql;
mod input;
mod job;
mod judge;
mod look;
mod metadata;
mod page;
mod pages;
mod ranged;
mod spot;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use tokio::sync::Semaphore;
use towpath_core::{Batch, BatchStream, ByteSize, Context, Error, Position, Result};
use towpath_formats::Piece;

use crate::CONNECTOR;
use crate::auth::Home;
use crate::client::{Answer, Call, Client};
use crate::conditional::{self, Validators};
use crate::config::{Follow, Pagination};
use crate::download::Download;
use crate::formats::{Formats, html};
use crate::job::JobId;
use crate::pagination::Key;
use crate::request::{Content, Wanted};
use crate::responses::Responses;
use crate::robots::Robots;

use crawl::{Crawl, Frontier};
pub(crate) use events::Count;
use events::Events;
use input::BodyInput;
pub(crate) use input::Document;
pub(crate) use job::Again;
use judge::web_page;
pub(crate) use metadata::Metadata;
use page::{Fetched, LARGE};
use pages::Pages;
pub(crate) use spot::Spot;

/// What all splits of a stream share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) formats: Formats,
    pub(crate) pagination: Arc<Pagination>,
    pub(crate) follow: Option<Follow>,
    pub(crate) robots: Option<Arc<Robots>>,
    /// What event streams have given in this run.
    pub(crate) count: Count,
    pub(crate) pages_in_flight: usize,
    /// How many pages are asked for before their turn, over all splits. A stream that was not planned has no others.
    pub(crate) ahead: OnceLock<Arc<Semaphore>>,
    pub(crate) max_body: ByteSize,
    pub(crate) responses: Arc<Responses>,
    pub(crate) metadata: Metadata,
    /// Set where files are downloaded as they are.
    pub(crate) download: Option<Download>,
    /// What the first answers showed last, to say it once.
    pub(crate) told: Mutex<Option<Pagination>>,
    /// The jobs that this run waits for.
    pub(crate) jobs: Mutex<HashMap<JobId, job::Known>>,
}

impl Shared {
    /// Says in the log how pages lead to each other, when it was not said before.
    fn tell(&self, cx: &Context, found: &Pagination) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *found != Pagination::None && told.as_ref() != Some(found) {
            tracing::info!(stream = cx.stream(), pagination = %found, "the first answer shows the pagination");
            *told = Some(found.clone());
        }
    }
}

/// A split under reading.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cx: Context,
    /// How one page leads to the next: as the first answer showed it, where it is not said.
    pub(crate) pagination: Arc<Pagination>,
    /// The split's own request.
    pub(crate) request: Arc<Wanted>,
    /// Who credentials are meant for.
    pub(crate) home: Arc<Home>,
    /// The columns that are wanted; `None` for all.
    pub(crate) columns: Option<Arc<[String]>>,
    /// What becomes of rows that come again.
    pub(crate) again: Again,
}

/// How far it is.
enum State {
    Begin(Option<Spot>),
    Answered(Box<Answer>),
    Pages(Box<Pages>, VecDeque<Batch>),
    Crawl(Box<Crawl>, VecDeque<Batch>),
    Events(Box<Events>),
    Body(BatchStream),
}

impl Reading {
    /// The batches from here on.
    pub(crate) fn batches(self, from: Option<Spot>) -> BatchStream {
        let batches = match self.request.job.clone() {
            Some(job) => job::batches(self, job, from),
            None => self.of_answer(from),
        };
        batches
            .map_err(|error: towpath_core::Error| error.connector(CONNECTOR.name()).operation("read"))
            .boxed()
    }

    /// The batches of an answer that is here already.
    pub(crate) fn batches_of_answer(self, answer: Answer) -> BatchStream {
        let batches = self.batches_from(State::Answered(Box::new(answer)));
        batches
            .map_err(|error: towpath_core::Error| error.connector(CONNECTOR.name()).operation("read"))
            .boxed()
    }

    /// The batches of the answer to the split's request.
    fn of_answer(self, from: Option<Spot>) -> BatchStream {
        self.batches_from(State::Begin(from))
    }

    fn batches_from(self, state: State) -> BatchStream {
        // What is handed on with each batch is better small.
        stream::try_unfold((Box::new(self), state), |(reading, state)| async move {
            let next = reading.next(state).await?;
            Ok(next.map(|(batch, state)| (batch, (reading, state))))
        })
        .boxed()
    }

    async fn next(&self, mut state: State) -> Result<Option<(Batch, State)>> {
        loop {
            state = match state {
                State::Begin(from) => self.begin(from).await?,
                State::Answered(answer) => self.only_body(*answer).await?,
                State::Body(mut batches) => {
                    let batch = batches.try_next().await?;
                    return Ok(batch.map(|batch| (batch, State::Body(batches))));
                }
                State::Pages(mut pages, mut ready) => {
                    if let Some(batch) = ready.pop_front() {
                        return Ok(Some((batch, State::Pages(pages, ready))));
                    }
                    match pages.next().await? {
                        None => return Ok(None),
                        Some(batches) => State::Pages(pages, batches),
                    }
                }
                State::Events(mut events) => {
                    let batch = events.next().await?;
                    return Ok(batch.map(|batch| (batch, State::Events(events))));
                }
                State::Crawl(mut crawl, mut ready) => {
                    if let Some(batch) = ready.pop_front() {
                        return Ok(Some((batch, State::Crawl(crawl, ready))));
                    }
                    match crawl.next().await? {
                        None => return Ok(None),
                        Some(batches) => State::Crawl(crawl, batches),
                    }
                }
            };
        }
    }

    /// The ways that few splits take are boxed, so that the others need not be as large.
    async fn begin(&self, from: Option<Spot>) -> Result<State> {
        if let Some(follow) = &self.shared.follow {
            let (frontier, row, within) = match from {
                Some(Spot::Crawl { frontier, row, within }) => (frontier, row, within),
                Some(Spot::Page { .. } | Spot::Body { .. } | Spot::Events { .. } | Spot::Job(_)) => {
                    return Err(not_ours());
                }
                None => (Frontier::begin(&self.request.url), 0, Position::Start),
            };
            let crawl = Crawl::new(self.clone(), follow.clone(), frontier, (row, within));
            return Ok(State::Crawl(Box::new(crawl), VecDeque::new()));
        }
        match from {
            Some(Spot::Crawl { .. }) => Err(not_ours()),
            Some(Spot::Events { last_event_id }) => {
                Ok(State::Events(Box::new(Events::new(self.clone(), last_event_id, None)?)))
            }
            Some(Spot::Body { at, document }) if document.size.is_some() => {
                Box::pin(self.anywhere(Some(document), at)).await.map(State::Body)
            }
            Some(Spot::Body { at, document }) => {
                BodyInput::resume(self.clone(), document).open(at).map(State::Body)
            }
            Some(Spot::Page { place, row, within, found }) => {
                let mut reading = self.clone();
                if let Some(found) = found.filter(|_| self.pagination.is_auto()) {
                    reading.pagination = Arc::new(*found);
                }
                reading.pagination.check(&place)?;
                let pages = Pages::new(reading, place, None, (row, within));
                Ok(State::Pages(Box::new(pages), VecDeque::new()))
            }
            Some(Spot::Job(_)) => Err(job::other_kind()),
            None if *self.pagination == Pagination::None
                && self.shared.formats.reads_anywhere(None, &self.request.url) =>
            {
                Box::pin(self.anywhere(None, Position::Start)).await.map(State::Body)
            }
            None if *self.pagination == Pagination::None => {
                let answer = self.get(|call| self.prepare(call)).await?;
                self.only_body(answer).await
            }
            None => Box::pin(self.first_page_of_many()).await,
        }
    }

    async fn first_page(&self, answer: Answer) -> Result<State> {
        let place = self.pagination.first();
        let fetched = Fetched::collect(self, answer).await?;
        let pages = Pages::new(self.clone(), place, Some(fetched), (0, Position::Start));
        Ok(State::Pages(Box::new(pages), VecDeque::new()))
    }

    async fn first_page_of_many(&self) -> Result<State> {
        let place = self.pagination.first();
        self.first_page(self.page(&place.page).await?).await
    }

    /// The body of a split without pagination. Only small JSON is read as a page.
    async fn only_body(&self, mut answer: Answer) -> Result<State> {
        self.judge_stream(&mut answer).await?;
        let formats = &self.shared.formats;
        let is_stream =
            formats.events.is_some() || (formats.is_told() && Formats::is_event_stream(&answer.headers));
        if answer.ruling.is_none() && is_stream {
            return Ok(State::Events(Box::new(Events::new(self.clone(), None, Some(answer))?)));
        }
        let is_page = self.is_graphql() || formats.scraper.is_some();
        if answer.ruling.is_some() || is_empty(answer.status) || is_page {
            return self.first_page(answer).await;
        }
        let is_json = self.is_json(&answer)?;
        if !is_json && self.shared.formats.reads_anywhere(Some(&answer.headers), &answer.url) {
            return Box::pin(self.anywhere_of(answer, None, Position::Start)).await.map(State::Body);
        }
        let looked = async {
            if is_json {
                return answer.body.is_longer_than(LARGE).await;
            }
            let is_page = Formats::is_html(&answer.headers)
                && answer.body.peek().await?.trim_ascii_start().starts_with(b"<");
            if is_page { Err(web_page(html(), answer.redirected)) } else { Ok(true) }
        };
        let looked = looked.await;
        if looked.map_err(|error| error.detail("url", self.shared.client.show(&answer.url)))? {
            BodyInput::begin(self.clone(), answer, is_json).open(Position::Start).map(State::Body)
        } else {
            self.first_page(answer).await
        }
    }

    /// The pagination that positions have to hold, because only the first answer shows it.
    fn found(&self) -> Option<Box<Pagination>> {
        let is_found = self.shared.pagination.is_auto() && !self.pagination.is_auto();
        is_found.then(|| Box::new(Pagination::clone(&self.pagination)))
    }

    /// The split's URL as it may be shown.
    pub(crate) fn show(&self) -> String {
        self.shared.client.show(&self.request.url)
    }

    /// The first request of a split without pagination: its body may turn out to be a stream.
    fn prepare(&self, call: &mut Call) {
        if self.shared.formats.is_streamed(&self.request.url) {
            without_transfer_compression(call);
        }
    }

    pub(crate) fn is_json(&self, answer: &Answer) -> Result<bool> {
        if answer.ruling.is_some() {
            return Ok(false);
        }
        let found = self.shared.formats.is_json(&answer.headers, &answer.url);
        found
            .map_err(|error| web_page(error, answer.redirected))
            .map_err(|error| error.detail("url", self.shared.client.show(&answer.url)))
    }

    /// Whether a 200 may still be an error.
    fn is_graphql(&self) -> bool {
        matches!(self.request.body, Some(Content::Graphql(_)))
    }

    /// Asks for the split's own URL if it is not what these tell; `None` when it is. A small body is received, and comes
    /// with its size.
    pub(crate) async fn ask(&self, validators: &Validators) -> Result<Option<(Answer, Option<usize>)>> {
        let prepare = |call: &mut Call| {
            self.prepare(call);
            let headers = [(IF_NONE_MATCH, &validators.etag), (IF_MODIFIED_SINCE, &validators.modified)];
            for (name, value) in headers {
                if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                    call.headers.insert(name, value);
                    call.also = Some(StatusCode::NOT_MODIFIED);
                }
            }
        };
        let mut answer = self.get(prepare).await?;
        if answer.status == StatusCode::NOT_MODIFIED && answer.ruling.is_none() {
            // Nothing follows, and reading it gives the connection back.
            answer.body.is_longer_than(0).await?;
            return Ok(None);
        }
        self.judge_stream(&mut answer).await?;
        let is_long = answer.body.is_longer_than(conditional::SMALL).await;
        let is_long = is_long.map_err(|error| error.detail("url", self.show()))?;
        let bytes = (!is_long).then(|| answer.body.peeked_bytes());
        Ok(Some((answer, bytes)))
    }

    /// Asks for the split's own URL.
    pub(crate) async fn get(&self, prepare: impl FnOnce(&mut Call)) -> Result<Answer> {
        self.send(&self.request, prepare).await
    }

    /// Asks for a page.
    pub(crate) async fn page(&self, page: &Key) -> Result<Answer> {
        self.send(&self.pagination.request(&self.request, page)?, |_| {}).await
    }

    async fn send(&self, wanted: &Wanted, prepare: impl FnOnce(&mut Call)) -> Result<Answer> {
        let mut call = Call::read(wanted.method.clone(), wanted.url.clone(), self.home.clone());
        self.shared.formats.accept(&mut call.headers);
        wanted.describe_body(&mut call.headers);
        if !wanted.headers.is_empty() {
            call.private = Some((self.home.url().clone(), wanted.headers.clone()));
        }
        call.body = wanted.body.as_ref().map(Content::bytes);
        call.responses = Some(self.shared.responses.clone());
        if wanted.headers.contains_key(IF_MODIFIED_SINCE) {
            // Nothing is newer than the cursor.
            call.also = Some(StatusCode::NOT_MODIFIED);
        }
        call.robots.clone_from(&self.shared.robots);
        prepare(&mut call);
        self.shared.client.send(&self.cx, call).await
    }
}

/// Whether an answer says that there is nothing to read.
fn is_empty(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The error for a position of a crawl where there is none, or the other way round.
fn not_ours() -> Error {
    Error::config("this position was stored with or without `follow`, and now it is the other way round")
        .help("finish the run with the old options, or `towpath state reset`")
}

/// Asks for the bytes as they are, so that they can be counted and read on from any of them.
fn without_transfer_compression(call: &mut Call) {
    call.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// All of a body.
fn whole() -> Piece {
    Piece { start: 0, end: None, line: 1, bytes: None }
}
