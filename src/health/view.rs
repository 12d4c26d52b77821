//! A snapshot of every target's health, for decisions.

use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;

use super::posterior::{PRIOR_MEAN, Posterior};
use super::window::Counts;
use super::{Srv, Target};
use crate::carrier::class::spelled;
use crate::carrier::{CarrierId, GatewayId};

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

/// All targets, by gateway.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Sorted by target.
    targets: Vec<Arc<TargetView>>,
    /// Where a gateway's targets begin and end in that list.
    by_gateway: HashMap<GatewayId, (u32, u32)>,
    /// How much less likely a carrier completes calls to a country than calls in general, below 1.0.
    destinations: HashMap<(CarrierId, u16), f64>,
    /// Of all targets that were measured.
    pub median_latency_ms: Option<f64>,
    pub median_ringing_ms: Option<f64>,
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
        Self { targets, by_gateway, median_latency_ms, median_ringing_ms, ..Self::default() }
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
        let (from, to) = self.by_gateway.get(&gateway_id).copied().unwrap_or_default();
        &self.targets[from as usize..to as usize]
    }

    pub fn target(&self, target: Target) -> Option<&Arc<TargetView>> {
        let at = self.targets.binary_search_by_key(&target, |view| view.target).ok()?;
        Some(&self.targets[at])
    }

    pub fn targets(&self) -> &[Arc<TargetView>] {
        &self.targets
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    let (_, median, _) =
        (!values.is_empty()).then(|| values.select_nth_unstable_by(middle, f64::total_cmp))?;
    Some(*median)
}
