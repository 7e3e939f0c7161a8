//! What the servers answer to which request, and after how long.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, LINK, RETRY_AFTER};
use tokio::time::Instant;

use crate::chance;
use crate::data::Data;
use crate::{Options, Served};

/// Rows in a page of flights.
const FLIGHTS_PAGE: usize = 500;
/// Rows in a page of weather.
const WEATHER_PAGE: usize = 200;
/// How many requests for weather are answered in a second.
const WEATHER_RATE: usize = 80;
/// How many of the requests fail, in a hundred.
const FAILURES: u32 = 6;
/// How many files of the archive break off, in a hundred.
const BROKEN_CONNECTIONS: u32 = 15;
/// The weather that nobody gets when one resource is broken.
const BROKEN: &str = "/weather/LGA/7";

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// Pages that can be asked for at once, because their number is known.
    Flights,
    /// Pages of which each one links to the next, for each airport and month.
    Weather,
    /// Compressed files.
    Archive,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Bytes,
    /// How long it takes.
    pub(crate) after: Duration,
    /// Whether the connection breaks in the middle of the body.
    pub(crate) breaks: bool,
}

/// All servers, with what they remember.
pub(crate) struct Apis {
    data: Data,
    options: Options,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// What was asked for and not refused.
    asked: HashSet<String>,
    /// What was given. It may be asked for again, when a client reads ahead and has to throw that away.
    given: HashSet<String>,
    /// When the last requests for weather came.
    recent: VecDeque<Instant>,
    served: Served,
}

impl Apis {
    pub(crate) fn new(data: Data, options: Options) -> Self {
        Self { data, options, memory: Mutex::default() }
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    pub(crate) fn served(&self) -> Served {
        self.memory().served
    }

    /// The answer to a GET of this path and query.
    pub(crate) fn reply(&self, api: Api, path: &str, query: &str) -> Reply {
        if api == Api::Weather && !self.memory().admits(Instant::now()) {
            self.memory().served.refused += 1;
            return Reply::error(StatusCode::TOO_MANY_REQUESTS, "too many requests").with(RETRY_AFTER, "1");
        }
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let is_first = self.memory().is_first(&target);
        let mut reply = match api {
            Api::Flights => self.flights(query),
            Api::Weather => self.weather(path, query),
            Api::Archive => archive(path),
        };
        if self.options.broken && path == BROKEN {
            reply = Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "this station is out of order");
        } else if is_first && reply.status.is_success() {
            api.fail_by_chance(&target, &mut reply);
        }
        reply.after = api.latency(&target);
        self.memory().count(target, &reply);
        reply
    }

    fn flights(&self, query: &str) -> Reply {
        let flights = &self.data.flights;
        let (page, pages) = (page(query), flights.len().div_ceil(FLIGHTS_PAGE));
        if page == 0 || page > pages {
            return Reply::error(StatusCode::NOT_FOUND, "there is no such page");
        }
        let rows = (page - 1) * FLIGHTS_PAGE..flights.len().min(page * FLIGHTS_PAGE);
        let (total, flights) = (flights.len(), flights.json(rows));
        Reply::json(format!(r#"{{"page":{page},"total_pages":{pages},"total":{total},"flights":{flights}}}"#))
    }

    fn weather(&self, path: &str, query: &str) -> Reply {
        let station = path.strip_prefix("/weather/").and_then(|station| station.split_once('/'));
        let rows = station.and_then(|(airport, month)| self.data.station(airport, month));
        let page = page(query);
        let Some(rows) =
            rows.and_then(|rows| rows.chunks(WEATHER_PAGE).nth(page.checked_sub(1)?).zip(Some(rows)))
        else {
            return Reply::error(StatusCode::NOT_FOUND, "there is no such weather");
        };
        let (rows, all) = rows;
        let reply = Reply::json(format!(r#"{{"hours":{}}}"#, self.data.weather.json(rows.iter().copied())));
        if page * WEATHER_PAGE < all.len() {
            return reply.with(LINK, format!(r#"<{path}?page={}>; rel="next""#, page + 1));
        }
        reply
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn archive(path: &str) -> Reply {
    let day = path.strip_prefix("/archive/2013/02/").and_then(|name| name.strip_suffix(".csv.gz"));
    match day.and_then(|day| day.parse().ok()).and_then(Data::archived) {
        Some(file) => Reply {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, "application/gzip".to_owned())],
            body: Bytes::from_static(file),
            after: Duration::ZERO,
            breaks: false,
        },
        None => Reply::error(StatusCode::NOT_FOUND, "there is no such file"),
    }
}

/// The number of the page that is asked for.
fn page(query: &str) -> usize {
    let page = query.split('&').find_map(|parameter| parameter.strip_prefix("page="));
    page.map_or(1, |page| page.parse().unwrap_or(0))
}

impl Api {
    /// How long its answer to this takes.
    fn latency(self, target: &str) -> Duration {
        let (shortest, longest) = match self {
            Self::Flights => (150, 400),
            Self::Weather => (100, 300),
            Self::Archive => (200, 600),
        };
        chance::latency(target, Duration::from_millis(shortest), Duration::from_millis(longest))
    }

    /// Some things go wrong when they are asked for the first time.
    fn fail_by_chance(self, target: &str, reply: &mut Reply) {
        match self {
            Self::Flights if chance::happens(target, FAILURES) => {
                *reply = Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong");
            }
            Self::Weather if chance::happens(target, FAILURES) => {
                *reply = Reply::error(StatusCode::SERVICE_UNAVAILABLE, "come back later");
            }
            Self::Archive => reply.breaks = chance::happens(target, BROKEN_CONNECTIONS),
            Self::Flights | Self::Weather => {}
        }
    }
}

impl Memory {
    /// Whether one more request for weather is within the rate. If so, it counts.
    fn admits(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|then| now - *then >= Duration::from_secs(1)) {
            self.recent.pop_front();
        }
        let admits = self.recent.len() < WEATHER_RATE;
        if admits {
            self.recent.push_back(now);
        }
        admits
    }

    fn is_first(&mut self, target: &str) -> bool {
        self.asked.insert(target.to_owned())
    }

    fn count(&mut self, target: String, reply: &Reply) {
        let is_given = reply.status.is_success() && !reply.breaks;
        if !self.given.contains(&target) {
            self.served.one_after_the_other += reply.after;
        }
        if is_given {
            self.served.answered += 1;
            self.given.insert(target);
        } else {
            self.served.failed += 1;
        }
    }
}

impl Reply {
    fn json(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            headers: vec![(CONTENT_TYPE, "application/json".to_owned())],
            body: body.into(),
            after: Duration::ZERO,
            breaks: false,
        }
    }

    fn error(status: StatusCode, message: &str) -> Self {
        Self { status, ..Self::json(format!(r#"{{"error":"{message}"}}"#)) }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests;
