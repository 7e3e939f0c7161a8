//! Chance that is the same in every run, because it is drawn from a name.

use std::time::Duration;

/// Keeps the draws of one name apart from each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Draw {
    Latency,
    Failure,
}

/// A time between the two.
pub(crate) fn latency(name: &str, shortest: Duration, longest: Duration) -> Duration {
    shortest + longest.saturating_sub(shortest).mul_f64(share(name, Draw::Latency))
}

/// Whether something happens that happens to so many in a hundred.
pub(crate) fn happens(name: &str, percent: u32) -> bool {
    share(name, Draw::Failure) * 100.0 < f64::from(percent)
}

/// A number from zero to below one.
fn share(name: &str, draw: Draw) -> f64 {
    let hash = mix(name
        .bytes()
        .fold(FNV_OFFSET ^ draw as u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)));
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// The last step of `SplitMix64`. FNV alone leaves the high bits of similar names alike.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> impl Iterator<Item = String> {
        (0..1_000).map(|number| format!("/flights?page={number}"))
    }

    #[test]
    fn shares_are_spread_evenly() {
        let mean = names().map(|name| share(&name, Draw::Latency)).sum::<f64>() / 1_000.0;
        assert!((0.47..0.53).contains(&mean), "{mean}");
    }

    #[test]
    fn what_happens_to_a_tenth_happens_to_about_a_tenth() {
        let count = names().filter(|name| happens(name, 10)).count();
        assert!((70..130).contains(&count), "{count}");
    }

    #[test]
    fn a_latency_stays_within_its_bounds_and_is_the_same_each_time() {
        let (shortest, longest) = (Duration::from_millis(150), Duration::from_millis(400));
        for name in names() {
            let drawn = latency(&name, shortest, longest);
            assert!((shortest..longest).contains(&drawn), "{drawn:?}");
            assert_eq!(drawn, latency(&name, shortest, longest));
        }
    }
}
