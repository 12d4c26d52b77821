//! All that is known of one target.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::posterior::{PRIOR_MEAN, Posterior};
use super::reachability::{Machine, SavedReachability, Sign, jittered};
use super::window::{Counts, FAST_WIDTH, Fast, Latest, SLOW_WIDTH, Slow};
use super::{Evidence, Reachability, Srv, Target, TargetView};
use crate::carrier::{CarrierId, Class};
use crate::random::Random;

/// Longest Retry-After that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// How fast a latency comes down again: the least share that a new, lower measure has …
const LATENCY_SHARE: f64 = 0.2;
/// … which grows with the time that has passed since the last one, as old measures lose their weight.
const LATENCY_FADES: Duration = Duration::from_secs(5);
/// Whoever is surely below this share of good attempts is ejected …
const EJECT_BELOW: f64 = 0.80;
/// … so surely …
const EJECT_CERTAINTY: f64 = 0.95;
/// … and after so many attempts in the last minute, or of the last 32.
const EJECT_ATTEMPTS: f64 = 8.0;
/// Or after so many hard failures in a row …
const HARD_IN_ROW: u32 = 3;
/// … within this time.
const HARD_WITHIN: Duration = Duration::from_secs(10);
/// A refusal is believed to be the carrier's fault once no other carrier has refused the call alike for so long.
const CONTRADICTED_WITHIN: Duration = Duration::from_millis(300);
/// Refusals that wait for that at most.
const MAX_REFUSALS: usize = 32;
/// How long the slow counts remember.
const AFRESH_FOR: Duration = Duration::from_secs(900);
/// Attempts of the last minute that the word of other nodes counts for at most, our own included.
const PEER_ATTEMPTS: f64 = 20.0;

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
    pub(super) srv: Srv,
    /// `None` where the carrier, or the gateway's admin state, wants no probes.
    pub(super) probe_interval: Option<Duration>,
    pub(super) next_probe: Option<Instant>,
    /// A probe is on its way.
    pub(super) probed_at: Option<Instant>,
    pub(super) machine: Machine,
    fast: Fast,
    slow: Slow,
    latest: Latest,
    /// Until when the slow counts speak of a time before it was down.
    afresh_until: Option<Instant>,
    /// The same of other nodes, as they told it last.
    peers: Counts,
    hard_in_row: u32,
    first_hard: Option<Instant>,
    /// Refusals that another carrier may still take the blame from, the oldest first.
    refusals: VecDeque<Refusal>,
    latency: Option<Measured>,
    ringing: Option<Measured>,
    unusable_until: Option<Instant>,
    is_registered: bool,
    pub(super) on_agenda: Option<Instant>,
    pub(super) view: Option<Arc<TargetView>>,
}

/// When a carrier refused a call, and whether by a code that says that it cannot take any.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    at: Instant,
    is_unreachable: bool,
}

/// A smoothed delay, and when it was measured last.
#[derive(Clone, Copy, Debug)]
struct Measured {
    ms: f64,
    at: Instant,
}

impl Entry {
    pub(super) fn new(carrier_id: CarrierId, now: Instant) -> Self {
        Self {
            carrier_id,
            srv: Srv::default(),
            probe_interval: None,
            next_probe: None,
            probed_at: None,
            machine: Machine::new(now),
            fast: Fast::new(FAST_WIDTH, now),
            slow: Slow::new(SLOW_WIDTH, now),
            latest: Latest::default(),
            afresh_until: None,
            peers: Counts::default(),
            hard_in_row: 0,
            first_hard: None,
            refusals: VecDeque::new(),
            latency: None,
            ringing: None,
            unusable_until: None,
            is_registered: false,
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
        let before = self.machine.reachability();
        match evidence {
            Evidence::Probe { status_code, delay } => {
                self.probed_at = None;
                self.take_status(*status_code, is_unfit, now, random);
                if status_code.is_some() {
                    measure(&mut self.latency, *delay, now);
                }
            }
            Evidence::Alive => self.machine.on_sign(Sign::Alive, now),
            // Without probes nothing but its calls could clear it again, and they will tell anyway.
            Evidence::Doubt { waited } if !is_unfit && self.probe_interval.is_some() => {
                self.machine.on_doubt(*waited, now);
            }
            Evidence::Doubt { .. } => {}
            Evidence::Ringing => {
                self.machine.on_trial_over();
                self.hard_in_row = 0;
                self.machine.on_sign(Sign::GoodCall, now);
            }
            // A registrar may live while calls fail: that says nothing of whether it can be reached.
            Evidence::Registration { is_registered } => self.is_registered = *is_registered,
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
                    measure(&mut self.latency, *delay, now);
                }
                if let Some(delay) = ringing_delay {
                    measure(&mut self.ringing, *delay, now);
                }
                self.take_attempt(*class, *weight, *status_code, is_unfit, now, random);
                if let Some(retry_after) = retry_after.filter(|_| *status_code == Some(503)) {
                    let pause = jittered(retry_after.min(MAX_RETRY_AFTER), random);
                    self.unusable_until = Some(now + pause);
                }
            }
            Evidence::Revised { failures, .. } => {
                self.revise((*failures).into(), is_unfit, now, random)
            }
        }
        self.judge(prior, is_unfit, now, random);
        self.start_afresh_if_down(before, now);
    }

    /// Condemns who is too bad.
    fn judge(&mut self, prior: Prior, is_unfit: bool, now: Instant, random: &mut Random) {
        if !is_unfit && self.is_too_bad(prior, now) {
            self.machine.eject(now, random);
        }
    }

    /// What comes after the pause is judged by itself.
    fn start_afresh_if_down(&mut self, before: Reachability, now: Instant) {
        let is_down = self.machine.reachability() == Reachability::Down;
        if is_down && before != Reachability::Down {
            self.fast.clear();
            self.latest.clear();
            self.afresh_until = Some(now + AFRESH_FOR);
            self.refusals.clear();
            self.hard_in_row = 0;
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
        let is_half_open = self.machine.reachability() == Reachability::HalfOpen;
        match class {
            Class::Destination if is_denial(status_code) => {
                // It did its work, unless another carrier reaches the number: no proof of anything yet.
                self.count(1.0, 0.0, now);
                self.machine.on_sign(Sign::Alive, now);
            }
            Class::Answered | Class::Destination => {
                self.count(1.0, 0.0, now);
                self.hard_in_row = 0;
                self.machine.on_sign(Sign::GoodCall, now);
            }
            // Beyond the budget of a call nobody is to blame: weight 0 moves nothing.
            Class::CarrierHard if weight > 0.0 => {
                self.count(1.0, weight.into(), now);
                match status_code {
                    None => {
                        self.note_hard(now);
                        self.take_status(None, is_unfit, now, random);
                    }
                    Some(_) if is_half_open => self.machine.on_hard_failure(now, random),
                    Some(code) => self.note_refusal(code, is_unfit, now, random),
                }
            }
            Class::CarrierSoft => {
                self.count(1.0, weight.into(), now);
                if is_half_open {
                    self.machine.on_hard_failure(now, random);
                }
            }
            Class::CarrierHard
            | Class::Capacity
            | Class::Config
            | Class::PolicyBlock
            | Class::Caller => {}
        }
    }

    /// A later attempt of the call has shown an earlier one in another light.
    fn revise(&mut self, failures: f64, is_unfit: bool, now: Instant, random: &mut Random) {
        self.count(0.0, failures, now);
        if failures > 0.0 {
            // It failed the call that it was tried with.
            if self.machine.reachability() == Reachability::HalfOpen && !is_unfit {
                self.machine.on_hard_failure(now, random);
            }
        } else if self.refusals.pop_front().is_none() {
            self.hard_in_row = self.hard_in_row.saturating_sub(1);
        }
    }

    /// It refused a call. Where the number is bad, the next carrier says so in a moment.
    fn note_refusal(&mut self, code: u16, is_unfit: bool, now: Instant, random: &mut Random) {
        let is_unreachable = matches!(code, 408 | 503);
        if !is_unreachable {
            self.machine.on_sign(Sign::Alive, now);
        }
        self.refusals.push_back(Refusal { at: now, is_unreachable });
        if self.refusals.len() > MAX_REFUSALS
            && let Some(oldest) = self.refusals.pop_front()
        {
            self.believe(oldest, is_unfit, now, random);
        }
    }

    fn believe(&mut self, refusal: Refusal, is_unfit: bool, now: Instant, random: &mut Random) {
        self.note_hard(refusal.at);
        if refusal.is_unreachable && !is_unfit {
            self.machine.on_hard_failure(now, random);
        }
    }

    /// Believes the refusals that nobody has contradicted.
    fn believe_refusals(&mut self, is_unfit: bool, now: Instant, random: &mut Random) {
        while let Some(oldest) = self.refusals.front().copied() {
            if oldest.at + CONTRADICTED_WITHIN > now {
                return;
            }
            self.refusals.pop_front();
            self.believe(oldest, is_unfit, now, random);
        }
    }

    /// What panic tries while it is down is no news of it.
    fn count(&mut self, attempts: f64, failures: f64, now: Instant) {
        if self.machine.reachability() == Reachability::Down {
            return;
        }
        self.fast.add(attempts, failures, now);
        self.slow.add(attempts, failures, now);
        match attempts > 0.0 {
            true => self.latest.add(failures, now),
            false => self.latest.revise(failures),
        }
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
        let is_bad = |posterior: Posterior| posterior.below(EJECT_BELOW) > EJECT_CERTAINTY;
        let latest = self.latest.total(now);
        // What went before says little where something has just broken: the weakest prior.
        if latest.attempts >= EJECT_ATTEMPTS && is_bad(Posterior::new(latest, prior.mean, 0.0)) {
            return true;
        }
        self.fast.turn(now);
        self.fast.total().attempts >= EJECT_ATTEMPTS && is_bad(self.posterior(prior))
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

    /// The last minute, over what the quarter of an hour before it says, over what its carrier does. Of a target that
    /// has been down since, the past says nothing: it has paid for it.
    fn posterior(&self, prior: Prior) -> Posterior {
        if self.afresh_until.is_some() {
            return Posterior::new(self.fast.total(), PRIOR_MEAN, 0.0);
        }
        let past = self.slow.past();
        let own = Posterior::new(past, prior.mean, prior.attempts);
        Posterior::new(self.fast.total() + self.believed_of_peers(), own.mean(), past.attempts)
    }

    /// Other nodes' word fills up what we have not seen ourselves: their way to the target is not ours.
    fn believed_of_peers(&self) -> Counts {
        let missing = (PEER_ATTEMPTS - self.fast.total().attempts).max(0.0);
        let share = (missing / self.peers.attempts.max(1.0)).min(1.0);
        Counts { attempts: share * self.peers.attempts, failures: share * self.peers.failures }
    }

    /// Everything counted here, for the carrier's prior.
    pub(super) fn counted(&self) -> Counts {
        self.slow.total() + self.believed_of_peers()
    }

    /// Takes over what other nodes have counted in the last minute.
    pub(super) fn set_peers(&mut self, counts: Counts) -> bool {
        std::mem::replace(&mut self.peers, counts) != counts
    }

    /// Returns whether anything that decisions read has changed.
    pub(super) fn let_pass(
        &mut self,
        prior: Prior,
        is_unfit: bool,
        probe_timeout: Duration,
        now: Instant,
        random: &mut Random,
    ) -> bool {
        let seen = |entry: &Self| {
            let machine = &entry.machine;
            (machine.reachability(), machine.is_half_open_busy(), machine.ramp())
        };
        let before = seen(self);
        self.machine.on_time(now, self.probe_interval.is_some());
        self.believe_refusals(is_unfit, now, random);
        self.judge(prior, is_unfit, now, random);
        self.start_afresh_if_down(before.0, now);
        let is_counted_less = self.fast.turn(now) | self.slow.turn(now);
        self.afresh_until = self.afresh_until.filter(|until| *until > now);
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
            self.refusals.front().map(|oldest| oldest.at + CONTRADICTED_WITHIN),
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
            srv: self.srv,
            reachability: self.machine.reachability(),
            failure_rate: 1.0 - posterior.mean(),
            deviation: posterior.deviation(),
            attempts: (self.fast.total() + self.peers).attempts,
            latency_ms: self.latency.map(|measured| measured.ms),
            ringing_ms: self.ringing.map(|measured| measured.ms),
            ramp: self.machine.ramp(),
            is_ejected: self.machine.is_ejected(),
            is_held: self.machine.is_held(),
            unusable_until: self.unusable_until.filter(|until| *until > now),
            is_half_open_busy: self.machine.is_half_open_busy(),
            is_registered: self.is_registered,
        }
    }

    pub(super) fn save(&self, target: Target, prior: Prior, now: Instant) -> SavedTarget {
        let unusable_for = self.unusable_until.map(|until| until.saturating_duration_since(now));
        SavedTarget {
            target,
            reachability: self.machine.save(now),
            failure_rate: 1.0 - self.posterior(prior).mean(),
            latency_ms: self.latency.map(|measured| measured.ms),
            ringing_ms: self.ringing.map(|measured| measured.ms),
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
        let measured = |ms: f64| ms.is_finite().then_some(Measured { ms, at: now });
        self.latency = saved.latency_ms.and_then(measured);
        self.ringing = saved.ringing_ms.and_then(measured);
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

/// The number does not exist, says the carrier.
fn is_denial(status_code: Option<u16>) -> bool {
    matches!(status_code, Some(404 | 410 | 484 | 604))
}

/// Up at once, down slowly: the peak of late counts longest. Never zero.
fn measure(known: &mut Option<Measured>, delay: Duration, now: Instant) {
    let measured = (delay.as_secs_f64() * 1_000.0).max(0.01);
    let ms = match *known {
        Some(known) if measured < known.ms => {
            let passed = now.saturating_duration_since(known.at).as_secs_f64();
            let faded = 1.0 - (-passed / LATENCY_FADES.as_secs_f64()).exp();
            known.ms + faded.max(LATENCY_SHARE) * (measured - known.ms)
        }
        _ => measured,
    };
    *known = Some(Measured { ms, at: now });
}
