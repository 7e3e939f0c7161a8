//! The limit against simulated servers, in simulated time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const MAX: usize = 1_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a server answers a request that starts now, as one of so many.
trait Server {
    fn answer(&mut self, now: Duration, in_flight: usize) -> (Duration, Outcome);
}

impl<F: FnMut(Duration, usize) -> (Duration, Outcome)> Server for F {
    fn answer(&mut self, now: Duration, in_flight: usize) -> (Duration, Outcome) {
        self(now, in_flight)
    }
}

/// Serves as many at once as it has workers, each in 50 to 150 ms; the others wait in a queue.
struct Workers {
    random: fastrand::Rng,
    free_at: BinaryHeap<Reverse<Duration>>,
}

impl Workers {
    fn new(count: usize) -> Self {
        let free_at = std::iter::repeat_n(Reverse(Duration::ZERO), count).collect();
        Self { random: fastrand::Rng::with_seed(count as u64), free_at }
    }
}

impl Server for Workers {
    fn answer(&mut self, now: Duration, _in_flight: usize) -> (Duration, Outcome) {
        let Reverse(free_at) = self.free_at.pop().expect("there are workers");
        let done = free_at.max(now) + ms(self.random.u64(50..150));
        self.free_at.push(Reverse(done));
        (done.saturating_sub(now), Outcome::Success)
    }
}

/// A client that always has work, and keeps as many requests in flight as the limit allows.
struct Simulation<S> {
    limit: AdaptiveLimit,
    server: S,
    demand: usize,
    now: Duration,
    /// When they end, when they began, in which round, and how: 0 for a success, 1 for a refusal, 2 for a timeout.
    running: BinaryHeap<Reverse<(Duration, Duration, RoundId, u8)>>,
}

/// What happened in a stretch of time.
#[derive(Debug)]
struct Seen {
    successes: u32,
    refusals: u32,
    lowest: usize,
    highest: usize,
    average: f64,
}

impl<S: Server> Simulation<S> {
    fn new(server: S) -> Self {
        Self {
            limit: AdaptiveLimit::new(MAX),
            server,
            demand: usize::MAX,
            now: Duration::ZERO,
            running: BinaryHeap::new(),
        }
    }

    fn run(&mut self, length: Duration) -> Seen {
        let end = self.now + length;
        let limit = self.limit.limit();
        let mut seen = Seen { successes: 0, refusals: 0, lowest: limit, highest: limit, average: 0.0 };
        loop {
            self.start_requests();
            let next = self.running.peek().map_or(end, |Reverse((ended, ..))| *ended);
            let stretch = next.min(end).saturating_sub(self.now);
            seen.average += self.limit.limit() as f64 * stretch.as_secs_f64() / length.as_secs_f64();
            if next > end {
                self.now = end;
                return seen;
            }
            self.finish_request(&mut seen);
            seen.lowest = seen.lowest.min(self.limit.limit());
            seen.highest = seen.highest.max(self.limit.limit());
        }
    }

    fn start_requests(&mut self) {
        while self.running.len() < self.limit.limit().min(self.demand) {
            let (latency, outcome) = self.server.answer(self.now, self.running.len() + 1);
            let code = match outcome {
                Outcome::Success => 0,
                Outcome::Overloaded(_) => 1,
                _ => 2,
            };
            let round = self.limit.on_start();
            self.running.push(Reverse((self.now + latency, self.now, round, code)));
        }
    }

    fn finish_request(&mut self, seen: &mut Seen) {
        let in_flight = self.running.len();
        let Reverse((ended, started, round, code)) = self.running.pop().expect("the limit is never 0");
        self.now = ended;
        let outcome = match code {
            0 => Outcome::Success,
            1 => Outcome::Overloaded(None),
            _ => Outcome::TimedOut,
        };
        self.limit.on_finish(round, outcome, ended.saturating_sub(started), in_flight);
        seen.successes += u32::from(code == 0);
        seen.refusals += u32::from(code == 1);
    }
}

/// Refuses what is more than this at once.
fn refusing(most: usize) -> impl FnMut(Duration, usize) -> (Duration, Outcome) {
    move |_, in_flight| {
        if in_flight > most { (ms(50), Outcome::Overloaded(None)) } else { (ms(100), Outcome::Success) }
    }
}

#[test]
fn it_doubles_with_each_round_trip_until_the_run_allows_no_more() {
    let mut simulation = Simulation::new(|_: Duration, _: usize| (ms(100), Outcome::Success));
    assert_eq!(simulation.limit.limit(), START);
    assert_eq!(simulation.run(ms(150)).highest, 2 * START);
    assert_eq!(simulation.run(ms(100)).highest, 4 * START);
    assert_eq!(simulation.run(ms(500)).highest, MAX);
    assert_eq!(simulation.run(secs(30)).lowest, MAX);
}

#[test]
fn a_server_with_a_queue_is_kept_busy_without_filling_the_queue() {
    for workers in [3_u32, 10, 50, 300] {
        let mut simulation = Simulation::new(Workers::new(workers as usize));
        simulation.run(secs(30));
        let seen = simulation.run(secs(60));
        let capacity = f64::from(workers) * 10.0 * 60.0;
        let used = f64::from(seen.successes) / capacity;
        assert!(used > 0.9, "{workers} workers are busy to {used}: {seen:?}");
        assert!(seen.average < 1.3 * f64::from(workers) + 5.0, "{workers} workers: {seen:?}");
    }
}

#[test]
fn a_server_that_refuses_more_than_it_takes_is_hardly_troubled() {
    for most in [1_u32, 5, 20, 200] {
        let mut simulation = Simulation::new(refusing(most as usize));
        simulation.run(secs(30));
        let seen = simulation.run(secs(60));
        let used = f64::from(seen.successes) / (f64::from(most) * 10.0 * 60.0);
        assert!(used > 0.75, "{most} at once are used to {used}: {seen:?}");
        assert!(f64::from(seen.refusals) < 0.15 * f64::from(seen.successes), "{most} at once: {seen:?}");
    }
}

#[test]
fn a_limit_that_appears_suddenly_is_obeyed_within_a_few_round_trips() {
    let mut simulation = Simulation::new(move |now: Duration, in_flight: usize| {
        refusing(if now < secs(10) { 500 } else { 20 })(now, in_flight)
    });
    let before = simulation.run(secs(10));
    assert!(before.average > 200.0, "{before:?}");
    simulation.run(ms(1_500));
    let after = simulation.run(secs(30));
    assert!(after.highest <= 30 && after.average > 10.0, "{after:?}");
}

#[test]
fn it_recovers_when_the_server_does() {
    let mut simulation = Simulation::new(move |now: Duration, in_flight: usize| {
        refusing(if now < secs(10) { 2 } else { 400 })(now, in_flight)
    });
    let poor = simulation.run(secs(10));
    assert!(poor.average < 20.0, "{poor:?}");
    simulation.run(secs(10));
    let rich = simulation.run(secs(60));
    assert!(rich.average > 250.0, "{rich:?}");
}

#[test]
fn jitter_and_outliers_are_no_load() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut simulation = Simulation::new(move |_: Duration, _: usize| {
        let usual = 40 + random.u64(..160);
        let latency = if random.u8(..) < 5 { usual * 20 } else { usual };
        (ms(latency), Outcome::Success)
    });
    simulation.run(secs(20));
    let seen = simulation.run(secs(60));
    assert!(seen.average > 0.9 * MAX as f64, "{seen:?}");
    assert!(seen.lowest > MAX / 4, "{seen:?}");
}

#[test]
fn quick_and_slow_requests_may_be_mixed() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut simulation = Simulation::new(move |_: Duration, _: usize| {
        (if random.bool() { ms(30) } else { ms(3_000) }, Outcome::Success)
    });
    simulation.run(secs(60));
    let seen = simulation.run(secs(60));
    assert!(seen.average > 0.8 * MAX as f64, "{seen:?}");
}

#[test]
fn a_server_that_slows_down_for_reasons_of_its_own_does_not_collapse_the_limit() {
    let mut simulation = Simulation::new(|now: Duration, _: usize| {
        (if now < secs(10) { ms(100) } else { ms(700) }, Outcome::Success)
    });
    simulation.run(secs(10));
    let seen = simulation.run(secs(60));
    assert!(seen.lowest >= MAX / 3 && seen.average > 0.9 * MAX as f64, "{seen:?}");
}

#[test]
fn latencies_of_a_few_milliseconds_are_noise() {
    let mut simulation =
        Simulation::new(|_: Duration, in_flight: usize| (ms(1 + in_flight as u64 / 200), Outcome::Success));
    simulation.run(secs(5));
    assert_eq!(simulation.limit.limit(), MAX);
}

#[test]
fn timeouts_cut_it_as_refusals_do() {
    let mut simulation = Simulation::new(|_: Duration, in_flight: usize| {
        if in_flight > 40 { (secs(1), Outcome::TimedOut) } else { (ms(100), Outcome::Success) }
    });
    simulation.run(secs(30));
    let seen = simulation.run(secs(60));
    assert!(seen.highest < 80 && seen.average > 20.0, "{seen:?}");
}

#[test]
fn one_burst_of_refusals_is_one_cut() {
    let mut limit = AdaptiveLimit::new(MAX);
    let rounds: Vec<_> = (0..8).map(|_| limit.on_start()).collect();
    for (answered, round) in rounds.into_iter().enumerate() {
        limit.on_finish(round, Outcome::Overloaded(None), ms(100), 8 - answered);
    }
    assert_eq!(limit.limit(), 4);
    let round = limit.on_start();
    limit.on_finish(round, Outcome::Overloaded(None), ms(100), 4);
    assert_eq!(limit.limit(), 2);
}

#[test]
fn it_never_falls_below_one() {
    let mut limit = AdaptiveLimit::new(MAX);
    for _ in 0..100 {
        let round = limit.on_start();
        limit.on_finish(round, Outcome::TimedOut, ms(50), 1);
    }
    assert_eq!(limit.limit(), 1);
}

#[test]
fn failures_and_requests_given_up_change_nothing() {
    let mut limit = AdaptiveLimit::new(MAX);
    for outcome in [Outcome::Failed, Outcome::Abandoned].repeat(100) {
        let round = limit.on_start();
        limit.on_finish(round, outcome, secs(60), 8);
    }
    assert_eq!(limit.limit(), START);
    assert!(limit.rounds.len() <= 1, "rounds without an answer are not kept");
}

#[test]
fn what_is_not_used_does_not_grow() {
    let mut simulation = Simulation::new(|_: Duration, _: usize| (ms(100), Outcome::Success));
    simulation.demand = 10;
    simulation.run(secs(60));
    assert!(simulation.limit.limit() <= 21, "{}", simulation.limit.limit());
}

#[test]
fn a_run_that_allows_less_than_the_start_is_obeyed() {
    assert_eq!(AdaptiveLimit::new(3).limit(), 3);
}
