//! All that is known of one target.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::posterior::Posterior;
use super::reachability::{Machine, SavedReachability, Sign, jittered};
use super::window::{Counts, FAST_WIDTH, Fast, SLOW_WIDTH, Slow};
use super::{Evidence, Target, TargetView};
use crate::carrier::{CarrierId, Class};
use crate::random::Random;

/// Longest Retry-After that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// How fast a latency comes down again: the share that a new, lower measure has.
const LATENCY_SHARE: f64 = 0.2;
/// Whoever is surely below this share of good attempts is ejected …
const EJECT_BELOW: f64 = 0.80;
/// … so surely …
const EJECT_CERTAINTY: f64 = 0.95;
/// … and after so many attempts in the last minute.
const EJECT_ATTEMPTS: f64 = 8.0;
/// Or after so many hard failures in a row …
const HARD_IN_ROW: u32 = 3;
/// … within this time.
const HARD_WITHIN: Duration = Duration::from_secs(10);

/// A target's state as `gateway_health` keeps it; times are ages, so that no clock is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTarget {
    pub target: Target,
    #[serde(flatten)]
    pub reachability: SavedReachability,
    pub failure_rate: f64,
    pub latency_ms: Option<f64>,
    pub ringing_ms: Option<f64>,
    pub unusable_for_ms: u64,
    /// The newest first: twelve of five seconds each, then fifteen of a minute each.
    pub buckets: Vec<Counts>,
}

/// What a carrier does over all its targets: the prior of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prior {
    pub(super) mean: f64,
    pub(super) attempts: f64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) carrier_id: CarrierId,
    /// `None` where the carrier, or the gateway's admin state, wants no probes.
    pub(super) probe_interval: Option<Duration>,
    pub(super) next_probe: Option<Instant>,
    /// A probe is on its way.
    pub(super) probed_at: Option<Instant>,
    pub(super) machine: Machine,
    fast: Fast,
    slow: Slow,
    /// The same of other nodes, as they told it last.
    peers: Counts,
    hard_in_row: u32,
    first_hard: Option<Instant>,
    latency_ms: Option<f64>,
    ringing_ms: Option<f64>,
    unusable_until: Option<Instant>,
    pub(super) on_agenda: Option<Instant>,
    pub(super) view: Option<Arc<TargetView>>,
}

impl Entry {
    pub(super) fn new(carrier_id: CarrierId, now: Instant) -> Self {
        Self {
            carrier_id,
            probe_interval: None,
            next_probe: None,
            probed_at: None,
            machine: Machine::new(now),
            fast: Fast::new(FAST_WIDTH, now),
            slow: Slow::new(SLOW_WIDTH, now),
            peers: Counts::default(),
            hard_in_row: 0,
            first_hard: None,
            latency_ms: None,
            ringing_ms: None,
            unusable_until: None,
            on_agenda: None,
            view: None,
        }
    }

    /// `is_unfit`: it is us who fail, so nobody is condemned for it.
    pub(super) fn take(
        &mut self,
        evidence: &Evidence,
        prior: Prior,
        is_unfit: bool,
        now: Instant,
        random: &mut Random,
    ) {
        match evidence {
            Evidence::Probe { status_code, delay } => {
                self.probed_at = None;
                self.take_status(*status_code, is_unfit, now, random);
                if status_code.is_some() {
                    measure(&mut self.latency_ms, *delay);
                }
            }
            Evidence::Alive => self.machine.on_sign(Sign::Alive, now),
            Evidence::Ringing => {
                self.machine.on_trial_over();
                self.machine.on_sign(Sign::GoodCall, now);
            }
            Evidence::AttemptStarted => self.machine.on_trial(now),
            Evidence::Attempt {
                class,
                weight,
                status_code,
                retry_after,
                trying_delay,
                ringing_delay,
                ..
            } => {
                self.machine.on_trial_over();
                if let Some(delay) = trying_delay {
                    measure(&mut self.latency_ms, *delay);
                }
                if let Some(delay) = ringing_delay {
                    measure(&mut self.ringing_ms, *delay);
                }
                self.take_attempt(*class, *weight, *status_code, is_unfit, now, random);
                if let Some(retry_after) = retry_after.filter(|_| *status_code == Some(503)) {
                    let pause = jittered(retry_after.min(MAX_RETRY_AFTER), random);
                    self.unusable_until = Some(now + pause);
                }
                if !is_unfit && self.is_too_bad(prior, now) {
                    self.machine.eject(now, random);
                    // What comes after the pause is judged by itself.
                    self.fast.clear();
                }
            }
            Evidence::Revised { failures, .. } => self.count(0.0, (*failures).into(), now),
        }
    }

    fn take_attempt(
        &mut self,
        class: Class,
        weight: f32,
        status_code: Option<u16>,
        is_unfit: bool,
        now: Instant,
        random: &mut Random,
    ) {
        match class {
            Class::Answered | Class::Destination => {
                self.count(1.0, 0.0, now);
                self.hard_in_row = 0;
                self.machine.on_sign(Sign::GoodCall, now);
            }
            // Beyond the budget of a call nobody is to blame: weight 0 moves nothing.
            Class::CarrierHard if weight > 0.0 => {
                self.count(1.0, weight.into(), now);
                self.note_hard(now);
                self.take_status(status_code, is_unfit, now, random);
            }
            Class::CarrierSoft => self.count(1.0, weight.into(), now),
            Class::CarrierHard
            | Class::Capacity
            | Class::Config
            | Class::PolicyBlock
            | Class::Caller => {}
        }
    }

    fn count(&mut self, attempts: f64, failures: f64, now: Instant) {
        self.fast.add(attempts, failures, now);
        self.slow.add(attempts, failures, now);
    }

    fn note_hard(&mut self, now: Instant) {
        let is_new =
            self.hard_in_row == 0 || self.first_hard.is_none_or(|first| now - first > HARD_WITHIN);
        if is_new {
            self.hard_in_row = 0;
            self.first_hard = Some(now);
        }
        self.hard_in_row += 1;
    }

    fn is_too_bad(&mut self, prior: Prior, now: Instant) -> bool {
        if self.hard_in_row >= HARD_IN_ROW {
            self.hard_in_row = 0;
            return true;
        }
        self.fast.turn(now);
        self.fast.total().attempts >= EJECT_ATTEMPTS
            && self.posterior(prior).below(EJECT_BELOW) > EJECT_CERTAINTY
    }

    /// Any response but 408 and 503 is a sign of life; those two and silence are hard failures.
    fn take_status(
        &mut self,
        status_code: Option<u16>,
        is_unfit: bool,
        now: Instant,
        random: &mut Random,
    ) {
        match status_code {
            None | Some(408 | 503) if is_unfit => {}
            None | Some(408 | 503) => self.machine.on_hard_failure(now, random),
            Some(_) => self.machine.on_sign(Sign::Alive, now),
        }
    }

    /// The last minute, over what the quarter of an hour before it says, over what its carrier does.
    fn posterior(&self, prior: Prior) -> Posterior {
        let past = self.slow.past();
        let own = Posterior::new(past, prior.mean, prior.attempts);
        Posterior::new(self.fast.total() + self.peers, own.mean(), past.attempts)
    }

    /// Everything counted here, for the carrier's prior.
    pub(super) fn counted(&self) -> Counts {
        self.slow.total() + self.peers
    }

    /// Takes over what other nodes have counted in the last minute.
    pub(super) fn set_peers(&mut self, counts: Counts) -> bool {
        std::mem::replace(&mut self.peers, counts) != counts
    }

    /// Returns whether anything that decisions read has changed.
    pub(super) fn let_pass(&mut self, now: Instant, probe_timeout: Duration) -> bool {
        let seen = |entry: &Self| {
            let machine = &entry.machine;
            (machine.reachability(), machine.is_half_open_busy(), machine.ramp())
        };
        let before = seen(self);
        self.machine.on_time(now, self.probe_interval.is_some());
        let is_counted_less = self.fast.turn(now) | self.slow.turn(now);
        let is_usable_again = self.unusable_until.is_some_and(|until| until <= now);
        if is_usable_again {
            self.unusable_until = None;
        }
        // A probe whose end got lost on its way to us.
        if self.probed_at.is_some_and(|at| now - at > 2 * probe_timeout) {
            self.probed_at = None;
        }
        before != seen(self) || is_counted_less || is_usable_again
    }

    pub(super) fn next_look(&self, probe_timeout: Duration) -> Option<Instant> {
        let is_probed = self.probe_interval.is_some();
        let probe = match self.probed_at {
            Some(at) => Some(at + 2 * probe_timeout + Duration::from_millis(1)),
            None => self.next_probe_at(),
        };
        let looks = [
            probe,
            self.machine.next_change(is_probed),
            self.fast.next_change(),
            self.slow.next_change(),
            self.unusable_until,
        ];
        looks.into_iter().flatten().min()
    }

    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        self.probed_at.is_none() && self.next_probe_at().is_some_and(|at| at <= now)
    }

    fn next_probe_at(&self) -> Option<Instant> {
        let next = self.next_probe?;
        Some(self.machine.next_recheck().map_or(next, |recheck| recheck.min(next)))
    }

    pub(super) fn view(&self, target: Target, prior: Prior, now: Instant) -> TargetView {
        let posterior = self.posterior(prior);
        TargetView {
            target,
            reachability: self.machine.reachability(),
            failure_rate: 1.0 - posterior.mean(),
            deviation: posterior.deviation(),
            attempts: (self.fast.total() + self.peers).attempts,
            latency_ms: self.latency_ms,
            ringing_ms: self.ringing_ms,
            ramp: self.machine.ramp(),
            is_ejected: self.machine.is_ejected(),
            is_held: self.machine.is_held(),
            unusable_until: self.unusable_until.filter(|until| *until > now),
            is_half_open_busy: self.machine.is_half_open_busy(),
        }
    }

    pub(super) fn save(&self, target: Target, prior: Prior, now: Instant) -> SavedTarget {
        let unusable_for = self.unusable_until.map(|until| until.saturating_duration_since(now));
        SavedTarget {
            target,
            reachability: self.machine.save(now),
            failure_rate: 1.0 - self.posterior(prior).mean(),
            latency_ms: self.latency_ms,
            ringing_ms: self.ringing_ms,
            unusable_for_ms: unusable_for
                .and_then(|left| u64::try_from(left.as_millis()).ok())
                .unwrap_or_default(),
            buckets: [self.fast.save(), self.slow.save()].concat(),
        }
    }

    pub(super) fn restore(&mut self, saved: &SavedTarget, age: Duration, now: Instant) {
        let (fast, slow) = saved.buckets.split_at(saved.buckets.len().min(self.fast.save().len()));
        self.machine = Machine::restore(saved.reachability, age, now);
        self.fast = Fast::restore(fast, FAST_WIDTH, age, now);
        self.slow = Slow::restore(slow, SLOW_WIDTH, age, now);
        self.latency_ms = saved.latency_ms.filter(|latency| latency.is_finite());
        self.ringing_ms = saved.ringing_ms.filter(|latency| latency.is_finite());
        let left = Duration::from_millis(saved.unusable_for_ms).min(MAX_RETRY_AFTER);
        let left = left.saturating_sub(age);
        self.unusable_until = (!left.is_zero()).then(|| now + left);
    }
}

impl SavedTarget {
    /// What was counted in the last minute of a state that was saved `age` ago.
    pub(super) fn last_minute(&self, age: Duration, now: Instant) -> Counts {
        let fast = &self.buckets[..self.buckets.len().min(12)];
        Fast::restore(fast, FAST_WIDTH, age, now).total()
    }
}

/// Up at once, down slowly: the peak of late counts longest. Never zero.
fn measure(known: &mut Option<f64>, delay: Duration) {
    let measured = (delay.as_secs_f64() * 1_000.0).max(0.01);
    *known = Some(match *known {
        Some(known) if measured < known => known + LATENCY_SHARE * (measured - known),
        _ => measured,
    });
}
