//! What gateways have said of how much they can take (RFC 7339 §5.4), by address and port.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::Capacity;
use crate::sip::Feedback;

/// However long a gateway wants its word to hold.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the end of an overload is remembered, so that no older word that comes late brings it back.
const END_REMEMBERED: Duration = Duration::from_millis(500);
/// Addresses whose word is kept; beyond it what has run out is forgotten.
const MAX_ADDRESSES: usize = 1_024;

/// The last word of each.
#[derive(Debug, Default)]
pub(super) struct Words(HashMap<SocketAddr, Word>);

#[derive(Debug)]
struct Word {
    /// Of new calls that are not to be sent, 0.0 to 1.0.
    share: f64,
    seq: Duration,
    until: Instant,
}

impl Capacity {
    /// A gateway has said how much it can take. What is not newer than what it said before changes nothing.
    pub fn note_feedback(&mut self, address: SocketAddr, feedback: Feedback, now: Instant) {
        let words = &mut self.words.0;
        let is_known = |word: &Word| word.until > now && word.seq >= feedback.seq;
        if words.get(&address).is_some_and(is_known) {
            return;
        }
        if words.len() >= MAX_ADDRESSES {
            words.retain(|_, word| word.until > now);
        }
        let (share, holds_for) = match feedback.valid_for {
            Duration::ZERO => (0.0, END_REMEMBERED),
            valid_for => (f64::from(feedback.percent) / 100.0, valid_for.min(LONGEST)),
        };
        words.insert(address, Word { share, seq: feedback.seq, until: now + holds_for });
    }

    /// Whether any gateway has said something at all.
    pub fn has_feedback(&self) -> bool {
        !self.words.0.is_empty()
    }

    /// The share of new calls that an address is not to get now, 0.0 to 1.0.
    pub fn held_back(&self, address: SocketAddr, now: Instant) -> f64 {
        let word = self.words.0.get(&address).filter(|word| word.until > now);
        word.map_or(0.0, |word| word.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn keeps_to_a_word_for_as_long_as_it_holds_or_until_it_is_taken_back() {
        let (mut capacity, now) = (Capacity::default(), base());
        assert!(!capacity.has_feedback());
        capacity.note_feedback(address(1), said(20, 2_000, 1), now);
        assert_eq!(capacity.held_back(address(1), now), 0.2);
        assert_eq!(capacity.held_back(address(2), now), 0.0);
        assert_eq!(capacity.held_back(address(1), now + 2 * SECOND), 0.0);
        capacity.note_feedback(address(1), said(50, 2_000, 2), now);
        capacity.note_feedback(address(1), said(0, 0, 3), now);
        assert_eq!(capacity.held_back(address(1), now), 0.0);
    }

    #[test]
    fn an_older_word_that_comes_late_changes_nothing_until_the_newer_one_has_run_out() {
        let (mut capacity, now) = (Capacity::default(), base());
        capacity.note_feedback(address(1), said(20, 1_000, 5), now);
        for seq in [5, 4] {
            capacity.note_feedback(address(1), said(90, 9_000, seq), now);
            assert_eq!(capacity.held_back(address(1), now), 0.2);
        }
        capacity.note_feedback(address(1), said(0, 0, 6), now);
        capacity.note_feedback(address(1), said(20, 1_000, 5), now);
        assert_eq!(capacity.held_back(address(1), now), 0.0);
        // A gateway that has begun to count anew.
        capacity.note_feedback(address(1), said(30, 1_000, 1), now + SECOND);
        assert_eq!(capacity.held_back(address(1), now + SECOND), 0.3);
    }

    #[test]
    fn believes_no_word_for_ever_and_keeps_few() {
        let (mut capacity, now) = (Capacity::default(), base());
        capacity.note_feedback(address(1), said(100, u64::from(u32::MAX), 1), now);
        assert_eq!(capacity.held_back(address(1), now + 59 * SECOND), 1.0);
        assert_eq!(capacity.held_back(address(1), now + 60 * SECOND), 0.0);
        for port in 1..5_000 {
            capacity.note_feedback(address(port), said(1, 1, 1), now + SECOND * u32::from(port));
        }
        assert!(capacity.words.0.len() <= MAX_ADDRESSES);
    }

    fn said(percent: u8, valid_for_ms: u64, seq: u64) -> Feedback {
        let valid_for = Duration::from_millis(valid_for_ms);
        Feedback { percent, valid_for, seq: Duration::from_secs(seq) }
    }

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        Instant::now()
    }
}
