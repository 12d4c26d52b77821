//! A snapshot of every target's health, for decisions.

use std::sync::Arc;
use std::time::Instant;

use super::Target;
use crate::carrier::GatewayId;
use crate::carrier::class::spelled;

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
    pub reachability: Reachability,
    /// Estimated share of attempts that fail by the carrier's fault, prior included; 0.0 to 1.0.
    pub failure_rate: f64,
    /// Weighted attempts behind `failure_rate`.
    pub samples: f64,
    /// INVITE to first response, smoothed towards the worst; `None` = never measured.
    pub latency_ms: Option<f64>,
    /// Not to be used before this time (Retry-After).
    pub unusable_until: Option<Instant>,
    /// Half open, and a call is on its way to it.
    pub is_half_open_busy: bool,
}

impl TargetView {
    /// A target of which nothing is known yet.
    pub fn unknown(target: Target) -> Self {
        Self {
            target,
            reachability: Reachability::Unknown,
            failure_rate: 0.0,
            samples: 0.0,
            latency_ms: None,
            unusable_until: None,
            is_half_open_busy: false,
        }
    }
}

/// All targets, by gateway.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Sorted by target.
    targets: Vec<Arc<TargetView>>,
}

impl View {
    pub fn new(mut targets: Vec<Arc<TargetView>>) -> Self {
        targets.sort_by_key(|view| view.target);
        Self { targets }
    }

    /// The targets of a gateway, by address; empty while its name is not resolved.
    pub fn targets_of(&self, gateway_id: GatewayId) -> &[Arc<TargetView>] {
        let from = self.targets.partition_point(|view| view.target.gateway_id < gateway_id);
        let len = self.targets[from..].partition_point(|view| view.target.gateway_id == gateway_id);
        &self.targets[from..from + len]
    }

    pub fn target(&self, target: Target) -> Option<&Arc<TargetView>> {
        let at = self.targets.binary_search_by_key(&target, |view| view.target).ok()?;
        Some(&self.targets[at])
    }

    pub fn targets(&self) -> &[Arc<TargetView>] {
        &self.targets
    }
}
