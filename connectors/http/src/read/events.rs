//! An event stream: it never ends by itself, and goes on behind the last event wherever it breaks off.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use futures::{StreamExt, TryStreamExt};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use towpath_core::{Batch, Error, Position, Result};
use towpath_formats::{ByteStream, EventData, MemoryInput, SseRead};

use super::input::bytes;
use super::metadata::Facts;
use super::{Reading, Spot, whole, without_transfer_compression};
use crate::client::{Answer, Call};
use crate::formats::Formats;
use crate::sse::{Event, Parser};

/// How long events are collected before they are given on.
const LINGER: Duration = Duration::from_millis(500);
/// As many bytes of events are given on at once.
const BATCH_BYTES: usize = 256 << 10;
/// How long we wait before we connect again, where a server does not say.
const RETRY: Duration = Duration::from_secs(3);
/// The longest that we wait because a server says so.
const LONGEST_RETRY: Duration = Duration::from_mins(5);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What all streams of a source have read in this run.
#[derive(Debug, Default)]
pub(crate) struct Count {
    events: AtomicU64,
    begun: OnceLock<Instant>,
}

/// An event stream under reading.
pub(super) struct Events {
    reading: Reading,
    options: SseRead,
    parser: Parser,
    /// The bytes of the present connection.
    bytes: Option<ByteStream>,
    /// Events that wait to be given on, as lines of JSON with the id behind each.
    lines: Vec<(String, Option<String>)>,
    waiting: usize,
    /// What columns tell of the answer that they come with. None of it waits for another connection.
    facts: Option<Facts>,
    /// Since when they wait, and since when nothing has come.
    since: Option<Instant>,
    quiet_since: Instant,
    ended: bool,
    /// Whether there was a connection that ended.
    again: bool,
}

impl Events {
    /// From behind the event with this id on; `answer` is the first connection, if there is one.
    pub(super) fn new(reading: Reading, id: Option<String>, answer: Option<Answer>) -> Result<Self> {
        let options = reading.shared.formats.events.clone().unwrap_or_default();
        let now = reading.cx.clock().monotonic();
        reading.shared.count.begun.get_or_init(|| now);
        let mut events = Self {
            reading,
            options,
            parser: Parser::behind(id),
            bytes: None,
            lines: Vec::new(),
            waiting: 0,
            facts: None,
            since: None,
            quiet_since: now,
            ended: false,
            again: false,
        };
        if let Some(answer) = answer {
            events.begin(answer)?;
        }
        Ok(events)
    }

    /// The next events; `None` where a bound is reached, or the server wants no more connections.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            let now = self.reading.cx.clock().monotonic();
            let is_due = self.since.is_some_and(|since| now >= since + LINGER);
            if !self.lines.is_empty() && (is_due || self.ended || self.waiting >= BATCH_BYTES) {
                return self.batch().await.map(Some);
            }
            if self.ended || self.is_over(now) {
                if self.lines.is_empty() {
                    return Ok(None);
                }
                self.ended = true;
                continue;
            }
            let Some(bytes) = &mut self.bytes else {
                if !self.lines.is_empty() {
                    // What is here does not wait for a connection.
                    return self.batch().await.map(Some);
                }
                self.connect().await?;
                continue;
            };
            let wait =
                Self::wait(&self.options, &self.reading.shared.count, self.since, self.quiet_since, now);
            let next = match wait {
                None => bytes.next().await,
                Some(wait) => match select(bytes.next(), self.reading.cx.clock().sleep(wait)).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => continue,
                },
            };
            match next {
                Some(Ok(chunk)) => self.take(&chunk)?,
                Some(Err(error)) if !error.is_retryable() => return Err(error),
                Some(Err(error)) => {
                    tracing::debug!(%error, "the event stream broke off");
                    self.bytes = None;
                }
                None => self.bytes = None,
            }
        }
    }

    /// Whether a bound of time is reached.
    fn is_over(&self, now: Instant) -> bool {
        let begun = self.reading.shared.count.begun.get().copied().unwrap_or(now);
        let over = |since: Instant, most: Option<Duration>| most.is_some_and(|most| now >= since + most);
        over(begun, self.options.max_duration.map(towpath_core::HumanDuration::get))
            || over(self.quiet_since, self.options.idle.map(towpath_core::HumanDuration::get))
    }

    /// How long until something is due without another byte.
    fn wait(
        options: &SseRead,
        count: &Count,
        since: Option<Instant>,
        quiet_since: Instant,
        now: Instant,
    ) -> Option<Duration> {
        let begun = count.begun.get().copied().unwrap_or(now);
        let ends = [
            since.map(|since| since + LINGER),
            options.max_duration.map(|most| begun + most.get()),
            options.idle.map(|most| quiet_since + most.get()),
        ];
        ends.into_iter().flatten().min().map(|end| end.saturating_duration_since(now))
    }

    async fn connect(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.again, true) {
            let wait = self.parser.retry.unwrap_or(RETRY).min(LONGEST_RETRY);
            self.reading.cx.sleep(wait).await?;
        }
        let id = self.parser.id().map(str::to_owned);
        self.parser = self.parser.again();
        let prepare = |call: &mut Call| {
            without_transfer_compression(call);
            if let Some(id) = id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok()) {
                call.headers.insert(LAST_EVENT_ID, id);
            }
        };
        let answer = self.reading.get(prepare).await?;
        self.begin(answer)
    }

    fn begin(&mut self, answer: Answer) -> Result<()> {
        self.again = true;
        if answer.status == StatusCode::NO_CONTENT {
            self.ended = true;
            return Ok(());
        }
        let name = self.reading.show();
        if !Formats::is_event_stream(&answer.headers) {
            return Err(Error::data("the server answered with something else than an event stream")
                .detail("url", name)
                .help("check the URL, or remove `format: sse`"));
        }
        self.quiet_since = self.reading.cx.clock().monotonic();
        let shared = &self.reading.shared;
        self.facts = shared.metadata.facts(&answer, &shared.client.show(&answer.url));
        self.bytes = Some(bytes(answer.body, 0, name));
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        let events = self.parser.push(chunk).map_err(|error| error.detail("url", self.reading.show()))?;
        if events.is_empty() {
            return Ok(());
        }
        self.quiet_since = self.reading.cx.clock().monotonic();
        if self.since.is_none() {
            self.since = Some(self.quiet_since);
            // A connection may last for days: what counts is when its events came.
            let now = self.reading.cx.clock().now();
            self.facts = self.facts.take().map(|facts| facts.at(now));
        }
        let count = &self.reading.shared.count.events;
        for event in events {
            if let Some(most) = self.options.max_events
                && count.load(Ordering::Relaxed) + self.lines.len() as u64 >= most.get()
            {
                break;
            }
            let line = line(&event, self.options.data);
            self.waiting += line.len();
            self.lines.push((line, event.id));
        }
        if let Some(most) = self.options.max_events {
            self.ended |= count.load(Ordering::Relaxed) + self.lines.len() as u64 >= most.get();
        }
        Ok(())
    }

    /// The events that wait, as many as one batch takes.
    async fn batch(&mut self) -> Result<Batch> {
        let (mut text, mut taken) = (String::new(), 0);
        for (line, _) in &self.lines {
            if taken > 0 && text.len() + line.len() > BATCH_BYTES {
                break;
            }
            text.push_str(line);
            taken += 1;
        }
        let last = self.lines[taken - 1].1.clone();
        self.lines.drain(..taken);
        self.waiting -= text.len();
        if self.lines.is_empty() {
            self.since = None;
        }
        let reader = self.reading.shared.formats.events_reader()?;
        let input = Arc::new(MemoryInput::new(self.reading.show(), text));
        let columns = self.reading.columns.as_deref();
        let batches = reader.read(&self.reading.cx, input, &whole(), Position::Start, columns);
        let batches: Vec<Batch> = batches.try_collect().await?;
        self.reading.shared.count.events.fetch_add(taken as u64, Ordering::Relaxed);
        let Some(mut batch) = batches.into_iter().next() else {
            return Err(Error::unexpected("events became no rows"));
        };
        self.reading.shared.metadata.add(&mut batch, self.facts.as_ref(), 1)?;
        batch.resume = Spot::Events { last_event_id: last }.position()?;
        Ok(batch)
    }
}

/// An event as a line of JSON.
fn line(event: &Event, data: EventData) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let id = event.id.as_deref().map_or_else(|| "null".to_owned(), text);
    let kind = text(&event.kind);
    // A line break stands for itself nowhere in JSON but between values.
    let json = || event.data.replace(['\n', '\r'], " ");
    match data {
        EventData::Text => format!("{{\"id\":{id},\"event\":{kind},\"data\":{}}}\n", text(&event.data)),
        EventData::Json => format!("{{\"id\":{id},\"event\":{kind},\"data\":{}}}\n", json()),
        EventData::Columns => {
            let json = json();
            match json.trim().strip_prefix('{').map(str::trim_start) {
                Some(fields) => {
                    let comma = if fields.starts_with('}') { "" } else { "," };
                    format!("{{\"_id\":{id},\"_event\":{kind}{comma}{fields}\n")
                }
                // No object: it is rejected as it is.
                None => format!("{json}\n"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_becomes_a_line() {
        let event =
            |data: &str| Event { id: Some("7".to_owned()), kind: "add".to_owned(), data: data.to_owned() };
        let as_line = |text: &str, data| line(&event(text), data);
        assert_eq!(
            as_line("a\n\"b\"", EventData::Text),
            "{\"id\":\"7\",\"event\":\"add\",\"data\":\"a\\n\\\"b\\\"\"}\n"
        );
        assert_eq!(
            as_line("{\"x\":\n1}", EventData::Json),
            "{\"id\":\"7\",\"event\":\"add\",\"data\":{\"x\": 1}}\n"
        );
        assert_eq!(
            as_line(" {\"x\": 1}", EventData::Columns),
            "{\"_id\":\"7\",\"_event\":\"add\",\"x\": 1}\n"
        );
        assert_eq!(as_line("{}", EventData::Columns), "{\"_id\":\"7\",\"_event\":\"add\"}\n");
        assert_eq!(as_line("12", EventData::Columns), "12\n");
    }
}
