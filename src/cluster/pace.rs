//! When the peers of calls that were taken over are told so.

use std::time::{Duration, Instant, SystemTime};

/// All are told within this time, however many they are.
const ALL_WITHIN: Duration = Duration::from_secs(8);

/// For each call when its caller, and when its callee is told, given when their sessions expire (RFC 4028; `None` =
/// never). Whose session expires first is told first. One leg follows the other, `legs_per_s` or as many more as it
/// takes.
pub fn refresh_times(
    expire_at: &[[Option<SystemTime>; 2]],
    legs_per_s: u32,
    now: Instant,
) -> Vec<[Instant; 2]> {
    let mut legs: Vec<_> = expire_at
        .iter()
        .enumerate()
        .flat_map(|(call, sides)| {
            sides.iter().enumerate().map(move |(side, at)| (at.is_none(), *at, call, side))
        })
        .collect();
    legs.sort_unstable();
    let count = u32::try_from(legs.len()).unwrap_or(u32::MAX).max(1);
    let pause = (Duration::from_secs(1) / legs_per_s.max(1)).min(ALL_WITHIN / count);
    let mut times = vec![[now; 2]; expire_at.len()];
    for (place, (_, _, call, side)) in (0..count).zip(legs) {
        times[call][side] = now + pause * place;
    }
    times
}

/// Calls of one shard that are handed over at a time to each node.
const HAND_OVER_BATCH: usize = 500;

/// How many of a shard's `calls` each of the nodes that go on with them is given at a time.
pub fn share(calls: usize, heirs: usize) -> usize {
    calls.div_ceil(heirs.max(1)).clamp(1, HAND_OVER_BATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_a_few_and_hurries_with_many() {
        let now = now();
        let ms = |ms| now + Duration::from_millis(ms);
        assert_eq!(refresh_times(&[[None; 2]; 2], 200, now), [[ms(0), ms(5)], [ms(10), ms(15)]]);
        let many = refresh_times(&[[None; 2]; 10_000], 200, now);
        let last = many.last().expect("there are some");
        assert!(last[1] <= now + ALL_WITHIN && last[1] > now + ALL_WITHIN / 2);
        assert_eq!(refresh_times(&[], 200, now), [[now; 2]; 0]);
    }

    #[test]
    fn tells_first_whose_session_expires_first() {
        let now = now();
        let place = |place: u64| now + Duration::from_millis(5 * place);
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let expire_at = [[None, at(300)], [at(90), None], [at(100), at(90)]];
        assert_eq!(
            refresh_times(&expire_at, 200, now),
            [[place(4), place(3)], [place(0), place(5)], [place(2), place(1)]]
        );
    }

    #[test]
    fn gives_each_node_its_share() {
        assert_eq!([share(200, 2), share(3, 2), share(0, 2), share(7, 0)], [100, 2, 1, 7]);
        assert_eq!(share(100_000, 2), HAND_OVER_BATCH);
    }

    #[expect(clippy::disallowed_methods, reason = "a world begins at some time")]
    fn now() -> Instant {
        Instant::now()
    }
}
