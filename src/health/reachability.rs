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

    /// Lets time pass. `is_probed`: without probes nothing but time can end a pause.
    pub(super) fn on_time(&mut self, now: Instant, is_probed: bool) {
        match &mut self.state {
            State::Down { until } if *until <= now && !is_probed => {
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
