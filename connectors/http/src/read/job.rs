//! Reading a split whose answer the server prepares: create a job, wait for it, download its result.
//!
//! The first batch has no rows. Its position holds the job, so that whoever goes on asks for the same one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use arrow_schema::Schema;
use futures::stream::{self, StreamExt, TryStreamExt};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use towpath_core::{Batch, BatchStream, Error, ErrorKind, Position, Result, Retry};
use url::Url;

use super::{Reading, Spot, graphql};
use crate::auth::Token;
use crate::client::{Answer, Call};
use crate::job::{JobId, SplitJob, Status, get};
use crate::limits::{LONGEST_PAUSE, Limits};
use crate::request::{Content, Wanted};

/// Where reading stands in the result of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobSpot {
    #[serde(flatten)]
    job: JobId,
    /// How many of the result's URLs are behind us.
    #[serde(default, skip_serializing_if = "is_zero")]
    part: usize,
    /// Where in the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Box<Spot>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(part: &usize) -> bool {
    *part == 0
}

/// What a run knows of a job.
pub(crate) struct Known {
    /// Since when it waits.
    since: Instant,
    /// Whether it created it.
    ours: bool,
}

/// How far it is.
enum State {
    Begin(Option<JobSpot>),
    /// Waits for the job.
    Wait(JobSpot),
    /// Reads the parts of the result.
    Read(JobSpot, Vec<Wanted>, Option<BatchStream>),
}

/// An answer in JSON.
struct Told {
    status: StatusCode,
    url: Url,
    headers: reqwest::header::HeaderMap,
    body: Json,
    /// What the request was sent with.
    token: Option<Arc<Token>>,
}

impl JobSpot {
    fn new(job: JobId) -> Self {
        Self { job, part: 0, at: None }
    }

    fn position(&self) -> Result<Position> {
        Spot::Job(self.clone()).position()
    }

    /// Whether another job may stand for one that is lost: not when some of its rows are loaded, because the rows of
    /// another one may be others.
    fn may_begin_anew(&self, lost: &Error) -> Result<()> {
        if !self.has_begun() {
            tracing::info!(job = self.job.shown(), %lost, "the job of the interrupted run is lost; another one is created");
            return Ok(());
        }
        Err(Error::new(
            lost.kind(),
            format!(
                "the job {} is lost, and a part of its result has been loaded: {}",
                self.job.shown(),
                lost.message()
            ),
        )
        .retry(Retry::Never)
        .help("`towpath state reset` and run again, which creates another one; a stream with `merge` has no row twice then"))
    }

    /// Whether rows of its result have been given.
    fn has_begun(&self) -> bool {
        self.part > 0 || self.at.is_some()
    }
}

/// The batches of a split whose answer the server prepares.
pub(super) fn batches(reading: Reading, job: SplitJob, from: Option<Spot>) -> BatchStream {
    let from = match from {
        None => None,
        Some(Spot::Job(spot)) => Some(spot),
        Some(_) => return stream::once(std::future::ready(Err(other_kind()))).boxed(),
    };
    let of_split = OfSplit { reading, job };
    stream::try_unfold((of_split, State::Begin(from)), |(of_split, state)| async move {
        let next = of_split.next(state).await?;
        Ok(next.map(|(batch, state)| (batch, (of_split, state))))
    })
    .boxed()
}

/// A position of a stream that has got a `job` since, or lost it.
pub(super) fn other_kind() -> Error {
    Error::config("this position was stored by a stream with other options: `job` has been added or removed")
        .help("finish the run with the old options, or `towpath state reset`")
}

/// The job of a split under reading.
struct OfSplit {
    reading: Reading,
    job: SplitJob,
}

impl OfSplit {
    async fn next(&self, mut state: State) -> Result<Option<(Batch, State)>> {
        loop {
            state = match state {
                State::Begin(Some(spot)) => State::Wait(spot),
                State::Begin(None) => {
                    let spot = JobSpot::new(self.create().await?);
                    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
                    let batch = Batch::new(nothing, spot.position()?);
                    return Ok(Some((batch, State::Wait(spot))));
                }
                State::Wait(spot) => match self.wait(&spot.job).await? {
                    Ok(parts) if parts.len() < spot.part => {
                        return Err(Error::data(format!(
                            "the result of the job {} has fewer parts than when it was read in part",
                            spot.job.shown()
                        )));
                    }
                    Ok(parts) => State::Read(spot, parts, None),
                    Err(gone) => {
                        spot.may_begin_anew(&gone)?;
                        State::Begin(None)
                    }
                },
                State::Read(spot, parts, None) => {
                    let Some(part) = parts.get(spot.part) else { return Ok(None) };
                    let request = Arc::new(part.clone());
                    let part = Reading { request, ..self.reading.clone() };
                    let batches = part.of_answer(spot.at.as_deref().cloned());
                    State::Read(spot, parts, Some(batches))
                }
                State::Read(mut spot, parts, Some(mut batches)) => match batches.try_next().await? {
                    None => State::Read(JobSpot { part: spot.part + 1, at: None, ..spot }, parts, None),
                    Some(mut batch) => {
                        let is_last = spot.part + 1 == parts.len();
                        batch.resume = match Spot::of(batch.resume.clone())? {
                            Some(at) => {
                                spot.at = Some(Box::new(at));
                                spot.position()?
                            }
                            None if is_last => Position::End,
                            None => JobSpot { part: spot.part + 1, at: None, ..spot.clone() }.position()?,
                        };
                        return Ok(Some((batch, State::Read(spot, parts, Some(batches)))));
                    }
                },
            };
        }
    }

    async fn create(&self) -> Result<JobId> {
        let told = self.ask(&self.reading.request, |_| self.job.needs_body_at_first()).await?;
        let created = self.job.created(&told.url, &told.headers, &told.body);
        let mut job = created.map_err(|error| error.detail("url", self.show(&told.url)))?;
        // Positions are stored, and the key is put on every request anyway.
        if let Some(url) = job.url_mut() {
            self.reading.shared.client.take_key_out(url);
        }
        tracing::debug!(job = job.shown(), "the server prepares the answer");
        self.known(&job, true);
        Ok(job)
    }

    /// Waits until the job is done, and gives the requests for the parts of its result. The inner error is why it can no
    /// longer be waited for, but another one might.
    async fn wait(&self, job: &JobId) -> Result<std::result::Result<Vec<Wanted>, Error>> {
        let outline = &self.job.outline;
        let (since, ours) = self.known(job, false);
        let request = self.job.status(&self.reading.request, job)?;
        loop {
            let told = match self.ask(&request, |accepted| self.job.needs_body_of_status(accepted)).await {
                Ok(told) => told,
                Err(error) if error.kind() == ErrorKind::NotFound && !ours => return Ok(Err(error)),
                Err(error) => return Err(error),
            };
            let at = |error: Error| error.detail("url", self.show(&told.url));
            let is_accepted = told.status == StatusCode::ACCEPTED;
            let state = match self.job.read(is_accepted, &told.body).map_err(at)? {
                Status::Done => return self.parts(job, &told).await.map(Ok),
                Status::Failed(state, reason) => {
                    let error = at(self.failed(job, &state, reason.as_deref(), told.token.as_deref()));
                    return if ours { Err(error) } else { Ok(Err(error)) };
                }
                Status::Running(state) => state,
            };
            let now = self.reading.cx.clock();
            let pause = Limits::of(&told.headers, now.now()).retry_after;
            let pause = pause.map_or(outline.poll_every, |pause| pause.min(LONGEST_PAUSE));
            let waited = now.monotonic().saturating_duration_since(since);
            if waited + pause > outline.timeout {
                return Err(at(self.too_long(job, state.as_deref())));
            }
            self.reading.cx.sleep(pause.max(Duration::from_millis(1))).await?;
        }
    }

    /// The requests for the parts of the result.
    async fn parts(&self, job: &JobId, status: &Told) -> Result<Vec<Wanted>> {
        let split = &self.reading.request;
        let result = self.job.result(split, job, &status.body);
        let Some(result) = result.map_err(|error| error.detail("url", self.show(&status.url)))? else {
            return self.urls(status);
        };
        if self.job.has_urls() {
            return self.urls(&self.ask(&result, |_| true).await?);
        }
        Ok(vec![result])
    }

    fn urls(&self, told: &Told) -> Result<Vec<Wanted>> {
        let urls = self.job.urls(&told.url, &told.body);
        let urls = urls.map_err(|error| error.detail("url", self.show(&told.url)))?;
        Ok(urls.into_iter().map(|url| get(&self.reading.request, url)).collect())
    }

    /// Since when this run waits for a job, and whether it created it.
    fn known(&self, job: &JobId, created: bool) -> (Instant, bool) {
        let mut jobs = self.reading.shared.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since = self.reading.cx.clock().monotonic();
        let known = jobs.entry(job.clone()).or_insert(Known { since, ours: created });
        (known.since, known.ours)
    }

    fn failed(&self, job: &JobId, state: &str, reason: Option<&str>, token: Option<&Token>) -> Error {
        let reading = &self.reading;
        let hide = |reason: &str| reading.shared.client.without_secrets(reason, &reading.home, token);
        let reason = reason.map(hide);
        let message = match reason {
            Some(reason) => format!("the job {} has failed: {reason}", job.shown()),
            None => format!("the job {} has failed", job.shown()),
        };
        Error::unavailable(message)
            .retry(Retry::Never)
            .detail("state", state)
            .help("see why at the server; the next run creates another job")
    }

    fn too_long(&self, job: &JobId, state: Option<&str>) -> Error {
        let timeout = towpath_core::HumanDuration::from(self.job.outline.timeout);
        let error = Error::unavailable(format!("the job {} is not done after {timeout}", job.shown()))
            .retry(Retry::Never)
            .help("run again to wait longer for the same job, or raise `job.status.timeout`");
        match state {
            Some(state) => error.detail("state", state),
            None => error,
        }
    }

    /// Sends a request whose answer is JSON, or need not be one.
    async fn ask(&self, wanted: &Wanted, needs_body: impl Fn(bool) -> bool) -> Result<Told> {
        let accept = |call: &mut Call| {
            call.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            // The rules are about the result.
            call.responses = None;
        };
        let Answer { status, headers, url, mut body, token, .. } = self.reading.send(wanted, accept).await?;
        let at = |error: Error| error.detail("url", self.show(&url));
        let body = body.collect(self.reading.shared.max_body).await.map_err(at)?;
        if matches!(wanted.body, Some(Content::Graphql(_))) {
            graphql::refuse_errors(&body).map_err(at)?;
        }
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            // A `Location` and a 202 say enough.
            Err(_) if !needs_body(status == StatusCode::ACCEPTED) => Json::Null,
            Err(error) => {
                return Err(at(Error::data("the answer about the job is no JSON").source(error)));
            }
        };
        Ok(Told { status, url, headers, body, token })
    }

    fn show(&self, url: &Url) -> String {
        self.reading.shared.client.show(url)
    }
}
