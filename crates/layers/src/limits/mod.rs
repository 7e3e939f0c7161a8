//! The limits of connections: how many requests at once, how many per second, and pauses that a server asks for.
//!
//! A request starts when everything allows it, in this order:
//!
//! 1. its origin is not paused ([`Limiter::pause`], or an answer with `Retry-After`);
//! 2. the [pace] of its origin allows it, once the server has refused requests for their number;
//! 3. its origin takes one more: without a `max_in_flight`, the [adaptive limit](adaptive) decides;
//! 4. its connection has not reached its `max_in_flight`;
//! 5. the run has not reached its own;
//! 6. the connection's `rate_limit` has a token.
//!
//! A request that waits holds none of these, so nobody waits for it in turn. Those who wait are served in the order in
//! which they came; one whose own origin or connection is busy is passed over. All connections of a run share one state
//! behind one lock that is held for a few steps at a time, and no task of its own is needed: each change hands out what
//! has become free, and whoever is first in line for something that comes with time sleeps until then.

pub mod adaptive;
mod bucket;
mod course;
pub mod pace;
mod state;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{Either, select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use towpath_core::{Clock, Limiter, Permit, Rate};

pub use course::{LimitPoint, LimiterCourse, MAX_POINTS, OriginCounts, OriginCourse};
use state::{ConnectionId, Granted, OriginId, State, Ticket, Turn};

/// The longest time that a server may hold back all further requests. After it, the next request finds out what the
/// server says then.
pub const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How hard a connection may work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// How many requests may be in flight at once. Without it, the number adapts to each server: it grows while answers
    /// stay fast, and falls when they slow down or the server asks for less.
    pub max_in_flight: Option<NonZeroUsize>,
    /// How many requests may start in a time, for example `100/s` or `5000/h`. They are spread evenly: what comes at
    /// once is at most what 50 ms would bring.
    pub rate_limit: Option<Rate>,
}

/// How many requests a whole run may have in flight, over all of its connections. Clones are the same limit.
#[derive(Clone)]
pub struct RunLimit(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    max_in_flight: usize,
    state: Mutex<State>,
}

impl RunLimit {
    /// At most this many requests at once.
    pub fn new(max_in_flight: NonZeroUsize, clock: Arc<dyn Clock>) -> Self {
        let max_in_flight = max_in_flight.get();
        let state = Mutex::new(State::new(max_in_flight, clock.monotonic()));
        Self(Arc::new(Shared { clock, max_in_flight, state }))
    }

    /// How many requests are in flight now.
    pub fn in_flight(&self) -> usize {
        self.0.read(State::in_flight)
    }
}

impl fmt::Debug for RunLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunLimit").field("max_in_flight", &self.0.max_in_flight).finish_non_exhaustive()
    }
}

/// The limits of one connection. See the [module](self) for what they are and how they work together.
pub struct ConnectionLimiter {
    run: Arc<Shared>,
    connection: ConnectionId,
    settings: LimitSettings,
}

impl ConnectionLimiter {
    /// The limits of one more connection of a run.
    pub fn new(run: &RunLimit, settings: &LimitSettings) -> Self {
        let connection = run.0.change(|state, now| state.add_connection(settings, now));
        Self { run: run.0.clone(), connection, settings: *settings }
    }

    /// What the limits did so far.
    pub fn course(&self) -> LimiterCourse {
        self.run.read(|state| state.course(self.connection))
    }

    /// How many requests of this connection are in flight now.
    pub fn in_flight(&self) -> usize {
        self.run.read(|state| state.connection_in_flight(self.connection))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Limiter for ConnectionLimiter {
    async fn acquire(&self, origin: &str) -> Permit {
        let entered = self.run.change(|state, now| {
            state.start(self.connection, origin, now).ok_or_else(|| state.enter(self.connection, origin, now))
        });
        let granted = match entered {
            Ok(granted) => granted,
            Err((origin, ticket, turn)) => {
                Waiting { run: &self.run, origin, ticket, turn, is_over: false }.granted().await
            }
        };
        let run = self.run.clone();
        Permit::new(run.clock.monotonic(), move |outcome, took| {
            run.change(|state, now| state.release(granted, outcome, took, now));
        })
    }

    fn pause(&self, origin: &str, pause: Duration) {
        let pause = pause.min(LONGEST_PAUSE);
        tracing::debug!(origin, ?pause, "the server asks for a pause");
        self.run.change(|state, now| state.pause(self.connection, origin, now + pause, now));
    }
}

impl fmt::Debug for ConnectionLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionLimiter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Shared {
    /// Changes the state, then hands out what has become free and wakes those who got it.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let now = self.clock.monotonic();
        let (value, woken) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let value = change(&mut state, now);
            (value, state.hand_out(now))
        };
        // Outside of the lock: a waker may run anything.
        for turn in woken {
            turn.wake();
        }
        value
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the line. Dropping it gives up the place, or what was granted at the last moment.
struct Waiting<'a> {
    run: &'a Shared,
    origin: OriginId,
    ticket: Ticket,
    turn: Arc<Turn>,
    is_over: bool,
}

impl Waiting<'_> {
    /// Waits for its turn.
    async fn granted(mut self) -> Granted {
        loop {
            if let Some(granted) = self.turn.granted() {
                self.is_over = true;
                return granted;
            }
            let alarm = self.run.read(|state| state.alarm(self.origin, self.ticket));
            let Some(alarm) = alarm else {
                self.turn.woken().await;
                continue;
            };
            let pause = alarm.saturating_duration_since(self.run.clock.monotonic());
            if let Either::Right(_) = select(Box::pin(self.turn.woken()), self.run.clock.sleep(pause)).await {
                self.run.change(|state, now| state.clear_alarm(self.origin, now));
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.run.change(|state, now| state.leave(self.origin, self.ticket, &self.turn, now));
        }
    }
}
