//! A snapshot of every target's health, for decisions.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::posterior::{PRIOR_MEAN, Posterior};
use super::window::Counts;
use super::{Srv, Target};
use crate::carrier::class::spelled;
use crate::carrier::{CarrierId, GatewayId};
use crate::random::Random;

spelled! {
    /// Whether a target can be reached (ROUTING: `unknown -> up -> suspect -> down -> half_open -> up`).
    Reachability {
        /// Nothing known yet; takes calls.
        Unknown = "unknown",
        Up = "up",
        /// One hard failure: no new call while another target is up.
        Suspect = "suspect",
        /// Takes no call, but in panic.
        Down = "down",
        /// Down, with good probes since: one call at a time.
        HalfOpen = "half_open",
    }
}

/// One target's health at the time the view was made.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    pub target: Target,
    /// Among the targets of its gateway.
    pub srv: Srv,
    pub reachability: Reachability,
    /// Estimated share of attempts that fail by the carrier's fault, prior included; 0.0 to 1.0.
    pub failure_rate: f64,
    /// Standard deviation of that estimate.
    pub deviation: f64,
    /// Attempts of the last minute, other nodes' included.
    pub attempts: f64,
    /// INVITE or OPTIONS to first response, smoothed towards the worst; `None` = never measured.
    pub latency_ms: Option<f64>,
    /// INVITE to ringing, or to an answer without ringing, smoothed alike.
    pub ringing_ms: Option<f64>,
    /// Share of its calls that a target gets that was down lately, 0.0 to 1.0.
    pub ramp: f64,
    /// Down (or half open) though it answers: too many calls failed.
    pub is_ejected: bool,
    /// Down for its carrier's errors in a row.
    pub is_held: bool,
    /// Not to be used before this time (Retry-After).
    pub unusable_until: Option<Instant>,
    /// Half open, and a call is on its way to it.
    pub is_half_open_busy: bool,
    /// We are registered there; calls to its gateway go nowhere else then.
    pub is_registered: bool,
}

impl TargetView {
    /// A target of which nothing is known yet but what is believed of all.
    pub fn unknown(target: Target) -> Self {
        let posterior = Posterior::new(Counts::default(), PRIOR_MEAN, 0.0);
        Self {
            target,
            srv: Srv::default(),
            reachability: Reachability::Unknown,
            failure_rate: 1.0 - posterior.mean(),
            deviation: posterior.deviation(),
            attempts: 0.0,
            latency_ms: None,
            ringing_ms: None,
            ramp: 1.0,
            is_ejected: false,
            is_held: false,
            unusable_until: None,
            is_half_open_busy: false,
            is_registered: false,
        }
    }
}

/// Failure rates are told apart no finer than so, however surely they are known: carriers that are all but alike
/// share the calls, and none is so far from use that nobody knows how it does.
const INDIFFERENCE: f64 = 0.01;
/// Twice the median latency costs this share of a score.
const LATENCY_COST: f64 = 0.1;
/// However slow, a latency costs no more than this many times that share.
const LATENCY_COSTS_MAX: f64 = 5.0;
/// Differences below these are nothing that a caller notices.
const LATENCY_NOTICED_MS: f64 = 100.0;
const RINGING_NOTICED_MS: f64 = 500.0;

/// What a decision reads of every target, ready to be reckoned with and side by side in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glance {
    pub gateway_id: GatewayId,
    /// Estimated share of good attempts, and how far from it a draw may fall.
    pub mean: f64,
    pub spread: f64,
    /// What its latency leaves of a score, 1.0 = all: where nobody notices it.
    pub latency_factor: f64,
    /// No score that is drawn is above this one.
    pub score_max: f64,
    pub srv: Srv,
    /// Unknown or up, and nobody asked to stay away; of any other the whole [`TargetView`] tells.
    pub is_plain: bool,
    /// The same, and the only target of its gateway.
    pub is_simple: bool,
    /// Its carrier has our registration there.
    pub is_registered: bool,
    /// Family of its address.
    pub is_ipv4: bool,
}

/// All targets, by gateway.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Sorted by target.
    targets: Vec<Arc<TargetView>>,
    /// One for each of them.
    glances: Vec<Glance>,
    /// Where a gateway's targets begin and end in that list.
    by_gateway: HashMap<GatewayId, (u32, u32)>,
    /// How much less likely a carrier completes calls to a country than calls in general, below 1.0.
    destinations: HashMap<(CarrierId, u16), f64>,
    /// Of all targets that were measured.
    median_latency_ms: Option<f64>,
    median_ringing_ms: Option<f64>,
    /// Nearly everything fails from here, and not from elsewhere: it is us.
    pub is_unfit: bool,
    /// Nodes that share the limits of carriers and gateways, this one included; 0 counts as 1.
    pub nodes: u32,
}

impl View {
    pub fn new(mut targets: Vec<Arc<TargetView>>) -> Self {
        targets.sort_by_key(|view| view.target);
        let median_latency_ms = median(targets.iter().filter_map(|view| view.latency_ms));
        let median_ringing_ms = median(targets.iter().filter_map(|view| view.ringing_ms));
        let mut by_gateway: HashMap<GatewayId, (u32, u32)> = HashMap::with_capacity(targets.len());
        for (index, view) in (0..).zip(&targets) {
            let range = by_gateway.entry(view.target.gateway_id).or_insert((index, index));
            range.1 = index + 1;
        }
        Self { targets, by_gateway, ..Self::default() }
            .with_medians(median_latency_ms, median_ringing_ms)
    }

    /// Compares latencies to other medians than those of its own targets.
    pub fn with_medians(mut self, latency_ms: Option<f64>, ringing_ms: Option<f64>) -> Self {
        self.median_latency_ms = latency_ms;
        self.median_ringing_ms = ringing_ms;
        self.glances = self.targets.iter().map(|view| self.glance(view)).collect();
        for at in 0..self.glances.len() {
            let own = self.glances[at].gateway_id;
            let is_own = |at: Option<usize>| {
                at.and_then(|at| self.glances.get(at)).is_some_and(|it| it.gateway_id == own)
            };
            let is_alone = !is_own(at.checked_sub(1)) && !is_own(Some(at + 1));
            self.glances[at].is_simple &= is_alone;
        }
        self
    }

    pub fn median_latency_ms(&self) -> Option<f64> {
        self.median_latency_ms
    }

    pub fn median_ringing_ms(&self) -> Option<f64> {
        self.median_ringing_ms
    }

    /// Adds what is known of carriers and countries.
    pub fn with_destinations(mut self, destinations: HashMap<(CarrierId, u16), f64>) -> Self {
        self.destinations = destinations;
        self
    }

    /// What [`with_destinations`](Self::with_destinations) was given.
    pub fn destinations(&self) -> &HashMap<(CarrierId, u16), f64> {
        &self.destinations
    }

    /// 1.0 where a carrier completes calls to a country as it does others, less where it does not.
    pub fn destination_factor(&self, carrier_id: CarrierId, country: Option<u16>) -> f64 {
        let Some(country) = country.filter(|_| !self.destinations.is_empty()) else { return 1.0 };
        self.destinations.get(&(carrier_id, country)).copied().unwrap_or(1.0)
    }

    /// The targets of a gateway, by address; empty while its name is not resolved.
    pub fn targets_of(&self, gateway_id: GatewayId) -> &[Arc<TargetView>] {
        &self.targets[self.places_of(gateway_id, usize::MAX)]
    }

    pub fn target(&self, target: Target) -> Option<&Arc<TargetView>> {
        let at = self.targets.binary_search_by_key(&target, |view| view.target).ok()?;
        Some(&self.targets[at])
    }

    pub fn targets(&self) -> &[Arc<TargetView>] {
        &self.targets
    }

    /// A glance at each of [`targets`](Self::targets).
    pub fn glances(&self) -> &[Glance] {
        &self.glances
    }

    /// Where a gateway's targets stand among [`targets`](Self::targets). `near` is where those of another gateway end,
    /// 0, or nowhere: for gateways in the order of their ids that saves a search.
    #[inline]
    pub fn places_of(&self, gateway_id: GatewayId, near: usize) -> Range<usize> {
        let is_own = |place: usize| {
            self.glances.get(place).is_some_and(|glance| glance.gateway_id == gateway_id)
        };
        if is_own(near) {
            let mut end = near + 1;
            while is_own(end) {
                end += 1;
            }
            return near..end;
        }
        let (from, to) = self.by_gateway.get(&gateway_id).copied().unwrap_or_default();
        from as usize..to as usize
    }

    fn glance(&self, view: &TargetView) -> Glance {
        let mean = 1.0 - view.failure_rate;
        // What is little known is drawn more widely.
        let spread = view.deviation.hypot(INDIFFERENCE);
        let latency_factor = self.latency_factor(view);
        let is_plain = match view.reachability {
            Reachability::Unknown | Reachability::Up => view.unusable_until.is_none(),
            Reachability::Suspect | Reachability::Down | Reachability::HalfOpen => false,
        };
        Glance {
            gateway_id: view.target.gateway_id,
            is_registered: view.is_registered,
            is_ipv4: view.target.address.is_ipv4(),
            srv: view.srv,
            is_plain,
            // With the others before it: see `with_medians`.
            is_simple: is_plain,
            mean,
            spread,
            latency_factor,
            score_max: (mean + spread * Random::NORMAL_MAX) * latency_factor,
        }
    }

    fn latency_factor(&self, view: &TargetView) -> f64 {
        let slower = |own: Option<f64>, median: Option<f64>, noticed_ms: f64| match (own, median) {
            (Some(own), Some(median)) if own > median + noticed_ms => own / median - 1.0,
            _ => 0.0,
        };
        let latency = slower(view.latency_ms, self.median_latency_ms, LATENCY_NOTICED_MS);
        let ringing = slower(view.ringing_ms, self.median_ringing_ms, RINGING_NOTICED_MS);
        1.0 / (1.0 + LATENCY_COST * latency.max(ringing).min(LATENCY_COSTS_MAX))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    let (_, median, _) =
        (!values.is_empty()).then(|| values.select_nth_unstable_by(middle, f64::total_cmp))?;
    Some(*median)
}
