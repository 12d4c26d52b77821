//! More than a shard can do: which share of new calls it refuses, so that the others have their answers in time.

use std::time::{Duration, Instant};

/// How often the share is changed.
const STEP: Duration = Duration::from_millis(20);
/// By so much it rises in a step once the shard has been behind for the time that is allowed, and by more the longer.
const RISE: f64 = 0.03;
/// By so much it falls in a step in which the shard was not behind, and by more the longer that is so.
const FALL: f64 = 0.003;
/// How much more at most, for either.
const HASTE_MAX: f64 = 8.0;
/// Some are always taken: what is refused says nothing of how fast others would be served.
const SHARE_MAX: f64 = 0.98;

/// Watches whether a shard keeps up with what its sockets bring.
///
/// A queue that comes and goes is only a burst. One that stands for longer than [`Overload::new`] was told is more than
/// the shard can do (the same sign that CoDel, RFC 8289, goes by). Then the share of refused calls rises until the
/// queue is gone, and falls again by small steps, so that the shard is kept busy and the queue short. Who is refused is
/// drawn. What belongs to calls in progress is never refused.
#[derive(Debug)]
pub struct Overload {
    /// `None` = nothing is ever refused.
    after: Option<Duration>,
    caught_up_at: Instant,
    behind_at: Option<Instant>,
    stepped_at: Instant,
    share: f64,
}

impl Overload {
    pub fn new(after: Option<Duration>, now: Instant) -> Self {
        Self { after, caught_up_at: now, behind_at: None, stepped_at: now, share: 0.0 }
    }

    /// A turn is over; `is_behind`: messages wait that it had no time for.
    pub fn note_turn(&mut self, is_behind: bool, now: Instant) {
        let Some(after) = self.after else { return };
        if is_behind {
            self.behind_at = Some(now);
        } else {
            self.caught_up_at = now;
        }
        if now < self.stepped_at + STEP {
            return;
        }
        self.stepped_at = now;
        let haste = |since: Instant| {
            let times = (now - since).as_secs_f64() / after.as_secs_f64();
            times.clamp(1.0, HASTE_MAX)
        };
        if now >= self.caught_up_at + after {
            self.share = (self.share + RISE * haste(self.caught_up_at)).min(SHARE_MAX);
        } else if let Some(behind_at) = self.behind_at
            && self.share > 0.0
            && !is_behind
        {
            self.share = (self.share - FALL * haste(behind_at)).max(0.0);
        }
    }

    /// The share of new calls that is refused, 0.0 to 1.0.
    pub fn share(&self) -> f64 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const AFTER: Duration = Duration::from_millis(50);
    const TURN: Duration = Duration::from_millis(2);

    #[test]
    fn a_burst_refuses_nobody() {
        let mut overload = Overload::new(Some(AFTER), base());
        let turns = (0..500_u32).map(|turn| (turn, turn % 25 < 24));
        for (turn, is_behind) in turns {
            overload.note_turn(is_behind, base() + turn * TURN);
            assert_eq!(overload.share(), 0.0);
        }
    }

    #[test]
    fn a_queue_that_stands_refuses_more_and_more_until_it_is_gone() {
        let mut overload = Overload::new(Some(AFTER), base());
        let mut shares = Vec::new();
        for turn in 0..1_000_u32 {
            overload.note_turn(turn < 500, base() + turn * TURN);
            shares.push(overload.share());
        }
        assert!(shares[..24].iter().all(|share| *share == 0.0));
        assert!((0.4..=SHARE_MAX).contains(&shares[150]), "{}", shares[150]);
        assert_eq!(shares[499], SHARE_MAX);
        assert!(shares[999] < 0.2, "{}", shares[999]);
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let mut overload = Overload::new(None, base());
        (0..1_000).for_each(|turn| overload.note_turn(true, base() + turn * TURN));
        assert_eq!(overload.share(), 0.0);
    }

    /// A shard that does 1 000 calls a second, of ten messages each, and refuses one for what two messages cost.
    #[test]
    fn twice_what_it_can_do_leaves_the_goodput_and_short_queues() {
        for (load, least) in [(0.9, 0.9), (1.2, 0.9), (2.0, 0.75), (4.0, 0.3)] {
            let mut random = Random::new(1);
            let mut overload = Overload::new(Some(AFTER), base());
            let (mut queue, mut done, mut longest) = (0.0_f64, 0.0, 0.0_f64);
            let mut now = base();
            for turn in 0..5_000 {
                now += TURN;
                // In messages: twenty are served in a turn.
                for _ in 0..4 {
                    if random.unit_f64() < load / 2.0 {
                        let is_refused = random.unit_f64() < overload.share();
                        queue += if is_refused { 2.0 } else { 10.0 };
                        done += f64::from(u8::from(!is_refused && turn >= 500));
                    }
                }
                let is_behind = queue > 20.0;
                queue = (queue - 20.0).max(0.0);
                longest = if turn < 500 { 0.0 } else { longest.max(queue / 10.0) };
                overload.note_turn(is_behind, now);
            }
            // 4 500 turns of 2 ms, two calls each.
            let goodput = done / 9_000.0;
            assert!(goodput > least, "{goodput:.2} of what it can do at a load of {load}");
            assert!(longest < 500.0, "calls wait for {longest:.0} ms at a load of {load}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        static BASE: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BASE.get_or_init(Instant::now)
    }
}
