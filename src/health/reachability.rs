//! Whether one target can be reached: a machine over signs of life and hard failures.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Reachability;
use crate::random::Random;

/// A second hard failure within this time takes a suspect down.
const SUSPICION: Duration = Duration::from_secs(5);
/// When a suspect is looked at, after its failure.
const RECHECKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(750)];
/// Signs of life that bring a suspect back.
const SIGNS_TO_CLEAR: u8 = 2;
/// Good ones in a row that bring a half-open target back.
const SIGNS_TO_OPEN: u8 = 3;
/// First pause before a target that is down may prove itself.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// Up for this long, and the next pause is a first one again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// A call on its way to a half-open target counts as lost after this time.
const TRIAL_LIMIT: Duration = Duration::from_secs(60);

/// One target's state.
///
/// ```text
///   Unknown ──sign──> Up ──hard failure──> Suspect ──second within 5 s──> Down
///      └──hard failure────────────────────^   │ two signs: Up              │ pause over, and a sign
///                                             │                            v
///                          Up <── three signs ┴──────────────────────── HalfOpen ──hard failure──> Down
/// ```
///
/// A target without probes leaves Suspect and Down for HalfOpen by time alone.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: State,
    /// Times in a row that it went down; the pause doubles with each.
    downs: u32,
    up_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Unknown,
    Up,
    Suspect { since: Instant, signs: u8, rechecks: u8 },
    Down { until: Instant },
    HalfOpen { signs: u8, trial_since: Option<Instant> },
}

/// What a restart needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedReachability {
    pub state: Reachability,
    pub downs: u32,
    /// Of `down`: what was left of the pause.
    pub pause_left_ms: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { state: State::Unknown, downs: 0, up_since: None }
    }

    pub(super) fn reachability(&self) -> Reachability {
        match self.state {
            State::Unknown => Reachability::Unknown,
            State::Up => Reachability::Up,
            State::Suspect { .. } => Reachability::Suspect,
            State::Down { .. } => Reachability::Down,
            State::HalfOpen { .. } => Reachability::HalfOpen,
        }
    }

    pub(super) fn is_half_open_busy(&self) -> bool {
        matches!(self.state, State::HalfOpen { trial_since: Some(_), .. })
    }

    /// It answered.
    pub(super) fn on_sign(&mut self, now: Instant) {
        self.state = match self.state {
            State::Unknown => self.up(now),
            State::Up => {
                if self.up_since.is_some_and(|since| now - since >= FORGIVEN_AFTER) {
                    self.downs = 0;
                }
                State::Up
            }
            State::Suspect { signs, .. } if signs + 1 >= SIGNS_TO_CLEAR => self.up(now),
            State::Suspect { since, signs, rechecks } => {
                State::Suspect { since, signs: signs + 1, rechecks }
            }
            State::Down { until } if until <= now => {
                State::HalfOpen { signs: 1, trial_since: None }
            }
            State::Down { until } => State::Down { until },
            State::HalfOpen { signs, .. } if signs + 1 >= SIGNS_TO_OPEN => self.up(now),
            State::HalfOpen { signs, trial_since } => {
                State::HalfOpen { signs: signs + 1, trial_since }
            }
        };
    }

    /// It failed, and beyond doubt by its own fault.
    pub(super) fn on_hard_failure(&mut self, now: Instant, random: &mut Random) {
        self.state = match self.state {
            State::Unknown | State::Up => State::Suspect { since: now, signs: 0, rechecks: 0 },
            State::Suspect { since, .. } if now - since <= SUSPICION => self.down(now, random),
            State::Suspect { .. } => State::Suspect { since: now, signs: 0, rechecks: 0 },
            State::Down { until } => State::Down { until },
            State::HalfOpen { .. } => self.down(now, random),
        };
    }

    /// A call goes to it while it is half open.
    pub(super) fn on_trial(&mut self, now: Instant) {
        if let State::HalfOpen { trial_since, .. } = &mut self.state {
            *trial_since = Some(now);
        }
    }

    /// That call has ended.
    pub(super) fn on_trial_over(&mut self) {
        if let State::HalfOpen { trial_since, .. } = &mut self.state {
            *trial_since = None;
        }
    }

    /// Lets time pass. `is_probed`: without probes nothing but time can end a pause or a suspicion,
    /// since calls go elsewhere.
    pub(super) fn on_time(&mut self, now: Instant, is_probed: bool) {
        match &mut self.state {
            State::Down { until } if *until <= now && !is_probed => {
                self.state = State::HalfOpen { signs: 0, trial_since: None };
            }
            // No recheck will clear it: a call has to.
            State::Suspect { since, .. } if now - *since > SUSPICION && !is_probed => {
                self.state = State::HalfOpen { signs: 0, trial_since: None };
            }
            State::HalfOpen { trial_since, .. }
                if trial_since.is_some_and(|since| now - since >= TRIAL_LIMIT) =>
            {
                *trial_since = None;
            }
            State::Unknown
            | State::Up
            | State::Suspect { .. }
            | State::Down { .. }
            | State::HalfOpen { .. } => {}
        }
    }

    /// When it wants an extra probe: a suspect, soon.
    pub(super) fn next_recheck(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { since, rechecks, .. } => {
                RECHECKS.get(usize::from(rechecks)).map(|delay| since + *delay)
            }
            State::Unknown | State::Up | State::Down { .. } | State::HalfOpen { .. } => None,
        }
    }

    pub(super) fn on_rechecked(&mut self) {
        if let State::Suspect { rechecks, .. } = &mut self.state {
            *rechecks = rechecks.saturating_add(1);
        }
    }

    /// When time alone changes something.
    pub(super) fn next_change(&self, is_probed: bool) -> Option<Instant> {
        match self.state {
            State::Down { until } if !is_probed => Some(until),
            State::Suspect { since, .. } if !is_probed => {
                Some(since + SUSPICION + Duration::from_millis(1))
            }
            State::HalfOpen { trial_since, .. } => trial_since.map(|since| since + TRIAL_LIMIT),
            State::Unknown | State::Up | State::Suspect { .. } | State::Down { .. } => None,
        }
    }

    pub(super) fn save(&self, now: Instant) -> SavedReachability {
        let pause_left = match self.state {
            State::Down { until } => until.saturating_duration_since(now),
            State::Unknown | State::Up | State::Suspect { .. } | State::HalfOpen { .. } => {
                Duration::ZERO
            }
        };
        SavedReachability {
            state: self.reachability(),
            downs: self.downs,
            pause_left_ms: u64::try_from(pause_left.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn restore(saved: SavedReachability, age: Duration, now: Instant) -> Self {
        let pause = Duration::from_millis(saved.pause_left_ms).min(MAX_PAUSE).saturating_sub(age);
        let (state, up_since) = match saved.state {
            Reachability::Unknown => (State::Unknown, None),
            Reachability::Up => (State::Up, Some(now)),
            Reachability::Suspect => (State::Suspect { since: now, signs: 0, rechecks: 0 }, None),
            Reachability::Down => (State::Down { until: now + pause }, None),
            Reachability::HalfOpen => (State::HalfOpen { signs: 0, trial_since: None }, None),
        };
        Self { state, downs: saved.downs, up_since }
    }

    fn up(&mut self, now: Instant) -> State {
        self.up_since = Some(now);
        State::Up
    }

    fn down(&mut self, now: Instant, random: &mut Random) -> State {
        let doubled = FIRST_PAUSE * 2_u32.pow(self.downs.min(6));
        self.downs = self.downs.saturating_add(1);
        State::Down { until: now + jittered(doubled.min(MAX_PAUSE), random) }
    }
}

/// ± 20 %, so that nodes and targets do not move in step.
pub(super) fn jittered(duration: Duration, random: &mut Random) -> Duration {
    duration.mul_f64(0.8 + 0.4 * random.unit_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_down_on_a_second_failure_within_five_seconds_and_not_on_a_later_one() {
        let mut soon = World::new();
        soon.sign().fail().wait(5_000).fail();
        assert_eq!(soon.machine.reachability(), Reachability::Down);
        let mut late = World::new();
        late.sign().fail().wait(5_001).fail();
        assert_eq!(late.machine.reachability(), Reachability::Suspect);
    }

    #[test]
    fn clears_a_suspect_by_two_signs_and_asks_for_them_soon() {
        let mut world = World::new();
        world.sign().fail();
        assert_eq!(world.machine.next_recheck(), Some(world.now + RECHECKS[0]));
        world.machine.on_rechecked();
        assert_eq!(world.machine.next_recheck(), Some(world.now + RECHECKS[1]));
        world.sign();
        assert_eq!(world.machine.reachability(), Reachability::Suspect);
        world.sign();
        assert_eq!(world.machine.reachability(), Reachability::Up);
    }

    #[test]
    fn comes_back_through_half_open_by_three_signs_after_its_pause() {
        let mut world = World::new();
        world.sign().fail().fail().wait(3_900).sign();
        assert_eq!(world.machine.reachability(), Reachability::Down, "its pause is not over");
        world.wait(2_200).sign();
        assert_eq!(world.machine.reachability(), Reachability::HalfOpen);
        world.sign().sign();
        assert_eq!(world.machine.reachability(), Reachability::Up);
    }

    #[test]
    fn doubles_its_pause_each_time_it_goes_down_again_up_to_five_minutes() {
        let mut world = World::new();
        world.sign().fail().fail();
        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            let left = world.machine.save(world.now).pause_left_ms;
            assert!((seconds * 800..=seconds * 1_200).contains(&left), "{seconds} s, {left} ms");
            world.wait(left + 1).sign().fail();
        }
    }

    #[test]
    fn is_tried_again_by_a_call_where_no_probe_can_clear_it() {
        let mut suspect = World::new();
        suspect.sign().fail();
        let change = suspect.machine.next_change(false).expect("time clears it");
        suspect.machine.on_time(change, true);
        assert_eq!(suspect.machine.reachability(), Reachability::Suspect, "probes clear it");
        suspect.machine.on_time(change, false);
        assert_eq!(suspect.machine.reachability(), Reachability::HalfOpen);
        let mut down = World::new();
        down.sign().fail().fail();
        let change = down.machine.next_change(false).expect("time ends its pause");
        down.machine.on_time(change, false);
        assert_eq!(down.machine.reachability(), Reachability::HalfOpen);
    }

    #[test]
    fn admits_one_call_at_a_time_while_half_open_and_forgets_a_lost_one() {
        let mut world = World::new();
        world.sign().fail().fail();
        let change = world.machine.next_change(false).expect("time ends its pause");
        world.machine.on_time(change, false);
        world.machine.on_trial(change);
        assert!(world.machine.is_half_open_busy());
        world.machine.on_time(change + TRIAL_LIMIT, false);
        assert!(!world.machine.is_half_open_busy());
    }

    #[test]
    fn goes_on_after_a_restart_where_it_was() {
        let mut world = World::new();
        world.sign().fail().fail();
        let saved = world.machine.save(world.now);
        let age = Duration::from_secs(1);
        let restored = Machine::restore(saved, age, world.now).save(world.now);
        assert_eq!((restored.state, restored.downs), (Reachability::Down, 1));
        assert_eq!(restored.pause_left_ms, saved.pause_left_ms - 1_000);
    }

    struct World {
        machine: Machine,
        now: Instant,
        random: Random,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        fn new() -> Self {
            Self { machine: Machine::new(), now: Instant::now(), random: Random::new(1) }
        }

        fn sign(&mut self) -> &mut Self {
            self.machine.on_sign(self.now);
            self
        }

        fn fail(&mut self) -> &mut Self {
            self.machine.on_hard_failure(self.now, &mut self.random);
            self
        }

        fn wait(&mut self, ms: u64) -> &mut Self {
            self.now += Duration::from_millis(ms);
            self
        }
    }
}
