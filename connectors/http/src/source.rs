//! The source: a split for each URL.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use towpath_core::{
    BatchStream, Context, Dataset, Error, ErrorKind, Json, Parent, Planned, Position, Pushdown, Result,
    ResultExt, Resume, ScanPlan, ScanRequest, Source, SourceCapabilities, Split, chunk_schema,
};
use url::Url;

use crate::CONNECTOR;
use crate::auth::{Home, has_user};
use crate::client::Client;
use crate::conditional::{self, Candidate, Conditional};
use crate::config::{Follow, SourceConfig};
use crate::download::{self, Download, Part, Within};
use crate::expand::{Moment, Targets};
use crate::formats::Formats;
use crate::names::Names;
use crate::read::{Again, Count, Metadata, Reading, Shared, Spot};
use crate::request::Wanted;
use crate::responses::Responses;
use crate::robots::Robots;

/// Reads HTTP APIs and downloads.
#[derive(Clone)]
pub struct HttpSource {
    shared: Arc<Shared>,
    targets: Arc<Targets>,
    base: Option<Url>,
    /// Who credentials are meant for, of all URLs that bring none themselves.
    home: Option<Arc<Home>>,
    cursor_param: Option<String>,
    /// What a data set is read by: the options that name its URLs.
    named: Json,
    /// Of a stream that reads only what has changed.
    pub(crate) conditional: Option<Arc<Conditional>>,
}

/// What a split holds. Secrets of a URL stay in the pipeline file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Payload {
    /// The URL as it may be shown.
    url: String,
    /// Which of the pipeline's URLs it is, where some of it may not be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    /// The parameters that the URL does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with: Option<String>,
    /// The cursor's last value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// What the run's windows depend on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moment: Option<Moment>,
    /// The only columns that are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    /// The row of the parent that fills in what the URL does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    /// What becomes of rows that come again, where the server prepares them.
    #[serde(default, skip_serializing_if = "Again::is_doubled")]
    again: Again,
    /// The bytes of a file, where it is downloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<Part>,
}

/// Where planning goes on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct NextUrl {
    pub(crate) next: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moment: Option<Moment>,
    /// The versions of the URLs before it, of a stream that reads only what has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validators: Option<String>,
    /// Where in the file of that URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) within: Option<Within>,
}

impl NextUrl {
    fn of(planned: &Position) -> Result<Self> {
        match planned {
            Position::Start => Ok(Self::default()),
            Position::End => Ok(Self { next: u64::MAX, ..Self::default() }),
            Position::At(at) => Self::deserialize(at)
                .map_err(|error| Error::unsupported("this plan was stored by another version").source(error)),
        }
    }

    pub(crate) fn position(&self) -> Result<Position> {
        let at = serde_json::to_value(self);
        at.map(Position::At).map_err(|error| Error::unexpected("a position cannot be stored").source(error))
    }
}

impl Source for HttpSource {
    type Config = SourceConfig;

    async fn open(config: SourceConfig, cx: &Context) -> Result<Self> {
        Self::new(config, cx).await.map_err(|error| error.connector(CONNECTOR.name()).operation("open"))
    }

    fn capabilities(&self) -> SourceCapabilities {
        let bounded = self.shared.formats.events.is_none();
        SourceCapabilities { resume: Resume::Exact, ordered: false, bounded }
    }

    fn parent_fields(&self) -> Option<Vec<String>> {
        Some(self.targets.parent_fields())
    }

    async fn check(&self, cx: &Context) -> Result<()> {
        let checked = async {
            let request = self.some_targets(cx)?.request(0)?;
            let reading = self.reading(cx, request)?;
            if reading.request.job.is_some() {
                return reading.look_without_job().await;
            }
            if let Some(download) = &self.shared.download {
                return download::probe(&reading, download).await.map(drop);
            }
            let first = self.shared.pagination.first();
            // Many servers refuse HEAD. The body is left where it is.
            let answer = reading.page(&first.page).await?;
            reading.is_json(&answer).map(drop)
        };
        checked.await.map_err(|error: Error| error.connector(CONNECTOR.name()).operation("check"))
    }

    async fn discover(&self, cx: &Context) -> Result<Vec<Dataset>> {
        let request = self.some_targets(cx).and_then(|targets| targets.request(0)).operation("discover")?;
        let url = request.url.clone();
        let name = if cx.stream().is_empty() { last_segment(&url) } else { cx.stream().to_owned() };
        let mut dataset = Dataset::new(name, self.named.clone());
        if request.job.is_some() {
            return Ok(vec![dataset]);
        }
        dataset.schema = if self.shared.download.is_some() {
            Some(chunk_schema())
        } else {
            let mut batches = self.reading(cx, request).operation("discover")?.batches(None);
            batches.try_next().await?.map(|batch| batch.rows.schema())
        };
        Ok(vec![dataset])
    }

    async fn plan(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let ahead = || Arc::new(Semaphore::new(request.parallelism.max(self.shared.pages_in_flight)));
        self.shared.ahead.get_or_init(ahead);
        let planned =
            if self.shared.download.is_some() { self.files(cx, request) } else { self.splits(cx, request) };
        planned.map_err(|error| error.connector(CONNECTOR.name()).operation("plan"))
    }

    fn read(&self, cx: &Context, split: &Split, from: Position) -> Result<BatchStream> {
        if from == Position::End {
            return Ok(stream::empty().boxed());
        }
        let begun = self.split_request(split).and_then(|(request, payload)| {
            let reading = self.reading(cx, request)?;
            if self.shared.download.is_some() {
                return download::batches(reading, payload.part, from);
            }
            let reading =
                Reading { columns: payload.columns.map(Into::into), again: payload.again, ..reading };
            let from = Spot::of(from)?;
            let answered = self.conditional.as_ref().filter(|_| from.is_none()).and_then(|c| c.take(split));
            Ok(match answered {
                Some(answer) => reading.batches_of_answer(answer),
                None => reading.batches(from),
            })
        });
        begun.map_err(|error| error.connector(CONNECTOR.name()).operation("read"))
    }
}

impl HttpSource {
    async fn new(config: SourceConfig, cx: &Context) -> Result<Self> {
        let targets = Targets::new(&config)?;
        let base = config.base_url.as_deref().map(base).transpose()?;
        let plain_base = base.as_ref().filter(|base| !has_user(base));
        let home = plain_base.map(|base| Home::new(Some(base), &mut base.clone())).transpose()?;
        config.pagination.validate(&config)?;
        Follow::validate(&config)?;
        let formats = Formats::new(&config)?;
        let responses = Arc::new(Responses::new(&config.responses)?);
        let metadata = Metadata::new(&config)?;
        let conditional = Conditional::new(&config)?.map(Arc::new);
        let download = Download::new(&config, &targets)?;
        if config.pages_in_flight == 0 {
            return Err(Error::config("`pages_in_flight` must be above zero"));
        }
        let mut client = Client::new(&config.connection(), cx).await?;
        targets.secrets().for_each(|text| client.hide(text));
        let job_body = config.job.as_ref().and_then(|job| job.status.body.as_ref());
        config.body.iter().chain(job_body).for_each(|body| client.redactor().hide_body(body));
        config.query.iter().for_each(|(name, values)| client.redactor().hide_named(name, &values.0));
        let robots = Robots::of(&config, cx)?.map(Arc::new);
        let named = named(&config);
        let SourceConfig { pagination, follow, pages_in_flight, max_body, cursor_param, .. } = config;
        let pagination = Arc::new(pagination);
        let (told, jobs) = (Mutex::default(), Mutex::default());
        let shared = Shared {
            client,
            formats,
            pagination,
            follow,
            robots,
            count: Count::default(),
            pages_in_flight,
            ahead: OnceLock::new(),
            max_body,
            responses,
            metadata,
            download,
            told,
            jobs,
        };
        let (shared, targets) = (Arc::new(shared), Arc::new(targets));
        Ok(Self { shared, targets, base, home: home.map(Arc::new), cursor_param, named, conditional })
    }

    pub(crate) fn reading(&self, cx: &Context, mut request: Wanted) -> Result<Reading> {
        let home = match &self.home {
            Some(home) if !has_user(&request.url) => home.clone(),
            _ => Arc::new(Home::new(self.base.as_ref(), &mut request.url)?),
        };
        let (shared, request) = (self.shared.clone(), Arc::new(request));
        let pagination = shared.pagination.clone();
        let (columns, again) = (None, Again::default());
        Ok(Reading { shared, cx: cx.clone(), pagination, request, home, columns, again })
    }

    fn splits(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let sender = self.cursor_param.as_ref().map(|param| format!("cursor_param: {param}"));
        let sender = sender.or_else(|| self.targets.cursor_param().map(|name| format!("params.{name}")));
        if let (Some(sender), None) = (&sender, &request.cursor) {
            return Err(Error::config(format!("`{sender}` has no cursor to send")).help(
                "set the stream's `cursor`; a stream that replaces its rows reads all of them and has none",
            ));
        }
        let NextUrl { next, moment, validators, .. } = NextUrl::of(&request.planned)?;
        let of_the_moment = self.targets.are_of_the_moment();
        // A plan that goes on is of the moment at which it began.
        let moment = of_the_moment.then(|| {
            moment.unwrap_or_else(|| Moment {
                now: now(cx),
                after: request.cursor.as_ref().and_then(|cursor| cursor.after.clone()),
            })
        });
        let targets = self.targets_of(moment.as_ref(), request.parent.as_ref())?;
        let parent = request.parent.clone();
        let reach = moment.as_ref().and_then(|moment| targets.reaches_back_to(moment.after.as_ref()?));
        let after = request
            .cursor
            .as_ref()
            .filter(|_| self.cursor_param.is_some())
            .and_then(|cursor| cursor.after.as_ref());
        let after = after.map(|after| after.as_str().map_or_else(|| after.to_string(), str::to_owned));
        let (shared, columns) = (self.shared.clone(), request.columns.clone());
        let has_job = self.targets.has_job();
        let again = if has_job { Again::of(request) } else { Again::default() };
        let mut names = Names::default();
        // Names depend on the URLs before them, so planning counts from the first, and is quick about it.
        let began = moment.clone();
        let candidates = (0..targets.len()).filter_map(move |index| {
            let found = whole_request(&targets, index).and_then(|url| Ok((url, targets.label(index)?)));
            let (url, with) = match found {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            let shown = shared.client.show(&url);
            let id = names.name(&url, &shown, with.as_deref())?;
            let by_index = shown != url.as_str() || targets.fills_requests();
            let payload = Payload {
                url: shown,
                index: by_index.then_some(index),
                with,
                after: after.clone(),
                moment: moment.clone().filter(|_| by_index),
                columns: columns.clone(),
                parent: parent.clone().filter(|_| by_index),
                again,
                part: None,
            };
            Some(
                serde_json::to_value(payload)
                    .map_err(unstorable)
                    .map(|payload| Split::new(id, payload))
                    .map(|split| if has_job { split.with_effects() } else { split })
                    .map(|split| Candidate { index, split }),
            )
        });
        let splits = if self.conditional.is_some() && !request.one_snapshot && request.limit.is_none() {
            let next = NextUrl { next, moment: began, validators, within: None };
            conditional::plan(self, cx, &request.since, next, candidates)?
        } else {
            let planned = move |Candidate { index, split }| {
                let resume =
                    NextUrl { moment: began.clone(), next: index + 1, ..NextUrl::default() }.position()?;
                Ok(Planned::Split { split, resume })
            };
            let new =
                candidates.filter(move |found| found.as_ref().map_or(true, |found| found.index >= next));
            stream::iter(new.map(move |found| found.and_then(&planned))).boxed()
        };
        let cursor = if self.cursor_param.is_some() || (of_the_moment && request.cursor.is_some()) {
            Pushdown::Inexact
        } else {
            Pushdown::Unsupported
        };
        // JSON pages give all of theirs.
        Ok(ScanPlan { cursor, columns: Pushdown::Inexact, after: reach, ..ScanPlan::new(None, splits) })
    }

    /// The targets of a run that would begin now, and the first possible ones when it had none.
    fn some_targets(&self, cx: &Context) -> Result<Arc<Targets>> {
        self.targets_of(None, None)?;
        let targets = self.targets.at(&Moment { now: now(cx), after: None })?;
        Ok(if targets.len() > 0 { Arc::new(targets) } else { self.targets.clone() })
    }

    /// The targets of a moment and for a row of the parent.
    fn targets_of(&self, moment: Option<&Moment>, parent: Option<&Parent>) -> Result<Arc<Targets>> {
        let mut targets = self.targets.clone();
        if let Some(moment) = moment {
            targets = Arc::new(targets.at(moment)?);
        }
        match (parent, targets.parent_fields().first()) {
            (Some(parent), Some(_)) => targets.for_row(parent).map(Arc::new),
            (None, Some(field)) => Err(Error::config(format!(
                "`{{parent.{field}}}` stands for a field of another stream's rows"
            ))
            .help("say for each row of which stream this one is read, such as `for_each: customers`")),
            (_, None) => Ok(targets),
        }
    }

    /// The parts of the files at all URLs.
    fn files(&self, cx: &Context, request: &ScanRequest) -> Result<ScanPlan> {
        let NextUrl { next, moment, within, .. } = NextUrl::of(&request.planned)?;
        let mut from_first = request.clone();
        from_first.columns = None;
        if let Position::At(_) = request.planned {
            from_first.planned = Position::At(json!(NextUrl { moment, ..NextUrl::default() }));
        }
        let plan = self.splits(cx, &from_first)?;
        let (source, cx) = (self.clone(), cx.clone());
        let steps = plan.splits.map(move |step| match step? {
            Planned::Split { split, resume } => {
                let (request, payload) = source.split_request(&split)?;
                let (reading, next) = (source.reading(&cx, request)?, NextUrl::of(&resume)?);
                Ok(download::Step { id: split.id, payload, reading, next })
            }
            Planned::Complete { .. } => Err(Error::unexpected("URLs leave nothing for the next run")),
        });
        let splits = download::plan(steps.boxed(), self.shared.clone(), next, within);
        Ok(ScanPlan { schema: Some(chunk_schema()), splits, columns: Pushdown::Unsupported, ..plan })
    }

    /// The request that a split is read by, and what it holds.
    pub(crate) fn split_request(&self, split: &Split) -> Result<(Wanted, Payload)> {
        let payload = Payload::deserialize(&split.payload);
        let payload = match payload {
            Ok(payload) if split.version == 1 => payload,
            _ => {
                return Err(Error::unsupported("this split was planned by another version")
                    .detail("split", &split.id));
            }
        };
        let (mut request, with) = match payload.index {
            None => {
                let url = Url::parse(&payload.url);
                let url = url.map_err(|error| Error::data("this split holds no URL").source(error))?;
                (self.targets.request_of(url)?, None)
            }
            Some(index) => {
                let targets = self.targets_of(payload.moment.as_ref(), payload.parent.as_ref())?;
                (targets.request(index)?, targets.label(index)?)
            }
        };
        if self.shared.client.show(&request.url) != payload.url || with != payload.with {
            return Err(Error::config("the URLs of the pipeline have changed while a run was under way")
                .detail("planned", payload.url)
                .help("finish the run with the old options, or `towpath state reset`"));
        }
        if let (Some(param), Some(after)) = (&self.cursor_param, &payload.after) {
            request.set_query(param, after);
        }
        Ok((request, payload))
    }
}

/// The URL at an index, of which the whole request can be made.
fn whole_request(targets: &Targets, index: u64) -> Result<Url> {
    if !targets.has_row() {
        return targets.url(index);
    }
    let request = targets.request(index).map_err(|error| match error.kind() {
        // What the options allow, this row's values do not.
        ErrorKind::Config => Error::data(error.message()),
        _ => error,
    });
    request.map(|request| request.url)
}

/// When the run began, in microseconds, in whole seconds.
fn now(cx: &Context) -> i64 {
    let since = cx.began().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

fn unstorable(error: serde_json::Error) -> Error {
    Error::unexpected("a split cannot be stored").source(error)
}

fn base(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Error::config(format!("`base_url` is not a URL: {error}")))
}

/// The options that name what is read.
fn named(config: &SourceConfig) -> Json {
    let SourceConfig { url, urls, path, paths, .. } = config;
    match (url, path) {
        (Some(url), _) => json!({ "url": url }),
        (_, Some(path)) => json!({ "path": path }),
        _ if !urls.is_empty() => json!({ "urls": urls }),
        _ => json!({ "paths": paths }),
    }
}

/// A name for what is at a URL.
fn last_segment(url: &Url) -> String {
    let mut segments = url.path().rsplit('/').filter(|segment| !segment.is_empty());
    let name = segments.next().and_then(|segment| segment.split('.').next()).filter(|name| !name.is_empty());
    name.or_else(|| url.host_str()).unwrap_or("data").to_owned()
}

/// The options that a URI of the command line stands for.
pub(crate) fn options_of_uri(uri: &str) -> Result<Json> {
    match Url::parse(uri) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(json!({ "url": uri })),
        _ => Err(Error::config("this is not an HTTP URL").help("write it as https://host/path")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_stands_for_its_url() {
        assert_eq!(options_of_uri("https://a/x?y=1").unwrap(), json!({"url": "https://a/x?y=1"}));
        assert!(options_of_uri("https:").is_err());
    }

    #[test]
    fn a_data_set_is_named_after_its_path() {
        let name = |url: &str| last_segment(&Url::parse(url).unwrap());
        assert_eq!(name("https://a.example/v2/orders.csv.gz?x"), "orders");
        assert_eq!(name("https://a.example/v2/orders/"), "orders");
        assert_eq!(name("https://a.example"), "a.example");
    }
}
