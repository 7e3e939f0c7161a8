//! A token bucket in its smooth form, the generic cell rate algorithm.

use std::time::{Duration, Instant};

use towpath_core::Rate;

/// What may come at once after a quiet time: what this long would bring at the steady rate, at least one request.
const BURST: Duration = Duration::from_millis(50);

/// Spreads requests evenly over a period.
///
/// A request is due one interval (period ÷ count) after the one before it. One that comes late leaves its time to those
/// behind it, as long as no more than [`BURST`] is caught up: enough to keep the rate with timers of a millisecond, and
/// too little to break the limit of a server that counts in windows.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    interval: Duration,
    /// How much earlier than due a request may start.
    slack: Duration,
    /// When the next request is due.
    due: Instant,
}

impl Bucket {
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        // Rounded up: rather a nanosecond late than one request too many.
        let interval = Duration::from_nanos_u128(rate.period().as_nanos().div_ceil(u128::from(rate.count())));
        let burst = BURST.min(rate.period());
        Self { interval, slack: burst.saturating_sub(interval), due: now }
    }

    /// A request every so often.
    pub(super) fn every(interval: Duration, now: Instant) -> Self {
        Self { interval, slack: BURST.saturating_sub(interval), due: now }
    }

    /// From the next request on.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        (self.interval, self.slack) = (interval, BURST.saturating_sub(interval));
    }

    /// When the next request may start; `None` when it may now.
    pub(super) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let wait = self.due.saturating_duration_since(now + self.slack);
        (!wait.is_zero()).then(|| now + wait)
    }

    /// Takes the right to one request, which must be ready.
    pub(super) fn take(&mut self, now: Instant) {
        self.due = self.due.max(now) + self.interval;
    }

    /// Gives back the right to a request that was never sent.
    pub(super) fn give_back(&mut self) {
        self.due = self.due.checked_sub(self.interval).unwrap_or(self.due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    /// When requests start that all ask at once and then as soon as they may.
    fn starts(text: &str, count: usize) -> Vec<Duration> {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(text), start);
        let mut now = start;
        (0..count)
            .map(|_| {
                now = bucket.ready_at(now).unwrap_or(now);
                bucket.take(now);
                now - start
            })
            .collect()
    }

    #[test]
    fn requests_are_spread_evenly_over_the_period() {
        let millis: Vec<_> = starts("5/s", 4).iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [0, 200, 400, 600]);
        let seconds: Vec<_> = starts("60/h", 3).iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [0, 60, 120]);
    }

    #[test]
    fn a_burst_is_a_twentieth_of_a_second_of_the_rate() {
        let starts = starts("1000/s", 2_000);
        let at_once = starts.iter().filter(|at| at.is_zero()).count();
        assert_eq!(at_once, 50);
        assert_eq!(starts[1_049].as_millis(), 1_000);
    }

    #[test]
    fn no_period_sees_more_than_its_count_and_one_burst() {
        let starts = starts("100/s", 1_000);
        for (index, start) in starts.iter().enumerate() {
            let within = starts[index..].iter().filter(|at| **at < *start + Duration::from_secs(1)).count();
            assert!(within <= 100 + 5, "{within} within a second of {start:?}");
        }
    }

    #[test]
    fn a_quiet_time_saves_up_no_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate("10/s"), start);
        let later = start + Duration::from_mins(1);
        bucket.take(later);
        assert_eq!(bucket.ready_at(later), Some(later + Duration::from_millis(100)));
    }

    #[test]
    fn a_right_that_was_given_back_can_be_taken_again() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate("1/m"), start);
        bucket.take(start);
        assert!(bucket.ready_at(start).is_some());
        bucket.give_back();
        assert_eq!(bucket.ready_at(start), None);
    }
}
