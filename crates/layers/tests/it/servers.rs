//! The limits against servers that behave like real ones, in paused time: what a run makes of them from its first request
//! to its last.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use towpath_core::{Limiter, Outcome};
use towpath_layers::ConnectionLimiter;
use towpath_layers::limits::OriginCourse;

use crate::limits::{finish, limiter, run};
use crate::support::secs;

/// How many splits are read at once.
const CLIENTS: usize = 200;
/// How long a split waits before it asks again, as retries do.
const RETRY: Duration = Duration::from_millis(250);

/// How a server answers the request that has just come, as one of so many: how long that takes, and the outcome.
type Answers = Box<dyn FnMut(Duration, usize) -> (Duration, Outcome)>;

struct Server {
    answers: RefCell<Answers>,
    /// Who works on requests, if they queue up.
    workers: Option<Semaphore>,
    began: Instant,
    in_flight: Cell<usize>,
    peak: Cell<usize>,
    accepted: Cell<u64>,
    refused: Cell<u64>,
}

impl Server {
    fn new(answers: impl FnMut(Duration, usize) -> (Duration, Outcome) + 'static) -> Rc<Self> {
        Self::with_workers(None, answers)
    }

    fn with_workers(
        workers: Option<usize>,
        answers: impl FnMut(Duration, usize) -> (Duration, Outcome) + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            answers: RefCell::new(Box::new(answers)),
            workers: workers.map(Semaphore::new),
            began: Instant::now(),
            in_flight: Cell::new(0),
            peak: Cell::new(0),
            accepted: Cell::new(0),
            refused: Cell::new(0),
        })
    }

    async fn ask(&self) -> Outcome {
        self.in_flight.set(self.in_flight.get() + 1);
        self.peak.set(self.peak.get().max(self.in_flight.get()));
        let (takes, outcome) = self.answers.borrow_mut()(self.began.elapsed(), self.in_flight.get());
        let worker = match &self.workers {
            Some(workers) => workers.acquire().await.ok(),
            None => None,
        };
        sleep(takes).await;
        drop(worker);
        self.in_flight.set(self.in_flight.get() - 1);
        let counted = if outcome == Outcome::Success { &self.accepted } else { &self.refused };
        counted.set(counted.get() + 1);
        outcome
    }

    /// As many clients as a run has keep asking for this long.
    async fn serve(&self, limiter: &ConnectionLimiter, length: Duration) -> Seen {
        let until = Instant::now() + length;
        let (accepted, refused) = (self.accepted.get(), self.refused.get());
        self.peak.set(self.in_flight.get());
        let clients = (0..CLIENTS).map(|_| async {
            while Instant::now() < until {
                let Ok(permit) = timeout_at(until, limiter.acquire("api")).await else { return };
                let outcome = self.ask().await;
                finish(permit, outcome);
                if outcome != Outcome::Success {
                    sleep(RETRY).await;
                }
            }
        });
        let began = Instant::now();
        join_all(clients).await;
        Seen {
            accepted: (self.accepted.get() - accepted) as f64,
            refused: (self.refused.get() - refused) as f64,
            seconds: began.elapsed().as_secs_f64(),
            peak: self.peak.get(),
        }
    }
}

/// What a server saw in a stretch of time.
#[derive(Debug)]
struct Seen {
    accepted: f64,
    refused: f64,
    seconds: f64,
    peak: usize,
}

impl Seen {
    /// The share of what the server would have taken.
    fn used(&self, per_second: f64) -> f64 {
        self.accepted / (self.seconds * per_second)
    }

    fn share_refused(&self) -> f64 {
        self.refused / (self.accepted + self.refused)
    }
}

fn course(limiter: &ConnectionLimiter) -> OriginCourse {
    limiter.course().origins.remove(0)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Takes so many in each second of the clock.
fn windows(most: u64, takes: Duration, told: Option<Duration>) -> Rc<Server> {
    let (mut window, mut count) = (0, 0);
    Server::new(move |now, _| {
        if now.as_secs() != window {
            (window, count) = (now.as_secs(), 0);
        }
        count += 1;
        if count > most { (ms(2), Outcome::RateLimited(told)) } else { (takes, Outcome::Success) }
    })
}

/// Takes so many within any second.
fn sliding(most: usize, takes: Duration) -> Rc<Server> {
    let mut recent = VecDeque::new();
    Server::new(move |now, _| {
        while recent.front().is_some_and(|then| now.saturating_sub(*then) >= secs(1)) {
            recent.pop_front();
        }
        if recent.len() >= most {
            return (ms(2), Outcome::RateLimited(None));
        }
        recent.push_back(now);
        (takes, Outcome::Success)
    })
}

/// A bucket of tokens that is full at first.
fn bucket(per_second: f64, full: f64, takes: Duration) -> Rc<Server> {
    let (mut tokens, mut filled) = (full, Duration::ZERO);
    Server::new(move |now, _| {
        tokens = (tokens + (now.saturating_sub(filled)).as_secs_f64() * per_second).min(full);
        filled = now;
        if tokens < 1.0 {
            return (ms(2), Outcome::RateLimited(None));
        }
        tokens -= 1.0;
        (takes, Outcome::Success)
    })
}

/// Takes so many at once.
fn at_once(most: impl Fn(Duration) -> usize + 'static, refusal: Outcome) -> Rc<Server> {
    Server::new(
        move |now, in_flight| {
            if in_flight > most(now) { (ms(50), refusal) } else { (ms(100), Outcome::Success) }
        },
    )
}

#[tokio::test(start_paused = true)]
async fn a_limit_by_the_second_is_used_up_and_hardly_ever_broken() {
    for takes in [20, 300] {
        let servers: [(&str, Rc<Server>); 5] = [
            ("windows", windows(100, ms(takes), None)),
            ("windows that say when to come back", windows(100, ms(takes), Some(secs(1)))),
            ("sliding", sliding(100, ms(takes))),
            ("a bucket", bucket(100.0, 20.0, ms(takes))),
            ("a large bucket", bucket(100.0, 200.0, ms(takes))),
        ];
        for (name, server) in servers {
            let limiter = limiter(&run(1_000), json!({}));
            let first = server.serve(&limiter, secs(120)).await;
            let then = server.serve(&limiter, secs(120)).await;
            let course = course(&limiter);
            let shown = format!(
                "{name}, {takes} ms: {} {first:?} {} {then:?} {course:?}",
                first.used(100.0),
                then.used(100.0)
            );
            eprintln!("{shown}");
            assert!(first.used(100.0) > 0.85 && first.share_refused() < 0.025, "{shown}");
            assert!(then.used(100.0) > 0.95 && then.share_refused() < 0.01, "{shown}");
            assert!(course.counts.back_offs > 0 && course.pace.is_some(), "{shown}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_of_a_minute_is_kept() {
    let (mut window, mut count) = (0, 0);
    let server = Server::new(move |now, _| {
        if now.as_secs() / 60 != window {
            (window, count) = (now.as_secs() / 60, 0);
        }
        count += 1;
        if count > 30 { (ms(2), Outcome::RateLimited(None)) } else { (ms(50), Outcome::Success) }
    });
    let limiter = limiter(&run(1_000), json!({}));
    server.serve(&limiter, secs(600)).await;
    let seen = server.serve(&limiter, secs(3_600)).await;
    assert!(seen.used(0.5) > 0.9 && seen.share_refused() < 0.03, "{} {seen:?}", seen.used(0.5));
}

#[tokio::test(start_paused = true)]
async fn a_server_of_fixed_capacity_is_busy_and_has_no_queue() {
    for workers in [2_u32, 10, 60] {
        let mut random = fastrand::Rng::with_seed(u64::from(workers));
        let server = Server::with_workers(Some(workers as usize), move |_, _| {
            (ms(random.u64(50..150)), Outcome::Success)
        });
        let limiter = limiter(&run(1_000), json!({}));
        server.serve(&limiter, secs(30)).await;
        let seen = server.serve(&limiter, secs(60)).await;
        let used = seen.used(f64::from(workers) * 10.0);
        assert!(used > 0.9, "{workers} workers are busy to {used}: {seen:?}");
        let course = course(&limiter);
        assert!(course.limit < 2 * workers as usize + 5, "{workers} workers: {course:?}");
        assert_eq!((course.counts.throttled, course.pace), (0, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sudden_limit_is_obeyed_at_once() {
    for refusal in [Outcome::RateLimited(None), Outcome::Overloaded(None), Outcome::TimedOut] {
        let server = at_once(|now| if now < secs(10) { 150 } else { 20 }, refusal);
        let limiter = limiter(&run(1_000), json!({}));
        let before = server.serve(&limiter, secs(10)).await;
        assert!(before.used(1_500.0) > 0.5, "{before:?}");
        server.serve(&limiter, secs(5)).await;
        let after = server.serve(&limiter, secs(60)).await;
        eprintln!("{refusal:?} {before:?} {after:?} {:?}", course(&limiter));
        assert!(after.used(200.0) > 0.75 && after.share_refused() < 0.05, "{refusal:?}: {after:?}");
        assert!(after.peak <= 30, "{refusal:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_recovers_slowly_is_followed() {
    for refusal in [Outcome::RateLimited(None), Outcome::Overloaded(None), Outcome::TimedOut] {
        // From 4 at once to 180 within a minute.
        let most = |now: Duration| usize::try_from(3 * now.as_secs()).unwrap_or(usize::MAX).clamp(4, 180);
        let server = at_once(most, refusal);
        let limiter = limiter(&run(1_000), json!({}));
        let during = server.serve(&limiter, secs(60)).await;
        server.serve(&limiter, secs(60)).await;
        let after = server.serve(&limiter, secs(30)).await;
        eprintln!("{refusal:?} {during:?} {after:?} {:?}", course(&limiter));
        assert!(after.used(1_800.0) > 0.75 && after.share_refused() < 0.05, "{refusal:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_now_and_then_do_not_bring_it_to_its_knees() {
    let mut random = fastrand::Rng::with_seed(3);
    let server = Server::new(move |_, _| {
        let outcome = if random.u16(..1_000) < 5 { Outcome::Overloaded(None) } else { Outcome::Success };
        (ms(50), outcome)
    });
    let limiter = limiter(&run(1_000), json!({}));
    let seen = server.serve(&limiter, secs(60)).await;
    assert!(seen.accepted / seen.seconds > 500.0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn all_streams_of_a_connection_share_what_was_learned() {
    let server = windows(50, ms(20), None);
    let limiter = limiter(&run(1_000), json!({}));
    let streams = [server.serve(&limiter, secs(60)), server.serve(&limiter, secs(60))];
    join_all(streams).await;
    let refused = server.refused.get() as f64 / server.accepted.get() as f64;
    assert!(server.accepted.get() > 2_800 && refused < 0.03, "{} {refused}", server.accepted.get());
}

#[tokio::test(start_paused = true)]
async fn a_fixed_number_at_once_still_keeps_the_pace_of_the_server() {
    let server = windows(100, ms(20), None);
    let limiter = limiter(&run(1_000), json!({"max_in_flight": 40}));
    let seen = server.serve(&limiter, secs(120)).await;
    assert!(seen.used(100.0) > 0.95 && seen.share_refused() < 0.01, "{} {seen:?}", seen.used(100.0));
}
