//! What the limits did, for the report.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the limits of a connection did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LimiterCourse {
    /// The servers that are known now, by name.
    pub origins: Vec<OriginCourse>,
    /// The counts of servers that were forgotten because there were too many.
    pub others: OriginCounts,
}

/// What the limits did for one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OriginCourse {
    /// The server, as the connector names it.
    pub origin: String,
    /// Whether the limit adapts. Without a `max_in_flight` it does.
    pub adaptive: bool,
    /// How many requests may be in flight.
    pub limit: usize,
    /// The lowest limit so far.
    pub min_limit: usize,
    /// The highest limit so far.
    pub max_limit: usize,
    /// How many requests a second the server was found to take, once it has refused some for their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<f64>,
    /// The most requests that were in flight at once.
    pub peak_in_flight: usize,
    /// What was counted.
    #[serde(flatten)]
    pub counts: OriginCounts,
    /// How the limit changed: at most [`MAX_POINTS`] points.
    pub points: Vec<LimitPoint>,
}

/// What was counted for a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginCounts {
    /// Requests that were started.
    pub requests: u64,
    /// Answers that asked for less.
    pub throttled: u64,
    /// Requests that were not answered in time.
    pub timeouts: u64,
    /// How often the limit or the pace was cut: for a refusal, a timeout, or slow answers.
    #[serde(default)]
    pub back_offs: u64,
}

impl OriginCounts {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.throttled += other.throttled;
        self.timeouts += other.timeouts;
        self.back_offs += other.back_offs;
    }
}

/// The limit at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitPoint {
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
    /// The limit from then on.
    pub limit: usize,
}

/// How many points a course keeps.
pub const MAX_POINTS: usize = 64;

/// Records how a limit changes, in bounded memory: the longer it gets, the further apart are the points.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) min: usize,
    pub(super) max: usize,
    points: Vec<LimitPoint>,
    last: LimitPoint,
    spacing: u64,
}

impl Course {
    pub(super) fn new(elapsed: Duration, limit: usize) -> Self {
        let first = LimitPoint { elapsed_ms: millis(elapsed), limit };
        Self { min: limit, max: limit, points: vec![first], last: first, spacing: 0 }
    }

    pub(super) fn record(&mut self, elapsed: Duration, limit: usize) {
        if limit == self.last.limit {
            return;
        }
        self.min = self.min.min(limit);
        self.max = self.max.max(limit);
        self.last = LimitPoint { elapsed_ms: millis(elapsed), limit };
        let is_first = self.points.len() == 1;
        let newest = self.points.last_mut().expect("a course begins with a point and keeps its first");
        let is_near = self.last.elapsed_ms < newest.elapsed_ms + self.spacing.max(1);
        if is_near && !is_first {
            newest.limit = limit;
            return;
        }
        self.points.push(self.last);
        if self.points.len() > MAX_POINTS {
            self.thin_out();
        }
    }

    fn thin_out(&mut self) {
        let mut index = 0;
        self.points.retain(|_| {
            index += 1;
            index % 2 == 1
        });
        let first = self.points[0].elapsed_ms;
        self.spacing = (self.last.elapsed_ms - first) / (MAX_POINTS as u64 / 2);
    }

    /// The points, the newest limit among them.
    pub(super) fn points(&self) -> Vec<LimitPoint> {
        self.points.clone()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_course_stays_short_and_keeps_its_ends() {
        let mut course = Course::new(Duration::ZERO, 8);
        for step in 1..=100_000_u64 {
            let limit = usize::try_from(step).unwrap() % 900 + 1;
            course.record(Duration::from_millis(step * 7), limit);
        }
        let points = course.points();
        assert!(points.len() <= MAX_POINTS, "{}", points.len());
        assert_eq!(points[0], LimitPoint { elapsed_ms: 0, limit: 8 });
        assert_eq!(points.last().unwrap().limit, 100_000 % 900 + 1);
        assert!(points.is_sorted_by(|a, b| a.elapsed_ms < b.elapsed_ms));
        assert_eq!((course.min, course.max), (1, 900));
    }

    #[test]
    fn a_limit_that_stays_adds_no_points() {
        let mut course = Course::new(Duration::ZERO, 8);
        course.record(Duration::from_secs(1), 8);
        course.record(Duration::from_secs(2), 9);
        course.record(Duration::from_secs(3), 9);
        let limits: Vec<_> = course.points().iter().map(|point| (point.elapsed_ms, point.limit)).collect();
        assert_eq!(limits, [(0, 8), (2_000, 9)]);
    }
}
