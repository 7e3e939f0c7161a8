//! Who may start a request and who waits, as plain data: no waiting, no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use towpath_core::Outcome;

use super::LONGEST_PAUSE;
use super::LimitSettings;
use super::adaptive::{AdaptiveLimit, RoundId};
use super::bucket::Bucket;
use super::course::{Course, LimiterCourse, OriginCounts, OriginCourse};
use super::pace::{Epoch, Pace};

/// How many servers of a connection are remembered. When there are more, the idle ones are forgotten.
const MAX_ORIGINS: usize = 1_000;

const IN_USE: &str = "an origin in use is never forgotten";

/// Numbers that grow in the order in which requests came.
pub(super) type Ticket = u64;
pub(super) type OriginId = u64;
pub(super) type ConnectionId = usize;

/// The slots that a request holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    origin: OriginId,
    /// `None` when the connection's limit is fixed.
    round: Option<RoundId>,
    epoch: Epoch,
}

/// What a waiting request looks at.
#[derive(Debug, Default)]
pub(super) struct Turn {
    granted: OnceLock<Granted>,
    notify: Notify,
}

impl Turn {
    /// What to give back with [`State::release`].
    pub(super) fn granted(&self) -> Option<Granted> {
        self.granted.get().copied()
    }

    pub(super) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Completes after the next [`wake`](Self::wake), or at once if that was before.
    pub(super) async fn woken(&self) {
        self.notify.notified().await;
    }
}

pub(super) struct State {
    max_in_flight: usize,
    in_flight: usize,
    began: Instant,
    next_ticket: Ticket,
    next_origin: OriginId,
    connections: Vec<Connection>,
    origins: HashMap<OriginId, Origin>,
    /// The first in line of each origin, in the order in which they came.
    heads: BTreeSet<(Ticket, OriginId)>,
    /// Those to be woken once the lock is free.
    woken: Vec<Arc<Turn>>,
}

struct Connection {
    max_in_flight: Option<usize>,
    in_flight: usize,
    bucket: Option<Bucket>,
    origins: HashMap<Box<str>, OriginId>,
    forgotten: OriginCounts,
}

struct Origin {
    connection: ConnectionId,
    in_flight: usize,
    peak_in_flight: usize,
    /// `None` when the connection's limit is fixed.
    adaptive: Option<AdaptiveLimit>,
    pace: Pace,
    paused_until: Option<Instant>,
    line: VecDeque<(Ticket, Arc<Turn>)>,
    /// When the first in line must look again, if only time holds it back.
    alarm: Option<(Ticket, Instant)>,
    counts: OriginCounts,
    course: Course,
}

/// Whether the first in line of an origin may start.
enum Readiness {
    Now,
    /// When this time has come.
    At(Instant),
    /// When another request of its origin or connection has finished.
    AfterAnother,
    /// When the one before it has got a token.
    BehindOther,
}

impl State {
    pub(super) fn new(max_in_flight: usize, began: Instant) -> Self {
        Self {
            max_in_flight,
            in_flight: 0,
            began,
            next_ticket: 0,
            next_origin: 0,
            connections: Vec::new(),
            origins: HashMap::new(),
            heads: BTreeSet::new(),
            woken: Vec::new(),
        }
    }

    pub(super) fn add_connection(&mut self, settings: &LimitSettings, now: Instant) -> ConnectionId {
        self.connections.push(Connection {
            max_in_flight: settings.max_in_flight.map(std::num::NonZero::get),
            in_flight: 0,
            bucket: settings.rate_limit.map(|rate| Bucket::new(rate, now)),
            origins: HashMap::new(),
            forgotten: OriginCounts::default(),
        });
        self.connections.len() - 1
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn connection_in_flight(&self, connection: ConnectionId) -> usize {
        self.connections[connection].in_flight
    }

    /// Starts a request at once, where nobody waits and nothing holds it back. It need not stand in a line then.
    pub(super) fn start(&mut self, connection: ConnectionId, origin: &str, now: Instant) -> Option<Granted> {
        if !self.heads.is_empty() || self.in_flight >= self.max_in_flight {
            return None;
        }
        let id = self.origin_id(connection, origin, now);
        let is_ready = matches!(self.readiness(id, now, &mut Vec::new()), Readiness::Now);
        is_ready.then(|| self.grant(id, now))
    }

    /// Puts a request at the end of the line of its origin.
    pub(super) fn enter(
        &mut self,
        connection: ConnectionId,
        origin: &str,
        now: Instant,
    ) -> (OriginId, Ticket, Arc<Turn>) {
        let id = self.origin_id(connection, origin, now);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let turn = Arc::new(Turn::default());
        let line = &mut self.origin(id).line;
        line.push_back((ticket, turn.clone()));
        if line.len() == 1 {
            self.heads.insert((ticket, id));
        }
        (id, ticket, turn)
    }

    /// Takes a request out of the line, or back what it was granted and never used.
    pub(super) fn leave(&mut self, id: OriginId, ticket: Ticket, turn: &Turn, now: Instant) {
        if let Some(granted) = turn.granted() {
            self.release(granted, Outcome::Abandoned, Duration::ZERO, now);
            let origin = self.origin(id);
            origin.counts.requests -= 1;
            let connection = origin.connection;
            if let Some(bucket) = &mut self.connections[connection].bucket {
                bucket.give_back();
            }
            return;
        }
        let origin = self.origin(id);
        if let Ok(index) = origin.line.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            origin.line.remove(index);
            let head = origin.line.front().map(|(ticket, _)| *ticket);
            if self.heads.remove(&(ticket, id))
                && let Some(head) = head
            {
                self.heads.insert((head, id));
            }
        }
    }

    /// Ends a request that took this long.
    pub(super) fn release(&mut self, granted: Granted, outcome: Outcome, took: Duration, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        self.in_flight -= 1;
        let origin = self.origins.get_mut(&granted.origin).expect(IN_USE);
        self.connections[origin.connection].in_flight -= 1;
        match outcome {
            Outcome::RateLimited(pause) | Outcome::Overloaded(pause) => {
                origin.counts.throttled += 1;
                if let Some(pause) = pause {
                    origin.pause_until(now + pause.min(LONGEST_PAUSE));
                }
            }
            Outcome::TimedOut => origin.counts.timeouts += 1,
            Outcome::Success | Outcome::Failed | Outcome::Abandoned => {}
        }
        let outcome = origin.pace(outcome, granted.epoch, now);
        if let (Some(adaptive), Some(round)) = (&mut origin.adaptive, granted.round) {
            adaptive.on_finish(round, outcome, took, origin.in_flight);
            origin.course.record(elapsed, adaptive.limit());
        }
        origin.in_flight -= 1;
    }

    pub(super) fn pause(&mut self, connection: ConnectionId, origin: &str, until: Instant, now: Instant) {
        let id = self.origin_id(connection, origin, now);
        self.origin(id).pause_until(until);
    }

    /// When a request must look again by itself; `None` when somebody will wake it.
    pub(super) fn alarm(&self, id: OriginId, ticket: Ticket) -> Option<Instant> {
        let (owner, at) = self.origins.get(&id)?.alarm?;
        (owner == ticket).then_some(at)
    }

    /// An alarm whose time has come is over: what holds the request back now may be something else.
    pub(super) fn clear_alarm(&mut self, id: OriginId, now: Instant) {
        let origin = self.origin(id);
        if origin.alarm.is_some_and(|(_, at)| at <= now) {
            origin.alarm = None;
        }
    }

    /// Starts every request that may start, first come, first served. Returns those to be woken.
    pub(super) fn hand_out(&mut self, now: Instant) -> Vec<Arc<Turn>> {
        // Connections whose next token is spoken for by a request that came earlier.
        let mut out_of_tokens = Vec::new();
        let mut next = self.heads.first().copied();
        while let Some((ticket, id)) = next {
            if self.in_flight >= self.max_in_flight {
                break;
            }
            match self.readiness(id, now, &mut out_of_tokens) {
                Readiness::Now => self.grant_first(id, now),
                Readiness::At(at) => self.set_alarm(id, ticket, at),
                Readiness::AfterAnother | Readiness::BehindOther => {}
            }
            next = self.heads.range((Excluded((ticket, id)), Unbounded)).next().copied();
        }
        std::mem::take(&mut self.woken)
    }

    fn readiness(&self, id: OriginId, now: Instant, out_of_tokens: &mut Vec<ConnectionId>) -> Readiness {
        let origin = &self.origins[&id];
        if let Some(until) = origin.paused_until
            && until > now
        {
            return Readiness::At(until);
        }
        if let Some(at) = origin.pace.ready_at(now) {
            return Readiness::At(at);
        }
        let connection = &self.connections[origin.connection];
        if origin.adaptive.as_ref().is_some_and(|adaptive| origin.in_flight >= adaptive.limit())
            || connection.max_in_flight.is_some_and(|max| connection.in_flight >= max)
        {
            return Readiness::AfterAnother;
        }
        if out_of_tokens.contains(&origin.connection) {
            return Readiness::BehindOther;
        }
        match connection.bucket.as_ref().and_then(|bucket| bucket.ready_at(now)) {
            None => Readiness::Now,
            Some(at) => {
                out_of_tokens.push(origin.connection);
                Readiness::At(at)
            }
        }
    }

    fn grant_first(&mut self, id: OriginId, now: Instant) {
        let origin = self.origins.get_mut(&id).expect("a head's origin is known");
        let (ticket, turn) = origin.line.pop_front().expect("a head stands in its origin's line");
        self.heads.remove(&(ticket, id));
        if let Some((head, _)) = origin.line.front() {
            self.heads.insert((*head, id));
        }
        turn.granted.set(self.grant(id, now)).expect("a turn comes once");
        self.woken.push(turn);
    }

    /// Takes the slots for a request.
    fn grant(&mut self, id: OriginId, now: Instant) -> Granted {
        let origin = self.origins.get_mut(&id).expect(IN_USE);
        origin.in_flight += 1;
        origin.peak_in_flight = origin.peak_in_flight.max(origin.in_flight);
        origin.counts.requests += 1;
        let connection = &mut self.connections[origin.connection];
        connection.in_flight += 1;
        if let Some(bucket) = &mut connection.bucket {
            bucket.take(now);
        }
        self.in_flight += 1;
        let round = origin.adaptive.as_mut().map(AdaptiveLimit::on_start);
        let epoch = origin.pace.take(now);
        Granted { origin: id, round, epoch }
    }

    fn set_alarm(&mut self, id: OriginId, ticket: Ticket, at: Instant) {
        let origin = self.origin(id);
        if origin.alarm == Some((ticket, at)) {
            return;
        }
        origin.alarm = Some((ticket, at));
        if let Some((_, turn)) = origin.line.front() {
            let turn = turn.clone();
            self.woken.push(turn);
        }
    }

    fn origin(&mut self, id: OriginId) -> &mut Origin {
        self.origins.get_mut(&id).expect(IN_USE)
    }

    fn origin_id(&mut self, connection: ConnectionId, name: &str, now: Instant) -> OriginId {
        if let Some(id) = self.connections[connection].origins.get(name) {
            return *id;
        }
        if self.connections[connection].origins.len() >= MAX_ORIGINS {
            self.forget_idle_origins(connection, now);
        }
        let id = self.next_origin;
        self.next_origin += 1;
        let known = &mut self.connections[connection];
        known.origins.insert(name.into(), id);
        let adaptive = known.max_in_flight.is_none().then(|| AdaptiveLimit::new(self.max_in_flight));
        let limit = match &adaptive {
            Some(adaptive) => adaptive.limit(),
            None => known.max_in_flight.unwrap_or(self.max_in_flight),
        };
        self.origins.insert(
            id,
            Origin {
                connection,
                in_flight: 0,
                peak_in_flight: 0,
                adaptive,
                pace: Pace::new(now),
                paused_until: None,
                line: VecDeque::new(),
                alarm: None,
                counts: OriginCounts::default(),
                course: Course::new(now.saturating_duration_since(self.began), limit),
            },
        );
        id
    }

    fn forget_idle_origins(&mut self, connection: ConnectionId, now: Instant) {
        let known = &mut self.connections[connection];
        let origins = &mut self.origins;
        known.origins.retain(|_, id| {
            let origin = &origins[id];
            let is_used = origin.in_flight > 0
                || !origin.line.is_empty()
                || origin.paused_until.is_some_and(|until| until > now);
            if !is_used {
                known.forgotten.add(origin.counts());
                origins.remove(id);
            }
            is_used
        });
    }

    pub(super) fn course(&self, connection: ConnectionId) -> LimiterCourse {
        let known = &self.connections[connection];
        let mut origins: Vec<_> = known
            .origins
            .iter()
            .map(|(name, id)| {
                let origin = &self.origins[id];
                let fixed = known.max_in_flight.unwrap_or(self.max_in_flight);
                OriginCourse {
                    origin: name.to_string(),
                    adaptive: origin.adaptive.is_some(),
                    limit: origin.adaptive.as_ref().map_or(fixed, AdaptiveLimit::limit),
                    min_limit: origin.course.min,
                    max_limit: origin.course.max,
                    peak_in_flight: origin.peak_in_flight,
                    pace: origin.pace.per_second(),
                    counts: origin.counts(),
                    points: origin.course.points(),
                }
            })
            .collect();
        origins.sort_by(|a, b| a.origin.cmp(&b.origin));
        LimiterCourse { origins, others: known.forgotten }
    }
}

impl Origin {
    /// Tells the pace how a request ended. Returns what that says about the limit.
    fn pace(&mut self, outcome: Outcome, epoch: Epoch, now: Instant) -> Outcome {
        match outcome {
            Outcome::Success => self.pace.on_answer(epoch, now),
            Outcome::RateLimited(told) if !self.pace.on_refusal(epoch, told, now) => return Outcome::Failed,
            Outcome::Abandoned => self.pace.give_back(epoch),
            _ => {}
        }
        outcome
    }

    fn counts(&self) -> OriginCounts {
        let cuts = self.adaptive.as_ref().map_or(0, AdaptiveLimit::cuts);
        OriginCounts { back_offs: cuts + self.pace.cuts(), ..self.counts }
    }

    fn pause_until(&mut self, until: Instant) {
        self.paused_until = Some(self.paused_until.map_or(until, |known| known.max(until)));
    }
}
