//! Planning: from URLs to the parts of their files.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_core::{CHUNK_BYTES, Error, Estimate, PlanStream, Planned, Position, Result, Split, SplitId};

use super::naming::Distinct;
use super::{Download, File, Part, probe};
use crate::read::{Reading, Shared};
use crate::source::{NextUrl, Payload};

/// How many files are found out about at once, ahead of those that are read.
const PROBED_AT_ONCE: usize = 16;

/// What reading a part holds in memory beside its batches: the chunk that is gathered, and what the connection holds.
const PART_MEMORY: u64 = 2 * CHUNK_BYTES as u64;

/// A URL of the plan.
pub(crate) struct Step {
    pub(crate) id: SplitId,
    pub(crate) payload: Payload,
    pub(crate) reading: Reading,
    /// Where planning goes on behind it.
    pub(crate) next: NextUrl,
}

/// Where in a file planning goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Within {
    file: File,
    start: u64,
}

/// A URL about which was found out what is needed.
struct Found {
    step: Step,
    file: Option<File>,
    start: u64,
    /// Whether its parts were planned before.
    is_planned: bool,
}

/// The parts of the files at these URLs, from the position on at which planning was interrupted. All URLs are looked at,
/// because names are told apart from those before them.
pub(crate) fn plan(
    steps: BoxStream<'static, Result<Step>>,
    shared: Arc<Shared>,
    from: u64,
    within: Option<Within>,
) -> PlanStream {
    let looking = shared.clone();
    let found = steps
        .map(move |step| {
            let (shared, within) = (looking.clone(), within.clone());
            async move { look(step?, &shared, from, within).await }
        })
        .buffered(PROBED_AT_ONCE);
    let mut names = Distinct::default();
    let parts = found.map(move |found| {
        let download = download(&shared)?;
        let found = distinct(found?, &mut names, download)?;
        Ok::<_, Error>(stream::iter(parts(found, download.part_bytes)))
    });
    parts.try_flatten().boxed()
}

fn download(shared: &Shared) -> Result<&Download> {
    shared.download.as_ref().ok_or_else(|| Error::unexpected("there is no download"))
}

/// Finds out what a URL's file is.
async fn look(step: Step, shared: &Shared, from: u64, within: Option<Within>) -> Result<Found> {
    let download = download(shared)?;
    let index = step.next.next.saturating_sub(1);
    let is_planned = index < from;
    if let (Some(Within { file, start }), true) = (within, index == from) {
        return Ok(Found { step, file: Some(file), start, is_planned: false });
    }
    if is_planned && let Some(name) = name(&step, download)? {
        return Ok(Found { step, file: Some(File { name, ..File::default() }), start: 0, is_planned });
    }
    match probe(&step.reading, download).await {
        Ok(file) => {
            if download.naming.asks_server() {
                download.told().insert(step.next.next, file.name.clone());
            }
            Ok(Found { step, file: Some(file), start: 0, is_planned })
        }
        Err(error) if error.is_retryable() => Err(error),
        // Reading fails again, and then ends this file alone.
        Err(_) => Ok(Found { step, file: None, start: 0, is_planned }),
    }
}

/// What the file at a URL is called, as far as it is known without asking.
fn name(step: &Step, download: &Download) -> Result<Option<String>> {
    if download.naming.asks_server() {
        return Ok(download.told().get(&step.next.next).cloned());
    }
    download.naming.name(&step.reading.request.url, &HeaderMap::new()).map(Some)
}

/// Gives a file a name of its own.
fn distinct(mut found: Found, names: &mut Distinct, download: &Download) -> Result<Found> {
    if let Some(file) = &mut found.file {
        let name = names.name(std::mem::take(&mut file.name), download.same_name);
        file.name = name.map_err(|error| error.detail("url", found.step.reading.show()))?;
    }
    Ok(found)
}

/// The splits of a file, made as they are asked for.
fn parts(found: Found, part_bytes: u64) -> impl Iterator<Item = Result<Planned>> {
    let Found { step, file, start, is_planned } = found;
    let end = file.as_ref().and_then(|file| file.size);
    let is_cut = file.as_ref().is_some_and(|file| file.ranges) && end.is_some_and(|end| end > part_bytes);
    let mut next = (!is_planned).then_some(start);
    std::iter::from_fn(move || {
        let start = next.take()?;
        let stop = if is_cut { end.map(|end| end.min(start.saturating_add(part_bytes))) } else { end };
        next = stop.filter(|_| is_cut && stop < end);
        Some(planned(&step, file.as_ref(), start, stop, next, is_cut))
    })
}

fn planned(
    step: &Step,
    file: Option<&File>,
    start: u64,
    end: Option<u64>,
    next: Option<u64>,
    is_cut: bool,
) -> Result<Planned> {
    let mut payload = step.payload.clone();
    payload.part = file.map(|file| Part { file: file.clone(), start, end });
    let payload = serde_json::to_value(payload)
        .map_err(|error| Error::unexpected("a split cannot be stored").source(error))?;
    let id = match end {
        Some(end) if is_cut => format!("{} bytes {start}-{end}", step.id),
        _ => step.id.to_string(),
    };
    let mut split = Split::new(id, payload).memory(PART_MEMORY);
    if let Some(end) = end {
        split = split.estimate(Estimate { rows: None, bytes: Some(end - start) });
    }
    let resume = match (next, file) {
        (Some(start), Some(file)) => NextUrl {
            next: step.next.next.saturating_sub(1),
            within: Some(Within { file: file.clone(), start }),
            ..step.next.clone()
        },
        _ => step.next.clone(),
    };
    Ok(Planned::Split { split, resume: Position::At(json!(resume)) })
}
