//! Pages in order: fetched one ahead where each tells the next, many at once where their number is known.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use towpath_core::{Batch, Error, Position, Result};

use super::page::{Fetched, Opened};
use super::{Reading, Spot};
use crate::pagination::{Key, Place};
use crate::responses::Ruling;

/// The pages of a split.
pub(super) struct Pages {
    reading: Reading,
    /// The page to read next; `None` at the end.
    next: Option<Place>,
    /// That page, when its request has been sent.
    ahead: Option<Ahead>,
    /// Known pages that are read at once, in order. The first is `next`.
    known: VecDeque<Known>,
    /// The pages that were told so far, as hashes.
    told: HashSet<u64>,
    /// Where in the first page to begin.
    begin: (u64, Position),
    /// The digest of the last page's records.
    last: Option<u64>,
}

/// A known page that is being read.
struct Known {
    place: Place,
    task: Task<Done>,
    /// Its share of what all splits may read before its turn; whose turn it is needs none.
    _ahead: Option<OwnedSemaphorePermit>,
}

/// Work that goes on by itself and ends when nobody wants it any more.
pub(super) struct Task<T>(AbortOnDropHandle<Result<T>>);

/// A page that was asked for before it is needed.
enum Ahead {
    Here(Box<Fetched>),
    OnItsWay(Task<Fetched>),
}

/// A page that has been read.
struct Done {
    batches: Vec<Batch>,
    next: Option<Place>,
    /// Of the records of a page that is counted, to notice a server that does not count.
    digest: Option<u64>,
}

impl Pages {
    /// The pages from this one on. `fetched` is it, if it is here already.
    pub(super) fn new(
        reading: Reading,
        first: Place,
        fetched: Option<Fetched>,
        begin: (u64, Position),
    ) -> Self {
        Self {
            reading,
            next: Some(first),
            ahead: fetched.map(|fetched| Ahead::Here(Box::new(fetched))),
            known: VecDeque::new(),
            told: HashSet::new(),
            begin,
            last: None,
        }
    }

    /// The batches of the next page that has any; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<VecDeque<Batch>>> {
        while let Some(place) = self.next.take() {
            let (row, within) = std::mem::replace(&mut self.begin, (0, Position::Start));
            let done = if place.known.is_some() && self.ahead.is_none() {
                self.known_page(place.clone(), row, within).await?
            } else {
                self.told_page(&place, row, within).await?
            };
            self.refuse_same(&place, done.digest)?;
            self.next = done.next;
            let batches = with_positions(done.batches, (place, row), self.next.as_ref(), &self.reading)?;
            if !batches.is_empty() {
                return Ok(Some(batches));
            }
        }
        Ok(None)
    }

    /// Reads a page that only the one before it could tell.
    async fn told_page(&mut self, place: &Place, row: u64, within: Position) -> Result<Done> {
        let fetched = match self.ahead.take() {
            Some(Ahead::Here(fetched)) => *fetched,
            Some(Ahead::OnItsWay(task)) => task.join().await?,
            None => Box::pin(Fetched::get(&self.reading, place)).await?,
        };
        let opened = fetched.open(&self.reading).await?;
        if let Some(done) = ruled(&self.reading, &opened, place) {
            return Ok(done);
        }
        if self.reading.pagination.is_auto() {
            return self.telling_page(&opened, place, row, within).await;
        }
        if !self.reading.pagination.is_told() {
            let done = finish(&self.reading, &opened, place, row, within).await?;
            if let Some(next) = &done.next {
                self.refuse_loop(place, next)?;
            }
            return Ok(done);
        }
        let next = opened.after(&self.reading, place, None)?;
        if let Some(next) = &next {
            self.refuse_loop(place, next)?;
            let (reading, next) = (self.reading.clone(), next.clone());
            self.ahead =
                Some(Ahead::OnItsWay(Task::spawn(async move { Fetched::get(&reading, &next).await })));
        }
        let batches = opened.batches(&self.reading, place, within).await?;
        Ok(Done { batches, next, digest: None })
    }

    /// Reads the first page, which shows how it leads to the next.
    async fn telling_page(
        &mut self,
        opened: &Opened,
        place: &Place,
        row: u64,
        within: Position,
    ) -> Result<Done> {
        let batches = opened.batches(&self.reading, place, within).await?;
        let records = row + batches.iter().map(records).sum::<u64>();
        let found = opened.detect(&self.reading, records)?;
        self.reading.shared.tell(&self.reading.cx, &found);
        let place = Place { page: found.first().page, ..place.clone() };
        self.reading.pagination = Arc::new(found);
        let next = opened.after(&self.reading, &place, Some(records))?;
        if let Some(next) = &next {
            self.refuse_loop(&place, next)?;
        }
        let digest = (records > 0 && self.reading.pagination.may_not_repeat()).then(|| opened.digest());
        Ok(Done { batches, next, digest })
    }

    /// Reads one of several known pages, and sees to it that those behind it are on their way.
    async fn known_page(&mut self, place: Place, row: u64, within: Position) -> Result<Done> {
        if self.known.front().is_none_or(|first| first.place.page != place.page) {
            self.known.clear();
            self.spawn(place.clone(), row, within, None);
        }
        self.fill(&place);
        let Some(first) = self.known.pop_front() else {
            return Err(Error::unexpected("a page that was just asked for is gone"));
        };
        let done = first.task.join().await?;
        // The next ones start before the batches of this one are consumed.
        if let Some(next) = &done.next {
            self.fill(next);
        }
        Ok(done)
    }

    /// Starts as many of the pages from `place` on as may be under way. Many splits together start no more than can be asked
    /// for at once: what waits for its request costs memory, and is no faster for it.
    fn fill(&mut self, place: &Place) {
        while self.known.len() < self.reading.shared.pages_in_flight {
            let next = match self.known.back() {
                None => Some(place.clone()),
                // How many pages there are may have been corrected since.
                Some(last) => {
                    self.reading.pagination.next_known(&Place { known: place.known, ..last.place.clone() })
                }
            };
            let Some(next) = next.filter(|next| next.known.is_some()) else { return };
            let ahead = match self.reading.shared.ahead.get().map(|ahead| ahead.clone().try_acquire_owned()) {
                None => None,
                Some(Ok(ahead)) => Some(ahead),
                Some(Err(_)) => return,
            };
            self.spawn(next, 0, Position::Start, ahead);
        }
    }

    fn spawn(&mut self, place: Place, row: u64, within: Position, ahead: Option<OwnedSemaphorePermit>) {
        let (reading, page) = (self.reading.clone(), place.clone());
        let task = Task::spawn(async move {
            let opened = Fetched::get(&reading, &page).await?.open(&reading).await?;
            finish(&reading, &opened, &page, row, within).await
        });
        self.known.push_back(Known { place, task, _ahead: ahead });
    }

    /// Ends pages that a server gives again and again, because it does not know the parameter that counts them.
    fn refuse_same(&mut self, place: &Place, digest: Option<u64>) -> Result<()> {
        let last = std::mem::replace(&mut self.last, digest);
        if digest.is_none() || digest != last {
            return Ok(());
        }
        let pagination = &self.reading.pagination;
        let request = pagination.request(&self.reading.request, &place.page)?;
        let (param, page) = (pagination.counter().unwrap_or_default(), place.index + 1);
        Err(Error::data(format!("page {page} has the same records as page {}", page - 1))
            .detail("url", self.reading.shared.client.show(&request.url))
            .help(format!(
                "the server seems to ignore `{param}`: check `param` in `pagination`, or set `may_repeat: true` if pages \
                 may really be alike"
            )))
    }

    /// Ends a chain that comes back to a page that it has had.
    fn refuse_loop(&mut self, place: &Place, next: &Place) -> Result<()> {
        self.told.insert(hash(&place.page));
        if self.told.insert(hash(&next.page)) {
            return Ok(());
        }
        let client = &self.reading.shared.client;
        let request = self.reading.pagination.request(&self.reading.request, &next.page)?;
        let url = client.show(&request.url);
        Err(Error::data(format!(
            "the pages go in a circle: page {} leads back to one that has been read",
            place.index + 1
        ))
        .detail("url", url)
        .help("check `pagination`: its parameter may be one that the server does not know"))
    }
}

/// What is left of a page that the rules for answers leave out.
fn ruled(reading: &Reading, opened: &Opened, place: &Place) -> Option<Done> {
    let next = match opened.ruling? {
        Ruling::Empty => return None,
        Ruling::Stop => None,
        Ruling::Skip => reading.pagination.next_known(place),
    };
    Some(Done { batches: Vec::new(), next, digest: None })
}

/// Decodes a page and tells where it leads, by the number of its records.
async fn finish(
    reading: &Reading,
    opened: &Opened,
    place: &Place,
    row: u64,
    within: Position,
) -> Result<Done> {
    if let Some(done) = ruled(reading, opened, place) {
        return Ok(done);
    }
    let batches = opened.batches(reading, place, within).await?;
    let records = row + batches.iter().map(records).sum::<u64>();
    let next = opened.after(reading, place, Some(records))?;
    let digest = (records > 0 && reading.pagination.may_not_repeat()).then(|| opened.digest());
    Ok(Done { batches, next, digest })
}

pub(super) fn records(batch: &Batch) -> u64 {
    (batch.rows.num_rows() + batch.rejected.len()) as u64
}

/// Turns positions within a page into positions within the split.
fn with_positions(
    batches: Vec<Batch>,
    (place, mut row): (Place, u64),
    next: Option<&Place>,
    reading: &Reading,
) -> Result<VecDeque<Batch>> {
    // In the first page it is looked for again.
    let found = |place: &Place| reading.found().filter(|_| place.page != Key::First);
    let behind = match next {
        None => Position::End,
        Some(next) => Spot::page(next.clone(), found(next)).position()?,
    };
    let last = batches.len().saturating_sub(1);
    let placed = batches.into_iter().enumerate().map(|(index, mut batch)| {
        row += records(&batch);
        batch.resume = if index == last {
            behind.clone()
        } else {
            let (place, found) = (place.clone(), found(&place));
            Spot::Page { place, row, within: batch.resume, found }.position()?
        };
        Ok(batch)
    });
    placed.collect()
}

fn hash(page: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    hasher.finish()
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(work)))
    }

    pub(super) async fn join(self) -> Result<T> {
        match self.0.await {
            Ok(result) => result,
            Err(error) => Err(Error::unexpected("the task that reads a page panicked").source(error)),
        }
    }
}
