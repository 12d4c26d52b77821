//! More than a shard can do: which share of new calls it refuses, so that the others have their answers in time.

use std::time::{Duration, Instant};

/// How often the share is changed; longer gaps count as so many steps.
const STEP: Duration = Duration::from_millis(20);
const STEPS_MAX: f64 = 10.0;
/// What a step adds to the share for each second that messages wait longer than they should …
const FOR_DELAY: f64 = 0.2;
/// … and for each second by which they wait longer than a step before.
const FOR_GROWTH: f64 = 2.0;
/// Longer waits say no more; nor does a wall clock that was put forward.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Some are always taken: what is refused says nothing of how fast others would be served.
const SHARE_MAX: f64 = 0.98;

/// Keeps the time that messages wait for a shard near one that nobody notices, by refusing new calls.
///
/// A controller of the kind that PIE (RFC 8033 §4.2) has: the share of refused calls grows with the delay above its goal
/// and with its growth, and falls alike. So a shard that is offered more than it can do stays busy, and its queue short,
/// whatever a refusal costs. Who is refused is drawn. What belongs to calls in progress is never refused.
#[derive(Debug)]
pub struct Overload {
    /// `None` = nothing is ever refused.
    goal: Option<Duration>,
    before: Duration,
    stepped_at: Instant,
    share: f64,
}

impl Overload {
    pub fn new(goal: Option<Duration>, now: Instant) -> Self {
        Self { goal, before: Duration::ZERO, stepped_at: now, share: 0.0 }
    }

    /// Whether [`note_delay`](Self::note_delay) would take anything in.
    pub fn is_due(&self, now: Instant) -> bool {
        self.goal.is_some() && now >= self.stepped_at + STEP
    }

    /// Messages that are read now have waited for `delay`.
    pub fn note_delay(&mut self, delay: Duration, now: Instant) {
        let Some(goal) = self.goal.filter(|_| self.is_due(now)) else { return };
        let passed = now.saturating_duration_since(self.stepped_at);
        self.stepped_at = now;
        let delay = delay.min(DELAY_MAX);
        let steps = (passed.as_secs_f64() / STEP.as_secs_f64()).min(STEPS_MAX);
        let above = delay.as_secs_f64() - goal.as_secs_f64();
        let growth = delay.as_secs_f64() - self.before.as_secs_f64();
        self.before = delay;
        let share = self.share + FOR_DELAY * above * steps + FOR_GROWTH * growth;
        // A burst that is served before it has waited too long is nobody's overload.
        let is_burst = self.share == 0.0 && delay < goal;
        self.share = if is_burst { 0.0 } else { share.clamp(0.0, SHARE_MAX) };
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

    const GOAL: Duration = Duration::from_millis(50);

    #[test]
    fn waits_below_the_goal_refuse_nobody() {
        let mut overload = Overload::new(Some(GOAL), base());
        for step in 0..500_u32 {
            let delay = Duration::from_millis(u64::from(step * 7 % 50));
            overload.note_delay(delay, base() + step * STEP);
            assert_eq!(overload.share(), 0.0);
        }
    }

    #[test]
    fn a_wait_that_stays_refuses_more_and_more_and_is_forgotten_once_it_is_over() {
        let mut overload = Overload::new(Some(GOAL), base());
        let mut shares = Vec::new();
        for step in 1..=200_u32 {
            let delay = Duration::from_millis(if step <= 100 { 150 } else { 0 });
            overload.note_delay(delay, base() + step * STEP);
            shares.push(overload.share());
        }
        assert!(shares[..100].windows(2).all(|pair| pair[0] < pair[1] || pair[0] == SHARE_MAX));
        assert_eq!(shares[99], SHARE_MAX);
        assert_eq!(shares[199], 0.0);
    }

    #[test]
    fn a_shard_that_is_idle_forgets_as_fast() {
        let mut overload = Overload::new(Some(GOAL), base());
        (1..=100).for_each(|step| overload.note_delay(2 * GOAL, base() + step * STEP));
        assert!(overload.share() > 0.5);
        let later = base() + 100 * STEP;
        (1..=15).for_each(|turn| overload.note_delay(Duration::ZERO, later + turn * 5 * STEP));
        assert_eq!(overload.share(), 0.0);
    }

    #[test]
    fn without_a_goal_nothing_is_refused() {
        let mut overload = Overload::new(None, base());
        (1..1_000).for_each(|step| overload.note_delay(DELAY_MAX, base() + step * STEP));
        assert_eq!(overload.share(), 0.0);
    }

    /// A shard that does 1 000 calls a second, of ten messages each, and refuses one for what one message costs.
    #[test]
    fn twice_what_it_can_do_leaves_nearly_all_the_goodput_that_is_possible() {
        const TURN: Duration = Duration::from_millis(2);
        for (load, least) in [(0.8, 0.79), (0.95, 0.94), (1.2, 0.93), (2.0, 0.85), (4.0, 0.6)] {
            let mut random = Random::new(1);
            let mut overload = Overload::new(Some(GOAL), base());
            let (mut queue, mut done, mut longest) = (0.0_f64, 0.0, 0.0_f64);
            for turn in 0..10_000 {
                // Eight chances of a call in a turn; twenty messages are served in it.
                for _ in 0..8 {
                    if random.unit_f64() < load / 4.0 {
                        let is_refused = random.unit_f64() < overload.share();
                        queue += if is_refused { 1.0 } else { 10.0 };
                        done += f64::from(u8::from(!is_refused && turn >= 1_000));
                    }
                }
                longest = longest.max(queue / 10.0);
                overload.note_delay(Duration::from_secs_f64(queue / 1e4), base() + turn * TURN);
                queue = (queue - 20.0).max(0.0);
            }
            // 9 000 turns, two calls each.
            let goodput = done / 18_000.0;
            assert!(goodput > least, "{goodput:.2} of what it can do at a load of {load}");
            assert!(longest < 500.0, "messages wait for {longest:.0} ms at a load of {load}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        static BASE: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BASE.get_or_init(Instant::now)
    }
}
