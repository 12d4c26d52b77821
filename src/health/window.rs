//! Exact counts of the recent past: rings of buckets, no average that decays unseen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Attempts and weighted failures in one bucket's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub attempts: f64,
    pub failures: f64,
}

impl Counts {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { attempts: self.attempts + other.attempts, failures: self.failures + other.failures }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Self::add)
    }
}

use std::ops::Add;

/// The last `LEN` times `width`.
#[derive(Clone, Debug)]
pub(super) struct Ring<const LEN: usize> {
    /// The newest first.
    buckets: [Counts; LEN],
    width: Duration,
    /// When the newest began.
    begun: Instant,
}

/// The last minute, in buckets of five seconds.
pub(super) type Fast = Ring<12>;
/// The last quarter of an hour, in buckets of a minute.
pub(super) type Slow = Ring<15>;

pub(super) const FAST_WIDTH: Duration = Duration::from_secs(5);
pub(super) const SLOW_WIDTH: Duration = Duration::from_secs(60);

impl<const LEN: usize> Ring<LEN> {
    pub(super) fn new(width: Duration, now: Instant) -> Self {
        Self { buckets: [Counts::default(); LEN], width, begun: now }
    }

    pub(super) fn add(&mut self, attempts: f64, failures: f64, now: Instant) {
        self.turn(now);
        self.buckets[0] = self.buckets[0] + Counts { attempts, failures };
    }

    pub(super) fn total(&self) -> Counts {
        self.buckets.iter().copied().sum()
    }

    /// All but the bucket that is being filled.
    pub(super) fn past(&self) -> Counts {
        self.buckets[1..].iter().copied().sum()
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Counts::default(); LEN];
    }

    /// Drops what is too old. Returns whether anything counted was dropped.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.begun).as_nanos() / self.width.as_nanos();
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        if passed == 0 {
            return false;
        }
        let kept = LEN.saturating_sub(passed);
        let is_counted = self.buckets[kept..].iter().any(|counts| !counts.is_empty());
        self.buckets.copy_within(0..kept, LEN - kept);
        self.buckets[..LEN - kept].fill(Counts::default());
        self.begun = match passed {
            0..=1_000 => self.begun + self.width * passed as u32,
            _ => now,
        };
        is_counted
    }

    /// When the oldest counts end to count; `None` while there are none.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let oldest = self.buckets.iter().rposition(|counts| !counts.is_empty())?;
        let turns = u32::try_from(LEN - oldest).ok()?;
        Some(self.begun + self.width * turns)
    }

    pub(super) fn save(&self) -> &[Counts] {
        &self.buckets
    }

    /// `saved`: the newest first, so old by now.
    pub(super) fn restore(saved: &[Counts], width: Duration, age: Duration, now: Instant) -> Self {
        let passed = usize::try_from(age.as_secs() / width.as_secs()).unwrap_or(usize::MAX);
        let mut ring = Self::new(width, now);
        for (bucket, counts) in ring.buckets.iter_mut().skip(passed.min(LEN)).zip(saved) {
            *bucket = *counts;
        }
        ring
    }
}

/// The last attempts one by one: where there are hundreds in a minute, a minute hides what they have been like for
/// a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest {
    /// When an attempt was counted, and how much as a failure, 0.0 to 1.0; the oldest first.
    attempts: VecDeque<(Instant, f64)>,
}

/// Attempts that `Latest` holds.
const LATEST: usize = 32;
/// It forgets after this time, however few there were.
const LATEST_FOR: Duration = Duration::from_secs(60);

impl Latest {
    pub(super) fn add(&mut self, failures: f64, now: Instant) {
        if self.attempts.len() == LATEST {
            self.attempts.pop_front();
        }
        self.attempts.push_back((now, failures.clamp(0.0, 1.0)));
    }

    /// One of them, whichever can, counts so much more, or less. The latest comes first: it is most likely meant.
    pub(super) fn revise(&mut self, failures: f64) {
        let mut left = failures;
        for (_, counted) in self.attempts.iter_mut().rev() {
            let revised = (*counted + left).clamp(0.0, 1.0);
            left -= revised - *counted;
            *counted = revised;
            if left.abs() < 1e-6 {
                return;
            }
        }
    }

    pub(super) fn total(&self, now: Instant) -> Counts {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < LATEST_FOR;
        let recent = self.attempts.iter().filter(|(at, _)| is_recent(*at));
        recent.map(|(_, failures)| Counts { attempts: 1.0, failures: *failures }).sum()
    }

    pub(super) fn clear(&mut self) {
        self.attempts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: Duration = Duration::from_secs(5);

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn now() -> Instant {
        Instant::now()
    }

    fn total(ring: &mut Fast, at: Instant) -> (f64, f64) {
        ring.turn(at);
        (ring.total().attempts, ring.total().failures)
    }

    #[test]
    fn counts_exactly_and_forgets_after_a_minute() {
        let start = now();
        let mut ring = Fast::new(WIDTH, start);
        ring.add(3.0, 1.0, start);
        ring.add(1.0, 0.5, start + 7 * WIDTH);
        assert_eq!(total(&mut ring, start + 11 * WIDTH), (4.0, 1.5));
        assert_eq!(total(&mut ring, start + 12 * WIDTH), (1.0, 0.5));
        assert_eq!(total(&mut ring, start + 19 * WIDTH), (0.0, 0.0));
    }

    #[test]
    fn says_when_its_oldest_counts_end_to_count_and_whether_any_did() {
        let start = now();
        let mut ring = Fast::new(WIDTH, start);
        assert_eq!(ring.next_change(), None);
        ring.add(1.0, 0.0, start + WIDTH);
        assert_eq!(ring.next_change(), Some(start + 13 * WIDTH));
        assert!(!ring.turn(start + 12 * WIDTH));
        assert!(ring.turn(start + 13 * WIDTH));
        assert_eq!(ring.next_change(), None);
    }

    #[test]
    fn survives_a_pause_of_any_length() {
        let start = now();
        let mut ring = Fast::new(WIDTH, start);
        ring.add(5.0, 5.0, start);
        let later = start + Duration::from_secs(86_400 * 30);
        assert_eq!(total(&mut ring, later), (0.0, 0.0));
        ring.add(1.0, 0.0, later);
        assert_eq!(total(&mut ring, later + WIDTH), (1.0, 0.0));
    }

    #[test]
    fn comes_back_as_old_as_it_was_saved() {
        let start = now();
        let mut ring = Fast::new(WIDTH, start);
        ring.add(2.0, 1.0, start);
        ring.add(1.0, 0.0, start + WIDTH);
        let restore = |age| {
            let mut back = Fast::restore(ring.save(), WIDTH, age, start);
            total(&mut back, start)
        };
        assert_eq!(restore(Duration::ZERO), (3.0, 1.0));
        assert_eq!(restore(10 * WIDTH), (3.0, 1.0));
        assert_eq!(restore(11 * WIDTH), (1.0, 0.0));
        assert_eq!(restore(12 * WIDTH), (0.0, 0.0));
    }

    #[test]
    fn sees_the_last_attempts_by_themselves_for_a_minute() {
        let start = now();
        let mut latest = Latest::default();
        (0..1_000).for_each(|_| latest.add(0.0, start));
        (0..12).for_each(|_| latest.add(0.5, start));
        assert_eq!(latest.total(start), Counts { attempts: 32.0, failures: 6.0 });
        assert!(latest.total(start + Duration::from_secs(60)).is_empty());
        latest.revise(0.5);
        assert_eq!(latest.total(start).failures, 6.5);
        latest.revise(-1.5);
        assert_eq!(latest.total(start).failures, 5.0);
        latest.clear();
        latest.revise(1.0);
        assert!(latest.total(start).is_empty());
    }

    #[test]
    fn tells_the_past_from_what_is_being_filled() {
        let start = now();
        let mut ring = Slow::new(SLOW_WIDTH, start);
        ring.add(10.0, 0.0, start);
        ring.add(5.0, 5.0, start + SLOW_WIDTH);
        assert_eq!(ring.past(), Counts { attempts: 10.0, failures: 0.0 });
    }
}
