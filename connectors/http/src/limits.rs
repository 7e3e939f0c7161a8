//! What servers say about their limits: `Retry-After`, `RateLimit`, `RateLimit-*`, `X-RateLimit-*`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest time that requests are held back because a header says so. A server that asks for more gets its answer
/// reported as an error.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// A number above this is a moment in seconds since 1970 and not a number of seconds to wait.
const FIRST_MOMENT: f64 = 1_000_000_000.0;
/// A number above this is a moment in milliseconds.
const FIRST_MILLISECOND: f64 = 100_000_000_000.0;

/// Headers that tell what is left of a budget, and when it is renewed.
const BUDGETS: [(&str, &str); 3] = [
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
];

/// What an answer says about the limits of its server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// When to come back.
    pub(crate) retry_after: Option<Duration>,
    /// The budget is used up until then.
    pub(crate) exhausted: Option<Duration>,
}

impl Limits {
    /// Reads the headers. Moments are held against the server's own clock where it tells it.
    pub(crate) fn of(headers: &HeaderMap, our_now: SystemTime) -> Self {
        let now = || {
            let theirs = text(headers, DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
            theirs.unwrap_or(our_now)
        };
        let retry_after = text(headers, RETRY_AFTER.as_str()).and_then(|value| {
            let date = || httpdate::parse_http_date(value).ok().map(|then| until(then, now()));
            delay(value, &now).or_else(date)
        });
        Self { retry_after, exhausted: exhausted(headers, &now) }
    }

    /// The same without any wait: out of a recording, nobody needs to be spared.
    pub(crate) fn at_once(self) -> Self {
        let at_once = |wait: Option<Duration>| wait.map(|_| Duration::ZERO);
        Self { retry_after: at_once(self.retry_after), exhausted: at_once(self.exhausted) }
    }

    /// How long to wait after an answer that asks for fewer requests.
    pub(crate) fn wait(self) -> Option<Duration> {
        self.retry_after.or(self.exhausted)
    }
}

fn exhausted(headers: &HeaderMap, now: &dyn Fn() -> SystemTime) -> Option<Duration> {
    let pairs = BUDGETS.iter().filter(|(remaining, _)| is_zero(text(headers, remaining)));
    let mut resets = pairs.filter_map(|(_, reset)| delay(text(headers, reset)?, now));
    resets.next().or_else(|| text(headers, "ratelimit").and_then(structured))
}

/// The drafts of `RateLimit`: `limit=100, remaining=0, reset=50`, and later `"default";r=0;t=50`.
fn structured(value: &str) -> Option<Duration> {
    // Commas separate policies in the later form, and parameters in the earlier one.
    let policies: Vec<&str> = if value.contains(';') { value.split(',').collect() } else { vec![value] };
    policies.into_iter().filter_map(policy).max()
}

fn policy(policy: &str) -> Option<Duration> {
    let (mut remaining, mut reset) = (None, None);
    for parameter in policy.split([';', ',']) {
        match parameter.trim().split_once('=') {
            Some(("r" | "remaining", value)) => remaining = Some(value),
            Some(("t" | "reset", value)) => reset = value.trim().parse().ok(),
            _ => {}
        }
    }
    reset.filter(|_| is_zero(remaining)).map(Duration::from_secs)
}

fn is_zero(remaining: Option<&str>) -> bool {
    remaining.is_some_and(|value| value.trim().parse::<f64>().is_ok_and(|value| value <= 0.0))
}

/// A number of seconds to wait, or a moment as a number.
fn delay(value: &str, now: &dyn Fn() -> SystemTime) -> Option<Duration> {
    let number = value.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
    if number < FIRST_MOMENT {
        return Duration::try_from_secs_f64(number).ok();
    }
    let seconds = if number < FIRST_MILLISECOND { number } else { number / 1000.0 };
    Some(until(UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?, now()))
}

fn until(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or_default()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27 08:00:00 UTC.
    const NOW: u64 = 1_795_766_400;

    fn limits(headers: &[(&'static str, &str)]) -> Limits {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Limits::of(&headers, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    fn seconds(duration: Option<Duration>) -> Option<u64> {
        duration.map(|duration| duration.as_secs())
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        assert_eq!(seconds(limits(&[("retry-after", "7")]).retry_after), Some(7));
        assert_eq!(seconds(limits(&[("retry-after", "Fri, 27 Nov 2026 08:00:09 GMT")]).retry_after), Some(9));
        assert_eq!(seconds(limits(&[("retry-after", "Fri, 27 Nov 2026 07:00:00 GMT")]).retry_after), Some(0));
        assert_eq!(limits(&[("retry-after", "soon")]), Limits::default());
    }

    #[test]
    fn a_date_is_held_against_the_clock_of_the_server() {
        let headers =
            [("date", "Fri, 27 Nov 2026 09:00:00 GMT"), ("retry-after", "Fri, 27 Nov 2026 09:00:05 GMT")];
        assert_eq!(seconds(limits(&headers).retry_after), Some(5));
    }

    #[test]
    fn a_budget_that_is_used_up_tells_when_it_is_renewed() {
        let moment = (NOW + 30).to_string();
        let millis = ((NOW + 30) * 1000).to_string();
        for headers in [
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")],
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &moment)],
            [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &millis)],
            [("ratelimit-remaining", "0"), ("ratelimit-reset", "30")],
            [("ratelimit", "limit=10, remaining=0, reset=30"), ("x-other", "1")],
            [("ratelimit", "\"burst\";r=4;t=90, \"daily\";r=0;t=30"), ("x-other", "1")],
        ] {
            assert_eq!(seconds(limits(&headers).exhausted), Some(30), "{headers:?}");
        }
    }

    #[test]
    fn a_budget_that_is_left_holds_nobody_back() {
        for headers in [
            [("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "30")],
            [("ratelimit", "\"burst\";r=4;t=90"), ("x-other", "1")],
            [("ratelimit", "limit=10, remaining=1, reset=30"), ("x-other", "1")],
            [("x-ratelimit-remaining", "0"), ("x-other", "30")],
        ] {
            assert_eq!(limits(&headers), Limits::default(), "{headers:?}");
        }
    }
}
