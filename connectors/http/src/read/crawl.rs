//! Pages that lead to others by their links: each read once, in the order in which the links were found.

use std::collections::VecDeque;

use ring::digest;
use serde::{Deserialize, Serialize};
use towpath_core::{Batch, ErrorKind, Position, Result};
use url::Url;

use super::page::{Fetched, Opened};
use super::pages::{Task, records};
use super::{Reading, Spot};
use crate::client::Answer;
use crate::config::Follow;
use crate::formats::Formats;
use crate::pagination::{Key, Place};

/// What is still to be read, and what is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frontier {
    /// The pages to read, the next one first.
    queue: VecDeque<Page>,
    /// The pages that were ever put there, as hashes.
    known: Vec<u64>,
    /// How many that were.
    pages: u32,
}

/// A page to read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    /// Where it is; `None` for the split's own, whose URL may hold secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<Url>,
    /// How many links it is away from that.
    depth: u32,
}

impl Frontier {
    /// At the split's own page.
    pub(super) fn begin(start: &Url) -> Self {
        let queue = VecDeque::from([Page { url: None, depth: 0 }]);
        Self { queue, known: vec![hash(start)], pages: 1 }
    }

    /// Notes a page; `false` when it is known already.
    fn note(&mut self, url: &Url) -> bool {
        let hash = hash(url);
        let is_new = !self.known.contains(&hash);
        if is_new {
            self.known.push(hash);
        }
        is_new
    }

    /// The place of the page that was taken last, for the columns that tell of it.
    fn read(&self, page: &Page) -> Place {
        let waiting = u64::try_from(self.queue.len()).unwrap_or_default();
        let index = u64::from(self.pages).saturating_sub(waiting).saturating_sub(1);
        let page = page.url.clone().map_or(Key::First, Key::Url);
        Place { page, index, known: None }
    }

    /// Takes the links that are to be followed from a page at this depth.
    fn take(&mut self, links: Vec<Url>, depth: u32, page: &Url, follow: &Follow) {
        if follow.depth.is_some_and(|most| depth >= most) {
            return;
        }
        for url in links {
            if self.pages >= follow.max_pages.get() {
                return;
            }
            let is_wanted = !follow.same_host || url.host_str() == page.host_str();
            if is_wanted && self.note(&url) {
                self.pages += 1;
                self.queue.push_back(Page { url: Some(url), depth: depth + 1 });
            }
        }
    }
}

/// The pages of a split.
pub(super) struct Crawl {
    reading: Reading,
    follow: Follow,
    frontier: Frontier,
    /// The first pages of the queue, on their way.
    ahead: VecDeque<Task<Option<Opened>>>,
    /// Where in the first page to begin.
    begin: (u64, Position),
}

impl Crawl {
    pub(super) fn new(reading: Reading, follow: Follow, frontier: Frontier, begin: (u64, Position)) -> Self {
        Self { reading, follow, frontier, ahead: VecDeque::new(), begin }
    }

    /// The batches of the next page that has any; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<VecDeque<Batch>>> {
        loop {
            self.fill();
            let Some(task) = self.ahead.pop_front() else { return Ok(None) };
            let opened = task.join().await?;
            let (row, within) = std::mem::replace(&mut self.begin, (0, Position::Start));
            let before = self.frontier.clone();
            let Some(page) = self.frontier.queue.pop_front() else { return Ok(None) };
            let Some(opened) = opened.filter(|opened| self.is_new(&page, opened)) else { continue };
            let links = opened.links().to_vec();
            self.frontier.take(self.without_keys(links), page.depth, opened.url(), &self.follow);
            // The next ones start before the batches of this one are consumed.
            self.fill();
            let read = self.frontier.read(&page);
            let batches = opened.batches(&self.reading, &read, within).await?;
            if !batches.is_empty() {
                return self.with_positions(batches, &before, row).map(Some);
            }
        }
    }

    /// Sees to it that the first pages of the queue are on their way.
    fn fill(&mut self) {
        let most = self.reading.shared.pages_in_flight;
        for page in self.frontier.queue.iter().take(most).skip(self.ahead.len()) {
            let (reading, url, same_host) = (self.reading.clone(), page.url.clone(), self.follow.same_host);
            self.ahead.push_back(Task::spawn(async move { fetch(&reading, url, same_host).await }));
        }
    }

    /// Whether a page was not read under the URL that a redirect has led to.
    fn is_new(&mut self, page: &Page, opened: &Opened) -> bool {
        let asked = page.url.as_ref().unwrap_or(&self.reading.request.url);
        let mut found = opened.url().clone();
        found.set_fragment(None);
        hash(&found) == hash(asked) || self.frontier.note(&found)
    }

    /// A frontier may be stored, and our key is put on every request anyway.
    fn without_keys(&self, mut links: Vec<Url>) -> Vec<Url> {
        for url in &mut links {
            self.reading.shared.client.take_key_out(url);
        }
        links
    }

    /// Turns positions within a page into positions within the split.
    fn with_positions(
        &self,
        batches: Vec<Batch>,
        before: &Frontier,
        mut row: u64,
    ) -> Result<VecDeque<Batch>> {
        let last = batches.len() - 1;
        let placed = batches.into_iter().enumerate().map(|(index, mut batch)| {
            row += records(&batch);
            batch.resume = if index < last {
                Spot::Crawl { frontier: before.clone(), row, within: batch.resume }.position()?
            } else if self.frontier.queue.is_empty() {
                Position::End
            } else {
                let frontier = self.frontier.clone();
                Spot::Crawl { frontier, row: 0, within: Position::Start }.position()?
            };
            Ok(batch)
        });
        placed.collect()
    }
}

/// Reads a page; `None` for one that is left out.
async fn fetch(reading: &Reading, url: Option<Url>, same_host: bool) -> Result<Option<Opened>> {
    let Some(url) = url else {
        let answer = reading.get(|_| {}).await?;
        return Fetched::collect(reading, answer).await?.open(reading).await.map(Some);
    };
    let answer = match reading.page(&Key::Url(url.clone())).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::NotFound || error.detail_value("robots.txt").is_some() => {
            tracing::info!(url = reading.shared.client.show(&url), %error, "a link is not followed");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let is_elsewhere = same_host && answer.url.host_str() != url.host_str();
    if is_elsewhere || !may_be_html(&answer) {
        tracing::info!(
            url = reading.shared.client.show(&url),
            "a link leads to something else and is not followed"
        );
        return Ok(None);
    }
    Fetched::collect(reading, answer).await?.open(reading).await.map(Some)
}

fn may_be_html(answer: &Answer) -> bool {
    Formats::is_html(&answer.headers) || !answer.headers.contains_key(reqwest::header::CONTENT_TYPE)
}

/// A name for a URL that holds in later versions as well.
fn hash(url: &Url) -> u64 {
    let digest = digest::digest(&digest::SHA256, url.as_str().as_bytes());
    digest.as_ref().iter().take(8).fold(0, |hash, byte| (hash << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn follow(options: serde_json::Value) -> Follow {
        serde_json::from_value(options).unwrap()
    }

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn queued(frontier: &Frontier) -> Vec<&str> {
        frontier.queue.iter().filter_map(|page| page.url.as_ref()).map(Url::as_str).collect()
    }

    #[test]
    fn links_are_taken_once_and_within_bounds() {
        let start: Url = "http://a/".parse().unwrap();
        let links = || urls(&["http://a/1", "http://a/", "http://b/2", "http://a/3", "http://a/1"]);
        let mut frontier = Frontier::begin(&start);
        frontier.take(links(), 0, &start, &follow(json!({"links": "a"})));
        assert_eq!(queued(&frontier), ["http://a/1", "http://a/3"]);
        frontier.take(links(), 1, &start, &follow(json!({"links": "a", "same_host": false})));
        assert_eq!(queued(&frontier), ["http://a/1", "http://a/3", "http://b/2"]);
        let mut frontier = Frontier::begin(&start);
        frontier.take(links(), 2, &start, &follow(json!({"links": "a", "depth": 2})));
        assert_eq!(queued(&frontier), [""; 0]);
        frontier.take(links(), 1, &start, &follow(json!({"links": "a", "depth": 2, "max_pages": 2})));
        assert_eq!(queued(&frontier), ["http://a/1"]);
    }
}
