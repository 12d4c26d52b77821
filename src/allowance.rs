//! How much of something may be done in a time: a bucket of tokens that fills steadily.

use std::time::{Duration, Instant};

/// Allows `burst` acts at once, and `a_second` of them in the long run.
#[derive(Clone, Debug)]
pub struct Allowance {
    burst: u32,
    /// Time in which one token comes.
    interval: Duration,
    tokens: u32,
    /// When the last token came.
    filled_at: Instant,
    refused: u64,
}

impl Allowance {
    /// A full bucket. Neither number may be 0.
    pub fn new(burst: u32, a_second: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / a_second.max(1);
        Self { burst, interval, tokens: burst, filled_at: now, refused: 0 }
    }

    /// Takes a token; gives how many acts were refused since the last one that was allowed, and
    /// `None` where this one is refused too.
    pub fn take(&mut self, now: Instant) -> Option<u64> {
        self.fill(now);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Some(std::mem::take(&mut self.refused))
            }
            None => {
                self.refused += 1;
                None
            }
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at);
        let came = passed.as_nanos() / self.interval.as_nanos().max(1);
        let room = self.burst - self.tokens;
        match u32::try_from(came) {
            Ok(came) if came < room => {
                self.tokens += came;
                self.filled_at += self.interval * came;
            }
            _ => {
                self.tokens = self.burst;
                self.filled_at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_a_burst_then_a_steady_rate_and_tells_what_it_refused() {
        let start = base();
        let mut allowance = Allowance::new(3, 10, start);
        let taken: Vec<_> = (0..5).map(|_| allowance.take(start)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(allowance.take(start + Duration::from_millis(99)), None);
        assert_eq!(allowance.take(start + Duration::from_millis(100)), Some(3));
        assert_eq!(allowance.take(start + Duration::from_millis(199)), None);
        assert_eq!(allowance.take(start + Duration::from_millis(200)), Some(1));
    }

    #[test]
    fn holds_no_more_than_a_burst_after_a_long_rest() {
        let start = base();
        let mut allowance = Allowance::new(2, 10, start);
        allowance.take(start);
        let later = start + Duration::from_secs(3_600);
        let taken: Vec<_> = (0..3).map(|_| allowance.take(later)).collect();
        assert_eq!(taken, [Some(0), Some(0), None]);
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        Instant::now()
    }
}
