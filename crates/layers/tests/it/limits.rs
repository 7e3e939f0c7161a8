use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{join_all, poll_immediate};
use serde_json::json;
use tokio::time::Instant;
use towpath_core::{Limiter, Outcome, Permit};
use towpath_layers::limits::LONGEST_PAUSE;
use towpath_layers::limits::adaptive::START;
use towpath_layers::{ConnectionLimiter, LimitSettings, RunLimit, TokioClock};

use crate::support::secs;

pub(crate) fn run(max_in_flight: usize) -> RunLimit {
    RunLimit::new(max_in_flight.try_into().unwrap(), Arc::new(TokioClock))
}

pub(crate) fn limiter(run: &RunLimit, settings: serde_json::Value) -> ConnectionLimiter {
    ConnectionLimiter::new(run, &serde_json::from_value(settings).unwrap())
}

pub(crate) fn finish(permit: Permit, outcome: Outcome) {
    permit.finish(outcome, Instant::now().into_std());
}

async fn request(limiter: &ConnectionLimiter, origin: &str, takes: Duration, outcome: Outcome) {
    let permit = limiter.acquire(origin).await;
    tokio::time::sleep(takes).await;
    finish(permit, outcome);
}

async fn is_free(limiter: &ConnectionLimiter, origin: &str) -> bool {
    poll_immediate(limiter.acquire(origin)).await.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_connection_never_has_more_in_flight_than_its_limit() {
    let limiter = limiter(&run(100), json!({"max_in_flight": 3}));
    let began = Instant::now();
    join_all((0..9).map(|n| {
        let origin = ["a", "b"][n % 2];
        request(&limiter, origin, secs(1), Outcome::Success)
    }))
    .await;
    assert_eq!(began.elapsed(), secs(3));
    let course = limiter.course();
    assert!(course.origins.iter().all(|origin| !origin.adaptive && origin.limit == 3));
    assert_eq!(course.origins.iter().map(|origin| origin.counts.requests).sum::<u64>(), 9);
}

#[tokio::test(start_paused = true)]
async fn all_connections_share_the_limit_of_the_run() {
    let run = run(4);
    let limiters = [limiter(&run, json!({"max_in_flight": 10})), limiter(&run, json!({}))];
    let began = Instant::now();
    let requests = join_all((0..12).map(|n| request(&limiters[n % 2], "", secs(1), Outcome::Success)));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(run.in_flight(), 4);
    };
    tokio::join!(requests, watch);
    assert_eq!((began.elapsed(), run.in_flight()), (secs(3), 0));
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first() {
    let limiter = limiter(&run(100), json!({"max_in_flight": 1}));
    let order = Mutex::new(Vec::new());
    join_all((0..50).map(|n| {
        let (limiter, order) = (&limiter, &order);
        async move {
            let permit = limiter.acquire(["a", "b", "c"][n % 3]).await;
            order.lock().unwrap().push(n);
            tokio::time::sleep(Duration::from_millis(10)).await;
            finish(permit, Outcome::Success);
        }
    }))
    .await;
    assert!(order.lock().unwrap().is_sorted());
    assert_eq!(order.lock().unwrap().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_connection_at_its_limit_does_not_hold_up_another() {
    let run = run(10);
    let (busy, idle) = (limiter(&run, json!({"max_in_flight": 1})), limiter(&run, json!({})));
    let held = busy.acquire("").await;
    let mut waiting = Box::pin(busy.acquire(""));
    assert!(poll_immediate(&mut waiting).await.is_none());
    assert!(is_free(&idle, "").await);
    drop(held);
    assert!(poll_immediate(&mut waiting).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_rate_spreads_requests_evenly_over_all_origins() {
    let limiter = limiter(&run(100), json!({"rate_limit": "2/s"}));
    let began = Instant::now();
    let starts = Mutex::new(Vec::new());
    join_all((0..6).map(|n| {
        let (limiter, starts) = (&limiter, &starts);
        async move {
            let permit = limiter.acquire(["a", "b"][n % 2]).await;
            starts.lock().unwrap().push(began.elapsed().as_millis());
            finish(permit, Outcome::Success);
        }
    }))
    .await;
    assert_eq!(*starts.lock().unwrap(), [0, 500, 1_000, 1_500, 2_000, 2_500]);
}

#[tokio::test(start_paused = true)]
async fn a_high_rate_is_reached_although_timers_are_coarse() {
    let limiter = limiter(&run(10_000), json!({"rate_limit": "5000/s", "max_in_flight": 10_000}));
    let began = Instant::now();
    join_all((0..10_000).map(|_| request(&limiter, "", Duration::ZERO, Outcome::Success))).await;
    let millis = began.elapsed().as_millis();
    assert!((1_940..2_010).contains(&millis), "{millis}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_back_its_origin_and_no_other() {
    let limiter = limiter(&run(10), json!({}));
    limiter.pause("slow", secs(30));
    assert!(!is_free(&limiter, "slow").await);
    assert!(is_free(&limiter, "other").await);
    let began = Instant::now();
    join_all((0..3).map(|_| request(&limiter, "slow", Duration::ZERO, Outcome::Success))).await;
    assert_eq!(began.elapsed(), secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_comes_while_others_wait_holds_them_back_as_well() {
    let limiter = limiter(&run(10), json!({"max_in_flight": 1}));
    let began = Instant::now();
    let first = limiter.acquire("").await;
    let waiting = async {
        drop(limiter.acquire("").await);
        began.elapsed()
    };
    let answer = async {
        tokio::time::sleep(secs(1)).await;
        finish(first, Outcome::Overloaded(Some(secs(20))));
    };
    assert_eq!(tokio::join!(waiting, answer).0, secs(21));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_pause_does_not_shorten_a_longer_one() {
    let limiter = limiter(&run(10), json!({}));
    limiter.pause("", secs(30));
    limiter.pause("", secs(5));
    let began = Instant::now();
    drop(limiter.acquire("").await);
    assert_eq!(began.elapsed(), secs(30));
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_the_other_limits_hold() {
    let limiter = limiter(&run(10), json!({"max_in_flight": 1}));
    let began = Instant::now();
    limiter.pause("a", secs(5));
    let ((), ended) = tokio::join!(request(&limiter, "b", secs(60), Outcome::Success), async {
        drop(limiter.acquire("a").await);
        began.elapsed()
    });
    assert_eq!(ended, secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_longer_pause_that_comes_later_holds() {
    let limiter = limiter(&run(10), json!({}));
    limiter.pause("", secs(5));
    let began = Instant::now();
    let waiting = limiter.acquire("");
    let longer = async {
        tokio::time::sleep(secs(3)).await;
        limiter.pause("", secs(30));
    };
    drop(tokio::join!(waiting, longer).0);
    assert_eq!(began.elapsed(), secs(33));
}

#[tokio::test(start_paused = true)]
async fn no_server_can_stop_a_run_for_days() {
    let limiter = limiter(&run(10), json!({}));
    limiter.pause("", secs(1_000_000));
    finish(limiter.acquire("other").await, Outcome::Overloaded(Some(Duration::MAX)));
    let began = Instant::now();
    drop(limiter.acquire("").await);
    drop(limiter.acquire("other").await);
    assert_eq!(began.elapsed(), LONGEST_PAUSE);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_starts_small_and_grows_while_answers_stay_fast() {
    let limiter = limiter(&run(500), json!({}));
    let requests = (0..5_000).map(|_| request(&limiter, "", Duration::from_millis(100), Outcome::Success));
    let all = join_all(requests);
    let watch = async {
        tokio::task::yield_now().await;
        assert_eq!(limiter.in_flight(), START);
    };
    tokio::join!(all, watch);
    let course = &limiter.course().origins[0];
    assert_eq!((course.adaptive, course.limit, course.peak_in_flight), (true, 500, 500));
    assert_eq!(course.points[0].limit, START);
    assert_eq!(course.points.last().unwrap().limit, 500);
}

#[tokio::test(start_paused = true)]
async fn refusals_lower_the_limit_of_their_origin_only() {
    let limiter = limiter(&run(100), json!({}));
    join_all((0..8).map(|_| request(&limiter, "busy", secs(1), Outcome::Overloaded(None)))).await;
    join_all((0..2).map(|_| request(&limiter, "busy", secs(1), Outcome::TimedOut))).await;
    let held = limiter.acquire("busy").await;
    assert!(!is_free(&limiter, "busy").await);
    let others = join_all((0..8).map(|_| limiter.acquire("other"))).await;
    let course = limiter.course();
    let (busy, other) = (&course.origins[0], &course.origins[1]);
    assert_eq!((busy.counts.throttled, busy.counts.timeouts, busy.counts.requests), (8, 2, 11));
    assert!(busy.limit == 1 && busy.min_limit == 1 && busy.max_limit == START, "{busy:?}");
    assert_eq!((other.limit, others.len()), (START, 8));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_take_no_longer_than_a_thousand_at_once_allow() {
    let limiter = limiter(&run(1_000), json!({"max_in_flight": 1_000}));
    let began = Instant::now();
    join_all((0..10_000).map(|_| request(&limiter, "", secs(1), Outcome::Success))).await;
    assert_eq!(began.elapsed(), secs(10));
    assert_eq!(limiter.course().origins[0].peak_in_flight, 1_000);
}

#[tokio::test(start_paused = true)]
async fn idle_servers_are_forgotten_when_there_are_very_many() {
    let limiter = limiter(&run(10), json!({}));
    let held = limiter.acquire("in use").await;
    for n in 0..2_500 {
        request(&limiter, &format!("https://{n}.example"), Duration::ZERO, Outcome::Success).await;
    }
    let course = limiter.course();
    assert!(course.origins.len() <= 1_000, "{}", course.origins.len());
    assert!(course.origins.iter().any(|origin| origin.origin == "in use"));
    let known: u64 = course.origins.iter().map(|origin| origin.counts.requests).sum();
    assert_eq!(known + course.others.requests, 2_501);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn the_course_can_be_written_into_a_report() {
    let limiter = limiter(&run(10), json!({"max_in_flight": 2}));
    request(&limiter, "https://api.example", secs(1), Outcome::Overloaded(None)).await;
    let report = serde_json::to_value(limiter.course()).unwrap();
    assert_eq!(
        report["origins"][0],
        json!({
            "origin": "https://api.example", "adaptive": false, "limit": 2, "min_limit": 2, "max_limit": 2,
            "peak_in_flight": 1, "requests": 1, "throttled": 1, "timeouts": 0, "back_offs": 0,
            "points": [{"elapsed_ms": 0, "limit": 2}],
        })
    );
}

#[test]
fn limits_of_zero_and_unknown_fields_are_refused() {
    for wrong in [
        json!({"max_in_flight": 0}),
        json!({"rate_limit": "0/s"}),
        json!({"rate_limit": 5}),
        json!({"rate": "5/s"}),
    ] {
        assert!(serde_json::from_value::<LimitSettings>(wrong.clone()).is_err(), "{wrong}");
    }
}
