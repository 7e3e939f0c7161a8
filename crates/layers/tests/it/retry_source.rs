use std::sync::Arc;

use futures::StreamExt;
use futures::TryStreamExt;
use serde_json::json;
use tokio::time::Instant;
use towpath_core::{CursorRange, DynSource, ErrorKind, Planned, Position, Resume, Retry, ScanRequest, Split};
use towpath_layers::{RetryPolicy, RetrySettings, RetrySource};

use crate::support::{Fault, Faults, Numbers, TRANSIENT, context, numbers, policy, read_all, secs};

fn retrying(source: &Arc<Numbers>, attempts: u32) -> RetrySource {
    RetrySource::new(source.clone(), policy(attempts))
}

#[tokio::test(start_paused = true)]
async fn a_read_that_breaks_off_anywhere_loses_nothing_and_doubles_nothing() {
    let undisturbed = Faults::none();
    read_all(&*Numbers::new(Resume::Exact, &undisturbed), &context()).await.unwrap();
    for first in 0..undisturbed.events() {
        for failures in 1..4 {
            let faults = Faults::new(move |n| (first..first + failures).contains(&n).then_some(TRANSIENT));
            let (source, cx) = (Numbers::new(Resume::Exact, &faults), context());
            let read = read_all(&retrying(&source, 5), &cx).await.unwrap();
            assert_eq!(read, source.all(), "{failures} failures from event {first}");
            assert_eq!(cx.metrics().snapshot().retries, failures as u64);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_on_behind_its_last_batch() {
    let faults = Faults::at(3, TRANSIENT);
    let source = Numbers::new(Resume::Exact, &faults);
    read_all(&retrying(&source, 5), &context()).await.unwrap();
    let opened: Vec<_> = faults.log().into_iter().filter(|event| event.starts_with("read")).collect();
    assert_eq!(opened, ["read from Start", "read from At(Number(2))"]);
}

#[tokio::test(start_paused = true)]
async fn planning_that_breaks_off_anywhere_goes_on_behind_the_last_split() {
    let undisturbed = Faults::none();
    let expected = plan(&*Numbers::new(Resume::Exact, &undisturbed)).await;
    assert_eq!(expected.len(), 5);
    for first in 0..undisturbed.events() {
        for failures in 1..4 {
            let faults = Faults::new(move |n| (first..first + failures).contains(&n).then_some(TRANSIENT));
            let source = Numbers::new(Resume::Exact, &faults);
            assert_eq!(plan(&retrying(&source, 5)).await, expected, "{failures} failures from event {first}");
        }
    }
}

async fn plan(source: &dyn DynSource) -> Vec<Planned> {
    let plan = source.plan(&context(), &ScanRequest::default()).await.unwrap();
    plan.splits.try_collect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_made_again_ends_where_the_first_one_meant_to() {
    let faults = Faults::at(2, TRANSIENT);
    let source = Numbers::new(Resume::Exact, &faults);
    let mut request = ScanRequest::default();
    request.cursor = Some(CursorRange::new("n", None, None));
    let plan = retrying(&source, 5).plan(&context(), &request).await.unwrap();
    assert_eq!(plan.until, Some(json!(1)));
    plan.splits.try_collect::<Vec<_>>().await.unwrap();
    let plans: Vec<_> = faults.log().into_iter().filter(|event| event.starts_with("plan from")).collect();
    assert_eq!(plans, ["plan from Start until None", "plan from At(Number(1)) until Some(Number(1))"]);
}

#[tokio::test(start_paused = true)]
async fn check_and_discover_are_tried_again() {
    let faults = Faults::new(|n| (n % 2 == 0).then_some(TRANSIENT));
    let source = retrying(&Numbers::new(Resume::Exact, &faults), 2);
    source.check(&context()).await.unwrap();
    assert_eq!(source.discover(&context()).await.unwrap().len(), 1);
    assert_eq!(faults.log(), ["check", "check", "discover", "discover"]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_to_the_second() {
    let faults = Faults::at(0, Fault::Fail(Retry::After(secs(77))));
    let source = retrying(&Numbers::new(Resume::Exact, &faults), 5);
    let asked = Instant::now();
    source.check(&context()).await.unwrap();
    assert_eq!(asked.elapsed(), secs(77));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_more_time_than_there_is_ends_it_at_once() {
    let faults = Faults::at(0, Fault::Fail(Retry::After(secs(7_200))));
    let settings = RetrySettings { total: Some(secs(600).into()), ..RetrySettings::default() };
    let source = RetrySource::new(Numbers::new(Resume::Exact, &faults), RetryPolicy::new(&settings));
    let asked = Instant::now();
    let error = source.check(&context()).await.unwrap_err();
    assert_eq!(error.retry_policy(), Retry::Exhausted);
    assert_eq!(
        error.to_string(),
        "the line is broken (attempts: 1, next attempt in: 2h, longest retry time: 10m) [every retry failed]"
    );
    assert!(asked.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn the_total_time_is_never_exceeded() {
    let faults = Faults::new(|_| Some(Fault::Fail(Retry::After(secs(40)))));
    let settings = RetrySettings {
        attempts: 1_000.try_into().unwrap(),
        total: Some(secs(100).into()),
        ..RetrySettings::default()
    };
    let source = RetrySource::new(Numbers::new(Resume::Exact, &faults), RetryPolicy::new(&settings));
    let asked = Instant::now();
    assert_eq!(source.check(&context()).await.unwrap_err().retry_policy(), Retry::Exhausted);
    assert_eq!((faults.events(), asked.elapsed()), (3, secs(80)));
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_error_says_so() {
    for attempts in [1, 2, 5] {
        let faults = Faults::new(|_| Some(TRANSIENT));
        let source = retrying(&Numbers::new(Resume::Exact, &faults), attempts);
        let error = source.check(&context()).await.unwrap_err();
        assert_eq!(error.retry_policy(), Retry::Exhausted);
        assert_eq!(
            error.to_string(),
            format!("the line is broken (attempts: {attempts}) [every retry failed]")
        );
        assert_eq!(faults.events(), attempts as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_goes_on_counts_its_attempts_anew() {
    // Each batch comes at the second attempt, and two attempts are all there are.
    let faults = Faults::new(|n| (n % 3 == 1).then_some(TRANSIENT));
    let (source, cx) = (Numbers::new(Resume::Exact, &faults), context());
    assert_eq!(read_all(&retrying(&source, 2), &cx).await.unwrap(), source.all());
    assert_eq!(cx.metrics().snapshot().retries, 5);
}

#[tokio::test(start_paused = true)]
async fn a_final_error_is_passed_on_at_once() {
    for event in 0..3 {
        let faults = Faults::at(event, Fault::Fail(Retry::Never));
        let (source, cx) = (Numbers::new(Resume::Exact, &faults), context());
        let error = read_all(&retrying(&source, 5), &cx).await.unwrap_err();
        assert_eq!(error.retry_policy(), Retry::Never);
        assert_eq!((cx.metrics().snapshot().retries, faults.events()), (0, event + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_split_that_can_only_start_again_does_so_before_its_first_batch() {
    let faults = Faults::new(|n| [0, 2].contains(&n).then_some(TRANSIENT));
    let source = Numbers::new(Resume::Split, &faults);
    assert_eq!(read_all(&retrying(&source, 5), &context()).await.unwrap(), source.all());
}

#[tokio::test(start_paused = true)]
async fn a_split_that_can_only_start_again_is_left_to_the_engine_after_its_first_batch() {
    let faults = Faults::at(2, TRANSIENT);
    let source = retrying(&Numbers::new(Resume::Split, &faults), 5);
    let mut batches = source.read(&context(), &Split::new("all", json!(null)), Position::Start).unwrap();
    assert_eq!(numbers(&batches.next().await.unwrap().unwrap().rows), [0, 1]);
    let error = batches.next().await.unwrap().unwrap_err();
    assert!(error.is_retryable(), "the engine may start the split again: {error:?}");
    assert!(batches.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_can_be_read_once_is_never_read_again() {
    for event in 0..3 {
        let faults = Faults::at(event, TRANSIENT);
        let source = retrying(&Numbers::new(Resume::None, &faults), 5);
        assert!(read_all(&source, &context()).await.unwrap_err().is_retryable());
        assert_eq!(faults.log().iter().filter(|event| event.starts_with("read")).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_opened_before_somebody_asks_for_a_batch() {
    let faults = Faults::none();
    let source = retrying(&Numbers::new(Resume::Exact, &faults), 5);
    let batches = source.read(&context(), &Split::new("all", json!(null)), Position::Start).unwrap();
    assert_eq!(faults.events(), 0);
    drop(batches);
}

#[tokio::test(start_paused = true)]
async fn a_wait_before_an_attempt_ends_when_the_run_is_cancelled() {
    let faults = Faults::new(|_| Some(Fault::Fail(Retry::After(secs(60)))));
    let source = retrying(&Numbers::new(Resume::Exact, &faults), 5);
    let cx = context();
    let asked = Instant::now();
    let (result, ()) = tokio::join!(read_all(&source, &cx), async {
        tokio::time::sleep(secs(1)).await;
        cx.cancellation().cancel();
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((faults.events(), asked.elapsed()), (1, secs(1)));
}

#[tokio::test(start_paused = true)]
async fn waits_are_random_and_bounded_by_their_doubling_ceilings() {
    let settings = RetrySettings {
        attempts: 8.try_into().unwrap(),
        base: secs(1).into(),
        max_delay: secs(10).into(),
        total: None,
    };
    let mut totals = Vec::new();
    for seed in 0..50 {
        let faults = Faults::new(|_| Some(TRANSIENT));
        let policy = RetryPolicy::seeded(&settings, seed);
        let source = RetrySource::new(Numbers::new(Resume::Exact, &faults), policy);
        let asked = Instant::now();
        source.check(&context()).await.unwrap_err();
        // 1 + 2 + 4 + 8 + 10 + 10 + 10 seconds at most; timers round up to a millisecond.
        assert!(asked.elapsed() <= secs(45) + std::time::Duration::from_millis(7));
        totals.push(asked.elapsed().as_millis());
    }
    let average = totals.iter().sum::<u128>() / totals.len() as u128;
    assert!((18_000..27_000).contains(&average), "full jitter halves the ceilings on average: {average}");
    totals.sort_unstable();
    totals.dedup();
    assert!(totals.len() > 40);
}
