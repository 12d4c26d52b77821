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
/// Good ones in a row that bring a half-open target back, and each step of its ramp to an end.
const SIGNS_TO_RISE: u8 = 3;
/// A step of the ramp ends after this time, too.
const RAMP_STEP: Duration = Duration::from_secs(10);
/// Shares of its calls that a target gets after it was down, step by step.
const RAMP: [f64; 2] = [0.1, 0.3];
/// First pause before a target that is down may prove itself.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(300);
/// A call that fails while it proves itself lengthens its pause so much …
const TRIAL_FACTOR: f64 = 1.5;
/// … but not beyond this: one call now and then is a small price for knowing.
const MAX_TRIAL_PAUSE: Duration = Duration::from_secs(20);
/// Up for this long, and the next pause is a first one again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);
/// A call on its way to a half-open target counts as lost after this time.
const TRIAL_LIMIT: Duration = Duration::from_secs(60);

/// One target's state.
///
/// ```text
///   Unknown ──sign──> Up ──failure, doubt──> Suspect ──second within 5 s──> Down <── ejected for its quality
///      └──hard failure────────────────────^   │ two signs: Up              │ pause over, and a sign
///                                             │                            v
///             Up, 10 %, 30 %, all calls <── three good ones ─────────── HalfOpen ──hard failure──> Down
/// ```
///
/// Whoever was ejected proves itself by calls alone: it always answered its probes. A target without
/// probes leaves Suspect and Down for HalfOpen by time alone.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: State,
    /// Times in a row that it went down from being up; the pause doubles with each.
    downs: u32,
    /// Times since then that it failed to prove itself.
    failed_trials: u32,
    changed_at: Instant,
    last_sign: Option<Instant>,
    last_failure: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unknown,
    Up { ramp: Option<Ramp> },
    Suspect { since: Instant, signs: u8, rechecks: u8 },
    Down { until: Instant, is_ejected: bool, is_held: bool },
    HalfOpen { good: u8, trial_since: Option<Instant>, is_ejected: bool },
}

/// A target that was down gets its calls back step by step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ramp {
    step: usize,
    since: Instant,
    good: u8,
    is_ejected: bool,
}

/// What a target showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It answered: a probe, an INVITE with a provisional response, a request within a dialog.
    Alive,
    /// A call got through to the called party.
    GoodCall,
}

/// What a restart, or another node, needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedReachability {
    pub state: Reachability,
    pub downs: u32,
    /// Of `down`: what was left of the pause.
    pub pause_left_ms: u64,
    /// It is, or was, down for its quality.
    pub is_ejected: bool,
    /// Its carrier's errors in a row took it down.
    pub is_held: bool,
    /// How long the state has held.
    pub state_age_ms: u64,
}

impl Machine {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Unknown,
            downs: 0,
            failed_trials: 0,
            changed_at: now,
            last_sign: None,
            last_failure: None,
        }
    }

    pub(super) fn reachability(&self) -> Reachability {
        reachability(&self.state)
    }

    pub(super) fn is_half_open_busy(&self) -> bool {
        matches!(self.state, State::HalfOpen { trial_since: Some(_), .. })
    }

    pub(super) fn is_ejected(&self) -> bool {
        match self.state {
            State::Down { is_ejected, .. } | State::HalfOpen { is_ejected, .. } => is_ejected,
            State::Unknown | State::Up { .. } | State::Suspect { .. } => false,
        }
    }

    /// It is left alone for its carrier's errors in a row.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Down { is_held: true, .. })
    }

    /// Share of the calls it would get otherwise, 0.0 to 1.0.
    pub(super) fn ramp(&self) -> f64 {
        match self.state {
            State::Up { ramp: Some(ramp) } => RAMP[ramp.step],
            State::Unknown
            | State::Up { ramp: None }
            | State::Suspect { .. }
            | State::Down { .. }
            | State::HalfOpen { .. } => 1.0,
        }
    }

    pub(super) fn on_sign(&mut self, sign: Sign, now: Instant) {
        self.last_sign = Some(now);
        let counts = |is_ejected: bool| !is_ejected || sign == Sign::GoodCall;
        let next = match self.state {
            State::Unknown => State::Up { ramp: None },
            State::Up { ramp: None } => {
                if now - self.changed_at >= FORGIVEN_AFTER {
                    self.downs = 0;
                }
                self.state
            }
            State::Up { ramp: Some(ramp) } if !counts(ramp.is_ejected) => self.state,
            State::Up { ramp: Some(ramp) } if ramp.good + 1 >= SIGNS_TO_RISE => ramp.next(now),
            State::Up { ramp: Some(ramp) } => {
                State::Up { ramp: Some(Ramp { good: ramp.good + 1, ..ramp }) }
            }
            State::Suspect { signs, .. } if signs + 1 >= SIGNS_TO_CLEAR => State::Up { ramp: None },
            State::Suspect { since, signs, rechecks } => {
                State::Suspect { since, signs: signs + 1, rechecks }
            }
            State::Down { until, .. } if until > now => self.state,
            State::Down { is_ejected, .. } => {
                let good = u8::from(counts(is_ejected));
                State::HalfOpen { good, trial_since: None, is_ejected }
            }
            State::HalfOpen { is_ejected, .. } if !counts(is_ejected) => self.state,
            State::HalfOpen { good, is_ejected, .. } if good + 1 >= SIGNS_TO_RISE => {
                let ramp = Ramp { step: 0, since: now, good: 0, is_ejected };
                State::Up { ramp: Some(ramp) }
            }
            State::HalfOpen { good, trial_since, is_ejected } => {
                State::HalfOpen { good: good + 1, trial_since, is_ejected }
            }
        };
        self.go(next, now);
    }

    /// Something that it was asked so long ago has no answer. Where it has shown life since, it is not gone; else it is
    /// looked at again, and what comes of that decides.
    pub(super) fn on_doubt(&mut self, waited: Duration, now: Instant) {
        let has_spoken = |at| now.saturating_duration_since(at) < waited;
        if self.last_sign.is_some_and(has_spoken) {
            return;
        }
        let next = match self.state {
            State::Unknown | State::Up { ramp: None } => {
                self.last_failure = Some(now);
                State::Suspect { since: now, signs: 0, rechecks: 0 }
            }
            State::Up { ramp: Some(_) }
            | State::Suspect { .. }
            | State::Down { .. }
            | State::HalfOpen { .. } => self.state,
        };
        self.go(next, now);
    }

    /// It failed, and beyond doubt by its own fault.
    pub(super) fn on_hard_failure(&mut self, now: Instant, random: &mut Random) {
        self.last_failure = Some(now);
        let suspect = State::Suspect { since: now, signs: 0, rechecks: 0 };
        let next = match self.state {
            State::Unknown | State::Up { ramp: None } => suspect,
            State::Up { ramp: Some(ramp) } => self.down(ramp.is_ejected, now, random),
            State::Suspect { since, .. } if now - since <= SUSPICION => {
                self.down(false, now, random)
            }
            State::Suspect { .. } => suspect,
            State::Down { .. } => self.state,
            State::HalfOpen { is_ejected, .. } => self.down_again(is_ejected, now, random),
        };
        self.go(next, now);
    }

    /// It answers, but too many of its calls fail.
    pub(super) fn eject(&mut self, now: Instant, random: &mut Random) {
        let next = match self.state {
            State::Unknown | State::Up { .. } | State::Suspect { .. } => {
                self.down(true, now, random)
            }
            State::Down { .. } | State::HalfOpen { .. } => self.state,
        };
        self.go(next, now);
    }

    /// Its carrier has made too many errors in a row: no call for `pause`, whatever it answers.
    pub(super) fn hold(&mut self, pause: Duration, now: Instant) {
        let until = match self.state {
            State::Down { until, .. } => until.max(now + pause),
            State::Unknown | State::Up { .. } | State::Suspect { .. } | State::HalfOpen { .. } => {
                now + pause
            }
        };
        self.go(State::Down { until, is_ejected: true, is_held: true }, now);
    }

    /// A call goes to it while it is half open.
    pub(super) fn on_trial(&mut self, now: Instant) {
        if let State::HalfOpen { trial_since, .. } = &mut self.state {
            *trial_since = Some(now);
        }
    }

    /// That call has got through, or ended.
    pub(super) fn on_trial_over(&mut self) {
        if let State::HalfOpen { trial_since, .. } = &mut self.state {
            *trial_since = None;
        }
    }

    /// Lets time pass. `is_probed`: without probes nothing but time can end a pause or a suspicion,
    /// since calls go elsewhere.
    pub(super) fn on_time(&mut self, now: Instant, is_probed: bool) {
        let next = match self.state {
            State::Down { until, is_ejected, .. } if until <= now && !is_probed => {
                State::HalfOpen { good: 0, trial_since: None, is_ejected }
            }
            // No recheck will clear it: a call has to.
            State::Suspect { since, .. } if now - since > SUSPICION && !is_probed => {
                State::HalfOpen { good: 0, trial_since: None, is_ejected: false }
            }
            State::HalfOpen { good, trial_since: Some(since), is_ejected }
                if now - since >= TRIAL_LIMIT =>
            {
                State::HalfOpen { good, trial_since: None, is_ejected }
            }
            State::Up { ramp: Some(ramp) } if now - ramp.since >= RAMP_STEP => ramp.next(now),
            State::Unknown
            | State::Up { .. }
            | State::Suspect { .. }
            | State::Down { .. }
            | State::HalfOpen { .. } => self.state,
        };
        self.go(next, now);
    }

    /// When it wants a probe sooner than its turn.
    pub(super) fn next_recheck(&self) -> Option<Instant> {
        match self.state {
            State::Suspect { since, rechecks, .. } => {
                RECHECKS.get(usize::from(rechecks)).map(|delay| since + *delay)
            }
            State::Unknown | State::Up { .. } | State::Down { .. } | State::HalfOpen { .. } => None,
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
            State::Down { until, .. } if !is_probed => Some(until),
            State::Suspect { since, .. } if !is_probed => {
                Some(since + SUSPICION + Duration::from_millis(1))
            }
            State::HalfOpen { trial_since, .. } => trial_since.map(|since| since + TRIAL_LIMIT),
            State::Up { ramp } => ramp.map(|ramp| ramp.since + RAMP_STEP),
            State::Unknown | State::Suspect { .. } | State::Down { .. } => None,
        }
    }

    /// Takes over what another node has seen, `age` ago, where that is newer than all we have seen.
    pub(super) fn take_over(&mut self, peer: &SavedReachability, age: Duration, now: Instant) {
        let held = age + Duration::from_millis(peer.state_age_ms);
        let Some(changed_at) = now.checked_sub(held) else { return };
        if changed_at <= self.changed_at {
            return;
        }
        let saw_since = |at: Option<Instant>| at.is_some_and(|at| at >= changed_at);
        let is_contradicted = match peer.state {
            Reachability::Unknown => true,
            Reachability::Up | Reachability::HalfOpen => saw_since(self.last_failure),
            Reachability::Suspect | Reachability::Down => saw_since(self.last_sign),
        };
        if is_contradicted || peer.state == self.reachability() {
            return;
        }
        let theirs = Self::restore(*peer, age, now);
        self.state = match theirs.state {
            // Whom we know alive we look at ourselves: it may be them who cannot reach it.
            State::Down { is_ejected: false, .. } if self.last_sign.is_some() => {
                State::Suspect { since: now, signs: 0, rechecks: 0 }
            }
            state => state,
        };
        self.downs = self.downs.max(theirs.downs);
        self.changed_at = changed_at;
    }

    pub(super) fn save(&self, now: Instant) -> SavedReachability {
        let pause_left = match self.state {
            State::Down { until, .. } => until.saturating_duration_since(now),
            State::Unknown | State::Up { .. } | State::Suspect { .. } | State::HalfOpen { .. } => {
                Duration::ZERO
            }
        };
        SavedReachability {
            state: self.reachability(),
            downs: self.downs,
            pause_left_ms: milliseconds(pause_left),
            is_ejected: self.is_ejected(),
            is_held: self.is_held(),
            state_age_ms: milliseconds(now.saturating_duration_since(self.changed_at)),
        }
    }

    pub(super) fn restore(saved: SavedReachability, age: Duration, now: Instant) -> Self {
        let pause = Duration::from_millis(saved.pause_left_ms).min(MAX_PAUSE).saturating_sub(age);
        let is_ejected = saved.is_ejected;
        let state = match saved.state {
            Reachability::Unknown => State::Unknown,
            Reachability::Up => State::Up { ramp: None },
            Reachability::Suspect => State::Suspect { since: now, signs: 0, rechecks: 0 },
            Reachability::Down => {
                State::Down { until: now + pause, is_ejected, is_held: saved.is_held }
            }
            Reachability::HalfOpen => State::HalfOpen { good: 0, trial_since: None, is_ejected },
        };
        let held = age + Duration::from_millis(saved.state_age_ms);
        let changed_at = now.checked_sub(held).unwrap_or(now);
        Self {
            state,
            downs: saved.downs,
            failed_trials: 0,
            changed_at,
            last_sign: None,
            last_failure: None,
        }
    }

    fn go(&mut self, next: State, now: Instant) {
        if reachability(&next) != self.reachability() {
            self.changed_at = now;
        }
        self.state = next;
    }

    fn down(&mut self, is_ejected: bool, now: Instant, random: &mut Random) -> State {
        self.downs = self.downs.saturating_add(1);
        self.failed_trials = 0;
        State::Down { until: now + jittered(self.fall_pause(), random), is_ejected, is_held: false }
    }

    /// It has failed to prove itself. That costs a call each time, where a fall costs all that were on
    /// their way, so it may try again sooner.
    fn down_again(&mut self, is_ejected: bool, now: Instant, random: &mut Random) -> State {
        self.failed_trials = self.failed_trials.saturating_add(1);
        let times = i32::try_from(self.failed_trials.min(10)).unwrap_or(i32::MAX);
        let pause = FIRST_PAUSE.mul_f64(TRIAL_FACTOR.powi(times)).min(MAX_TRIAL_PAUSE);
        let pause = pause.max(self.fall_pause());
        State::Down { until: now + jittered(pause, random), is_ejected, is_held: false }
    }

    fn fall_pause(&self) -> Duration {
        let doublings = self.downs.saturating_sub(1).min(6);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE)
    }
}

impl Ramp {
    fn next(self, now: Instant) -> State {
        let step = self.step + 1;
        let ramp = (step < RAMP.len()).then_some(Self { step, since: now, good: 0, ..self });
        State::Up { ramp }
    }
}

fn reachability(state: &State) -> Reachability {
    match state {
        State::Unknown => Reachability::Unknown,
        State::Up { .. } => Reachability::Up,
        State::Suspect { .. } => Reachability::Suspect,
        State::Down { .. } => Reachability::Down,
        State::HalfOpen { .. } => Reachability::HalfOpen,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// ± 20 %, so that nodes and targets do not move in step.
pub(super) fn jittered(duration: Duration, random: &mut Random) -> Duration {
    duration.mul_f64(0.8 + 0.4 * random.unit_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine and its clock.
    struct World {
        machine: Machine,
        random: Random,
        now: Instant,
    }

    impl World {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
        fn new() -> Self {
            let now = Instant::now();
            Self { machine: Machine::new(now), random: Random::new(1), now }
        }

        fn pass(&mut self, ms: u64) -> &mut Self {
            self.now += Duration::from_millis(ms);
            self.machine.on_time(self.now, true);
            self
        }

        fn alive(&mut self) -> &mut Self {
            self.machine.on_sign(Sign::Alive, self.now);
            self
        }

        fn good_call(&mut self) -> &mut Self {
            self.machine.on_sign(Sign::GoodCall, self.now);
            self
        }

        fn fails(&mut self) -> &mut Self {
            self.machine.on_hard_failure(self.now, &mut self.random);
            self
        }

        fn eject(&mut self) -> &mut Self {
            self.machine.eject(self.now, &mut self.random);
            self
        }

        fn is(&mut self, expected: Reachability) -> &mut Self {
            assert_eq!(self.machine.reachability(), expected);
            self
        }
    }

    use Reachability::{Down, HalfOpen, Suspect, Unknown, Up};

    #[test]
    fn one_lost_packet_makes_a_suspect_and_two_signs_clear_it() {
        World::new()
            .is(Unknown)
            .alive()
            .is(Up)
            .fails()
            .is(Suspect)
            .alive()
            .is(Suspect)
            .alive()
            .is(Up);
    }

    #[test]
    fn a_second_failure_within_five_seconds_takes_it_down_a_later_one_does_not() {
        World::new().alive().fails().pass(5_000).fails().is(Down);
        World::new().alive().fails().pass(5_001).fails().is(Suspect);
    }

    #[test]
    fn looks_at_a_suspect_after_a_quarter_and_three_quarters_of_a_second() {
        let mut world = World::new();
        world.alive();
        assert_eq!(world.machine.next_recheck(), None);
        world.fails();
        let since = world.now;
        for ms in [250, 750] {
            assert_eq!(world.machine.next_recheck(), Some(since + Duration::from_millis(ms)));
            world.machine.on_rechecked();
        }
        assert_eq!(world.machine.next_recheck(), None);
    }

    #[test]
    fn waits_for_its_pause_then_for_three_good_ones_then_rises_in_steps() {
        let mut world = World::new();
        world.fails().fails().is(Down).alive().is(Down).pass(6_001).is(Down);
        world.alive().is(HalfOpen).alive().is(HalfOpen).alive().is(Up);
        assert_eq!(world.machine.ramp(), 0.1);
        world.alive().alive().alive();
        assert_eq!(world.machine.ramp(), 0.3);
        world.pass(10_000);
        assert_eq!(world.machine.ramp(), 1.0);
    }

    #[test]
    fn doubles_its_pause_each_time_up_to_five_minutes_and_forgives_after_ten_minutes_up() {
        let mut world = World::new();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            world.fails().fails().is(Down);
            let State::Down { until, .. } = world.machine.state else { panic!("it is down") };
            let pause = until - world.now;
            pauses.push(pause.as_secs_f64());
            world.now = until;
            world.alive().alive().alive().is(Up);
        }
        let expected = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0];
        for (pause, expected) in pauses.iter().zip(expected) {
            assert!((0.8..=1.2).contains(&(pause / expected)), "{pauses:?}");
        }
        world.pass(10_000).pass(10_000).pass(600_000).alive();
        assert_eq!(world.machine.downs, 0);
    }

    #[test]
    fn fails_once_while_it_proves_itself_and_is_down_again() {
        World::new().fails().fails().pass(6_001).alive().is(HalfOpen).fails().is(Down);
        let mut rising = World::new();
        rising.fails().fails().pass(6_001).alive().alive().alive().is(Up).fails().is(Down);
    }

    #[test]
    fn one_that_was_ejected_proves_itself_by_calls_alone() {
        let mut world = World::new();
        world.alive().eject().is(Down);
        assert!(world.machine.is_ejected());
        world.pass(6_001).alive().is(HalfOpen).alive().alive().alive().is(HalfOpen);
        world.good_call().good_call().is(HalfOpen).good_call().is(Up);
        world.alive().alive().alive();
        assert_eq!(world.machine.ramp(), 0.1, "probes prove nothing");
        world.good_call().good_call().good_call();
        assert_eq!(world.machine.ramp(), 0.3);
    }

    #[test]
    fn takes_one_call_at_a_time_while_half_open_and_forgets_a_lost_one() {
        let mut world = World::new();
        world.fails().fails().pass(6_001).alive().is(HalfOpen);
        assert!(!world.machine.is_half_open_busy());
        world.machine.on_trial(world.now);
        assert!(world.machine.is_half_open_busy());
        world.machine.on_trial_over();
        assert!(!world.machine.is_half_open_busy());
        world.machine.on_trial(world.now);
        world.pass(60_000);
        assert!(!world.machine.is_half_open_busy());
    }

    #[test]
    fn without_probes_time_alone_ends_a_pause_and_a_suspicion() {
        let mut suspect = World::new();
        suspect.alive().fails();
        let at = suspect.machine.next_change(false).expect("time clears it");
        suspect.machine.on_time(at, true);
        suspect.is(Suspect);
        suspect.machine.on_time(at, false);
        suspect.is(HalfOpen);
        let mut world = World::new();
        world.fails().fails().is(Down);
        let at = world.machine.next_change(false).expect("the end of its pause");
        world.machine.on_time(at, false);
        world.is(HalfOpen);
    }

    #[test]
    fn is_after_a_restart_what_it_was() {
        let mut world = World::new();
        world.fails().fails().is(Down).pass(1_000);
        let saved = world.machine.save(world.now);
        assert_eq!(saved.state_age_ms, 1_000);
        let later = world.now;
        let mut back = Machine::restore(saved, Duration::from_secs(1), later);
        assert_eq!(back.reachability(), Down);
        back.on_sign(Sign::Alive, later);
        assert_eq!(back.reachability(), Down, "some of the pause is left");
        back.on_sign(Sign::Alive, later + Duration::from_millis(saved.pause_left_ms));
        assert_eq!(back.reachability(), HalfOpen);
        assert_eq!(back.downs, 1);
    }

    #[test]
    fn believes_another_node_unless_it_has_seen_otherwise_since() {
        let down = |age_ms| SavedReachability {
            state: Down,
            downs: 1,
            pause_left_ms: 4_000,
            is_ejected: false,
            is_held: false,
            state_age_ms: age_ms,
        };
        let mut world = World::new();
        world.pass(2_000);
        world.machine.take_over(&down(500), Duration::ZERO, world.now);
        world.is(Down);
        // Whom it knows alive it looks at itself first.
        let mut world = World::new();
        world.alive().pass(2_000);
        world.machine.take_over(&down(500), Duration::ZERO, world.now);
        world.is(Suspect);
        assert!(world.machine.next_recheck().is_some());
        // A sign of life after they saw it die is better than their word.
        let mut world = World::new();
        world.alive().pass(2_000).alive().pass(100);
        world.machine.take_over(&down(500), Duration::ZERO, world.now);
        world.is(Up);
        // They have known for longer than we know otherwise.
        let mut world = World::new();
        world.pass(1_000).alive().pass(100);
        world.machine.take_over(&down(5_000), Duration::ZERO, world.now);
        world.is(Up);
    }

    #[test]
    fn follows_another_node_up_too() {
        let mut world = World::new();
        world.fails().fails().is(Down).pass(3_000);
        let up = SavedReachability {
            state: Up,
            downs: 1,
            pause_left_ms: 0,
            is_ejected: false,
            is_held: false,
            state_age_ms: 100,
        };
        world.machine.take_over(&up, Duration::ZERO, world.now);
        world.is(Up);
        let mut world = World::new();
        world.fails().fails().pass(3_000).fails();
        world.machine.take_over(&up, Duration::ZERO, world.now);
        world.is(Down);
    }
}
