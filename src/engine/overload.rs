//! More than a shard can do: which share of new calls it refuses, so that the others have their answers in time.

use std::time::{Duration, Instant};

/// How often the share is changed. What waits for the whole of that time is no burst, and no short stall of the machine.
const STEP: Duration = Duration::from_millis(100);
/// What a step adds to the share for each second that messages wait longer than they should …
const FOR_DELAY: f64 = 1.0;
/// … and for each second by which they wait longer than a step before.
const FOR_GROWTH: f64 = 2.0;
/// Longer waits say no more; nor does a wall clock that was put forward.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// Some are always taken: what is refused says nothing of how fast others would be served.
const SHARE_MAX: f64 = 0.98;

/// Keeps the time that messages wait for a shard near one that nobody notices, by refusing new calls.
///
/// What counts is the shortest wait in a tenth of a second, as in CoDel (RFC 8289 §3.2): a queue that comes and goes is
/// none. A controller of the kind that PIE (RFC 8033 §4.2) has follows it: the share of refused calls grows with the wait
/// above its goal and with its growth, and falls alike. So a shard that is offered more than it can do stays busy, and its
/// queue short, whatever a refusal costs. Who is refused is drawn. What belongs to calls in progress is never refused.
#[derive(Debug)]
pub struct Overload {
    /// `None` = nothing is ever refused.
    goal: Option<Duration>,
    /// The step in progress; it begins with the first message, so that no stall falls between two.
    step: Option<Step>,
    /// The shortest wait of the step before.
    before: Duration,
    share: f64,
}

#[derive(Debug)]
struct Step {
    began_at: Instant,
    shortest: Duration,
}

impl Overload {
    pub fn new(goal: Option<Duration>) -> Self {
        Self { goal, step: None, before: Duration::ZERO, share: 0.0 }
    }

    /// Whether [`note_delay`](Self::note_delay) could make a difference: to measure a wait costs a little.
    pub fn is_asking(&self) -> bool {
        let Some(goal) = self.goal else { return false };
        self.share > 0.0 || self.step.as_ref().is_none_or(|step| step.shortest >= goal)
    }

    /// Messages that are read now have waited for `delay`.
    pub fn note_delay(&mut self, delay: Duration, now: Instant) {
        let Some(goal) = self.goal else { return };
        let delay = delay.min(DELAY_MAX);
        let step = self.step.get_or_insert(Step { began_at: now, shortest: delay });
        step.shortest = step.shortest.min(delay);
        if now < step.began_at + STEP {
            return;
        }
        let shortest = step.shortest;
        self.step = None;
        let above = shortest.as_secs_f64() - goal.as_secs_f64();
        let growth = shortest.as_secs_f64() - self.before.as_secs_f64();
        self.before = shortest;
        let share = self.share + FOR_DELAY * above + FOR_GROWTH * growth;
        let is_calm = self.share == 0.0 && shortest < goal;
        self.share = if is_calm { 0.0 } else { share.clamp(0.0, SHARE_MAX) };
    }

    /// What neighbours are told of it; `None` where nothing is ever refused.
    pub fn told_share(&self) -> Option<f64> {
        self.goal.map(|_| self.share)
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

    const GOAL: Duration = Duration::from_millis(100);
    const TURN: Duration = Duration::from_millis(2);

    #[test]
    fn bursts_and_stalls_refuse_nobody() {
        let mut overload = Overload::new(Some(GOAL));
        for turn in 0..5_000_u32 {
            // Once in 100 ms nothing waits.
            let delay = Duration::from_millis(u64::from(turn % 49 * 10));
            overload.note_delay(delay, base() + turn * TURN);
            assert_eq!(overload.share(), 0.0);
        }
    }

    #[test]
    fn a_wait_that_stays_refuses_more_and_more_and_is_forgotten_once_it_is_over() {
        let mut overload = Overload::new(Some(GOAL));
        let mut shares = Vec::new();
        for step in 1..=80_u32 {
            let delay = Duration::from_millis(if step <= 40 { 150 } else { 0 });
            overload.note_delay(delay, base() + 2 * step * STEP);
            overload.note_delay(delay, base() + (2 * step + 1) * STEP);
            shares.push(overload.share());
        }
        assert!(shares[..40].windows(2).all(|pair| pair[0] < pair[1] || pair[0] == SHARE_MAX));
        assert_eq!(shares[39], SHARE_MAX);
        assert_eq!(shares[79], 0.0);
    }

    #[test]
    fn asks_no_more_for_waits_once_there_was_none_in_a_step() {
        let mut overload = Overload::new(Some(GOAL));
        assert!(overload.is_asking());
        overload.note_delay(Duration::ZERO, base());
        assert!(!overload.is_asking());
        overload.note_delay(Duration::ZERO, base() + STEP);
        assert!(overload.is_asking());
        assert!(!Overload::new(None).is_asking());
    }

    #[test]
    fn what_waited_through_a_stall_is_no_overload() {
        let mut overload = Overload::new(Some(GOAL));
        let mut now = base();
        for _ in 0..50 {
            for waited_ms in [300, 200, 100, 0, 0] {
                overload.note_delay(Duration::from_millis(waited_ms), now);
                now += TURN;
            }
            now += STEP;
            overload.note_delay(Duration::ZERO, now);
            assert_eq!(overload.share(), 0.0);
            now += 3 * STEP;
        }
    }

    #[test]
    fn without_a_goal_nothing_is_refused() {
        let mut overload = Overload::new(None);
        (1..1_000).for_each(|step| overload.note_delay(DELAY_MAX, base() + step * STEP));
        assert_eq!(overload.share(), 0.0);
    }

    /// A shard that does 1 000 calls a second, of ten messages each, and refuses one for what one message costs.
    #[test]
    fn twice_what_it_can_do_leaves_nearly_all_the_goodput_that_is_possible() {
        for (load, least) in [(0.8, 0.79), (0.95, 0.94), (1.2, 0.93), (2.0, 0.85), (3.0, 0.7)] {
            let mut random = Random::new(1);
            let mut overload = Overload::new(Some(GOAL));
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
            assert!(longest < 700.0, "messages wait for {longest:.0} ms at a load of {load}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    fn base() -> Instant {
        static BASE: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BASE.get_or_init(Instant::now)
    }
}
