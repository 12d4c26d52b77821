//! The board: the one writer of health. Takes outcomes, says which probes are due, makes views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::reachability::{Machine, SavedReachability, jittered};
use super::window::{Counts, Window};
use super::{Evidence, Outcome, Target, TargetView, View};
use crate::carrier::{AdminState, CarrierId, Class, Tables};
use crate::random::Random;

/// Longest Retry-After that is honoured.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Weighted attempts that the prior counts for.
const PRIOR_ATTEMPTS: f64 = 4.0;
/// Failure rate of a carrier of which nothing is known.
const PRIOR_FAILURE_RATE: f64 = 0.02;
/// New targets are first probed within this time.
const FIRST_PROBES_WITHIN: Duration = Duration::from_secs(1);
/// How fast a latency comes down again: the share that a new, lower measure has.
const LATENCY_SHARE: f64 = 0.2;
/// Saved targets that wait for their gateway to appear.
const MAX_RESTORED: usize = 10_000;

/// Numbers that an admin sets.
#[derive(Clone, Debug)]
pub struct BoardSettings {
    /// How long a probe waits for a response.
    pub probe_timeout: Duration,
}

/// A probe that is to be sent now.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeDue {
    pub target: Target,
    pub carrier_id: CarrierId,
    /// How long it may take.
    pub timeout: Duration,
}

/// A target's state as `gateway_health` keeps it; times are ages, so that no clock is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTarget {
    pub target: Target,
    #[serde(flatten)]
    pub reachability: SavedReachability,
    pub failure_rate: f64,
    pub latency_ms: Option<f64>,
    pub unusable_for_ms: u64,
    /// The newest first, five seconds each.
    pub buckets: Vec<Counts>,
}

/// Health of all targets. A value: time and randomness (a seed) come from outside.
#[derive(Debug)]
pub struct Board {
    settings: BoardSettings,
    random: Random,
    targets: BTreeMap<Target, Entry>,
    restored: BTreeMap<Target, (SavedTarget, Instant)>,
    /// When which target wants a look: for its probe, or since time changes it.
    agenda: BTreeSet<(Instant, Target)>,
    is_changed: bool,
}

#[derive(Debug)]
struct Entry {
    carrier_id: CarrierId,
    /// `None` where the carrier, or the gateway's admin state, wants no probes.
    probe_interval: Option<Duration>,
    next_probe: Option<Instant>,
    /// A probe is on its way.
    probed_at: Option<Instant>,
    machine: Machine,
    window: Window,
    latency_ms: Option<f64>,
    unusable_until: Option<Instant>,
    on_agenda: Option<Instant>,
    view: Option<Arc<TargetView>>,
}

impl Board {
    pub fn new(settings: BoardSettings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            targets: BTreeMap::new(),
            restored: BTreeMap::new(),
            agenda: BTreeSet::new(),
            is_changed: true,
        }
    }

    /// Takes new tables and the addresses their gateways resolve to now. Known targets keep their state.
    pub fn set_targets(&mut self, tables: &Tables, targets: &[Target], now: Instant) {
        let mut old = std::mem::take(&mut self.targets);
        self.agenda.clear();
        for target in targets {
            let Some(gateway) = tables.gateway(target.gateway_id) else { continue };
            let Some(carrier) = tables.carrier(gateway.carrier_id) else { continue };
            let is_probed = carrier.is_enabled && gateway.admin_state != AdminState::Off;
            let probe_interval = carrier.probe_interval.filter(|_| is_probed);
            let mut entry = match old.remove(target) {
                Some(entry) => entry,
                None => self.new_entry(*target, carrier.id, now),
            };
            entry.carrier_id = carrier.id;
            if entry.probe_interval != probe_interval {
                entry.probe_interval = probe_interval;
                let within = probe_interval.map(|interval| interval.min(FIRST_PROBES_WITHIN));
                entry.next_probe =
                    within.map(|within| now + within.mul_f64(self.random.unit_f64()));
            }
            entry.on_agenda = None;
            self.targets.insert(*target, entry);
            self.put_on_agenda(*target);
        }
        self.is_changed = true;
    }

    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Instant) {
        let Some(entry) = self.targets.get_mut(&outcome.target) else { return };
        entry.take(outcome, now, &mut self.random);
        self.is_changed = true;
        self.put_on_agenda(outcome.target);
    }

    /// Lets time pass: pauses end, counts grow old. Call at [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Instant) {
        let due: Vec<Target> = self
            .agenda
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, target)| *target)
            .collect();
        for target in due {
            let Some(entry) = self.targets.get_mut(&target) else { continue };
            if entry.let_pass(now, self.settings.probe_timeout) {
                self.is_changed = true;
            }
            self.put_on_agenda(target);
        }
    }

    /// The next probe that is due; call until `None`.
    pub fn poll_probe(&mut self, now: Instant) -> Option<ProbeDue> {
        let due = |(at, target): &&(Instant, Target)| {
            *at <= now && self.targets.get(target).is_some_and(|entry| entry.is_probe_due(now))
        };
        let (_, target) = *self.agenda.iter().take_while(|(at, _)| *at <= now).find(due)?;
        let entry = self.targets.get_mut(&target)?;
        let interval = entry.probe_interval?;
        entry.probed_at = Some(now);
        entry.machine.on_rechecked();
        // A little uneven, so that probes of many targets do not stay in step.
        let spread = interval.mul_f64(0.95 + 0.1 * self.random.unit_f64());
        entry.next_probe = Some(now + spread);
        let carrier_id = entry.carrier_id;
        self.put_on_agenda(target);
        Some(ProbeDue { target, carrier_id, timeout: self.settings.probe_timeout.min(interval) })
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A new view if anything that decisions read has changed since the last one.
    pub fn poll_view(&mut self, now: Instant) -> Option<Arc<View>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let rates = self.carrier_rates();
        let mut views = Vec::with_capacity(self.targets.len());
        for (target, entry) in &mut self.targets {
            let prior = rates.get(&entry.carrier_id).copied().unwrap_or(PRIOR_FAILURE_RATE);
            let fresh = entry.view(*target, prior, now);
            match &entry.view {
                Some(view) if **view == fresh => views.push(view.clone()),
                _ => {
                    let view = Arc::new(fresh);
                    entry.view = Some(view.clone());
                    views.push(view);
                }
            }
        }
        Some(Arc::new(View::new(views)))
    }

    /// For `gateway_health`: what a restart needs.
    pub fn save(&self, now: Instant) -> Vec<SavedTarget> {
        let rates = self.carrier_rates();
        let saved = self.targets.iter().map(|(target, entry)| {
            let prior = rates.get(&entry.carrier_id).copied().unwrap_or(PRIOR_FAILURE_RATE);
            entry.save(*target, prior, now)
        });
        saved.collect()
    }

    /// Puts saved state back; `age` = how long ago it was saved. Unknown targets are kept for when they appear.
    pub fn restore(&mut self, saved: Vec<(SavedTarget, Duration)>, now: Instant) {
        for (saved, age) in saved.into_iter().take(MAX_RESTORED) {
            let target = saved.target;
            match self.targets.get_mut(&target) {
                Some(entry) => entry.restore(&saved, age, now),
                None => {
                    let at = now.checked_sub(age).unwrap_or(now);
                    self.restored.insert(target, (saved, at));
                }
            }
            self.put_on_agenda(target);
        }
        self.is_changed = true;
    }

    fn new_entry(&mut self, target: Target, carrier_id: CarrierId, now: Instant) -> Entry {
        let mut entry = Entry {
            carrier_id,
            probe_interval: None,
            next_probe: None,
            probed_at: None,
            machine: Machine::new(),
            window: Window::new(now),
            latency_ms: None,
            unusable_until: None,
            on_agenda: None,
            view: None,
        };
        if let Some((saved, at)) = self.restored.remove(&target) {
            entry.restore(&saved, now.saturating_duration_since(at), now);
        }
        entry
    }

    /// What all targets of a carrier do together: the prior of each.
    fn carrier_rates(&self) -> BTreeMap<CarrierId, f64> {
        let mut sums: BTreeMap<CarrierId, Counts> = BTreeMap::new();
        for entry in self.targets.values() {
            let total = entry.window.total();
            let sum = sums.entry(entry.carrier_id).or_default();
            sum.attempts += total.attempts;
            sum.failures += total.failures;
        }
        sums.into_iter().map(|(id, sum)| (id, rate(sum, PRIOR_FAILURE_RATE))).collect()
    }

    fn put_on_agenda(&mut self, target: Target) {
        let Some(entry) = self.targets.get_mut(&target) else { return };
        let wanted = entry.next_look(self.settings.probe_timeout);
        if entry.on_agenda == wanted {
            return;
        }
        if let Some(at) = entry.on_agenda {
            self.agenda.remove(&(at, target));
        }
        if let Some(at) = wanted {
            self.agenda.insert((at, target));
        }
        entry.on_agenda = wanted;
    }
}

impl Entry {
    fn take(&mut self, outcome: &Outcome, now: Instant, random: &mut Random) {
        match &outcome.evidence {
            Evidence::Probe { status_code, delay } => {
                self.probed_at = None;
                self.take_sign(*status_code, now, random);
                if status_code.is_some() {
                    self.measure(*delay);
                }
            }
            Evidence::Alive => self.machine.on_sign(now),
            Evidence::AttemptStarted => self.machine.on_trial(now),
            Evidence::Attempt { class, weight, status_code, retry_after, trying_delay, .. } => {
                self.machine.on_trial_over();
                self.take_attempt(*class, *weight, *status_code, now, random);
                if let Some(delay) = trying_delay {
                    self.measure(*delay);
                }
                if let Some(retry_after) = retry_after.filter(|_| *status_code == Some(503)) {
                    let pause = jittered(retry_after.min(MAX_RETRY_AFTER), random);
                    self.unusable_until = Some(now + pause);
                }
            }
        }
    }

    fn take_attempt(
        &mut self,
        class: Class,
        weight: f32,
        status_code: Option<u16>,
        now: Instant,
        random: &mut Random,
    ) {
        match class {
            Class::Answered | Class::Destination => {
                self.window.add(1.0, 0.0, now);
                self.machine.on_sign(now);
            }
            Class::CarrierHard => {
                self.window.add(1.0, weight.into(), now);
                // Beyond the budget of a call nobody is to blame: weight 0 moves nothing.
                if weight > 0.0 {
                    self.take_sign(status_code, now, random);
                }
            }
            Class::CarrierSoft => self.window.add(1.0, weight.into(), now),
            Class::Capacity | Class::Config | Class::PolicyBlock | Class::Caller => {}
        }
    }

    /// Any response but 408 and 503 is a sign of life; those two and silence are hard failures.
    fn take_sign(&mut self, status_code: Option<u16>, now: Instant, random: &mut Random) {
        match status_code {
            None | Some(408 | 503) => self.machine.on_hard_failure(now, random),
            Some(_) => self.machine.on_sign(now),
        }
    }

    /// Up at once, down slowly: the peak of late counts longest.
    fn measure(&mut self, delay: Duration) {
        let measured = (delay.as_secs_f64() * 1_000.0).max(0.01);
        self.latency_ms = Some(match self.latency_ms {
            Some(known) if measured < known => known + LATENCY_SHARE * (measured - known),
            _ => measured,
        });
    }

    /// Returns whether anything that decisions read has changed.
    fn let_pass(&mut self, now: Instant, probe_timeout: Duration) -> bool {
        let before = (self.machine.reachability(), self.machine.is_half_open_busy());
        self.machine.on_time(now, self.probe_interval.is_some());
        let is_counted_less = self.window.turn(now);
        let is_usable_again = self.unusable_until.is_some_and(|until| until <= now);
        if is_usable_again {
            self.unusable_until = None;
        }
        // A probe whose end got lost on its way to us.
        if self.probed_at.is_some_and(|at| now - at > 2 * probe_timeout) {
            self.probed_at = None;
        }
        let after = (self.machine.reachability(), self.machine.is_half_open_busy());
        before != after || is_counted_less || is_usable_again
    }

    fn next_look(&self, probe_timeout: Duration) -> Option<Instant> {
        let is_probed = self.probe_interval.is_some();
        let probe = match self.probed_at {
            Some(at) => Some(at + 2 * probe_timeout + Duration::from_millis(1)),
            None => self.next_probe_at(),
        };
        let looks = [
            probe,
            self.machine.next_change(is_probed),
            self.window.next_change(),
            self.unusable_until,
        ];
        looks.into_iter().flatten().min()
    }

    fn is_probe_due(&self, now: Instant) -> bool {
        self.probed_at.is_none() && self.next_probe_at().is_some_and(|at| at <= now)
    }

    fn next_probe_at(&self) -> Option<Instant> {
        let next = self.next_probe?;
        Some(self.machine.next_recheck().map_or(next, |recheck| recheck.min(next)))
    }

    fn view(&self, target: Target, prior: f64, now: Instant) -> TargetView {
        let total = self.window.total();
        TargetView {
            target,
            reachability: self.machine.reachability(),
            failure_rate: rate(total, prior),
            samples: total.attempts,
            latency_ms: self.latency_ms,
            unusable_until: self.unusable_until.filter(|until| *until > now),
            is_half_open_busy: self.machine.is_half_open_busy(),
        }
    }

    fn save(&self, target: Target, prior: f64, now: Instant) -> SavedTarget {
        let unusable_for = self.unusable_until.map(|until| until.saturating_duration_since(now));
        SavedTarget {
            target,
            reachability: self.machine.save(now),
            failure_rate: rate(self.window.total(), prior),
            latency_ms: self.latency_ms,
            unusable_for_ms: unusable_for
                .and_then(|left| u64::try_from(left.as_millis()).ok())
                .unwrap_or_default(),
            buckets: self.window.save(),
        }
    }

    fn restore(&mut self, saved: &SavedTarget, age: Duration, now: Instant) {
        self.machine = Machine::restore(saved.reachability, age, now);
        self.window = Window::restore(&saved.buckets, age, now);
        self.latency_ms = saved.latency_ms.filter(|latency| latency.is_finite());
        let left = Duration::from_millis(saved.unusable_for_ms).min(MAX_RETRY_AFTER);
        let left = left.saturating_sub(age);
        self.unusable_until = (!left.is_zero()).then(|| now + left);
    }
}

/// Share of failures, with a prior that few attempts do not outweigh.
fn rate(counts: Counts, prior: f64) -> f64 {
    (counts.failures + PRIOR_ATTEMPTS * prior) / (counts.attempts + PRIOR_ATTEMPTS)
}
