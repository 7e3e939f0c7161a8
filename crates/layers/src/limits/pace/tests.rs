use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A pace that was found at 100 requests a second, and when.
fn learned() -> (Pace, Instant) {
    let began = Instant::now();
    let mut pace = Pace::new(began);
    let epochs: Vec<_> = (0..101).map(|_| pace.take(began)).collect();
    assert!(pace.on_refusal(epochs[0], None, began));
    let now = began + secs(1);
    let probe = pace.take(now);
    // The probe counts as well.
    pace.on_answer(probe, now);
    assert!((pace.per_second().unwrap() - 101.0 * CUT).abs() < 0.1, "{pace:?}");
    (pace, now)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Starts requests whenever they may, for so long.
fn keep_asking(pace: &mut Pace, from: Instant, length: Duration) -> (Instant, Epoch) {
    let (mut now, mut epoch) = (from, 0);
    while now < from + length {
        now = pace.ready_at(now).unwrap_or(now);
        epoch = pace.take(now);
    }
    (now, epoch)
}

#[test]
fn before_the_first_refusal_there_is_none() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    for _ in 0..10_000 {
        assert_eq!(pace.ready_at(now), None);
        let epoch = pace.take(now);
        pace.on_answer(epoch, now);
    }
    assert_eq!(pace.per_second(), None);
}

#[test]
fn a_refusal_holds_everybody_back_and_probes_come_further_and_further_apart() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let mut epoch = pace.take(now);
    let mut at = now;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        pace.on_refusal(epoch, None, at);
        let next = pace.ready_at(at).expect("it waits");
        pauses.push((next - at).as_millis());
        at = next;
        epoch = pace.take(at);
        assert!(pace.ready_at(at).is_some(), "one probe at a time");
    }
    assert_eq!(pauses[..5], [100, 100, 100, 100, 100]);
    assert!(pauses.is_sorted() && pauses[11] > 400, "{pauses:?}");
}

#[test]
fn a_server_that_says_when_is_asked_then() {
    let now = Instant::now();
    let mut pace = Pace::new(now);
    let epochs = [pace.take(now), pace.take(now)];
    pace.on_refusal(epochs[0], Some(secs(7)), now);
    assert_eq!(pace.ready_at(now), Some(now + secs(7)));
    // The other one was told something else.
    pace.on_refusal(epochs[1], Some(secs(9)), now);
    assert_eq!(pace.ready_at(now), Some(now + secs(9)));
}

#[test]
fn it_comes_back_to_the_level_slowly_and_leaves_it_quickly() {
    let (mut pace, found) = learned();
    let (now, _) = keep_asking(&mut pace, found, secs(2));
    assert!((pace.per_second().unwrap() - 101.0).abs() < 0.5, "{pace:?}");
    keep_asking(&mut pace, now, secs(30));
    assert!(pace.per_second().unwrap() > 1_000.0, "{pace:?}");
}

#[test]
fn a_refusal_at_a_known_pace_cuts_it_once() {
    let (mut pace, found) = learned();
    let (now, epoch) = keep_asking(&mut pace, found, secs(2));
    assert!(!pace.on_refusal(epoch, None, now), "the number at once is not the cause");
    assert!(!pace.on_refusal(epoch, None, now), "nor now");
    assert!((pace.per_second().unwrap() - 101.0 * CUT).abs() < 2.0, "{pace:?}");
    assert_eq!(pace.cuts(), 1);
}

#[test]
fn the_curve_gets_longer_each_time_and_follows_what_a_refusal_costs() {
    let (mut pace, mut now) = learned();
    let length = |pace: &Pace| pace.learned.as_ref().unwrap().length;
    for (told, longest) in [(None, WORTH), (Some(secs(60)), 60.0 * WORTH)] {
        for _ in 0..10 {
            let length = Duration::from_secs_f64(length(&pace));
            let (later, epoch) = keep_asking(&mut pace, now, length);
            pace.on_refusal(epoch, told, later);
            now = later;
        }
        // At the beginning, a second was lost.
        assert!((length(&pace) - longest).abs() < 0.1, "{pace:?}");
    }
}

#[test]
fn a_level_that_has_fallen_is_measured_anew() {
    let (mut pace, found) = learned();
    // It takes ten, and then nothing for a second.
    let mut now = found;
    for _ in 0..5 {
        for _ in 0..10 {
            now = pace.ready_at(now).unwrap_or(now);
            let epoch = pace.take(now);
            pace.on_answer(epoch, now);
        }
        let epoch = pace.take(now);
        pace.on_refusal(epoch, None, now);
        now += secs(1);
        let epoch = pace.take(now);
        pace.on_answer(epoch, now);
    }
    assert!(pace.per_second().unwrap() < 12.0, "{pace:?}");
}

#[test]
fn what_is_not_used_does_not_grow() {
    let (mut pace, found) = learned();
    let before = pace.per_second();
    for second in 1..100 {
        let now = found + ms(second * 10_000);
        assert_eq!(pace.ready_at(now), None);
        let epoch = pace.take(now);
        pace.on_answer(epoch, now);
    }
    assert!(pace.per_second().unwrap() < before.unwrap() * 1.6, "{pace:?}");
}
