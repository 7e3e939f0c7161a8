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
use towpath_core::{Batch, BatchStream, Error, ErrorKind, Position, Result, Retry, ScanRequest};
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

/// What becomes of rows that are given once more, from another job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Again {
    /// They are there twice.
    #[default]
    Doubled,
    /// The target keeps one of each.
    Merged,
    /// Nothing of them is seen before the run has ended, and the next one begins anew.
    Replaced,
}

/// What a run knows of a job.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// Since when it waits.
    since: Instant,
    /// Whether it created it.
    ours: bool,
    /// Whether it stands for one that was lost.
    instead: bool,
}

/// How far it is.
enum State {
    Begin(Option<JobSpot>),
    /// Creates a job, perhaps for one that was lost.
    Create {
        instead: bool,
    },
    /// Waits for the job. `refused` says why its result could not be had a moment ago.
    Wait(JobSpot, Option<Error>),
    /// Reads the parts of the result.
    Read {
        spot: JobSpot,
        parts: Vec<Wanted>,
        batches: Option<BatchStream>,
        refused: Option<Error>,
    },
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

    /// Goes to where a part's own position is, and gives that of the job. `parts` is how many there are.
    fn advance(&mut self, behind: Position, parts: usize) -> Result<Position> {
        match Spot::of(behind)? {
            Some(at) => self.at = Some(Box::new(at)),
            None if self.part + 1 == parts => return Ok(Position::End),
            None => return JobSpot { part: self.part + 1, at: None, ..self.clone() }.position(),
        }
        self.position()
    }

    /// Whether rows of its result have been given.
    fn has_begun(&self) -> bool {
        self.part > 0 || self.at.is_some()
    }
}

impl Again {
    /// What becomes of the rows of a run.
    pub(crate) fn of(request: &ScanRequest) -> Self {
        match (request.one_snapshot, request.repeatable) {
            (true, _) => Self::Replaced,
            (false, true) => Self::Merged,
            (false, false) => Self::Doubled,
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(crate) fn is_doubled(&self) -> bool {
        *self == Self::Doubled
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
                State::Begin(Some(spot)) => State::Wait(spot, None),
                State::Begin(None) => State::Create { instead: false },
                State::Create { instead } => {
                    let spot = JobSpot::new(self.create(instead).await?);
                    let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
                    let batch = Batch::new(nothing, spot.position()?);
                    return Ok(Some((batch, State::Wait(spot, None))));
                }
                State::Wait(spot, refused) => match self.wait(&spot).await? {
                    Ok(parts) => State::Read { spot, parts, batches: None, refused },
                    Err(gone) => self.lost(&spot, gone)?,
                },
                State::Read { spot, parts, batches: None, refused } => {
                    let Some(part) = parts.get(spot.part) else { return Ok(None) };
                    let request = Arc::new(part.clone());
                    let part = Reading { request, ..self.reading.clone() };
                    let batches = Some(part.of_answer(spot.at.as_deref().cloned()));
                    State::Read { spot, parts, batches, refused }
                }
                State::Read { mut spot, parts, batches: Some(mut batches), refused } => {
                    match batches.try_next().await {
                        Ok(None) => {
                            let spot = JobSpot { part: spot.part + 1, at: None, ..spot };
                            State::Read { spot, parts, batches: None, refused: None }
                        }
                        Ok(Some(mut batch)) => {
                            batch.resume = spot.advance(batch.resume, parts.len())?;
                            let batches = Some(batches);
                            let state = State::Read { spot, parts, batches, refused: None };
                            return Ok(Some((batch, state)));
                        }
                        Err(error) => self.refused(spot, error, refused.is_some())?,
                    }
                }
            };
        }
    }

    /// What follows when the result cannot be had. Its URLs are often good for some minutes only, so the status is asked for
    /// others, once.
    fn refused(&self, spot: JobSpot, error: Error, is_second: bool) -> Result<State> {
        let may_be_old =
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::Config);
        if !may_be_old || error.is_retryable() {
            return Err(error);
        }
        if !is_second {
            return Ok(State::Wait(spot, Some(error)));
        }
        if error.kind() == ErrorKind::NotFound { self.lost(&spot, error) } else { Err(error) }
    }

    /// What follows when a job is lost: another one, where no row can come twice.
    fn lost(&self, spot: &JobSpot, why: Error) -> Result<State> {
        let (_, known) = self.known(&spot.job, None);
        let job = spot.job.shown();
        if !spot.has_begun() {
            if known.ours {
                // It may never have been there, or elsewhere.
                return Err(why.detail("job", job));
            }
            tracing::info!(job, %why, "the job of the interrupted run is lost; another one is created");
            return Ok(State::Create { instead: true });
        }
        let text =
            format!("the job {job} is lost, and a part of its result has been loaded: {}", why.message());
        let begun = Error::new(why.kind(), text).retry(Retry::Never);
        let begun = match why.detail_value("url") {
            Some(url) => begun.detail("url", url),
            None => begun,
        };
        match self.reading.again {
            Again::Merged if known.instead => Err(begun.help("another one was lost before: see why at the server")),
            Again::Merged => {
                self.reading.cx.metrics().warn(format!(
                    "the job {job} was lost when a part of its result had been loaded: another one was created, and all of \
                     its rows are merged"
                ));
                Ok(State::Create { instead: true })
            }
            Again::Replaced => Err(begun.help("run again: `replace` begins anew, with another job")),
            Again::Doubled => Err(begun.help(
                "rows of another job may be others, and `append` would have some of them twice: remove those of this run, then \
                 `towpath state reset` and run again; with `merge` and a `key`, another job is created by itself",
            )),
        }
    }

    async fn create(&self, instead: bool) -> Result<JobId> {
        let told = self.ask(&self.reading.request, |_| self.job.needs_body_at_first()).await?;
        let created = self.job.created(&told.url, &told.headers, &told.body);
        let mut job = created.map_err(|error| error.detail("url", self.show(&told.url)))?;
        // Positions are stored, and the key is put on every request anyway.
        if let Some(url) = job.url_mut() {
            self.reading.shared.client.take_key_out(url);
        }
        tracing::debug!(job = job.shown(), "the server prepares the answer");
        self.known(&job, Some(instead));
        Ok(job)
    }

    /// Waits until the job is done, and gives the requests for the parts of its result. The inner error is why it can no
    /// longer be waited for, but another one might.
    async fn wait(&self, spot: &JobSpot) -> Result<std::result::Result<Vec<Wanted>, Error>> {
        let (outline, job) = (&self.job.outline, &spot.job);
        let (since, known) = self.known(job, None);
        let request = self.job.status(&self.reading.request, job)?;
        loop {
            let told = match self.ask(&request, |accepted| self.job.needs_body_of_status(accepted)).await {
                Ok(told) => told,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(error)),
                Err(error) => return Err(error),
            };
            let at = |error: Error| error.detail("url", self.show(&told.url));
            let is_accepted = told.status == StatusCode::ACCEPTED;
            let state = match self.job.read(is_accepted, &told.body).map_err(at)? {
                Status::Done => return self.parts_of(spot, &told).await,
                Status::Failed(state, reason) => {
                    let error = at(self.failed(job, &state, reason.as_deref(), told.token.as_deref()));
                    // Why it has failed is to be seen by whoever asked for it.
                    return if known.ours && !spot.has_begun() { Err(error) } else { Ok(Err(error)) };
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

    /// The requests for the parts of the result; the inner error when it is not the one that was read in part.
    async fn parts_of(
        &self,
        spot: &JobSpot,
        status: &Told,
    ) -> Result<std::result::Result<Vec<Wanted>, Error>> {
        let parts = match self.parts(&spot.job, status).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Err(error)),
            parts => parts?,
        };
        if parts.len() < spot.part {
            return Ok(Err(Error::data("the result has fewer parts than when it was read in part")));
        }
        Ok(Ok(parts))
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

    /// Since when this run waits for a job, and what else it knows of it. `created` tells of one that it has created now:
    /// whether for another one.
    fn known(&self, job: &JobId, created: Option<bool>) -> (Instant, Known) {
        let mut jobs = self.reading.shared.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let since = self.reading.cx.clock().monotonic();
        let new = Known { since, ours: created.is_some(), instead: created == Some(true) };
        let known = *jobs.entry(job.clone()).or_insert(new);
        (known.since, known)
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
