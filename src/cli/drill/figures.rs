//! The sums of a drill. All times in ms from the fault.

use serde::Serialize;

use super::ledger::Ms;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Figures {
    /// Answered calls at the moment of the fault.
    pub(super) in_flight: usize,
    pub(super) survived: usize,
    /// The others, and calls that were answered later and did not end as they should either.
    pub(super) dropped: Vec<Dropped>,
    /// Survivors whose one side hung up into nothing, before it could be told of the new node; the other side was
    /// released.
    pub(super) hung_up_before_told: usize,
    /// New calls from the fault on, those included that were being set up then.
    pub(super) offered: usize,
    /// Those of them that another node than the first answered.
    pub(super) answered_by_next_node: usize,
    pub(super) failed: Vec<Failed>,
    /// When the last one that failed was offered.
    pub(super) fails_for_ms: Option<Ms>,
    /// New calls that failed before anything was broken.
    pub(super) failed_before: usize,
    /// Legs of calls in flight whose peer was told of another node.
    pub(super) legs_told: usize,
    pub(super) first_told_ms: Option<Ms>,
    pub(super) last_told_ms: Option<Ms>,
    pub(super) detected_ms: Option<Ms>,
    pub(super) decided_ms: Option<Ms>,
    pub(super) recovered_ms: Option<Ms>,
    pub(super) delay_before: Delay,
    pub(super) delay_during: Delay,
    pub(super) delay_after: Delay,
    /// `None` = there was no store to look into.
    pub(super) records: Option<Records>,
}

/// An answered call that ended by itself, or could not be ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Dropped {
    pub(super) call_id: String,
    pub(super) state: String,
    pub(super) cause: String,
}

/// A new call that nobody answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failed {
    pub(super) call_id: String,
    pub(super) offered_ms: Ms,
    pub(super) cause: String,
}

/// INVITE to ringing of the answered calls of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Delay {
    pub(super) calls: usize,
    pub(super) p50_ms: Option<Ms>,
    pub(super) p99_ms: Option<Ms>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Records {
    /// Calls of which a node has spoken the last word.
    pub(super) expected: usize,
    pub(super) found: usize,
    pub(super) lost: Vec<String>,
    pub(super) doubled: Vec<String>,
    pub(super) wrong_region: usize,
    /// Calls that ended on another node than the one that answered them.
    pub(super) taken_over: usize,
}

/// Nearest rank: the smallest of which so many in a hundred are no larger.
pub(super) fn delay(mut delays: Vec<Ms>) -> Delay {
    delays.sort_unstable();
    let at = |percent: usize| {
        let rank = (delays.len() * percent).div_ceil(100).max(1);
        delays.get(rank - 1).copied()
    };
    Delay { calls: delays.len(), p50_ms: at(50), p99_ms: at(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(delay(Vec::new()), Delay::default());
        let one = delay(vec![7]);
        assert_eq!((one.calls, one.p50_ms, one.p99_ms), (1, Some(7), Some(7)));
        let hundred = delay((1..=100).rev().collect());
        assert_eq!((hundred.p50_ms, hundred.p99_ms), (Some(50), Some(99)));
        let many = delay((1..=1_000).collect());
        assert_eq!((many.p50_ms, many.p99_ms), (Some(500), Some(990)));
    }
}
