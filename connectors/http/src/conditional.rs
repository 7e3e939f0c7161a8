//! Conditional requests: what tells the version of each URL is kept for the next run, which reads only what has changed.
//!
//! The next run gets what the plan's last step says, before the splits are read. So the plan asks for each URL itself, some
//! at once, and hands small bodies to the readers. What a reader gets is never older than what the plan has seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use towpath_core::{Context, Error, PlanStream, Planned, Position, Result, Split};

use crate::client::Answer;
use crate::config::{Pagination, ReadMethod, SourceConfig, Values};
use crate::source::{HttpSource, NextUrl};

/// Of so many URLs the version is kept. It goes into each commit.
const KEPT: usize = 4096;
/// The longest `ETag` or `Last-Modified` that is kept.
const LONGEST: usize = 128;
/// How many URLs are asked for at once.
const AT_ONCE: usize = 16;
/// The largest body that is handed to its reader. Larger ones are asked for again.
pub(crate) const SMALL: usize = 1 << 20;
/// How much is held for readers at most.
const HELD: usize = 16 << 20;

/// By what a stream tells the versions of its URLs, and what was read of them already.
pub(crate) struct Conditional {
    /// What rows depend on besides the URL.
    fingerprint: String,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    answers: HashMap<String, (Answer, usize)>,
    bytes: usize,
}

/// What tells the version of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
}

/// A URL that is planned.
pub(crate) struct Candidate {
    pub(crate) index: u64,
    pub(crate) split: Split,
}

/// What the next run gets.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Since {
    /// A line for each URL: a digest of its name, `ETag` and `Last-Modified`, with tabs between.
    validators: String,
}

/// What came of a URL.
enum Asked {
    /// It was planned before.
    Behind,
    Unchanged,
    Changed(Validators),
}

impl Conditional {
    /// Holds the option against the others; `None` when it is off.
    pub(crate) fn new(config: &SourceConfig) -> Result<Option<Self>> {
        if !config.conditional {
            return Ok(None);
        }
        let refused = |with: &str, why: &str| {
            Err(Error::config(format!("`conditional` cannot go with {with}: {why}"))
                .help("remove one of them"))
        };
        if config.pagination != Pagination::None {
            return refused(
                "`pagination`",
                "a first page without changes says nothing about those behind it",
            );
        }
        if config.body.is_some() || matches!(config.method, Some(ReadMethod::Post | ReadMethod::Put)) {
            return refused("a `body` or `method`", "only GET can be conditional");
        }
        if config.cursor_param.is_some() {
            return refused("`cursor_param`", "the cursor makes another URL of it in each run");
        }
        if config.job.is_some() {
            return refused("`job`", "each run creates a job of its own");
        }
        if config.params.values().any(Values::is_cursor) {
            return refused("a cursor in `params`", "the cursor makes another URL of it in each run");
        }
        let SourceConfig { format, records, columns, compression, .. } = config;
        let fingerprint = format!("{format:?} {records:?} {columns:?} {compression:?}");
        Ok(Some(Self { fingerprint, held: Mutex::default() }))
    }

    /// The answer that planning got for a split.
    pub(crate) fn take(&self, split: &Split) -> Option<Answer> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, bytes) = held.answers.remove(&split.id.0)?;
        held.bytes -= bytes;
        Some(answer)
    }

    /// Keeps an answer for its reader, if there is room for it.
    fn hold(&self, split: &Split, answer: Answer, bytes: usize) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.bytes + bytes <= HELD {
            held.bytes += bytes;
            if let Some((_, before)) = held.answers.insert(split.id.0.clone(), (answer, bytes)) {
                held.bytes -= before;
            }
        }
    }

    fn key(&self, split: &Split) -> u64 {
        let named = format!("{}\0{}", self.fingerprint, split.id);
        let digest = digest(&SHA256, named.as_bytes());
        digest.as_ref()[..8].iter().fold(0, |key, byte| key << 8 | u64::from(*byte))
    }
}

impl Validators {
    /// Those of an answer. A time of the very second of the answer does not tell it from what comes later in that second.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            (!value.is_empty() && value.len() <= LONGEST && !value.contains('\t')).then(|| value.to_owned())
        };
        let time = |name: HeaderName| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
        let is_settled = match (time(LAST_MODIFIED), time(DATE)) {
            (Some(modified), Some(now)) => modified + Duration::from_secs(1) <= now,
            (modified, _) => modified.is_some(),
        };
        Self { etag: text(ETAG), modified: text(LAST_MODIFIED).filter(|_| is_settled) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.modified.is_none()
    }
}

/// The versions of URLs, by their keys.
#[derive(Debug, Clone, Default)]
struct Memory(BTreeMap<u64, Validators>);

impl Memory {
    fn read(lines: &str) -> Option<Self> {
        let entry = |line: &str| {
            let mut parts = line.split('\t');
            let key = u64::from_str_radix(parts.next()?, 16).ok()?;
            let mut text = || Some(parts.next()?.to_owned());
            let (etag, modified) = (text()?, text()?);
            let given = |text: String| Some(text).filter(|text| !text.is_empty());
            Some((key, Validators { etag: given(etag), modified: given(modified) }))
        };
        lines.lines().map(entry).collect::<Option<_>>().map(Self)
    }

    fn line(lines: &mut String, key: u64, validators: &Validators) {
        let Validators { etag, modified } = validators;
        let (etag, modified) = (etag.as_deref().unwrap_or_default(), modified.as_deref().unwrap_or_default());
        // Writing into a text does not fail.
        let _ = writeln!(lines, "{key:016x}\t{etag}\t{modified}");
    }
}

/// What a plan has found out.
struct Plan {
    cx: Context,
    /// What the last run left.
    old: Memory,
    /// The old ones that are still among the URLs.
    still: BTreeSet<u64>,
    /// What is new, as the plan's positions hold it. An entry without anything takes an old one away.
    found: String,
    added: usize,
    next: NextUrl,
    asked: BoxStream<'static, Result<(Candidate, u64, Asked)>>,
    complete: bool,
}

/// The steps of a plan that asks for each URL.
pub(crate) fn plan(
    source: &HttpSource,
    cx: &Context,
    since: &Position,
    next: NextUrl,
    candidates: impl Iterator<Item = Result<Candidate>> + Send + 'static,
) -> Result<PlanStream> {
    let unreadable = || {
        Error::unsupported("the versions of URLs were stored by another version of towpath")
            .help("`towpath state reset` and run again, to read all of them")
    };
    let old = match since {
        Position::At(at) => {
            let since = Since::deserialize(at).map_err(|error| unreadable().source(error))?;
            Memory::read(&since.validators).ok_or_else(unreadable)?
        }
        Position::Start | Position::End => Memory::default(),
    };
    let found = next.validators.clone().unwrap_or_default();
    let added = Memory::read(&found).ok_or_else(unreadable)?;
    let added = added.0.keys().filter(|key| !old.0.contains_key(*key)).count();
    let asked = {
        let (source, cx, known, first) = (source.clone(), cx.clone(), old.clone(), next.next);
        let asked = stream::iter(candidates).map(move |candidate| {
            let (source, cx) = (source.clone(), cx.clone());
            let begun = candidate.map(|candidate| {
                let key = source.key(&candidate.split);
                let old = known.0.get(&key).cloned().unwrap_or_default();
                (candidate, key, old)
            });
            async move {
                let (candidate, key, old) = begun?;
                let asked = if candidate.index < first {
                    Asked::Behind
                } else {
                    source.ask(&cx, &candidate.split, &old).await?
                };
                Ok((candidate, key, asked))
            }
        });
        asked.buffered(AT_ONCE).boxed()
    };
    let (still, complete) = (BTreeSet::new(), next.next == u64::MAX);
    let plan = Plan { cx: cx.clone(), old, still, found, added, next, asked, complete };
    let steps =
        stream::try_unfold(plan, |mut plan| async move { Ok(plan.step().await?.map(|step| (step, plan))) });
    let named = |error: Error| error.connector(crate::CONNECTOR.name()).operation("plan");
    Ok(steps.map_err(named).boxed())
}

impl Plan {
    async fn step(&mut self) -> Result<Option<Planned>> {
        if self.complete {
            return Ok(None);
        }
        while let Some((candidate, key, asked)) = self.asked.try_next().await? {
            if self.old.0.contains_key(&key) {
                self.still.insert(key);
            }
            let Asked::Changed(validators) = asked else { continue };
            self.note(key, &validators);
            let validators = Some(self.found.clone()).filter(|found| !found.is_empty());
            let moment = self.next.moment.clone();
            let next = NextUrl { next: candidate.index + 1, moment, validators, within: None };
            return Ok(Some(Planned::Split { split: candidate.split, resume: next.position()? }));
        }
        self.complete = true;
        let validators = self.rest()?;
        if validators.is_empty() {
            return Ok(Some(Planned::Complete { since: Position::Start }));
        }
        let since = serde_json::to_value(Since { validators });
        let since = since.map_err(|error| Error::unexpected("a position cannot be stored").source(error))?;
        Ok(Some(Planned::Complete { since: Position::At(since) }))
    }

    /// Notes the version of a URL, as long as there is room.
    fn note(&mut self, key: u64, validators: &Validators) {
        let is_known = self.old.0.contains_key(&key);
        if !is_known && validators.is_empty() {
            return;
        }
        if !is_known {
            if self.old.0.len() + self.added >= KEPT {
                self.cx.metrics().warn(format!(
                    "`conditional` keeps the versions of {KEPT} URLs; those beyond are read in every run"
                ));
                return;
            }
            self.added += 1;
        }
        Memory::line(&mut self.found, key, validators);
    }

    /// What the next run gets: what is new, and what is old and still among the URLs.
    fn rest(&self) -> Result<String> {
        let found =
            Memory::read(&self.found).ok_or_else(|| Error::unexpected("what was noted is unreadable"))?;
        let mut all = self.old.clone();
        all.0.retain(|key, _| self.still.contains(key));
        all.0.extend(found.0);
        let mut lines = String::new();
        for (key, validators) in all.0.iter().filter(|(_, validators)| !validators.is_empty()) {
            Memory::line(&mut lines, *key, validators);
        }
        Ok(lines)
    }
}

impl HttpSource {
    fn key(&self, split: &Split) -> u64 {
        self.conditional.as_ref().map_or(0, |conditional| conditional.key(split))
    }

    /// Asks for the URL of a split, unless it is still as it was.
    ///
    /// # Errors
    /// Those that may pass. Others are left to the reader of the split.
    async fn ask(&self, cx: &Context, split: &Split, old: &Validators) -> Result<Asked> {
        let (request, _) = self.split_request(split)?;
        let reading = self.reading(cx, request)?;
        match reading.ask(old).await {
            Ok(None) => Ok(Asked::Unchanged),
            Ok(Some((answer, bytes))) => {
                // What a rule leaves out has not been read.
                let has_rows = answer.ruling.is_none();
                let validators =
                    if has_rows { Validators::of(&answer.headers) } else { Validators::default() };
                if let (Some(conditional), Some(bytes)) = (&self.conditional, bytes) {
                    conditional.hold(split, answer, bytes);
                }
                Ok(Asked::Changed(validators))
            }
            Err(error) if error.is_retryable() => Err(error),
            Err(_) => Ok(Asked::Changed(Validators::default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &str)]) -> Validators {
        Validators::of(&headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let all = [
            (1, Validators { etag: Some("W/\"a\"".to_owned()), modified: None }),
            (u64::MAX, Validators { etag: None, modified: Some("Fri, 27 Nov 2026 08:00:00 GMT".to_owned()) }),
            (7, Validators::default()),
        ];
        let mut lines = String::new();
        for (key, validators) in &all {
            Memory::line(&mut lines, *key, validators);
        }
        assert_eq!(Memory::read(&lines).unwrap().0, all.into_iter().collect());
        assert!(Memory::read("nonsense").is_none());
    }

    #[test]
    fn a_time_of_the_same_second_is_not_kept() {
        let (early, late) = ("Fri, 27 Nov 2026 08:00:00 GMT", "Fri, 27 Nov 2026 08:00:01 GMT");
        assert!(of(&[(LAST_MODIFIED, early), (DATE, early)]).is_empty());
        assert_eq!(of(&[(LAST_MODIFIED, early), (DATE, late)]).modified.as_deref(), Some(early));
        assert_eq!(of(&[(LAST_MODIFIED, early)]).modified.as_deref(), Some(early));
        assert!(of(&[(LAST_MODIFIED, "yesterday")]).is_empty());
    }

    #[test]
    fn what_is_too_long_to_be_kept_is_left_out() {
        assert!(of(&[(ETAG, &"x".repeat(LONGEST + 1))]).is_empty());
        assert_eq!(of(&[(ETAG, "\"x\"")]).etag.as_deref(), Some("\"x\""));
    }
}
