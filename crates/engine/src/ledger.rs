//! Where the time went, and the one setting that would help most.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use towpath_core::MetricsSnapshot;

/// A stream's wall time divided by what its tasks were doing. The parts sum up to the stream's seconds.
///
/// Many tasks work at once, so their times are added up and scaled to the wall time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ledger {
    /// Waiting for the source.
    pub source: f64,
    /// Waiting for permits of the limiter.
    pub limiter: f64,
    /// Parsing, transforming and encoding.
    pub cpu: f64,
    /// Waiting for a processor.
    pub cpu_wait: f64,
    /// Waiting for the memory budget.
    pub memory: f64,
    /// Waiting for the sink.
    pub sink: f64,
}

/// The setting that would help most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Advice {
    /// The stream that takes longest.
    pub stream: String,
    /// The setting, as the pipeline file writes it.
    pub setting: String,
    /// Why, in a sentence.
    pub reason: String,
}

/// The counters of the two sides of a stream, and of what lies between.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sides {
    pub(crate) source: MetricsSnapshot,
    pub(crate) sink: MetricsSnapshot,
    pub(crate) between: MetricsSnapshot,
}

impl Ledger {
    pub(crate) fn new(sides: &Sides, wall: Duration) -> Self {
        let Sides { source, sink, between } = sides;
        // A side's wait holds the CPU jobs and permits that it waited for.
        let own = |wait: u64, side: &MetricsSnapshot| {
            wait.saturating_sub(side.cpu + side.cpu_wait + side.limiter_wait) as f64
        };
        let parts = [
            own(source.source_wait, source),
            (source.limiter_wait + sink.limiter_wait) as f64,
            (source.cpu + sink.cpu + between.cpu) as f64,
            (source.cpu_wait + sink.cpu_wait + between.cpu_wait) as f64,
            between.memory_wait as f64,
            own(sink.sink_wait, sink),
        ];
        let total: f64 = parts.iter().sum();
        let scale = if total > 0.0 { wall.as_secs_f64() / total } else { 0.0 };
        let [source, limiter, cpu, cpu_wait, memory, sink] = parts.map(|part| part * scale);
        Self { source, limiter, cpu, cpu_wait, memory, sink }
    }

    /// The parts with their names, greatest first.
    pub fn parts(&self) -> Vec<(&'static str, f64)> {
        let mut parts = vec![
            ("source", self.source),
            ("limits", self.limiter),
            ("cpu", self.cpu),
            ("cpu queue", self.cpu_wait),
            ("memory", self.memory),
            ("sink", self.sink),
        ];
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        parts
    }
}

/// What is known about a stream's limits when advice is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) stream: String,
    pub(crate) connection: String,
    pub(crate) max_in_flight: Option<usize>,
    pub(crate) rate_limited: bool,
    pub(crate) throttled: bool,
    pub(crate) run_max_in_flight: usize,
    pub(crate) splits: u64,
}

impl Advice {
    /// The advice for one stream; `None` where nothing is worth changing.
    pub(crate) fn new(ledger: &Ledger, limits: &Limits) -> Option<Self> {
        let (part, seconds) = ledger.parts()[0];
        // Below this, changing a setting is not worth a person's time.
        if seconds < 1.0 {
            return None;
        }
        let connection = &limits.connection;
        let (setting, reason) = match part {
            "limits" if limits.throttled => return None,
            "limits" if limits.rate_limited => (
                format!("connections.{connection}.rate_limit"),
                "requests wait for the rate limit; raise it if the server allows more",
            ),
            "limits" if limits.max_in_flight.is_some() => (
                format!("connections.{connection}.max_in_flight"),
                "requests wait for each other; raise it if the server allows more",
            ),
            "limits" => {
                ("max_in_flight".to_owned(), "requests wait for the limit of the whole run; raise it")
            }
            "source" if limits.splits > limits.run_max_in_flight as u64 => (
                "max_in_flight".to_owned(),
                "the source answers slowly and more splits are waiting; raise it",
            ),
            "memory" => {
                ("memory".to_owned(), "readers wait for the memory budget; raise it, or speed up the sink")
            }
            "cpu" | "cpu queue" => {
                ("threads".to_owned(), "the processors are busy; a machine with more of them would help")
            }
            _ => return None,
        };
        Some(Self { stream: limits.stream.clone(), setting, reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towpath_core::Metrics;

    fn sides() -> Sides {
        let (source, sink) = (Metrics::default(), Metrics::default());
        source.add_source_wait(Duration::from_micros(10));
        source.add_limiter_wait(Duration::from_micros(3));
        source.add_cpu(Duration::from_micros(1));
        sink.add_sink_wait(Duration::from_micros(2));
        sink.add_cpu(Duration::from_nanos(500));
        Sides { source: source.snapshot(), sink: sink.snapshot(), between: MetricsSnapshot::default() }
    }

    #[test]
    fn the_parts_sum_up_to_the_wall_time_and_hold_nothing_twice() {
        let ledger = Ledger::new(&sides(), Duration::from_secs(12));
        let sum: f64 = ledger.parts().iter().map(|(_, seconds)| seconds).sum();
        assert!((sum - 12.0).abs() < 1e-9);
        assert!(
            (ledger.source / ledger.limiter - 2.0).abs() < 1e-9,
            "6,000 of waiting beside 3,000 for permits"
        );
        assert!((ledger.limiter / ledger.cpu - 2.0).abs() < 1e-9);
    }

    #[test]
    fn advice_names_the_setting_of_the_greatest_part() {
        let ledger = Ledger { limiter: 5.0, source: 1.0, ..Ledger::default() };
        let limits = Limits {
            stream: "a".into(),
            connection: "shop".into(),
            max_in_flight: Some(4),
            ..Limits::default()
        };
        assert_eq!(Advice::new(&ledger, &limits).unwrap().setting, "connections.shop.max_in_flight");
        let rate = Limits { rate_limited: true, ..limits.clone() };
        assert_eq!(Advice::new(&ledger, &rate).unwrap().setting, "connections.shop.rate_limit");
        let memory = Ledger { memory: 5.0, ..Ledger::default() };
        assert_eq!(Advice::new(&memory, &limits).unwrap().setting, "memory");
    }

    #[test]
    fn a_server_that_asks_for_less_and_a_short_run_get_no_advice() {
        let ledger = Ledger { limiter: 5.0, ..Ledger::default() };
        assert_eq!(Advice::new(&ledger, &Limits { throttled: true, ..Limits::default() }), None);
        assert_eq!(Advice::new(&Ledger { memory: 0.2, ..Ledger::default() }, &Limits::default()), None);
    }
}
