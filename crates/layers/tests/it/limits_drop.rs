//! Whoever gives up waiting, at whatever moment, takes nothing along.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, poll_immediate};
use serde_json::json;
use tokio::time::Instant;
use towpath_core::{Connection, ErrorKind, Limiter, Outcome};

use crate::limits::{finish, limiter, run};
use crate::support::{context, secs};

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_waiting_leaves_the_line_to_the_next() {
    let limiter = limiter(&run(10), json!({"max_in_flight": 1}));
    let held = limiter.acquire("").await;
    let mut waiting: Vec<_> = (0..5).map(|_| Box::pin(limiter.acquire(""))).collect();
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    // The first, one in the middle and the last give up.
    drop(waiting.remove(4));
    drop(waiting.remove(2));
    drop(waiting.remove(0));
    drop(held);
    for one in waiting {
        drop(one.await);
    }
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_to_one_who_has_just_given_up_goes_to_the_next() {
    let limiter = limiter(&run(10), json!({"max_in_flight": 1, "rate_limit": "1/h"}));
    drop(limiter.acquire("").await);
    let mut first = Box::pin(limiter.acquire(""));
    let mut second = Box::pin(limiter.acquire(""));
    assert!(poll_immediate(&mut first).await.is_none());
    assert!(poll_immediate(&mut second).await.is_none());
    tokio::time::advance(secs(3_600)).await;
    // Somebody else's step grants the first its permit and token, but it never looks.
    limiter.pause("other", secs(1));
    assert_eq!(limiter.in_flight(), 1);
    drop(first);
    let began = Instant::now();
    drop(second.await);
    assert!(began.elapsed().is_zero(), "the token was not lost");
    assert_eq!((limiter.in_flight(), limiter.course().origins[0].counts.requests), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn when_the_one_who_watches_the_time_gives_up_the_next_one_does() {
    let limiter = limiter(&run(10), json!({}));
    limiter.pause("", secs(60));
    let began = Instant::now();
    let first = tokio::time::timeout(secs(1), limiter.acquire(""));
    let (first, second) = tokio::join!(first, limiter.acquire(""));
    assert!(first.is_err());
    drop(second);
    assert_eq!(began.elapsed(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn when_the_first_for_a_token_gives_up_another_origin_gets_it() {
    let limiter = limiter(&run(10), json!({"rate_limit": "1/m"}));
    drop(limiter.acquire("").await);
    let began = Instant::now();
    let first = tokio::time::timeout(secs(1), limiter.acquire("a"));
    let (first, second) = tokio::join!(first, limiter.acquire("b"));
    assert!(first.is_err());
    drop(second);
    assert_eq!(began.elapsed(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_first_for_a_token_leaves_the_token_to_another_origin() {
    let limiter = limiter(&run(10), json!({"rate_limit": "1/m"}));
    drop(limiter.acquire("").await);
    let began = Instant::now();
    let pause = async {
        tokio::time::sleep(secs(1)).await;
        limiter.pause("a", secs(600));
    };
    let (_, second, ()) =
        tokio::join!(tokio::time::timeout(secs(2), limiter.acquire("a")), limiter.acquire("b"), pause);
    drop(second);
    assert_eq!(began.elapsed(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_says_nothing_about_load() {
    let limiter = limiter(&run(10), json!({}));
    for _ in 0..100 {
        drop(limiter.acquire("").await);
    }
    let course = &limiter.course().origins[0];
    assert_eq!((course.min_limit, course.max_limit, limiter.in_flight()), (8, 8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_leaves_nothing_behind() {
    let limiter = Arc::new(limiter(&run(10), json!({"max_in_flight": 1})));
    let cx = context().for_connection(Arc::new(Connection::new("shop", limiter.clone())));
    let held = cx.permit("").await.unwrap();
    let stop = async {
        tokio::time::sleep(secs(2)).await;
        cx.cancellation().cancel();
    };
    let (error, ()) = tokio::join!(cx.permit(""), stop);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    drop(held);
    assert_eq!(limiter.in_flight(), 0);
    let seen = cx.metrics().snapshot();
    assert_eq!((seen.requests, seen.limiter_wait), (1, 2_000_000_000));
}

#[tokio::test(start_paused = true)]
async fn whatever_thousands_of_requests_do_everything_is_free_in_the_end() {
    let run = run(40);
    let limiters = [
        limiter(&run, json!({"max_in_flight": 7})),
        limiter(&run, json!({"rate_limit": "100/s"})),
        limiter(&run, json!({})),
    ];
    let mut random = fastrand::Rng::with_seed(11);
    join_all((0..4_000).map(|n| {
        let (run, limiter) = (&run, &limiters[n % 3]);
        let origin = ["a", "b", "c"][random.usize(..3)];
        let comes = Duration::from_millis(random.u64(..30_000));
        let patience = Duration::from_millis(random.u64(..3_000));
        let takes = Duration::from_millis(random.u64(1..500));
        let dice = random.u8(..20);
        async move {
            tokio::time::sleep(comes).await;
            let Ok(permit) = tokio::time::timeout(patience, limiter.acquire(origin)).await else { return };
            assert!(run.in_flight() <= 40);
            tokio::time::sleep(takes).await;
            let outcome = match dice {
                0 => Outcome::Overloaded(Some(Duration::from_millis(700))),
                1 => Outcome::TimedOut,
                2 => Outcome::Failed,
                3 => return,
                _ => Outcome::Success,
            };
            finish(permit, outcome);
        }
    }))
    .await;
    assert_eq!(run.in_flight(), 0);
    for limiter in &limiters {
        assert_eq!(limiter.in_flight(), 0);
        let peak = limiter.course().origins.iter().map(|origin| origin.peak_in_flight).max();
        assert!(peak.is_some_and(|peak| peak <= 40));
        for origin in ["a", "b", "c"] {
            drop(limiter.acquire(origin).await);
        }
    }
}
