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
//!   to 0.7 of what was in flight after that. The level that was refused is approached at a tenth of the pace.
//! - **Delay.** Requests are grouped into rounds, in the order in which they started. A round is judged when most of it
//!   has finished: judging by those that finish first would favour quick ones. If its (geometric) mean latency lies
//!   above 1.5 times the baseline, beyond what its own spread explains, requests queue up: the limit is cut in
//!   the proportion of baseline to latency, and a little more, so that the queue drains.
//! - **The baseline** is the latency without a queue. It follows rounds that are faster. It never drifts upwards, or a
//!   queue that fills slowly would pass for normal.
//! - **Second thoughts.** When a cut for delay did not make the server faster, the delay was not of our making: the cut
//!   is undone, and the new latency becomes the baseline.
//! - **One cut in a round trip.** A request that started before the last cut says nothing about the new limit, so it
//!   neither cuts nor grows it.
//!
//! Failures of other kinds and requests that we gave up ourselves say nothing about load. Where a server counts requests
//! by time, the [pace](super::pace) has the say, and this limit is told of a refusal only while the pace is not found.
//!
//! # Where the ideas come from
//!
//! TCP: slow start and additive increase, multiplicative decrease (Jacobson, *Congestion Avoidance and Control*, 1988),
//! one reaction in a window (RFC 6582), no growth of an unused window (RFC 7661), undoing a needless cut (RFC 4015),
//! caution near the level of the last loss (CUBIC, RFC 9438). Netflix concurrency-limits, `Gradient2Limit`: latency
//! against a long-term one, a tolerance, growth by the square root. Vector's adaptive request concurrency (its RFC
//! 1858): the spread of the latencies as a part of the threshold.

use std::collections::VecDeque;
use std::time::Duration;

use towpath_core::Outcome;

/// The limit to begin with.
pub const START: usize = 8;
/// What is left of the requests in flight after a refusal or a timeout.
const CUT: f64 = 0.7;
/// The same in slow start, and the deepest cut for delay.
const DEEP_CUT: f64 = 0.5;
/// The pace of growth near a level that was refused.
const CAREFUL: f64 = 0.1;
/// How many times the baseline a latency may be.
const TOLERANCE: f64 = 1.5;
/// A cut for delay goes this much below what should bring the baseline back: below the point where the queue began, so
/// that the next round measures the baseline again.
const DRAIN: f64 = 0.8;
/// A cut for delay must bring latency below this part of what it was, or it is undone.
const HELPED: f64 = 0.85;
/// How far the baseline follows a faster round.
const FOLLOW: f64 = 0.5;
/// Shorter latencies count as this: below it, the noise of networks and schedulers is greater than any queue.
const SHORTEST: Duration = Duration::from_millis(10);
/// How many requests make a round: as many as are in flight, within these bounds.
const ROUND: (f64, f64) = (8.0, 128.0);
/// The part of a round that must have finished before it is judged.
const MOST: f64 = 0.8;

/// The number of the round that a request belongs to.
pub type RoundId = u64;

/// The limit for one origin. It does no waiting and knows no clock, so that its whole behaviour can be tested.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    limit: f64,
    max: f64,
    slow_start: bool,
    /// The requests in flight at the last refusal, until the limit has passed them.
    refused_at: Option<f64>,
    /// The latency without a queue, as a logarithm.
    baseline: Option<f64>,
    doubt: Option<Doubt>,
    /// The rounds that wait for a judgement. Requests join the last one.
    rounds: VecDeque<Round>,
    /// The first round that started after the last cut.
    current: RoundId,
    next_round: RoundId,
    cuts: u64,
}

/// A cut for delay that has not proved right yet.
#[derive(Debug, Clone)]
struct Doubt {
    limit: f64,
    slow_start: bool,
    /// The latency under the load that was cut, as a logarithm.
    latency: f64,
}

impl AdaptiveLimit {
    /// A limit that never grows above `max`.
    pub fn new(max: usize) -> Self {
        Self {
            limit: START.min(max).max(1) as f64,
            max: max.max(1) as f64,
            slow_start: true,
            refused_at: None,
            baseline: None,
            doubt: None,
            rounds: VecDeque::new(),
            current: 0,
            next_round: 0,
            cuts: 0,
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

    /// How often it was cut.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// A request starts. Its end is told with the round that this returns.
    pub fn on_start(&mut self) -> RoundId {
        if self.rounds.back().is_none_or(Round::is_full) {
            self.rounds.push_back(Round::new(self.next_round, self.limit));
            self.next_round += 1;
        }
        let round = self.rounds.back_mut().expect("one was just made sure of");
        round.started += 1.0;
        round.id
    }

    /// A request has finished. `in_flight` counts it.
    pub fn on_finish(&mut self, round: RoundId, outcome: Outcome, latency: Duration, in_flight: usize) {
        let outdated = round < self.current;
        match outcome {
            Outcome::Success => {
                if !outdated {
                    self.grow(in_flight);
                }
                self.count(round, Some(latency));
            }
            Outcome::RateLimited(_) | Outcome::Overloaded(_) | Outcome::TimedOut if !outdated => {
                self.back_off(in_flight);
            }
            Outcome::RateLimited(_)
            | Outcome::Overloaded(_)
            | Outcome::TimedOut
            | Outcome::Failed
            | Outcome::Abandoned => self.count(round, None),
        }
    }

    fn grow(&mut self, in_flight: usize) {
        let used = 2.0 * in_flight as f64 >= self.limit;
        // While a cut is in doubt, growth would blur what it brought.
        if !used || self.doubt.is_some() {
            return;
        }
        let mut step = if self.slow_start { 1.0 } else { 1.0 / self.limit.sqrt() };
        if let Some(refused) = self.refused_at {
            if self.limit > refused + 1.0 {
                self.refused_at = None;
            } else if self.limit > refused - 1.0 {
                step *= CAREFUL;
            }
        }
        self.limit = (self.limit + step).min(self.max);
    }

    fn back_off(&mut self, in_flight: usize) {
        let share = if self.slow_start { DEEP_CUT } else { CUT };
        let refused = self.limit.min(in_flight as f64);
        self.refused_at = Some(refused);
        self.doubt = None;
        self.cut(refused * share);
    }

    fn cut(&mut self, limit: f64) {
        self.limit = limit.clamp(1.0, self.max);
        self.cuts += 1;
        self.slow_start = false;
        self.current = self.next_round;
        // Requests that start from now on make a round of their own.
        if self.rounds.back().is_some_and(|round| !round.is_full()) {
            self.rounds.pop_back();
        }
    }

    /// Counts a request in its round, and judges the round when most of it has finished.
    fn count(&mut self, id: RoundId, latency: Option<Duration>) {
        let Some(index) = self.rounds.iter().position(|round| round.id == id) else { return };
        let round = &mut self.rounds[index];
        match latency {
            Some(latency) => round.add(latency),
            None => round.lost += 1.0,
        }
        if round.is_over()
            && let Some(round) = self.rounds.remove(index)
            && round.count > 0.0
        {
            self.judge(&round);
        }
    }

    fn judge(&mut self, round: &Round) {
        let (recent, spread) = (round.mean(), 2.0 * round.standard_error());
        if round.id < self.current {
            // It ran under the load that was cut: the best measure of what the cut has to improve.
            if let Some(doubt) = &mut self.doubt {
                doubt.latency = recent;
            }
            return;
        }
        let Some(baseline) = self.baseline else {
            self.baseline = Some(recent);
            return;
        };
        if let Some(doubt) = self.doubt.take()
            && recent > doubt.latency + HELPED.ln()
        {
            self.limit = self.limit.max(doubt.limit);
            self.slow_start = doubt.slow_start;
            self.baseline = Some(recent);
        } else if recent > baseline + TOLERANCE.ln() + spread {
            let share = (baseline - recent).exp().max(DEEP_CUT) * DRAIN;
            self.doubt = Some(Doubt { limit: self.limit, slow_start: self.slow_start, latency: recent });
            self.cut(self.limit * share);
        } else if recent + spread < baseline {
            self.baseline = Some(baseline + FOLLOW * (recent + spread - baseline));
        }
    }
}

/// Requests that started one after the other, and the mean and spread of their latencies. They are kept as logarithms:
/// an outlier weighs little, and a ratio is a difference.
#[derive(Debug, Clone)]
struct Round {
    id: RoundId,
    size: f64,
    started: f64,
    /// How many ended in a way that tells no latency.
    lost: f64,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Round {
    fn new(id: RoundId, limit: f64) -> Self {
        let size = limit.floor().clamp(ROUND.0, ROUND.1);
        Self { id, size, started: 0.0, lost: 0.0, count: 0.0, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, latency: Duration) {
        let value = latency.max(SHORTEST).as_secs_f64().ln();
        self.count += 1.0;
        self.sum += value;
        self.squares += value * value;
    }

    /// Whether the next request belongs to the next round.
    fn is_full(&self) -> bool {
        self.started >= self.size
    }

    /// Whether most of it has finished.
    fn is_over(&self) -> bool {
        self.is_full() && self.count >= MOST * (self.size - self.lost)
    }

    fn mean(&self) -> f64 {
        self.sum / self.count
    }

    fn standard_error(&self) -> f64 {
        let variance = (self.squares / self.count - self.mean().powi(2)).max(0.0);
        (variance / self.count).sqrt()
    }
}

#[cfg(test)]
mod tests;
