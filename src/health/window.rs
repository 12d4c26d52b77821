//! Exact counts of the recent past: a ring of buckets, no average that decays unseen.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Buckets in the ring.
pub(super) const BUCKETS: usize = 12;
/// Time that one bucket covers.
pub(super) const BUCKET: Duration = Duration::from_secs(5);

/// Attempts and weighted failures in one bucket's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    pub attempts: f64,
    pub failures: f64,
}

/// The last minute, in buckets of five seconds.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// The newest first.
    buckets: [Counts; BUCKETS],
    /// When the newest began.
    begun: Instant,
}

impl Window {
    pub(super) fn new(now: Instant) -> Self {
        Self { buckets: [Counts::default(); BUCKETS], begun: now }
    }

    pub(super) fn add(&mut self, attempts: f64, failures: f64, now: Instant) {
        self.turn(now);
        self.buckets[0].attempts += attempts;
        self.buckets[0].failures += failures;
    }

    pub(super) fn total(&self) -> Counts {
        self.buckets.iter().fold(Counts::default(), |sum, bucket| Counts {
            attempts: sum.attempts + bucket.attempts,
            failures: sum.failures + bucket.failures,
        })
    }

    /// Drops what is too old. Returns whether anything counted was dropped.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        let before = self.total();
        let mut turned = 0;
        while now.saturating_duration_since(self.begun) >= BUCKET {
            if turned < BUCKETS {
                self.buckets.rotate_right(1);
                self.buckets[0] = Counts::default();
                turned += 1;
                self.begun += BUCKET;
            } else {
                self.begun = now;
            }
        }
        before != self.total()
    }

    /// When the oldest counts end to count; `None` while there are none.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let is_counted = |counts: &Counts| *counts != Counts::default();
        let oldest = self.buckets.iter().rposition(is_counted)?;
        let turns = u32::try_from(BUCKETS - oldest).ok()?;
        Some(self.begun + BUCKET * turns)
    }

    pub(super) fn save(&self) -> Vec<Counts> {
        self.buckets.to_vec()
    }

    pub(super) fn restore(saved: &[Counts], age: Duration, now: Instant) -> Self {
        let passed = usize::try_from(age.as_secs() / BUCKET.as_secs()).unwrap_or(BUCKETS);
        let mut window = Self::new(now);
        for (bucket, counts) in window.buckets.iter_mut().skip(passed.min(BUCKETS)).zip(saved) {
            *bucket = *counts;
        }
        window
    }
}
