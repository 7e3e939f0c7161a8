//! The requests of a job, and what its answers mean.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::Value as Json;
use std::sync::Arc;
use std::time::Duration;
use towpath_core::{Error, Result};
use towpath_formats::json::JsonPath;
use url::Url;

use crate::config::{Job, JobState, ReadMethod, SourceConfig, Values};
use crate::errors::excerpt;
use crate::expand::join;
use crate::request::{BodyOutline, Wanted};
use crate::template::{Template, Value};

/// The names that stand for the ids of a job and of its result.
const JOB: &str = "job";
const RESULT: &str = "result";

/// A job before parameters are filled in.
pub(crate) struct JobOutline {
    /// How many parameters the stream has. Those of a job stand behind them.
    params: usize,
    id: Option<JsonPath>,
    status: StatusPlace,
    method: Method,
    body: Option<BodyOutline>,
    pub(crate) poll_every: Duration,
    pub(crate) timeout: Duration,
    done: Option<JobState>,
    failed: Option<JobState>,
    message: Option<JsonPath>,
    result_id: Option<JsonPath>,
    result_path: Option<Template>,
    result_url: Option<JsonPath>,
}

enum StatusPlace {
    Path(Template),
    Url(JsonPath),
    Header(HeaderName),
}

/// The job of a split.
#[derive(Clone)]
pub(crate) struct SplitJob {
    pub(crate) outline: Arc<JobOutline>,
    /// The values of the stream's parameters.
    values: Vec<Value>,
}

/// What a status says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Not done, with the state as the server calls it.
    Running(Option<String>),
    Done,
    /// With the state and the reason.
    Failed(String, Option<String>),
}

/// A job that was created, as positions hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct JobId {
    /// A text or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Json>,
    /// Where its status is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<Url>,
}

impl JobOutline {
    pub(crate) fn new(config: &SourceConfig, job: &Job, params: &[(String, Values)]) -> Result<Self> {
        if let Some((name, _)) = params.iter().find(|(name, _)| name == JOB || name == RESULT) {
            return Err(Error::config(format!(
                "`params.{name}` has the name of something else: with `job`, {{{name}}} is an id that the server gives"
            ))
            .help("call it something else"));
        }
        let one = || Values::List(Vec::new());
        let all: Vec<_> =
            params.iter().cloned().chain([(JOB.to_owned(), one()), (RESULT.to_owned(), one())]).collect();
        let template = |path: &String| {
            let text =
                if path.contains("://") { Ok(path.clone()) } else { join(config.base_url.as_deref(), path) };
            text.and_then(|text| Template::parse(&text, &all))
        };
        let status = &job.status;
        let place = match (&status.path, &status.url, &status.url_header) {
            (Some(path), None, None) => StatusPlace::Path(template(path)?),
            (None, Some(path), None) => StatusPlace::Url(path.clone()),
            (None, None, Some(name)) => StatusPlace::Header(name.parse().map_err(|_| {
                Error::config(format!("`job.status.url_header: {name}` is no name of a header"))
            })?),
            _ => {
                return Err(Error::config("`job.status` has to say where the status is, and once")
                    .help("set one of `path`, `url` and `url_header`"));
            }
        };
        let body = status.body.as_ref().map(|body| BodyOutline::new(body, &all));
        let method = match (status.method, &body) {
            (Some(ReadMethod::Get), Some(_)) => {
                return Err(Error::config("`job.status` has `method: GET` and a `body`")
                    .help("remove one of them, or set `method` to POST"));
            }
            (Some(ReadMethod::Get), _) | (None, None) => Method::GET,
            (Some(ReadMethod::Post), _) | (None, Some(_)) => Method::POST,
            (Some(ReadMethod::Put), _) => Method::PUT,
        };
        let result = &job.result;
        if result.path.is_none() && result.url.is_none() {
            return Err(Error::config("`job.result` does not say where the result is")
                .help("set `url`, a JSONPath to it in the status, or `path`"));
        }
        let outline = Self {
            params: params.len(),
            id: job.id.clone(),
            status: place,
            method,
            body,
            poll_every: status.poll_every.get(),
            timeout: status.timeout.get(),
            done: status.done.clone(),
            failed: status.failed.clone(),
            message: status.message.clone(),
            result_id: result.id.clone(),
            result_path: result.path.as_ref().map(template).transpose()?,
            result_url: result.url.clone(),
        };
        outline.check_ids()?;
        Ok(outline)
    }

    /// Holds the ids that are used against those that are known.
    fn check_ids(&self) -> Result<()> {
        let uses = |index: usize| self.all_params().any(|param| param == index);
        if self.id.is_none() && (uses(self.params) || matches!(self.status, StatusPlace::Path(_))) {
            return Err(Error::config("`job.id` has to say where the job's id is")
                .help("set it to a JSONPath into the answer that created the job, such as $.id"));
        }
        if self.result_id.is_none() && uses(self.params + 1) {
            return Err(Error::config("{result} needs `job.result.id`")
                .help("set it to a JSONPath into the status, such as $.result_id"));
        }
        Ok(())
    }

    fn all_params(&self) -> impl Iterator<Item = usize> {
        let status = match &self.status {
            StatusPlace::Path(template) => Some(template),
            StatusPlace::Url(_) | StatusPlace::Header(_) => None,
        };
        let body = self.body.as_ref().map(BodyOutline::params).unwrap_or_default();
        let templates = status.into_iter().chain(&self.result_path);
        templates.flat_map(Template::params).chain(body)
    }

    /// The stream's parameters that it uses.
    pub(crate) fn params(&self) -> impl Iterator<Item = usize> {
        self.all_params().filter(|param| *param < self.params)
    }
}

impl SplitJob {
    pub(crate) fn new(outline: &Arc<JobOutline>, values: &[Value]) -> Self {
        let mut values = values.to_vec();
        values.resize(outline.params, Value::default());
        Self { outline: outline.clone(), values }
    }

    /// The job that an answer says was created.
    ///
    /// # Errors
    /// `DataInvalid` when it does not say so.
    pub(crate) fn created(&self, url: &Url, headers: &HeaderMap, body: &Json) -> Result<JobId> {
        let missing = |what: String| {
            Error::data(format!("the answer that created the job has nothing at {what}")).help(
                "check `job`: the path may be another one, or the server may have answered with an error",
            )
        };
        let id = match &self.outline.id {
            None => None,
            Some(path) => Some(identifier(body, path).ok_or_else(|| missing(format!("`{path}`")))?),
        };
        let target = match &self.outline.status {
            StatusPlace::Path(_) => None,
            StatusPlace::Url(path) => Some(
                identifier(body, path).map(|url| plain(&url)).ok_or_else(|| missing(format!("`{path}`")))?,
            ),
            StatusPlace::Header(name) => {
                let value = headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                Some(value.ok_or_else(|| missing(format!("the header `{name}`")))?)
            }
        };
        let target = target.map(|target| http_url(url, &target)).transpose()?;
        Ok(JobId { id, url: target })
    }

    /// The request for its status.
    ///
    /// # Errors
    /// `Config` when its path makes no URL.
    pub(crate) fn status(&self, split: &Wanted, job: &JobId) -> Result<Wanted> {
        let values = self.values(job, None);
        let url = match (&self.outline.status, &job.url) {
            (StatusPlace::Path(template), _) => parse(&template.fill(&values, true))?,
            (_, Some(url)) => url.clone(),
            (_, None) => {
                return Err(Error::config("this position was stored under another `job.status`")
                    .help("finish the run with the old options, or `towpath state reset`"));
            }
        };
        let body = self.outline.body.as_ref().map(|body| body.fill(&values));
        Ok(Wanted {
            method: self.outline.method.clone(),
            url,
            headers: split.headers.clone(),
            body,
            job: None,
        })
    }

    /// The request for its result, or for where that is.
    ///
    /// # Errors
    /// When the status does not tell the result's id, or the path makes no URL.
    pub(crate) fn result(&self, split: &Wanted, job: &JobId, status: &Json) -> Result<Option<Wanted>> {
        let Some(template) = &self.outline.result_path else { return Ok(None) };
        let result = match &self.outline.result_id {
            None => None,
            Some(path) => Some(identifier(status, path).ok_or_else(|| {
                Error::data(format!("the status of the job has no result at `{path}`"))
                    .help("check `job.result.id`")
            })?),
        };
        let url = parse(&template.fill(&self.values(job, result.as_ref()), true))?;
        Ok(Some(get(split, url)))
    }

    /// Whether an answer holds the URLs of the result.
    pub(crate) fn has_urls(&self) -> bool {
        self.outline.result_url.is_some()
    }

    /// The URLs of the result in an answer that came from `at`; none where the server says that there are no rows.
    ///
    /// # Errors
    /// `DataInvalid` when there are no URLs.
    pub(crate) fn urls(&self, at: &Url, answer: &Json) -> Result<Vec<Url>> {
        let Some(path) = &self.outline.result_url else { return Ok(Vec::new()) };
        let found = path.query(answer);
        if found.is_empty() && !path.to_string().contains(['*', '?']) {
            return Err(Error::data(format!("the answer has no URL of the result at `{path}`"))
                .help("check `job.result.url`"));
        }
        let all = found.into_iter().flat_map(|value| match value {
            Json::Array(items) => items.iter().collect(),
            other => vec![other],
        });
        let urls = all.filter(|value| !value.is_null()).map(|value| match value {
            Json::String(text) => http_url(at, text),
            other => Err(Error::data(format!("`{path}` leads to {other}, which is no URL"))
                .help("check `job.result.url`")),
        });
        urls.collect()
    }

    /// What a status says. `accepted` is whether it came with 202.
    ///
    /// # Errors
    /// `DataInvalid` when it has no state.
    pub(crate) fn read(&self, accepted: bool, body: &Json) -> Result<Status> {
        let outline = &self.outline;
        let failed = outline.failed.as_ref().and_then(|failed| state(body, failed));
        if let Some((state, true)) = failed {
            let reason = outline.message.as_ref().and_then(|path| path.query(body).first().copied());
            return Ok(Status::Failed(state, reason.and_then(|reason| excerpt(&plain(reason)))));
        }
        let Some(done) = &outline.done else {
            return Ok(if accepted { Status::Running(None) } else { Status::Done });
        };
        if done.path.query(body).is_empty() {
            return Err(Error::data(format!("the status of the job has nothing at `{}`", done.path))
                .help("check `job.status.done`: the path may be another one"));
        }
        Ok(match state(body, done) {
            Some((_, true)) => Status::Done,
            Some((state, false)) => Status::Running(Some(state)),
            None => Status::Running(None),
        })
    }

    fn values(&self, job: &JobId, result: Option<&Json>) -> Vec<Value> {
        let value = |id: Option<&Json>| Value {
            text: id.map(plain).unwrap_or_default(),
            bare: id.is_some_and(Json::is_number),
            ..Value::default()
        };
        let ids = [value(job.id.as_ref()), value(result)];
        self.values.iter().cloned().chain(ids).collect()
    }

    /// Whether the answer that created the job has to have a body.
    pub(crate) fn needs_body_at_first(&self) -> bool {
        self.outline.id.is_some() || matches!(self.outline.status, StatusPlace::Url(_))
    }

    /// Whether a status has to have a body. `accepted` is whether it came with 202.
    pub(crate) fn needs_body_of_status(&self, accepted: bool) -> bool {
        let outline = &self.outline;
        let in_result = outline.result_path.is_none() || outline.result_id.is_some();
        outline.done.is_some() || outline.failed.is_some() || (in_result && !accepted)
    }
}

impl JobId {
    /// As errors show it.
    pub(crate) fn shown(&self) -> String {
        self.id.as_ref().map_or_else(|| "without an id".to_owned(), plain)
    }

    /// The URL of its status, if the server gave one.
    pub(crate) fn url_mut(&mut self) -> Option<&mut Url> {
        self.url.as_mut()
    }
}

/// The request for a URL of the result.
pub(crate) fn get(split: &Wanted, url: Url) -> Wanted {
    Wanted { method: Method::GET, url, headers: split.headers.clone(), body: None, job: None }
}

/// The state, and whether it is one of those that are meant; `None` where there is none.
fn state(body: &Json, meant: &JobState) -> Option<(String, bool)> {
    let value = meant.path.query(body).first().copied().filter(|value| !value.is_null())?;
    let state = plain(value);
    let is_meant = meant.values.0.iter().any(|value| value.eq_ignore_ascii_case(&state));
    Some((state, is_meant))
}

/// A text or a number that stands for something.
fn identifier(body: &Json, path: &JsonPath) -> Option<Json> {
    let found = path.query(body).first().copied()?;
    let is_id = found.is_number() || found.as_str().is_some_and(|text| !text.is_empty());
    is_id.then(|| found.clone())
}

/// A value as a text.
fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn parse(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Error::config(format!("`{text}` is not a URL: {error}")))
}

/// A URL that a server gave.
fn http_url(at: &Url, text: &str) -> Result<Url> {
    match at.join(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(Error::data("the server gave a URL that is no HTTP URL").help("check the paths in `job`")),
    }
}
