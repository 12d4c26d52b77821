//! The board: the one writer of health. Takes outcomes, says which probes are due, makes views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::entry::{Entry, Prior, SavedTarget};
use super::posterior::{PRIOR_MEAN, Posterior};
use super::streak::Streak;
use super::window::{Counts, SLOW_WIDTH, Slow};
use super::{Evidence, Outcome, Reachability, Resolved, Target, View};
use crate::carrier::{AdminState, CarrierId, ErrorsInRow, Tables};
use crate::random::Random;

/// New targets are first probed within this time.
const FIRST_PROBES_WITHIN: Duration = Duration::from_secs(1);
/// Saved targets that wait for their gateway to appear.
const MAX_RESTORED: usize = 10_000;
/// Carrier and country pairs that are told apart.
const MAX_DESTINATIONS: usize = 10_000;
/// A country whose calls complete this much as well as others is none that a carrier is bad at.
const NOTICED_DESTINATION_FACTOR: f64 = 0.95;
/// A country's factor never takes away more than this leaves.
const MIN_DESTINATION_FACTOR: f64 = 0.05;
/// Carriers that must fail together before a node doubts itself …
const DOUBT_CARRIERS: usize = 3;
/// … and before another node is not believed that says so …
const BLIND_CARRIERS: usize = 2;
/// … and the share of all carriers that they must be.
const DOUBT_SHARE: f64 = 0.8;

/// Numbers and names that an admin sets.
#[derive(Clone, Debug)]
pub struct BoardSettings {
    /// This node's name.
    pub node: Arc<str>,
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

/// What another node last said of a target, and how long ago.
#[derive(Clone, Debug)]
pub struct PeerTarget {
    pub node: Arc<str>,
    pub saved: SavedTarget,
    pub age: Duration,
}

/// Health of all targets. A value: time and randomness (a seed) come from outside.
#[derive(Debug)]
pub struct Board {
    settings: BoardSettings,
    random: Random,
    targets: BTreeMap<Target, Entry>,
    restored: BTreeMap<Target, (SavedTarget, Instant)>,
    /// As of the last view.
    priors: BTreeMap<CarrierId, Prior>,
    destinations: HashMap<(CarrierId, u16), Slow>,
    /// Of each carrier that is in a group.
    streaks: BTreeMap<CarrierId, (ErrorsInRow, Streak)>,
    /// Other nodes that have spoken lately.
    nodes: usize,
    /// Those of them that take their share of the probes, in order.
    peers: Vec<Arc<str>>,
    /// Carriers of which another node says that one of their targets can be used.
    up_elsewhere: BTreeSet<CarrierId>,
    is_unfit: bool,
    /// When which target wants a look: for its probe, or since time changes it.
    agenda: BTreeSet<(Instant, Target)>,
    is_changed: bool,
}

impl Board {
    pub fn new(settings: BoardSettings, seed: u64) -> Self {
        Self {
            settings,
            random: Random::new(seed),
            targets: BTreeMap::new(),
            restored: BTreeMap::new(),
            priors: BTreeMap::new(),
            destinations: HashMap::new(),
            streaks: BTreeMap::new(),
            nodes: 0,
            peers: Vec::new(),
            up_elsewhere: BTreeSet::new(),
            is_unfit: false,
            agenda: BTreeSet::new(),
            is_changed: true,
        }
    }

    /// Takes new tables and the addresses their gateways resolve to now ([`Resolved`], or a [`Target`] where there are
    /// no SRV records). Known targets keep their state.
    pub fn set_targets<T: Copy + Into<Resolved>>(
        &mut self,
        tables: &Tables,
        targets: &[T],
        now: Instant,
    ) {
        let mut old = std::mem::take(&mut self.targets);
        self.agenda.clear();
        for resolved in targets {
            let Resolved { target, srv } = (*resolved).into();
            let Some(gateway) = tables.gateway(target.gateway_id) else { continue };
            let carrier = &gateway.carrier;
            let is_probed = carrier.is_enabled && gateway.admin_state != AdminState::Off;
            let probe_interval = carrier.probe_interval.filter(|_| is_probed);
            let mut entry = match old.remove(&target) {
                Some(entry) => entry,
                None => self.new_entry(target, carrier.id, now),
            };
            entry.carrier_id = carrier.id;
            entry.srv = srv;
            if entry.probe_interval != probe_interval {
                entry.probe_interval = probe_interval;
                let within = probe_interval.map(|interval| interval.min(FIRST_PROBES_WITHIN));
                entry.next_probe =
                    within.map(|within| now + within.mul_f64(self.random.unit_f64()));
            }
            entry.on_agenda = None;
            self.targets.insert(target, entry);
            self.put_on_agenda(target);
        }
        self.destinations.retain(|(carrier_id, _), _| tables.carrier(*carrier_id).is_some());
        let mut streaks = std::mem::take(&mut self.streaks);
        for carrier in tables.carriers() {
            let Some(rule) = carrier.errors_in_row else { continue };
            let streak = streaks.remove(&carrier.id).map(|(_, streak)| streak).unwrap_or_default();
            self.streaks.insert(carrier.id, (rule, streak));
        }
        self.is_changed = true;
    }

    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Instant) {
        let Some(entry) = self.targets.get_mut(&outcome.target) else { return };
        let prior = prior_of(&self.priors, entry.carrier_id);
        // While it is down to every country, calls that were on their way say nothing of one.
        let is_of_country = entry.machine.reachability() != Reachability::Down;
        entry.take(&outcome.evidence, prior, self.is_unfit, now, &mut self.random);
        if is_of_country {
            self.note_destination(outcome, now);
        }
        self.note_errors_in_row(outcome, now);
        self.is_changed = true;
        self.put_on_agenda(outcome.target);
    }

    /// Takes what other nodes have saved in the last seconds; nodes that are silent are none.
    pub fn merge_peers(&mut self, peers: &[PeerTarget], now: Instant) {
        let mut counts: BTreeMap<Target, Counts> = BTreeMap::new();
        let nodes: BTreeSet<Arc<str>> = peers.iter().map(|peer| peer.node.clone()).collect();
        let is_blind = |node: &Arc<str>| self.is_blind(peers, node);
        let (blind, probers): (Vec<_>, Vec<_>) = nodes.iter().cloned().partition(is_blind);
        self.up_elsewhere.clear();
        for peer in peers.iter().filter(|peer| !blind.contains(&peer.node)) {
            let target = peer.saved.target;
            let sum = counts.entry(target).or_default();
            *sum = *sum + peer.saved.last_minute(peer.age, now);
            let Some(entry) = self.targets.get_mut(&target) else { continue };
            if peer.saved.reachability.state == Reachability::Up {
                self.up_elsewhere.insert(entry.carrier_id);
            }
            let before = entry.machine.reachability();
            entry.machine.take_over(&peer.saved.reachability, peer.age, now);
            if entry.machine.reachability() != before {
                self.is_changed = true;
                self.put_on_agenda(target);
            }
        }
        for (target, entry) in &mut self.targets {
            let counts = counts.get(target).copied().unwrap_or_default();
            self.is_changed |= entry.set_peers(counts);
        }
        self.is_changed |= nodes.len() != self.nodes;
        self.nodes = nodes.len();
        self.peers = probers;
        self.doubt();
    }

    /// Whether a node reaches next to nobody: it is cut off, or all is lost. Of carriers it knows nothing.
    fn is_blind(&self, peers: &[PeerTarget], node: &Arc<str>) -> bool {
        let mut failing: BTreeMap<CarrierId, bool> = BTreeMap::new();
        for peer in peers.iter().filter(|peer| peer.node == *node) {
            let Some(entry) = self.targets.get(&peer.saved.target) else { continue };
            let saved = &peer.saved.reachability;
            let is_failing = is_failing(saved.state) && !saved.is_ejected;
            *failing.entry(entry.carrier_id).or_insert(true) &= is_failing;
        }
        let count = failing.values().filter(|is_failing| **is_failing).count();
        count >= BLIND_CARRIERS && count as f64 >= DOUBT_SHARE * failing.len() as f64
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
            let prior = prior_of(&self.priors, entry.carrier_id);
            let probe_timeout = self.settings.probe_timeout;
            if entry.let_pass(prior, self.is_unfit, probe_timeout, now, &mut self.random) {
                self.is_changed = true;
            }
            self.put_on_agenda(target);
        }
    }

    /// The next probe that is due; call until `None`.
    pub fn poll_probe(&mut self, now: Instant) -> Option<ProbeDue> {
        loop {
            let due = |(at, target): &&(Instant, Target)| {
                *at <= now && self.targets.get(target).is_some_and(|entry| entry.is_probe_due(now))
            };
            let (_, target) = *self.agenda.iter().take_while(|(at, _)| *at <= now).find(due)?;
            let is_ours = self.is_prober_of(target);
            let entry = self.targets.get_mut(&target)?;
            let interval = entry.probe_interval?;
            let is_recheck = entry.machine.next_recheck().is_some_and(|at| at <= now);
            entry.machine.on_rechecked();
            // A little uneven, so that probes of many targets do not stay in step.
            let spread = interval.mul_f64(0.95 + 0.1 * self.random.unit_f64());
            entry.next_probe = Some(now + spread);
            let carrier_id = entry.carrier_id;
            // One node asks for all; a suspect is looked at by whoever suspects it.
            let is_sent = is_ours || is_recheck;
            entry.probed_at = is_sent.then_some(now);
            self.put_on_agenda(target);
            if is_sent {
                let timeout = self.settings.probe_timeout.min(interval);
                return Some(ProbeDue { target, carrier_id, timeout });
            }
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// A new view if anything that decisions read has changed since the last one.
    pub fn poll_view(&mut self, now: Instant) -> Option<Arc<View>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        self.priors = self.carrier_priors();
        self.doubt();
        let mut views = Vec::with_capacity(self.targets.len());
        for (target, entry) in &mut self.targets {
            let prior = prior_of(&self.priors, entry.carrier_id);
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
        let mut view = View::new(views).with_destinations(self.destination_factors(now));
        view.is_unfit = self.is_unfit;
        view.nodes = u32::try_from(self.nodes + 1).unwrap_or(u32::MAX);
        Some(Arc::new(view))
    }

    /// Nearly everything fails from here, and other nodes say that it is us.
    pub fn is_unfit(&self) -> bool {
        self.is_unfit
    }

    /// For `gateway_health`: what a restart, or another node, needs.
    pub fn save(&self, now: Instant) -> Vec<SavedTarget> {
        let priors = self.carrier_priors();
        let saved = self
            .targets
            .iter()
            .map(|(target, entry)| entry.save(*target, prior_of(&priors, entry.carrier_id), now));
        saved.collect()
    }

    /// Puts saved state back; `age` = how long ago it was saved. A target that is not in the tables yet is kept for
    /// when it appears; one that has shown itself meanwhile is known better than that.
    pub fn restore(&mut self, saved: Vec<(SavedTarget, Duration)>, now: Instant) {
        for (saved, age) in saved.into_iter().take(MAX_RESTORED) {
            let target = saved.target;
            match self.targets.get_mut(&target) {
                Some(entry) if entry.machine.reachability() == Reachability::Unknown => {
                    entry.restore(&saved, age, now);
                }
                Some(_) => {}
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
        let mut entry = Entry::new(carrier_id, now);
        if let Some((saved, at)) = self.restored.remove(&target) {
            entry.restore(&saved, now.saturating_duration_since(at), now);
        }
        entry
    }

    /// Which of the nodes probes a target: the one whose name hashes highest with it, so that a node
    /// that comes or goes moves only its own share.
    fn is_prober_of(&self, target: Target) -> bool {
        let rank = |node: &str| {
            let key = format!("{node} {} {}", target.gateway_id, target.address);
            (crate::sip::peek::bucket_key(key.as_bytes()), node.to_owned())
        };
        let own = rank(&self.settings.node);
        self.peers.iter().all(|peer| rank(peer) < own)
    }

    /// What all targets of a carrier do together: the prior of each.
    fn carrier_priors(&self) -> BTreeMap<CarrierId, Prior> {
        let mut sums: BTreeMap<CarrierId, Counts> = BTreeMap::new();
        for entry in self.targets.values() {
            let sum = sums.entry(entry.carrier_id).or_default();
            *sum = *sum + entry.counted();
        }
        let prior = |sum: Counts| Prior {
            mean: Posterior::new(sum, PRIOR_MEAN, 0.0).mean(),
            attempts: sum.attempts,
        };
        sums.into_iter().map(|(id, sum)| (id, prior(sum))).collect()
    }

    fn note_destination(&mut self, outcome: &Outcome, now: Instant) {
        let (country, attempts, failures) = match &outcome.evidence {
            Evidence::Attempt { country, class, weight, .. } if class.is_counted() => {
                (country, 1.0, *weight)
            }
            Evidence::Revised { failures, country } => (country, 0.0, *failures),
            Evidence::Attempt { .. }
            | Evidence::Probe { .. }
            | Evidence::Alive
            | Evidence::Doubt { .. }
            | Evidence::Ringing
            | Evidence::Registration { .. }
            | Evidence::AttemptStarted => return,
        };
        let Some(country) = *country else { return };
        let key = (outcome.carrier_id, country);
        if self.destinations.len() >= MAX_DESTINATIONS && !self.destinations.contains_key(&key) {
            return;
        }
        let ring = self.destinations.entry(key).or_insert_with(|| Slow::new(SLOW_WIDTH, now));
        ring.add(attempts, failures.into(), now);
    }

    /// Too many errors of a carrier in a row take all its targets out for a while.
    fn note_errors_in_row(&mut self, outcome: &Outcome, now: Instant) {
        let carrier_id = outcome.carrier_id;
        let Some((rule, streak)) = self.streaks.get_mut(&carrier_id) else { return };
        if self.is_unfit || !streak.take(&outcome.evidence, rule, now) {
            return;
        }
        let hold = rule.hold;
        let of_carrier = |entry: &&mut Entry| entry.carrier_id == carrier_id;
        // Calls that were on their way when it was taken out do not keep it out longer.
        let is_held = |entry: &Entry| entry.carrier_id == carrier_id && entry.machine.is_held();
        if self.targets.values().any(is_held) {
            return;
        }
        for entry in self.targets.values_mut().filter(of_carrier) {
            entry.machine.hold(hold, now);
        }
        let held = self.targets.iter().filter(|(_, entry)| entry.carrier_id == carrier_id);
        let held: Vec<Target> = held.map(|(target, _)| *target).collect();
        held.into_iter().for_each(|target| self.put_on_agenda(target));
    }

    fn destination_factors(&mut self, now: Instant) -> HashMap<(CarrierId, u16), f64> {
        let priors = &self.priors;
        self.destinations.retain(|_, ring| {
            ring.turn(now);
            ring.next_change().is_some()
        });
        let factors = self.destinations.iter().filter_map(|(key, ring)| {
            let prior = prior_of(priors, key.0);
            let here = Posterior::new(ring.total(), prior.mean, prior.attempts).mean();
            let factor = (here / prior.mean).max(MIN_DESTINATION_FACTOR);
            (factor < NOTICED_DESTINATION_FACTOR).then_some((*key, factor))
        });
        factors.collect()
    }

    /// When most carriers fail together and other nodes reach them, the failure is here.
    fn doubt(&mut self) {
        let mut failing: BTreeMap<CarrierId, bool> = BTreeMap::new();
        for entry in self.targets.values() {
            let machine = &entry.machine;
            let is_failing = is_failing(machine.reachability()) && !machine.is_ejected();
            *failing.entry(entry.carrier_id).or_insert(true) &= is_failing;
        }
        let all = failing.len();
        let failing: Vec<CarrierId> =
            failing.into_iter().filter_map(|(id, is_failing)| is_failing.then_some(id)).collect();
        let elsewhere = failing.iter().filter(|id| self.up_elsewhere.contains(id)).count();
        let is_unfit = failing.len() >= DOUBT_CARRIERS
            && failing.len() as f64 >= DOUBT_SHARE * all as f64
            && 2 * elsewhere > failing.len();
        if is_unfit != self.is_unfit {
            self.is_unfit = is_unfit;
            self.is_changed = true;
        }
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

fn is_failing(reachability: Reachability) -> bool {
    match reachability {
        Reachability::Suspect | Reachability::Down => true,
        Reachability::Unknown | Reachability::Up | Reachability::HalfOpen => false,
    }
}

fn prior_of(priors: &BTreeMap<CarrierId, Prior>, carrier_id: CarrierId) -> Prior {
    priors.get(&carrier_id).copied().unwrap_or(Prior { mean: PRIOR_MEAN, attempts: 0.0 })
}
