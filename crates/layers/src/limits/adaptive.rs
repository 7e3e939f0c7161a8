//! How many requests a server takes well: found by trying, and found again when it changes.
//!
//! # The algorithm
//!
//! Congestion control as TCP does it, on requests instead of packets, with both of its signals: refusals and delay.
//!
//! - **Growing.** It starts with [`START`] requests at once. *Slow start*: each success allows one more, which doubles
//!   the limit in each round trip, until the first sign of trouble. After that each round trip adds the square root of
//!   the limit. The limit only grows while at least half of it is used: what was not tried proves nothing.
//! - **Refusals** (429, 503) and **timeouts** cut it at once, by half in slow start, which overshoots by up to twice, and
//!   to [`CUT`] of what was in flight after that.
//! - **Delay.** Latencies are collected in windows of about one round trip. A window whose (geometric) mean lies above
//!   [`TOLERANCE`] times the baseline, beyond what its own spread explains, means that requests queue up: the limit is cut in the
//!   proportion of baseline to latency, and a little more, so that the queue drains. The baseline follows the windows,
//!   fast downwards and slowly upwards.
//! - **Second thoughts.** When a cut for delay did not make the server faster, the delay was not of our making: the cut
//!   is undone, and the new latency becomes the baseline.
//! - **One cut in a round trip.** A request that started before the last cut says nothing about the new limit, so it
//!   neither cuts nor grows it.
//!
//! Failures of other kinds and requests that we gave up ourselves say nothing about load.
//!
//! # Where the ideas come from
//!
//! TCP: slow start and additive increase, multiplicative decrease (Jacobson, *Congestion Avoidance and Control*, 1988),
//! one reaction in a window (RFC 6582), no growth of an unused window (RFC 7661), undoing a needless cut (RFC 4015).
//! Netflix concurrency-limits, `Gradient2Limit`: long against short latency, a tolerance, growth by the square root.
//! Vector, adaptive request concurrency (RFC 1858 of 2020): the spread of the latencies as a part of the threshold.

use std::time::{Duration, Instant};

use towpath_core::Outcome;

/// The limit to begin with.
pub const START: usize = 8;
/// What is left of the requests in flight after a refusal or a timeout.
const CUT: f64 = 0.7;
/// The same in slow start, and the deepest cut for delay.
const DEEP_CUT: f64 = 0.5;
/// How many times the baseline a latency may be.
const TOLERANCE: f64 = 1.5;
/// A cut for delay goes this much below what should bring the baseline back. Together with the tolerance it ends below
/// the point where the queue began (1.5⁻¹ × 0.9), or the baseline would creep upwards from cut to cut.
const DRAIN: f64 = 0.9;
/// A cut for delay must bring latency below this part of what it was, or it is undone.
const HELPED: f64 = 0.85;
/// How far the baseline follows a faster and a slower window.
const FOLLOW_DOWN: f64 = 0.5;
const FOLLOW_UP: f64 = 0.05;
/// Shorter latencies count as this: below it, the noise of networks and schedulers is greater than any queue.
const SHORTEST: Duration = Duration::from_millis(10);
/// How many latencies a window holds: one round trip, within these bounds.
const WINDOW: (f64, f64) = (8.0, 128.0);

/// The limit for one origin. It does no waiting and knows no clock, so that its whole behaviour can be tested.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    limit: f64,
    max: f64,
    slow_start: bool,
    window: Window,
    /// The latency without a queue, as a logarithm.
    baseline: Option<f64>,
    last_cut: Option<Instant>,
    doubt: Option<Doubt>,
}

/// A cut for delay that has not proved right yet.
#[derive(Debug, Clone)]
struct Doubt {
    limit: f64,
    slow_start: bool,
    /// The latency that led to the cut.
    window: Window,
    /// The latencies of requests from before the cut that finished after it: those at the highest load.
    before: Window,
}

impl AdaptiveLimit {
    /// A limit that never grows above `max`.
    pub fn new(max: usize) -> Self {
        let limit = START.min(max).max(1) as f64;
        Self {
            limit,
            max: max.max(1) as f64,
            slow_start: true,
            window: Window::for_limit(limit),
            baseline: None,
            last_cut: None,
            doubt: None,
        }
    }

    /// How many requests may be in flight at this moment.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 1 and a usize"
    )]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// A request has finished. `in_flight` counts it.
    pub fn on_finish(&mut self, outcome: Outcome, started: Instant, now: Instant, in_flight: usize) {
        let outdated = self.last_cut.is_some_and(|cut| started < cut);
        let latency = now.saturating_duration_since(started);
        match outcome {
            Outcome::Success if outdated => {
                if let Some(doubt) = &mut self.doubt {
                    doubt.before.add(latency);
                }
            }
            Outcome::Success => {
                self.grow(in_flight);
                self.window.add(latency);
                if self.window.is_full() {
                    self.judge(now);
                }
            }
            Outcome::Overloaded(_) | Outcome::TimedOut if !outdated => {
                let share = if self.slow_start { DEEP_CUT } else { CUT };
                self.doubt = None;
                self.cut(self.limit.min(in_flight as f64) * share, now);
            }
            Outcome::Overloaded(_) | Outcome::TimedOut | Outcome::Failed | Outcome::Abandoned => {}
        }
    }

    fn grow(&mut self, in_flight: usize) {
        let used = 2.0 * in_flight as f64 >= self.limit;
        // While a cut is in doubt, growth would blur what it brought.
        if used && self.doubt.is_none() {
            let step = if self.slow_start { 1.0 } else { 1.0 / self.limit.sqrt() };
            self.limit = (self.limit + step).min(self.max);
        }
    }

    fn cut(&mut self, limit: f64, now: Instant) {
        self.limit = limit.clamp(1.0, self.max);
        self.slow_start = false;
        self.last_cut = Some(now);
        self.window = Window::for_limit(self.limit);
    }

    /// Compares a full window with the baseline.
    fn judge(&mut self, now: Instant) {
        let window = std::mem::replace(&mut self.window, Window::for_limit(self.limit));
        let recent = window.mean();
        let Some(baseline) = self.baseline else {
            self.baseline = Some(recent);
            return;
        };
        if let Some(doubt) = self.doubt.take()
            && recent > doubt.latency() + HELPED.ln()
        {
            self.limit = self.limit.max(doubt.limit);
            self.slow_start = doubt.slow_start;
            self.baseline = Some(recent);
            return;
        }
        if recent > baseline + TOLERANCE.ln() + 2.0 * window.standard_error() {
            let share = (baseline - recent).exp().max(DEEP_CUT) * DRAIN;
            self.doubt = Some(Doubt {
                limit: self.limit,
                slow_start: self.slow_start,
                window,
                before: Window::for_limit(self.limit),
            });
            self.cut(self.limit * share, now);
        } else {
            let follow = if recent < baseline { FOLLOW_DOWN } else { FOLLOW_UP };
            self.baseline = Some(baseline + follow * (recent - baseline));
        }
    }
}

impl Doubt {
    fn latency(&self) -> f64 {
        if self.before.count > 0.0 { self.before.mean() } else { self.window.mean() }
    }
}

/// The mean and the spread of some latencies, as logarithms: an outlier weighs little, and a ratio is a difference.
#[derive(Debug, Clone)]
struct Window {
    size: f64,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Window {
    fn for_limit(limit: f64) -> Self {
        Self { size: limit.clamp(WINDOW.0, WINDOW.1), count: 0.0, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, latency: Duration) {
        let value = latency.max(SHORTEST).as_secs_f64().ln();
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    fn is_full(&self) -> bool {
        self.count >= self.size
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn standard_error(&self) -> f64 {
        let variance = (self.squares / self.count - self.mean().powi(2)).max(0.0);
        (variance / self.count).sqrt()
    }
}
