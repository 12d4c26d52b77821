//! When the peers of calls that were taken over are told so.

use std::time::{Duration, Instant};

/// All are told within this time, however many they are.
const ALL_WITHIN: Duration = Duration::from_secs(8);

/// For each of `calls` calls when its caller, and when its callee is told: one leg after the other, `legs_per_s` or as
/// many more as it takes.
pub fn refresh_times(
    calls: usize,
    legs_per_s: u32,
    now: Instant,
) -> impl Iterator<Item = [Instant; 2]> {
    let legs = u32::try_from(2 * calls).unwrap_or(u32::MAX).max(1);
    let pause = (Duration::from_secs(1) / legs_per_s.max(1)).min(ALL_WITHIN / legs);
    (0..u32::try_from(calls).unwrap_or(u32::MAX))
        .map(move |call| [now + pause * (2 * call), now + pause * (2 * call + 1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_a_few_and_hurries_with_many() {
        #[expect(clippy::disallowed_methods, reason = "a world begins at some time")]
        let now = Instant::now();
        let few: Vec<_> = refresh_times(2, 200, now).collect();
        let ms = |ms| now + Duration::from_millis(ms);
        assert_eq!(few, [[ms(0), ms(5)], [ms(10), ms(15)]]);
        let last = refresh_times(10_000, 200, now).last().expect("there are some");
        assert!(last[1] <= now + ALL_WITHIN);
        assert_eq!(refresh_times(0, 200, now).count(), 0);
    }
}
