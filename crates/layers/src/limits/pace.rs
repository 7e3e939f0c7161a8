//! How many requests a second a server takes: learned from its refusals, and learned again when it changes.
//!
//! # The algorithm
//!
//! A server that counts requests by time (429) cannot be found by the number in flight: two at once may be too few and
//! three too many. So its refusals set a pace, at which requests start evenly. Before the first refusal there is none.
//!
//! - **A refusal out of the blue** holds back everybody at once. Single requests probe whether the server takes more:
//!   after `PROBE`, then each time a quarter of the time that has gone by since the refusal, or when the server said. The
//!   first one that is answered tells the pace: the requests that were taken since the refusal before, in the time that
//!   went by. Windows of a second and of an hour are found alike, and a bucket that was full at first is found at the second
//!   refusal. The [adaptive limit](super::adaptive) is cut as well, because the cause may have been the number at once.
//! - **A refusal near the known level** makes the pace of the last second the new level, and the pace falls to `CUT` of
//!   it. That is all. One that comes sooner is out of the blue again, and the level is corrected by what was taken.
//! - **Growing.** The pace comes back to the level along a cubic curve: quickly at first, slowly near it, and then faster
//!   and faster beyond. Each time that the level proves right, the curve gets twice as long, up to `LONGEST` or `WORTH`
//!   times what the last refusal cost, so that a server which makes us wait a minute is asked for more once in half an
//!   hour. Beyond one and a half times the level, the level is forgotten, and the curve is short again.
//! - **One reaction to one refusal.** Requests that started before the last reaction say nothing about the new pace.
//! - **What is not used does not grow**: time counts only while requests start at that pace.
//!
//! # Where the ideas come from
//!
//! The curve and its use on rates: CUBIC (RFC 9438), and the adaptive retry mode of the AWS SDKs, which paces requests
//! along it. What is new here is that the level is measured over the whole time from one refusal to the next, pauses
//! included, and that the length of the curve follows what a refusal costs.

use std::time::{Duration, Instant};

use super::LONGEST_PAUSE;
use super::bucket::Bucket;

/// The first pause after a refusal, where the server asks for none.
const PROBE: Duration = Duration::from_millis(100);
/// The next pause, as a part of the time since the first refusal.
const PATIENCE: f64 = 0.25;
/// What is left of the pace after a refusal.
const CUT: f64 = 0.95;
/// How far beyond its level a pace grows before the level is forgotten.
const FORGET: f64 = 1.5;
/// How far two levels may differ and still be the same one.
const NEAR: f64 = 0.25;
/// The shortest curve: in seconds, and in requests.
const SHORTEST: (f64, f64) = (2.0, 20.0);
/// The longest curve: in seconds, and in requests.
const LONGEST: (f64, f64) = (10.0, 200.0);
/// A curve may be this many times as long as a refusal costs.
const WORTH: f64 = 25.0;
/// What must have been seen to tell a pace: so many requests, and so many seconds.
const EVIDENCE: (u64, f64) = (10, 1.0);
/// How far back the recent pace goes: in seconds, and in requests.
const RECENT: (f64, f64) = (1.0, 20.0);
/// The slowest pace, in requests per second: one in the longest pause.
const SLOWEST: f64 = 1.0 / LONGEST_PAUSE.as_secs() as f64;

/// Requests of the same epoch started under the same pace.
pub type Epoch = u64;

/// The pace of one origin. It does no waiting and reads no clock, so that its whole behaviour can be tested.
#[derive(Debug, Clone)]
pub struct Pace {
    learned: Option<Learned>,
    refusing: Option<Refusing>,
    taken: Taken,
    epoch: Epoch,
    cuts: u64,
}

/// The requests that the server took since it began to take some.
#[derive(Debug, Clone)]
struct Taken {
    since: Instant,
    /// The first epoch that counts.
    from: Epoch,
    sent: u64,
    refused: u64,
}

/// A server that refused the last request that was not out of date.
#[derive(Debug, Clone)]
struct Refusing {
    began: Instant,
    probe_at: Instant,
}

/// A pace that was found.
#[derive(Debug, Clone)]
struct Learned {
    /// What was refused, in requests per second.
    level: f64,
    /// How long the curve is from the cut to the level, in seconds.
    length: f64,
    /// How far we are on it, in seconds.
    age: f64,
    /// The pace of the last moments: servers count over some time before they refuse.
    recent: f64,
    /// What the last refusal cost, in seconds.
    cost: f64,
    last: Instant,
    bucket: Bucket,
}

impl Pace {
    /// No pace yet.
    pub fn new(now: Instant) -> Self {
        let taken = Taken { since: now, from: 0, sent: 0, refused: 0 };
        Self { learned: None, refusing: None, taken, epoch: 0, cuts: 0 }
    }

    /// Requests per second, once there is a pace.
    pub fn per_second(&self) -> Option<f64> {
        self.learned.as_ref().map(Learned::rate)
    }

    /// How often a refusal was reacted to at a known pace. Others are counted as cuts of the adaptive limit.
    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// When the next request may start; `None` when it may now.
    pub fn ready_at(&self, now: Instant) -> Option<Instant> {
        match (&self.refusing, &self.learned) {
            (Some(refusing), _) => (refusing.probe_at > now).then_some(refusing.probe_at),
            (None, Some(learned)) => learned.bucket.ready_at(now),
            (None, None) => None,
        }
    }

    /// A request starts. Its end is told with the epoch that this returns.
    pub fn take(&mut self, now: Instant) -> Epoch {
        self.taken.sent += 1;
        if let Some(refusing) = &mut self.refusing {
            refusing.probe_at = now + refusing.pause(now);
        } else if let Some(learned) = &mut self.learned {
            learned.take(now);
        }
        self.epoch
    }

    /// A request was given up by our side.
    pub fn give_back(&mut self, epoch: Epoch) {
        if epoch >= self.taken.from {
            self.taken.sent = self.taken.sent.saturating_sub(1);
        }
    }

    /// The server took a request.
    pub fn on_answer(&mut self, epoch: Epoch, now: Instant) {
        if epoch < self.epoch {
            return;
        }
        if let Some(refusing) = self.refusing.take() {
            self.learn(&refusing, now);
        }
    }

    /// The server refused a request for the number of them, and may have said when to come back. Returns whether the
    /// number at once may be the cause as well.
    pub fn on_refusal(&mut self, epoch: Epoch, told: Option<Duration>, now: Instant) -> bool {
        if epoch >= self.taken.from {
            self.taken.refused += 1;
        }
        let told = told.map(|told| told.min(LONGEST_PAUSE));
        let outdated = epoch < self.epoch;
        if let Some(refusing) = &mut self.refusing {
            let pause = if outdated { told } else { Some(told.unwrap_or_default().max(refusing.pause(now))) };
            refusing.probe_at = refusing.probe_at.max(now + pause.unwrap_or_default());
        }
        if outdated {
            return false;
        }
        self.epoch += 1;
        match &mut self.learned {
            Some(learned) if self.refusing.is_none() && learned.is_settled() => {
                learned.cut(told, now);
                self.cuts += 1;
                self.count_anew(now, 0);
                false
            }
            _ => {
                let pause = told.unwrap_or_default().max(PROBE);
                self.refusing.get_or_insert(Refusing { began: now, probe_at: now + pause });
                true
            }
        }
    }

    /// The server takes requests again: what it took from one refusal to the next is its pace.
    fn learn(&mut self, refusing: &Refusing, now: Instant) {
        let cost = now.saturating_duration_since(refusing.began).as_secs_f64();
        match (self.taken.per_second(now), &mut self.learned) {
            (Some(seen), Some(learned)) => learned.correct(seen, cost, now),
            (Some(seen), None) => self.learned = Some(Learned::new(seen, cost, now)),
            (None, Some(learned)) => return learned.fall(now),
            (None, None) => return,
        }
        // The request that was answered is the first of those that count now.
        self.count_anew(refusing.began, 1);
    }

    fn count_anew(&mut self, since: Instant, sent: u64) {
        self.taken = Taken { since, from: self.epoch, sent, refused: 0 };
    }
}

impl Taken {
    /// The pace that they tell, if they are enough.
    fn per_second(&self, now: Instant) -> Option<f64> {
        let accepted = self.sent.saturating_sub(self.refused);
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        let enough = accepted >= EVIDENCE.0 && seconds >= EVIDENCE.1;
        enough.then(|| (accepted as f64 / seconds).max(SLOWEST))
    }
}

impl Refusing {
    /// How long to wait before the next probe.
    fn pause(&self, now: Instant) -> Duration {
        let gone = now.saturating_duration_since(self.began).min(LONGEST_PAUSE);
        gone.mul_f64(PATIENCE).max(PROBE)
    }
}

impl Learned {
    fn new(level: f64, cost: f64, now: Instant) -> Self {
        let length = in_seconds(SHORTEST, level);
        let pace = level * CUT;
        Self {
            level,
            length,
            age: 0.0,
            recent: pace,
            cost,
            last: now,
            bucket: Bucket::every(interval(pace), now),
        }
    }

    /// Requests per second at this point of the curve.
    fn rate(&self) -> f64 {
        self.level * (1.0 + (1.0 - CUT) * ((self.age - self.length) / self.length).powi(3))
    }

    /// Whether the pace is near enough to its level for a refusal to be about it.
    fn is_settled(&self) -> bool {
        2.0 * self.age >= self.length
    }

    fn take(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.last).as_secs_f64().min(2.0 / self.rate());
        self.last = now;
        self.age += since;
        let weight = (since / in_seconds(RECENT, self.rate())).min(1.0);
        self.recent += weight * (self.rate() - self.recent);
        if self.rate() > FORGET * self.level {
            self.level = self.rate();
            self.length = in_seconds(SHORTEST, self.level);
            self.age = self.length;
        }
        self.bucket.set_interval(interval(self.rate()));
        self.bucket.take(now);
    }

    /// A refusal near the level: the pace of late was too fast, and the curve to it is a longer one.
    fn cut(&mut self, told: Option<Duration>, now: Instant) {
        if let Some(told) = told {
            self.cost = told.as_secs_f64();
        }
        let level = self.recent.min(self.rate());
        let is_proven = self.is_near(level);
        self.level = level;
        let shortest = in_seconds(SHORTEST, level);
        let longest = in_seconds(LONGEST, level).max(WORTH * self.cost);
        self.length = if is_proven { (2.0 * self.length).clamp(shortest, longest) } else { shortest };
        self.start_anew(now);
    }

    /// A refusal below the level, and what was taken since the one before.
    fn correct(&mut self, seen: f64, cost: f64, now: Instant) {
        let level = seen.min(self.rate());
        if !self.is_near(level) {
            self.length = in_seconds(SHORTEST, level);
        }
        (self.level, self.cost) = (level, cost);
        self.start_anew(now);
    }

    /// A refusal below the level, too soon after the last one to tell how far.
    fn fall(&mut self, now: Instant) {
        self.level = (self.level * CUT).max(SLOWEST);
        self.start_anew(now);
    }

    fn is_near(&self, level: f64) -> bool {
        (level / self.level - 1.0).abs() < NEAR
    }

    /// Back to the beginning of the curve.
    fn start_anew(&mut self, now: Instant) {
        self.age = 0.0;
        (self.last, self.recent) = (now, self.rate());
        self.bucket.set_interval(interval(self.rate()));
    }
}

/// A length that is told in seconds and in requests.
fn in_seconds((seconds, requests): (f64, f64), per_second: f64) -> f64 {
    seconds.max(requests / per_second)
}

fn interval(per_second: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
